//! The thread that writes: guards, disk, memory, in this order, one request at a time.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::disk::Disk;
use super::tree::Tree;
use crate::answer::Answerer;
use crate::state::Shared;
use crate::{Acquisition, Key, Lease, Revision, StorageError, Txn};

pub(super) enum Request {
    Acquire {
        name: Key,
        owner: String,
        ttl: Duration,
        answer: Answerer<Acquisition>,
    },
    Release {
        lease: Lease,
        answer: Answerer<()>,
    },
    Txn {
        txn: Txn,
        answer: Answerer<Revision>,
    },
}

/// Serves requests until nobody is left to ask.
pub(super) fn serve<D: Disk>(
    mut tree: Tree<D>,
    shared: &Shared,
    requests: &Receiver<Request>,
) -> Tree<D> {
    for request in requests {
        match request {
            Request::Acquire {
                name,
                owner,
                ttl,
                answer,
            } => answer.answer(acquire(&mut tree, shared, &name, &owner, ttl)),
            Request::Release { lease, answer } => {
                shared.write().release(&lease, shared.now());
                answer.answer(Ok(()));
            }
            Request::Txn { txn, answer } => answer.answer(commit(&mut tree, shared, txn)),
        }
    }
    tree
}

fn commit<D: Disk>(
    tree: &mut Tree<D>,
    shared: &Shared,
    txn: Txn,
) -> Result<Revision, StorageError> {
    txn.check()?;
    let (writes, revision) = {
        let state = shared.read();
        state.check(&txn, shared.now())?;
        (state.effective(txn), state.revision())
    };
    if writes.is_empty() {
        return Ok(revision);
    }
    let revision = revision.next();
    // Readers go on: nobody else changes the state in between.
    tree.commit(&writes, revision)?;
    shared.apply(writes, revision);
    Ok(revision)
}

fn acquire<D: Disk>(
    tree: &mut Tree<D>,
    shared: &Shared,
    name: &Key,
    owner: &str,
    ttl: Duration,
) -> Result<Acquisition, StorageError> {
    let revision = shared.read().revision().next();
    tree.reserve(revision)?;
    shared
        .write()
        .acquire(name, owner, ttl, shared.now(), revision)
}
