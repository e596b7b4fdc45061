//! A store whose values are sealed.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;

use super::KeyRing;
use crate::{
    Acquisition, Change, Entry, Event, Key, Lease, Listing, Operation, Revision, Storage,
    StorageError, Txn, Watch, Write,
};

/// Another store, with every value sealed on its way in and opened on its way out.
///
/// Keys, sizes, revisions and the names and owners of leases stay in clear. A value that
/// does not open is [`StorageError::Unsealed`]; nothing is taken as it is. Sealing takes
/// up to [`MAX_OVERHEAD`](super::MAX_OVERHEAD) bytes per value of what a transaction may
/// write.
#[derive(Clone, Debug)]
pub struct SealedStorage<S> {
    inner: S,
    ring: Arc<KeyRing>,
}

impl<S: Storage> SealedStorage<S> {
    /// Seals for this store with this ring.
    pub fn new(inner: S, ring: KeyRing) -> Self {
        let ring = Arc::new(ring);
        Self { inner, ring }
    }

    /// Seals everything under the prefix with the current key, and says how many values
    /// were sealed with another. After that, former keys are needed no more, once no
    /// replica has a former key as its current one.
    ///
    /// # Errors
    /// As of [`Storage`]; what was done until then stays.
    pub async fn rotate(&self, prefix: &str) -> Result<usize, StorageError> {
        let mut rotated = 0;
        for entry in self.inner.list(prefix).await?.entries {
            if self.ring.is_current(&entry.value) {
                continue;
            }
            let (key, revision) = (entry.key.clone(), entry.revision);
            let entry = open(&self.ring, entry)?;
            let txn = Txn::new().if_unchanged(key.clone(), revision);
            match self.txn(txn.put(key, entry.value)).await {
                Ok(_) => rotated += 1,
                // Written meanwhile, and so sealed by whoever wrote; or deleted.
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rotated)
    }

    fn seal(&self, txn: Txn) -> Result<Txn, StorageError> {
        let mut sealed = txn.guards().iter().cloned().fold(Txn::new(), Txn::guard);
        for write in txn.into_writes() {
            sealed = match write {
                Write::Delete(key) => sealed.delete(key),
                Write::Put(key, value) => {
                    let value = self.ring.seal(&key, &value);
                    let value = value.map_err(|error| unsealed(&key, &error))?;
                    sealed.put(key, value)
                }
            };
        }
        Ok(sealed)
    }
}

impl<S: Storage> Storage for SealedStorage<S> {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        Box::pin(async move {
            let entry = self.inner.get(key).await?;
            entry.map(|entry| open(&self.ring, entry)).transpose()
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        Box::pin(async move {
            let Listing { entries, revision } = self.inner.list(prefix).await?;
            let entries = entries.into_iter().map(|entry| open(&self.ring, entry));
            let entries = entries.collect::<Result<_, _>>()?;
            Ok(Listing { entries, revision })
        })
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        Box::pin(async move {
            txn.check()?;
            self.inner.txn(self.seal(txn)?).await
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        Box::pin(async move {
            let watch = self.inner.watch(prefix, after).await?;
            let ring = Arc::clone(&self.ring);
            Ok(Watch::new(Opened { watch, ring }))
        })
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        self.inner.acquire(name, owner, ttl)
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        self.inner.keep_alive(lease)
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        self.inner.release(lease)
    }
}

struct Opened {
    watch: Watch,
    ring: Arc<KeyRing>,
}

impl Stream for Opened {
    type Item = Result<Event, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.watch).poll_next(context);
        next.map(|event| {
            Some(match event? {
                Ok(Event::Changed { revision, changes }) => {
                    let changes = changes.into_iter().map(|change| match change {
                        Change::Put(entry) => open(&self.ring, entry).map(Change::Put),
                        Change::Delete(key) => Ok(Change::Delete(key)),
                    });
                    let changes = changes.collect::<Result<_, _>>();
                    changes.map(|changes| Event::Changed { revision, changes })
                }
                other => other,
            })
        })
    }
}

fn open(ring: &KeyRing, entry: Entry) -> Result<Entry, StorageError> {
    let Entry {
        key,
        value,
        revision,
    } = entry;
    match ring.open(&key, &value) {
        Ok(value) => Ok(Entry {
            key,
            value,
            revision,
        }),
        Err(error) => Err(unsealed(&key, &error)),
    }
}

fn unsealed(key: &Key, error: &super::UnsealError) -> StorageError {
    StorageError::Unsealed {
        key: key.clone(),
        reason: error.to_string(),
    }
}
