//! The store as one replica reaches it.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::time::Duration;

use certwright_acme::Task;
use certwright_storage::{
    Acquisition, Entry, Event, Guard, Key, Lease, Listing, Operation, Revision, Storage,
    StorageError, Txn, Watch, Write,
};
use futures_core::Stream;

use crate::world::{Loss, Peer, Servers, World};

/// A bug, so that the harness can be seen to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// The store ignores the tokens of leases.
    NoFence,
    /// It writes over what others wrote meanwhile, too.
    NoGuards,
}

#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) world: World,
    pub(crate) machine: usize,
}

impl core::fmt::Debug for Remote {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Remote({})", self.machine)
    }
}

/// An operation of the store in memory: done when its future is made.
pub(crate) fn done<T>(mut operation: Operation<'_, T>) -> Result<T, StorageError> {
    let mut context = Context::from_waker(Waker::noop());
    match operation.as_mut().poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the store in memory does not wait"),
    }
}

fn unavailable(loss: Loss) -> StorageError {
    StorageError::Unavailable {
        place: "store".to_owned(),
        reason: format!("{loss:?}"),
    }
}

/// The end of a key, as far as it tells something.
pub(crate) fn short(key: &str) -> String {
    let rest = key.strip_prefix("/acme/v1/").unwrap_or(key);
    let mut parts = rest.split('/');
    let first = parts.next().unwrap_or_default();
    let parts = parts.map(|part| part.get(..part.len().min(22)).unwrap_or(part));
    let parts = parts.map(|part| match part.len() {
        22 if !part.contains('-') => &part[..6],
        _ => part,
    });
    core::iter::once(first)
        .chain(parts)
        .collect::<Vec<_>>()
        .join("/")
}

impl Remote {
    async fn ask<T: Send + 'static>(
        &self,
        what: String,
        act: impl FnOnce(&mut Servers) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let asked = self.world.call(self.machine, Peer::Storage, what, act);
        asked.await.unwrap_or_else(|loss| Err(unavailable(loss)))
    }
}

impl Storage for Remote {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        let (place, what) = (key.clone(), format!("get {}", short(key.as_str())));
        Box::pin(self.ask(what, move |servers| done(servers.storage.get(&place))))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        let (place, what) = (prefix.to_owned(), format!("list {}", short(prefix)));
        Box::pin(self.ask(what, move |servers| done(servers.storage.list(&place))))
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        let machine = self.machine;
        let writes = txn.writes().iter().map(|write| match write {
            Write::Delete(key) => format!("-{}", short(key.as_str())),
            write => format!("+{}", short(write.key().as_str())),
        });
        let what = format!("write {}", writes.collect::<Vec<_>>().join(" "));
        let written = self
            .world
            .call(machine, Peer::Storage, what, move |servers| {
                let result = done(servers.storage.txn(sabotaged(&txn, servers.planted)));
                servers.checker.wrote(machine, &txn, &result);
                result
            });
        Box::pin(async move {
            written.await.unwrap_or_else(|loss| {
                Err(match loss {
                    Loss::Refused => unavailable(loss),
                    Loss::Unknown => StorageError::Indeterminate {
                        place: "store".to_owned(),
                        reason: "no answer".to_owned(),
                    },
                })
            })
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        let (place, what) = (prefix.to_owned(), format!("watch {}", short(prefix)));
        Box::pin(async move {
            let asked = self.ask(what, move |servers| {
                done(servers.storage.watch(&place, after))
            });
            let inner = asked.await?;
            let remote = self.clone();
            Ok(Watch::new(Late {
                remote,
                inner,
                waiting: None,
            }))
        })
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        let what = format!("acquire {}", short(name.as_str()));
        let asked = self.world.instant_on(self.machine);
        let (name, owner, machine) = (name.clone(), owner.to_owned(), self.machine);
        Box::pin(async move {
            let acquired = self.ask(what, move |servers| {
                let acquired = done(servers.storage.acquire(&name, &owner, ttl));
                servers.checker.acquired(machine, &name, &acquired);
                acquired
            });
            Ok(match acquired.await? {
                // The deadline is by the clock of whoever asked.
                Acquisition::Granted(lease) => {
                    Acquisition::Granted(Lease::granted(lease.fence(), lease.ttl(), asked, 0))
                }
                held => held,
            })
        })
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        let what = format!("keep {}", short(lease.name().as_str()));
        let asked = self.world.instant_on(self.machine);
        let (fence, ttl) = (lease.fence(), lease.ttl());
        Box::pin(async move {
            let kept = self.ask(what, move |servers| {
                let now = servers.clock.now();
                done(
                    servers
                        .storage
                        .keep_alive(&mut Lease::granted(fence, ttl, now, 0)),
                )
            });
            kept.await?;
            lease.kept(ttl, asked);
            Ok(())
        })
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        let what = format!("release {}", short(lease.name().as_str()));
        Box::pin(self.ask(what, move |servers| done(servers.storage.release(lease))))
    }
}

/// The transaction without the guards the bug leaves out.
fn sabotaged(txn: &Txn, planted: Planted) -> Txn {
    let fenced = txn
        .guards()
        .iter()
        .any(|guard| matches!(guard, Guard::Held(_)));
    let kept = |guard: &&Guard| match planted {
        Planted::Nothing => true,
        Planted::NoFence => !matches!(guard, Guard::Held(_)),
        Planted::NoGuards => !fenced,
    };
    let guards = txn.guards().iter().filter(kept).cloned();
    let bare = guards.fold(Txn::new(), Txn::guard);
    txn.writes().iter().fold(bare, |txn, write| match write {
        Write::Put(key, value) => txn.put(key.clone(), value.clone()),
        write => txn.delete(write.key().clone()),
    })
}

/// A watch whose events come when the network lets them.
struct Late {
    remote: Remote,
    inner: Watch,
    waiting: Option<(Item, Task<'static, Result<(), Loss>>)>,
}

type Item = Option<Result<Event, StorageError>>;

impl Stream for Late {
    type Item = Result<Event, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Item> {
        loop {
            if let Some((_, arrived)) = &mut self.waiting {
                if arrived.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                return Poll::Ready(self.waiting.take().and_then(|(event, _)| event));
            }
            let Poll::Ready(event) = Pin::new(&mut self.inner).poll_next(context) else {
                return Poll::Pending;
            };
            let Remote { world, machine } = &self.remote;
            let what = match &event {
                Some(Ok(Event::Changed { changes, .. })) => {
                    let keys = changes.iter().map(|change| short(change.key().as_str()));
                    format!("sees {}", keys.collect::<Vec<_>>().join(" "))
                }
                other => format!("sees {other:?}"),
            };
            let arrived = world.call(*machine, Peer::Watch, what, |_| ());
            self.waiting = Some((event, arrived));
        }
    }
}
