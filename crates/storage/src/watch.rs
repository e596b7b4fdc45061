//! What changes, as it changes.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;

use crate::{Entry, Key, Revision, StorageError};

/// One change of one key; complete by definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing is under the key any more.
    Delete(Key),
    /// A value is under the key.
    Put(Entry),
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Delete(key) => key,
            Self::Put(entry) => &entry.key,
        }
    }
}

/// What a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// One transaction's changes under the prefix, whole.
    Changed {
        /// The transaction's revision, greater than that of every event before.
        revision: Revision,
        /// At least one change, one per key.
        changes: Vec<Change>,
    },
    /// The history the watch needs is gone: list again and watch from there. The last
    /// event of its watch.
    Compacted {
        /// The first revision a watch could still start from.
        oldest: Revision,
    },
}

/// A running watch: a [`Stream`] of events, for those without combinators
/// [`Watch::next`]. Dropping it ends it.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<Event, StorageError>> + Send>>);

impl Watch {
    /// For backends: a watch of these events.
    pub fn new(events: impl Stream<Item = Result<Event, StorageError>> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    /// The next event, waiting for it; `None` after the last. No event is lost when
    /// the future is dropped half-way.
    ///
    /// # Errors
    /// What the backend cannot mend by itself, such as rights taken away; the watch
    /// is over then.
    pub async fn next(&mut self) -> Option<Result<Event, StorageError>> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }
}

impl Stream for Watch {
    type Item = Result<Event, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
