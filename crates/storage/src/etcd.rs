//! A store in an etcd cluster: the distributed engine.

mod client;
mod connection;
mod follow;
mod lease;
mod options;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use self::options::{EtcdOptions, EtcdOptionsError, EtcdUser};

use self::client::{Client, Repeat};
use self::connection::Call;
use self::wire::{Compare, Header, KeyValue, Range, RangeAnswer, TxnAnswer, TxnText};
use crate::{
    Acquisition, Entry, Fence, Guard, Key, Lease, Listing, Operation, Revision, Storage,
    StorageError, Txn, Watch, Write,
};

/// Entries asked for at once: as many of the largest as an answer may be long.
const PAGE: usize = 128;
/// How often a listing is begun anew before that is an error.
const MAX_LISTINGS: usize = 8;

/// A store in an etcd cluster, 3.4 or newer, through the HTTP and JSON gateway every
/// member serves on its client port.
///
/// ```
/// use certwright_storage::{EtcdOptions, EtcdStorage};
///
/// let options = EtcdOptions::new(["http://127.0.0.1:2379", "http://127.0.0.1:2381"]);
/// let storage = EtcdStorage::new(options)?;
/// # Ok::<(), certwright_storage::EtcdOptionsError>(())
/// ```
///
/// Needs a tokio runtime with I/O and time. A clone is another handle of the same
/// connections. Nothing is connected to before the first operation.
///
/// # What happens when something fails
/// Reading, and whatever does the same when done twice, goes on with the next member
/// until [`EtcdOptions::total_timeout`]. A transaction goes on with the next member only
/// while it certainly did not reach one; after that it is done, or
/// [`StorageError::Indeterminate`]. Watches go on by themselves, from the last event
/// reported. An answer of another cluster than the first one's is an error: after etcd
/// was restored from a snapshot, which makes a new cluster, open the store anew.
///
/// # Keys in etcd
/// A value is at `ROOT` `k/` and its key, a lease at `ROOT` `l/` and its name, attached
/// to etcd's lease; the token is the `create_revision` of that key. Etcd keeps leases in
/// whole seconds, and none shorter than about an election; [`Lease::ttl`] says what was
/// granted.
#[derive(Clone, Debug)]
pub struct EtcdStorage {
    client: Arc<Client>,
    values: Space,
    leases: Space,
}

impl EtcdStorage {
    /// A store in this cluster.
    ///
    /// # Errors
    /// [`EtcdOptionsError`] with the endpoint that cannot be used and why.
    pub fn new(options: EtcdOptions) -> Result<Self, EtcdOptionsError> {
        let space = |kind| Space(format!("{}{kind}", options.root).into());
        Ok(Self {
            values: space("k/"),
            leases: space("l/"),
            client: Arc::new(Client::new(options)?),
        })
    }

    async fn get_entry(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        let found = self.range_one(&self.values.place(key)).await?;
        found.map(|kv| self.values.entry(kv)).transpose()
    }

    async fn list_entries(&self, prefix: &str) -> Result<Listing, StorageError> {
        for _ in 1..MAX_LISTINGS {
            match self.list_once(prefix).await {
                // The moment was compacted while its pages were read: take a later one.
                Err(StorageError::Refused { reason, .. }) if reason.contains("compacted") => {}
                listed => return listed,
            }
        }
        self.list_once(prefix).await
    }

    async fn list_once(&self, prefix: &str) -> Result<Listing, StorageError> {
        let mut start = self.values.start(prefix);
        let end = end_of(&start);
        let mut moment = None;
        let mut entries = Vec::new();
        loop {
            let range = wire::range(&Range {
                key: &start,
                end: Some(&end),
                revision: moment,
                limit: PAGE,
            });
            let call = Call::text("/v3/kv/range", range);
            let answer = self.client.call(&call, Repeat::Always).await?;
            let answer: RangeAnswer = self.read(&answer)?;
            let revision = *moment.get_or_insert(self.revision(&answer.header)?);
            let more = answer.more && !answer.kvs.is_empty();
            for kv in answer.kvs {
                if kv.key[..] < start[..] {
                    return Err(self.unreadable("its keys are not in order".to_owned()));
                }
                start.clone_from(&kv.key);
                start.push(0);
                entries.push(self.values.entry(kv)?);
            }
            if !more {
                return Ok(Listing { entries, revision });
            }
        }
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StorageError> {
        txn.check()?;
        let call = Call::new("/v3/kv/txn", self.text(&txn));
        let answer = self.client.call(&call, Repeat::UnlessSent).await?;
        // It may have been done, whatever the answer means.
        let open = |reason| StorageError::Indeterminate {
            place: self.place(),
            reason,
        };
        let answer: TxnAnswer = wire::read(&answer).map_err(open)?;
        let revision = self.client.revision(&answer.header).map_err(open)?;
        if answer.succeeded {
            return Ok(revision);
        }
        for (guard, op) in txn.guards().iter().zip(&answer.responses) {
            let Some(found) = &op.response_range else {
                return Err(open("refused without the reason".to_owned()));
            };
            check(guard, found.kvs.first())?;
        }
        Err(open("refused with every guard holding".to_owned()))
    }

    fn text(&self, txn: &Txn) -> zeroize::Zeroizing<Vec<u8>> {
        let sizes = txn.writes().iter().map(|write| {
            let value = match write {
                Write::Delete(_) => 0,
                Write::Put(_, value) => value.len(),
            };
            96 + self.values.0.len() + write.key().as_str().len() + value
        });
        let mut text = TxnText::new(sizes.sum());
        for guard in txn.guards() {
            let (place, compare) = match guard {
                Guard::Absent(key) => (self.values.place(key), Compare::Created(0)),
                Guard::Held(fence) => {
                    let token = once_used(fence.token.get());
                    (self.leases.place(&fence.name), Compare::Created(token))
                }
                Guard::Unchanged(key, revision) => {
                    let revision = once_used(revision.get());
                    (self.values.place(key), Compare::Modified(revision))
                }
            };
            text.compare(&place, compare);
        }
        for write in txn.writes() {
            let place = self.values.place(write.key());
            match write {
                Write::Delete(_) => text.delete(&place),
                Write::Put(_, value) => text.put(&place, value.as_bytes(), 0),
            }
        }
        text.finish()
    }

    /// Whether the lease is held.
    async fn holds(&self, fence: &Fence) -> Result<bool, StorageError> {
        let found = self.range_one(&self.leases.place(&fence.name)).await?;
        Ok(found.is_some_and(|kv| kv.create_revision == fence.token.get()))
    }

    async fn range_one(&self, key: &[u8]) -> Result<Option<KeyValue>, StorageError> {
        let range = wire::range(&Range {
            key,
            end: None,
            revision: None,
            limit: 1,
        });
        let call = Call::text("/v3/kv/range", range);
        let answer = self.client.call(&call, Repeat::Always).await?;
        let answer: RangeAnswer = self.read(&answer)?;
        self.revision(&answer.header)?;
        Ok(answer.kvs.into_iter().next())
    }

    fn revision(&self, header: &Header) -> Result<Revision, StorageError> {
        let revision = self.client.revision(header);
        revision.map_err(|reason| self.unreadable(reason))
    }

    fn read<'a, T: serde::Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T, StorageError> {
        wire::read(bytes).map_err(|reason| self.unreadable(reason))
    }

    fn unreadable(&self, reason: String) -> StorageError {
        let place = format!("an answer of {}", self.place());
        StorageError::Corrupt { place, reason }
    }

    fn place(&self) -> String {
        self.client.place()
    }
}

impl Storage for EtcdStorage {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        Box::pin(self.get_entry(key))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        Box::pin(self.list_entries(prefix))
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        Box::pin(self.commit(txn))
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        Box::pin(async move {
            let client = Arc::clone(&self.client);
            let start = self.values.start(prefix);
            Ok(follow::follow(client, self.values.clone(), &start, after))
        })
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        Box::pin(lease::acquire(self, name, owner, ttl))
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        Box::pin(lease::keep_alive(self, lease))
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        Box::pin(async move { lease::release(self, &lease).await })
    }
}

/// The keys of one kind: what they start with.
#[derive(Clone, Debug)]
struct Space(Arc<str>);

impl Space {
    fn place(&self, key: &Key) -> Vec<u8> {
        self.start(key.as_str())
    }

    fn start(&self, prefix: &str) -> Vec<u8> {
        [self.0.as_bytes(), prefix.as_bytes()].concat()
    }

    fn key(&self, place: &[u8]) -> Result<Key, StorageError> {
        let key = place.strip_prefix(self.0.as_bytes());
        let key = key.and_then(|key| core::str::from_utf8(key).ok());
        let key = key.ok_or_else(|| StorageError::Corrupt {
            place: String::from_utf8_lossy(place).into_owned(),
            reason: "its name is no key's".to_owned(),
        })?;
        Ok(Key::new(key)?)
    }

    fn entry(&self, kv: KeyValue) -> Result<Entry, StorageError> {
        Ok(Entry {
            key: self.key(&kv.key)?,
            revision: Revision::new(kv.mod_revision),
            value: kv.value.into(),
        })
    }
}

/// The first place after all that start with this.
fn end_of(start: &[u8]) -> Vec<u8> {
    let mut end = start.to_vec();
    // Keys are UTF-8, which has no byte 255, and never empty here.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The number if it can be a revision of etcd's, and otherwise one that none will ever
/// have: to etcd 0 means that there is nothing, and a greater one is no number.
fn once_used(number: u64) -> u64 {
    const NEVER: u64 = i64::MAX.unsigned_abs();
    match number {
        1..NEVER => number,
        _ => NEVER,
    }
}

/// Whether a guard held, as the answer of the transaction says.
fn check(guard: &Guard, found: Option<&KeyValue>) -> Result<(), StorageError> {
    let (key, expected) = match guard {
        Guard::Held(fence) => {
            return match found {
                Some(kv) if kv.create_revision == fence.token.get() => Ok(()),
                _ => Err(StorageError::lease_lost(fence)),
            };
        }
        Guard::Absent(key) => (key, None),
        Guard::Unchanged(key, revision) => (key, Some(*revision)),
    };
    let found = found.map(|kv| Revision::new(kv.mod_revision));
    if found == expected {
        return Ok(());
    }
    Err(StorageError::Conflict {
        key: key.clone(),
        expected,
        found,
    })
}
