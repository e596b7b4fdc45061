//! One answer from a thread to a future.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};

use crate::StorageError;

/// The asking half and the answering half.
pub(crate) fn question<T>() -> (Answer<T>, Answerer<T>) {
    let slot = Arc::new(Mutex::new(Slot::Open(None)));
    (Answer(Arc::clone(&slot)), Answerer(slot))
}

/// The answer to come; [`StorageError::Closed`] if nobody is left to give it.
pub(crate) struct Answer<T>(Arc<Mutex<Slot<T>>>);

/// Gives the answer.
pub(crate) struct Answerer<T>(Arc<Mutex<Slot<T>>>);

enum Slot<T> {
    Answered(Result<T, StorageError>),
    Open(Option<Waker>),
    Taken,
}

impl<T> Answerer<T> {
    pub(crate) fn answer(self, answer: Result<T, StorageError>) {
        self.fill(answer);
    }

    fn fill(&self, answer: Result<T, StorageError>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Open(waker) = &mut *slot {
            let waker = waker.take();
            *slot = Slot::Answered(answer);
            drop(slot);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Drop for Answerer<T> {
    fn drop(&mut self) {
        self.fill(Err(StorageError::Closed));
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, StorageError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Slot::Open(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Slot::Answered(_) | Slot::Taken => match core::mem::replace(&mut *slot, Slot::Taken) {
                Slot::Answered(answer) => Poll::Ready(answer),
                _ => Poll::Ready(Err(StorageError::Closed)),
            },
        }
    }
}
