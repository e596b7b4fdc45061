//! The store of one process, gone with it.

use core::future::ready;
use std::sync::Arc;
use std::time::Duration;

use crate::state::{Shared, State};
use crate::{
    Acquisition, Clock, Entry, Key, Lease, Listing, Operation, Revision, Storage, StorageError,
    Txn, Watch,
};

/// A store in memory: for tests, and for processes that keep nothing.
///
/// A clone is another handle of the same store. Leases run out by the clock it was made
/// with. Every operation is done when its future is made; the future only brings the
/// answer.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        let state = State::new([], Revision::default());
        Self {
            shared: Shared::new(state, clock),
        }
    }

    /// Forgets what changed, not what is there: watches that are behind end with
    /// [`Event::Compacted`](crate::Event::Compacted).
    pub fn compact(&self) {
        self.shared.compact();
    }

    fn commit(&self, txn: Txn) -> Result<Revision, StorageError> {
        txn.check()?;
        let revision = {
            let mut state = self.shared.write();
            state.check(&txn, self.shared.now())?;
            let writes = state.effective(txn);
            if writes.is_empty() {
                return Ok(state.revision());
            }
            let revision = state.revision().next();
            state.apply(writes, revision);
            revision
        };
        self.shared.wake();
        Ok(revision)
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new(Clock::machine())
    }
}

impl Storage for MemoryStorage {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        Box::pin(ready(Ok(self.shared.read().get(key))))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        Box::pin(ready(Ok(self.shared.read().list(prefix))))
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        Box::pin(ready(self.commit(txn)))
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        Box::pin(ready(Ok(self.shared.watch(prefix, after))))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        let mut state = self.shared.write();
        let revision = state.revision().next();
        let acquired = state.acquire(name, owner, ttl, self.shared.now(), revision);
        Box::pin(ready(acquired))
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        let now = self.shared.now();
        Box::pin(ready(self.shared.write().keep_alive(lease, now)))
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        let now = self.shared.now();
        self.shared.write().release(&lease, now);
        Box::pin(ready(Ok(())))
    }
}
