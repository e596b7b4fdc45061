//! Leases and the tokens that fence.

use std::time::{Duration, Instant};

use super::{Failed, Ran, SPACE, Step, Subject, Verdict, join, key, same, shown};
use crate::{Acquisition, Fence, FencingToken, Key, Lease, Revision, Storage, StorageError, Txn};

const TTL: Duration = Duration::from_secs(2);
/// Long enough that no rule sees it run out by accident.
const LONG: Duration = Duration::from_secs(60);

pub(super) async fn exclusion(subject: &mut dyn Subject) -> Verdict {
    let (one, two) = (subject.replica(), subject.replica());
    let before = Instant::now();
    let first = granted(&*one, "lock", "one", LONG).await?;
    // A virtual clock stands still, so that only the lower end can be told.
    same!(first.deadline() > before, true, "a deadline ahead");
    same!(first.ttl() >= LONG, true, "at least the time asked for");
    match two.acquire(&key("lock")?, "two", LONG).await? {
        Acquisition::Held { owner } if owner == "one" => {}
        other => return Err(format!("a held lease asked for again: {other:?}").into()),
    }
    let other = granted(&*two, "other", "two", LONG).await?;
    guarded(&*one, &first.fence(), "1").await?;
    guarded(&*two, &first.fence(), "2").await?;
    let crossed = Fence {
        name: key("lock")?,
        token: other.token(),
    };
    lost(
        guarded(&*two, &crossed, "crossed").await,
        "another lease's token",
    )?;
    let fence = first.fence();
    one.release(first).await?;
    lost(guarded(&*one, &fence, "released").await, "a released token")?;
    for never in [0, u64::MAX] {
        let fence = Fence {
            name: key("lock")?,
            token: FencingToken::new(never),
        };
        let refused = guarded(&*one, &fence, "nobody").await;
        lost(refused, "a token there never was, and nobody has it")?;
    }
    let second = granted(&*two, "lock", "two", LONG).await?;
    same!(second.token() > fence.token, true, "growing tokens");
    lost(guarded(&*one, &fence, "stale").await, "an earlier token")?;
    let future = Fence {
        name: key("lock")?,
        token: FencingToken::new(second.token().get() + 1),
    };
    lost(
        guarded(&*one, &future, "future").await,
        "a token never granted",
    )?;
    let found = one.get(&key("guarded")?).await?;
    same!(
        found.as_ref().map(|entry| shown(entry).1),
        Some("2".into()),
        "the value"
    );
    for asked in [Duration::from_millis(999), Duration::from_secs(86_401)] {
        match one.acquire(&key("ttl")?, "one", asked).await {
            Err(StorageError::InvalidTtl { .. }) => {}
            other => return Err(format!("a lease for {asked:?}: {other:?}").into()),
        }
    }
    two.release(second).await?;
    two.release(other).await?;
    Ok(Ran::Whole)
}

pub(super) async fn expiry(subject: &mut dyn Subject) -> Verdict {
    let (one, two) = (subject.replica(), subject.replica());
    let mut first = granted(&*one, "lock", "one", TTL).await?;
    guarded(&*one, &first.fence(), "1").await?;
    let ttl = first.ttl();
    subject.pass(ttl * 3 / 2 + Duration::from_secs(1)).await;
    lost(
        guarded(&*one, &first.fence(), "late").await,
        "a token run out",
    )?;
    let second = granted(&*two, "lock", "two", LONG).await?;
    same!(second.token() > first.token(), true, "growing tokens");
    lost(
        guarded(&*one, &first.fence(), "later").await,
        "an overtaken token",
    )?;
    lost(one.keep_alive(&mut first).await, "keeping what is lost")?;
    guarded(&*two, &second.fence(), "2").await?;
    // Releasing what is lost must not take the lease from its new holder.
    one.release(first).await?;
    guarded(&*two, &second.fence(), "3").await?;
    two.release(second).await?;
    Ok(Ran::Whole)
}

pub(super) async fn keep_alive(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let mut lease = granted(&*storage, "lock", "one", TTL).await?;
    let token = lease.token();
    let ttl = lease.ttl();
    for _ in 0..4 {
        subject.pass(ttl / 2).await;
        let before = lease.deadline();
        storage.keep_alive(&mut lease).await?;
        same!(lease.deadline() > before, true, "a later deadline");
    }
    same!(lease.token(), token, "the same token");
    guarded(&*storage, &lease.fence(), "kept").await?;
    storage.release(lease).await?;
    Ok(Ran::Whole)
}

pub(super) async fn contention(subject: &mut dyn Subject) -> Verdict {
    const WRITERS: usize = 6;
    let writers = (0..WRITERS).map(|at| {
        let storage = subject.replica();
        let writer = async move {
            let name = key("lock")?;
            let asked = storage.acquire(&name, &format!("{at}"), LONG).await?;
            let Some(lease) = asked.granted() else {
                return Ok(None);
            };
            guarded(&*storage, &lease.fence(), "held").await?;
            Ok(Some(lease))
        };
        Box::pin(writer) as Step<'_, Result<Option<Lease>, Failed>>
    });
    let mut held = Vec::new();
    for outcome in join(writers.collect()).await {
        held.extend(outcome?);
    }
    same!(held.len(), 1, "holders of {WRITERS} who asked at once");
    for lease in held {
        subject.replica().release(lease).await?;
    }
    Ok(Ran::Whole)
}

pub(super) async fn no_keys(subject: &mut dyn Subject) -> Verdict {
    let storage = subject.replica();
    let lease = granted(&*storage, "lock", "one", LONG).await?;
    same!(
        storage.list(SPACE).await?.entries,
        [],
        "listing with a lease held"
    );
    same!(
        storage.get(&key("lock")?).await?,
        None,
        "the key of the lease's name"
    );
    let txn = Txn::new().if_absent(key("lock")?).put(key("lock")?, "mine");
    storage.txn(txn.if_held(lease.fence())).await?;
    storage.release(lease).await?;
    let found = storage.get(&key("lock")?).await?;
    same!(
        found.is_some(),
        true,
        "a key of the name of a released lease"
    );
    Ok(Ran::Whole)
}

pub(super) async fn granted(
    storage: &dyn Storage,
    name: &str,
    owner: &str,
    ttl: Duration,
) -> Result<Lease, Failed> {
    match storage.acquire(&key(name)?, owner, ttl).await? {
        Acquisition::Granted(lease) => Ok(lease),
        Acquisition::Held { owner } => Err(format!("the lease {name} is held by {owner}").into()),
    }
}

async fn guarded(
    storage: &dyn Storage,
    fence: &Fence,
    value: &str,
) -> Result<Revision, StorageError> {
    let guarded = Key::new(&format!("{SPACE}guarded"))?;
    let txn = Txn::new().put(guarded, value);
    storage.txn(txn.if_held(fence.clone())).await
}

fn lost<T: core::fmt::Debug>(outcome: Result<T, StorageError>, what: &str) -> Result<(), Failed> {
    match outcome {
        Err(StorageError::LeaseLost { .. }) => Ok(()),
        other => Err(format!("{what}: expected a lost lease, found {other:?}").into()),
    }
}
