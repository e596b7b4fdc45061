//! Clocks that stand still, and futures that are polled by hand.

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright_cert_model::key::KeyAlgorithm;
use certwright_issuance::{KeyError, KeyPair};
use certwright_storage::{Clock, MemoryStorage};
use time::OffsetDateTime;

use crate::runtime::{Runtime, Task};

/// When all tests begin.
pub(crate) const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Clocks that move only by sleeping.
#[derive(Clone, Debug)]
pub(crate) struct World {
    clock: Clock,
    start: Instant,
    sleepers: Arc<Mutex<BTreeSet<(Instant, u64)>>>,
}

/// One who sleeps, for as long as the future lives.
struct Sleeper<'w> {
    world: &'w World,
    place: (Instant, u64),
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.world.sleepers.lock().unwrap().remove(&self.place);
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        let clock = Clock::manual(start);
        let sleepers = Arc::default();
        Self {
            clock,
            start,
            sleepers,
        }
    }

    pub(crate) fn storage(&self) -> MemoryStorage {
        MemoryStorage::new(self.clock.clone())
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

impl Runtime for World {
    fn now(&self) -> OffsetDateTime {
        START + (self.clock.now() - self.start)
    }

    fn instant(&self) -> Instant {
        self.clock.now()
    }

    fn sleep(&self, pause: Duration) -> Task<'_, ()> {
        let end = self.clock.now() + pause;
        // Told at once, not at the first poll, or somebody else would sleep past it.
        let mut sleepers = self.sleepers.lock().unwrap();
        let number = sleepers.iter().map(|(_, number)| number + 1).max();
        let place = (end, number.unwrap_or_default());
        sleepers.insert(place);
        drop(sleepers);
        let sleeper = Sleeper { world: self, place };
        Box::pin(async move {
            let _sleeper = sleeper;
            let (mut last, mut still) = (self.clock.now(), 4);
            // So that what runs beside it is done first.
            for _ in 0..4 {
                pass().await;
            }
            // Those who would wake earlier come first, unless nobody polls them; what they do
            // then is done first, too.
            loop {
                let first = self.sleepers.lock().unwrap().first() == Some(&place);
                let now = self.clock.now();
                if now != last {
                    (last, still) = (now, 0);
                }
                if now >= end || (first && still >= 4) || still == 100 {
                    break;
                }
                still += 1;
                pass().await;
            }
            let now = self.clock.now();
            if end > now {
                self.clock.advance(end - now);
            }
        })
    }

    fn new_key(&self, algorithm: KeyAlgorithm) -> Task<'_, Result<KeyPair, KeyError>> {
        Box::pin(async move { KeyPair::generate(algorithm) })
    }
}

/// Comes back at the next poll.
pub(crate) async fn pass() {
    let mut passed = false;
    poll_fn(|context| {
        if core::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a future so many times; what is left of it is dropped, as by a crash.
pub(crate) fn run_for<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
    }
    None
}

/// Polls a future to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    run_for(1_000_000, future).expect("the future waits for nothing that happens")
}
