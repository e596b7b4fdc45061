//! What the embedded backends keep in memory: entries, history and leases.

mod history;

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use futures_core::Stream;

use self::history::History;
use crate::lease::whole_seconds;
use crate::{
    Acquisition, Change, Clock, Entry, Event, Fence, FencingToken, Guard, Key, Lease, Listing,
    Revision, StorageError, Txn, Value, Watch, Write,
};

/// Entries, history and leases of one store, and the revision they are at.
#[derive(Debug)]
pub(crate) struct State {
    entries: BTreeMap<Key, Stored>,
    history: History,
    leases: BTreeMap<Key, Holder>,
    revision: Revision,
}

#[derive(Debug)]
struct Stored {
    value: Value,
    revision: Revision,
}

#[derive(Debug)]
struct Holder {
    token: FencingToken,
    owner: String,
    expires: Instant,
}

impl State {
    /// These entries, none of them newer than the revision.
    pub(crate) fn new(entries: impl IntoIterator<Item = Entry>, revision: Revision) -> Self {
        let stored = entries.into_iter().map(|entry| {
            let Entry {
                key,
                value,
                revision,
            } = entry;
            (key, Stored { value, revision })
        });
        Self {
            entries: stored.collect(),
            history: History::after(revision),
            leases: BTreeMap::new(),
            revision,
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        let (key, stored) = self.entries.get_key_value(key)?;
        Some(stored.entry(key))
    }

    pub(crate) fn list(&self, prefix: &str) -> Listing {
        use core::ops::Bound::{Included, Unbounded};
        let from = self.entries.range::<str, _>((Included(prefix), Unbounded));
        let entries = from
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, stored)| stored.entry(key))
            .collect();
        Listing {
            entries,
            revision: self.revision,
        }
    }

    /// Whether every guard holds.
    pub(crate) fn check(&self, txn: &Txn, now: Instant) -> Result<(), StorageError> {
        for guard in txn.guards() {
            let (key, expected) = match guard {
                Guard::Held(fence) => {
                    self.holder(fence, now)?;
                    continue;
                }
                Guard::Absent(key) => (key, None),
                Guard::Unchanged(key, revision) => (key, Some(*revision)),
            };
            let found = self.entries.get(key).map(|stored| stored.revision);
            if found != expected {
                let key = key.clone();
                return Err(StorageError::Conflict {
                    key,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// The writes that change something: all but those that delete what is not there.
    pub(crate) fn effective(&self, txn: Txn) -> Vec<Write> {
        let mut writes = txn.into_writes();
        writes.retain(|write| match write {
            Write::Delete(key) => self.entries.contains_key(key),
            Write::Put(..) => true,
        });
        writes
    }

    /// Does the writes at the revision, which is newer than all before.
    pub(crate) fn apply(&mut self, writes: Vec<Write>, revision: Revision) {
        self.revision = revision;
        let changes = writes.into_iter().map(|write| match write {
            Write::Delete(key) => {
                self.entries.remove(&key);
                Change::Delete(key)
            }
            Write::Put(key, value) => {
                let stored = Stored { value, revision };
                let entry = stored.entry(&key);
                self.entries.insert(key, stored);
                Change::Put(entry)
            }
        });
        let changes = changes.collect();
        self.history.push(revision, changes);
    }

    /// Grants a lease with the revision as its token, unless it is held.
    pub(crate) fn acquire(
        &mut self,
        name: &Key,
        owner: &str,
        ttl: Duration,
        now: Instant,
        revision: Revision,
    ) -> Result<Acquisition, StorageError> {
        let ttl = whole_seconds(ttl)?;
        if let Some(holder) = self.leases.get(name).filter(|holder| now < holder.expires) {
            let owner = holder.owner.clone();
            return Ok(Acquisition::Held { owner });
        }
        self.revision = revision;
        let token = FencingToken::new(revision.get());
        let holder = Holder {
            token,
            owner: owner.to_owned(),
            expires: now + ttl,
        };
        self.leases.insert(name.clone(), holder);
        let name = name.clone();
        let fence = Fence { name, token };
        Ok(Acquisition::Granted(Lease::granted(fence, ttl, now, 0)))
    }

    pub(crate) fn keep_alive(
        &mut self,
        lease: &mut Lease,
        now: Instant,
    ) -> Result<(), StorageError> {
        self.holder(&lease.fence(), now)?;
        let ttl = lease.ttl();
        if let Some(holder) = self.leases.get_mut(lease.name()) {
            holder.expires = now + ttl;
        }
        lease.kept(ttl, now);
        Ok(())
    }

    pub(crate) fn release(&mut self, lease: &Lease, now: Instant) {
        if self.holds(&lease.fence(), now).is_some() {
            self.leases.remove(lease.name());
        }
    }

    fn holds(&self, fence: &Fence, now: Instant) -> Option<&Holder> {
        let holder = self.leases.get(&fence.name);
        holder.filter(|holder| holder.token == fence.token && now < holder.expires)
    }

    fn holder(&self, fence: &Fence, now: Instant) -> Result<&Holder, StorageError> {
        let holder = self.holds(fence, now);
        holder.ok_or_else(|| StorageError::lease_lost(fence))
    }
}

impl Stored {
    fn entry(&self, key: &Key) -> Entry {
        Entry {
            key: key.clone(),
            value: self.value.clone(),
            revision: self.revision,
        }
    }
}

/// The state for many readers, and those who wait for it to change.
#[derive(Debug)]
pub(crate) struct Shared {
    state: RwLock<State>,
    waiting: Mutex<Waiting>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    watches: u64,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(state: State, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(state),
            waiting: Mutex::default(),
            clock,
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the writes at the revision and wakes the watches.
    #[cfg(all(feature = "file", unix))]
    pub(crate) fn apply(&self, writes: Vec<Write>, revision: Revision) {
        self.write().apply(writes, revision);
        self.wake();
    }

    pub(crate) fn compact(&self) {
        self.write().history.compact();
        self.wake();
    }

    /// Ends every watch once it has reported what there was.
    #[cfg(all(feature = "file", unix))]
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.wake();
    }

    pub(crate) fn wake(&self) {
        let wakers = core::mem::take(&mut self.waiting().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Watch {
        let mut waiting = self.waiting();
        waiting.watches += 1;
        Watch::new(Follower {
            id: waiting.watches,
            shared: Arc::clone(self),
            prefix: prefix.to_owned(),
            after: Some(after),
        })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch: where it is in the history, `None` after its end.
struct Follower {
    id: u64,
    shared: Arc<Shared>,
    prefix: String,
    after: Option<Revision>,
}

impl Stream for Follower {
    type Item = Result<Event, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(after) = self.after else {
            return Poll::Ready(None);
        };
        // Registered before looking: a change in between wakes, rather than being missed.
        let closed = {
            let mut waiting = self.shared.waiting();
            waiting.wakers.insert(self.id, context.waker().clone());
            waiting.closed
        };
        let (next, seen) = {
            let state = self.shared.read();
            (state.history.next(&self.prefix, after), state.revision)
        };
        match next {
            Ok(Some((revision, changes))) => {
                self.after = Some(revision);
                Poll::Ready(Some(Ok(Event::Changed { revision, changes })))
            }
            Ok(None) if closed => {
                self.after = None;
                Poll::Ready(None)
            }
            Ok(None) => {
                // What is forgotten of other prefixes is no loss to this one.
                self.after = Some(after.max(seen));
                Poll::Pending
            }
            Err(oldest) => {
                self.after = None;
                Poll::Ready(Some(Ok(Event::Compacted { oldest })))
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.waiting().wakers.remove(&self.id);
    }
}
