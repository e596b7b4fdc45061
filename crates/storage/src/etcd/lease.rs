//! Leases as etcd's: a key that goes away with its lease, and whose creation is the token.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::EtcdStorage;
use super::client::Repeat;
use super::connection::Call;
use super::wire::{self, Compare, LeaseAnswer, Streamed, TxnAnswer, TxnText};
use crate::lease::whole_seconds;
use crate::{Acquisition, Fence, FencingToken, Key, Lease, StorageError};

/// What is under the key of a held lease.
#[derive(Serialize, Deserialize)]
struct Holder {
    owner: String,
}

pub(super) async fn acquire(
    etcd: &EtcdStorage,
    name: &Key,
    owner: &str,
    ttl: Duration,
) -> Result<Acquisition, StorageError> {
    let ttl = whole_seconds(ttl)?;
    let place = etcd.leases.place(name);
    // Asked first, so that waiting for somebody does not litter etcd with leases.
    if let Some(held) = etcd.range_one(&place).await? {
        return Ok(held_by(&held.value));
    }
    let asked = Instant::now();
    let grant = Call::text("/v3/lease/grant", wire::grant(ttl.as_secs()));
    // Granted twice does no harm: the other one runs out.
    let answer = etcd.client.call(&grant, Repeat::Always).await?;
    let granted: LeaseAnswer = etcd.read(&answer)?;
    // A key attached to lease 0 would be held for ever.
    if granted.id == 0 || granted.ttl == 0 {
        return Err(etcd.unreadable("it grants no lease".to_owned()));
    }
    let ttl = Duration::from_secs(granted.ttl);
    let taken = take(etcd, name, &place, owner, granted.id).await;
    let token = match taken {
        Ok(Ok(token)) => token,
        Ok(Err(held)) => {
            revoke(etcd, granted.id).await;
            return Ok(held);
        }
        Err(error) => {
            // If the key appears after all, it goes with the lease; without, it cannot.
            revoke(etcd, granted.id).await;
            return Err(error);
        }
    };
    let name = name.clone();
    let fence = Fence { name, token };
    Ok(Acquisition::Granted(Lease::granted(
        fence, ttl, asked, granted.id,
    )))
}

pub(super) async fn keep_alive(etcd: &EtcdStorage, lease: &mut Lease) -> Result<(), StorageError> {
    let asked = Instant::now();
    let call = Call::text("/v3/lease/keepalive", wire::lease(lease.handle()));
    let answer = etcd.client.call(&call, Repeat::Always).await?;
    let answer: Streamed<LeaseAnswer> = etcd.read(&answer)?;
    match answer.result {
        Some(LeaseAnswer { ttl: 1.., .. }) if etcd.holds(&lease.fence()).await? => {}
        _ => {
            return Err(StorageError::lease_lost(&lease.fence()));
        }
    }
    let ttl = answer
        .result
        .map_or(lease.ttl(), |kept| Duration::from_secs(kept.ttl));
    lease.kept(ttl, asked);
    Ok(())
}

pub(super) async fn release(etcd: &EtcdStorage, lease: &Lease) -> Result<(), StorageError> {
    let call = Call::text("/v3/lease/revoke", wire::lease(lease.handle()));
    match etcd.client.call(&call, Repeat::Always).await {
        // Not found: it ran out, or an earlier attempt went through.
        Err(StorageError::Refused { reason, .. }) if reason.contains("lease not found") => Ok(()),
        other => other.map(drop),
    }
}

/// The token, or who has it.
async fn take(
    etcd: &EtcdStorage,
    name: &Key,
    place: &[u8],
    owner: &str,
    id: u64,
) -> Result<Result<FencingToken, Acquisition>, StorageError> {
    let owner = owner.to_owned();
    let holder = serde_json::to_vec(&Holder { owner }).map_err(|error| StorageError::Refused {
        place: name.to_string(),
        reason: error.to_string(),
    })?;
    let mut txn = TxnText::new(place.len() + holder.len());
    txn.compare(place, Compare::Created(0));
    txn.put(place, &holder, id);
    let call = Call::new("/v3/kv/txn", txn.finish());
    let answer = match etcd.client.call(&call, Repeat::UnlessSent).await {
        Ok(answer) => answer,
        Err(unknown @ StorageError::Indeterminate { .. }) => {
            // It is ours if the key has our lease, whoever got no answer.
            return match etcd.range_one(place).await? {
                Some(kv) if kv.lease == id => Ok(Ok(FencingToken::new(kv.create_revision))),
                Some(kv) => Ok(Err(held_by(&kv.value))),
                None => Err(unknown),
            };
        }
        Err(error) => return Err(error),
    };
    let answer: TxnAnswer = etcd.read(&answer)?;
    let revision = etcd.revision(&answer.header)?;
    if answer.succeeded {
        return Ok(Ok(FencingToken::new(revision.get())));
    }
    let found = etcd.range_one(place).await?;
    let found = found.map(|kv| kv.value).unwrap_or_default();
    Ok(Err(held_by(&found)))
}

/// Not waited for to succeed: the lease runs out by itself.
async fn revoke(etcd: &EtcdStorage, id: u64) {
    let call = Call::text("/v3/lease/revoke", wire::lease(id));
    let _ = etcd.client.call(&call, Repeat::UnlessSent).await;
}

fn held_by(value: &[u8]) -> Acquisition {
    let holder = serde_json::from_slice::<Holder>(value);
    Acquisition::Held {
        owner: holder.map(|holder| holder.owner).unwrap_or_default(),
    }
}
