//! The contract every backend keeps.

use core::fmt;
use core::pin::Pin;
use std::time::Duration;

use crate::{Acquisition, Key, Lease, Revision, StorageError, Txn, Value, Watch};

/// The future of an operation; runs on any executor the backend runs on.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// A key, what is under it, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The bytes under it.
    pub value: Value,
    /// The revision that wrote them.
    pub revision: Revision,
}

/// All entries under a prefix at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// The moment: everything up to it is in, nothing after it. Watch from here.
    pub revision: Revision,
}

/// What replicas share: values under keys, with transactions, watches and leases.
///
/// # Consistency
/// Operations are linearizable: each takes effect at one moment between its call and
/// its answer, for every client of the store in the same order. A [`get`](Self::get)
/// after an acknowledged write sees that write, from any replica. A
/// [`list`](Self::list) is of one moment. When the store cannot promise that, it says
/// [`StorageError::Unavailable`] and does not answer from what it remembers.
///
/// # Transactions
/// [`txn`](Self::txn) does all its writes at one [`Revision`] if every guard holds, and
/// none otherwise; guards and writes are one step, nothing comes between. The guards
/// are checked in order, and the first that fails is reported. Deleting what is not
/// there changes nothing. A transaction that changes nothing answers with a revision
/// at which its guards held.
///
/// No backend repeats a write whose fate it does not know: that is
/// [`StorageError::Indeterminate`], and the caller's to resolve by reading. A write
/// that was guarded by the revision or the absence of a key it writes may safely be
/// tried again after reading.
///
/// # Watches
/// A [`watch`](Self::watch) reports every change after its revision, each once, in the
/// order of revisions, one transaction whole in one event; a value that was overwritten
/// in between is reported as well. It outlives interruptions of the connection. If the
/// history it needs is gone, [`Event::Compacted`](crate::Event::Compacted) says so and
/// ends it: list again and watch from the listing. Nothing is ever left out silently.
///
/// # Leases
/// At most one lease of a name is held at any time by the store's clock. Its token is
/// greater than that of every lease of the name before, over restarts as well. A lease
/// ends by [`release`](Self::release), by running out, or, in an embedded store, with
/// the process; from then on [`Guard::Held`](crate::Guard::Held) with its token fails
/// with [`StorageError::LeaseLost`], however late the holder notices, and however long
/// its process was stopped. So a lock without a guard on the write is a courtesy; with
/// it, it is exclusion.
///
/// What fencing cannot stop is an effect outside the store, such as a request to a CA.
/// Make those repeatable, and write the intent down, guarded, before acting.
///
/// Leases live in a space of their own: no key names one, and no listing shows one.
///
/// # Sizes
/// [`MAX_KEY_LEN`](crate::MAX_KEY_LEN), [`MAX_TXN_LEN`](crate::MAX_TXN_LEN) and
/// [`MAX_TXN_OPS`](crate::MAX_TXN_OPS) hold for every backend. Thousands of keys are
/// normal, millions are not.
///
/// # Crashes
/// An acknowledged write survives the death of every process, and of the machine for
/// backends on disks. A write that was not acknowledged is there whole or not at all.
/// An operation whose future is dropped may still take effect.
///
/// The suite in `conformance` (feature of that name) checks all this, for your own
/// backend too.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The entry under `key`, if there is one.
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>>;

    /// All entries whose keys start with `prefix`, byte by byte; all there are for the
    /// empty one.
    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing>;

    /// Writes if all guards hold, all or nothing. Answers with the revision of the
    /// writes.
    fn txn(&self, txn: Txn) -> Operation<'_, Revision>;

    /// Everything that changes under `prefix` after the revision.
    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch>;

    /// Asks for the right to act under `name` for `ttl`
    /// ([`LEASE_TTL`](crate::LEASE_TTL)); whole seconds everywhere. Does not wait for
    /// another holder. `owner` is told to others who ask.
    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition>;

    /// Keeps a lease for another `ttl`, moving its deadline; [`StorageError::LeaseLost`]
    /// if it is not held any more.
    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()>;

    /// Gives a lease back so that another may act at once. Nothing happens if it is
    /// not held any more.
    fn release(&self, lease: Lease) -> Operation<'_, ()>;
}
