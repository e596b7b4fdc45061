//! A store with somebody at the door.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Acquisition, Entry, Key, Lease, Listing, Operation, Revision, Storage, StorageError, Txn, Watch,
};

/// An operation of [`Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Storage::acquire`].
    Acquire,
    /// [`Storage::get`].
    Get,
    /// [`Storage::keep_alive`].
    KeepAlive,
    /// [`Storage::list`].
    List,
    /// [`Storage::release`].
    Release,
    /// [`Storage::txn`].
    Txn,
    /// [`Storage::watch`].
    Watch,
}

/// Who stands between a store and its users: counts what they do, holds them up, refuses
/// them, or ends the process between an effect and its answer.
pub trait Attendant: fmt::Debug + Send + Sync {
    /// Before an operation takes effect; an error is its answer, and it has no effect.
    fn before(&self, call: Call) -> Operation<'_, ()> {
        let _ = call;
        Box::pin(async { Ok(()) })
    }

    /// After it took effect, also where it failed; an error is its answer all the same.
    fn after(&self, call: Call) -> Operation<'_, ()> {
        let _ = call;
        Box::pin(async { Ok(()) })
    }
}

impl<A: Attendant + ?Sized> Attendant for Arc<A> {
    fn before(&self, call: Call) -> Operation<'_, ()> {
        (**self).before(call)
    }

    fn after(&self, call: Call) -> Operation<'_, ()> {
        (**self).after(call)
    }
}

/// Another store, attended: for tests of what happens when a store is slow, fails, or is
/// asked too often.
#[derive(Clone, Debug)]
pub struct Attended<A> {
    inner: Arc<dyn Storage>,
    attendant: A,
}

impl<A: Attendant> Attended<A> {
    /// This store, with this attendant at every operation.
    pub fn new(inner: impl Storage + 'static, attendant: A) -> Self {
        Self::shared(Arc::new(inner), attendant)
    }

    /// The same for a store that others hold as well.
    pub fn shared(inner: Arc<dyn Storage>, attendant: A) -> Self {
        Self { inner, attendant }
    }

    /// The attendant.
    pub fn attendant(&self) -> &A {
        &self.attendant
    }

    /// The operation is begun after the attendant's leave: some stores act at once.
    async fn attend<'a, T>(
        &'a self,
        call: Call,
        operation: impl FnOnce(&'a dyn Storage) -> Operation<'a, T>,
    ) -> Result<T, StorageError> {
        self.attendant.before(call).await?;
        let done = operation(&*self.inner).await;
        self.attendant.after(call).await?;
        done
    }
}

impl<A: Attendant> Storage for Attended<A> {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        Box::pin(self.attend(Call::Get, move |inner| inner.get(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        Box::pin(self.attend(Call::List, move |inner| inner.list(prefix)))
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        Box::pin(self.attend(Call::Txn, move |inner| inner.txn(txn)))
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        Box::pin(self.attend(Call::Watch, move |inner| inner.watch(prefix, after)))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        Box::pin(self.attend(Call::Acquire, move |inner| inner.acquire(name, owner, ttl)))
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        Box::pin(self.attend(Call::KeepAlive, move |inner| inner.keep_alive(lease)))
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        Box::pin(self.attend(Call::Release, move |inner| inner.release(lease)))
    }
}
