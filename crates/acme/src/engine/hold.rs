//! The lease of a certificate, kept alive while something takes its time.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::{Acquisition, Fence, Key, Lease, Storage, StorageError};

use crate::runtime::{Runtime, all};

/// The right to order one certificate, and what else nobody may do at the same time.
pub(super) struct Hold<'e> {
    storage: &'e Arc<dyn Storage>,
    runtime: &'e dyn Runtime,
    /// The certificate's own first.
    leases: Vec<Lease>,
    /// A courtesy to others: what is done in it may be done without it.
    turn: Option<Lease>,
    fence: Fence,
    /// Until when none is renewed again: where the store is slow, they are due again at once, and
    /// what they are held for must get on in between.
    rest: Instant,
}

impl<'e> Hold<'e> {
    pub(super) fn new(
        storage: &'e Arc<dyn Storage>,
        runtime: &'e dyn Runtime,
        lease: Lease,
    ) -> Self {
        Self {
            storage,
            runtime,
            fence: lease.fence(),
            rest: runtime.instant(),
            leases: vec![lease],
            turn: None,
        }
    }

    /// Asks for another lease, to be kept alive with the first until
    /// [`Hold::let_go`]; answers with its holder if that is somebody else.
    pub(super) async fn also(
        &mut self,
        name: &Key,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<String>, StorageError> {
        if self.leases.iter().any(|lease| lease.name() == name) {
            return Ok(None);
        }
        let storage = self.storage;
        match self.during(storage.acquire(name, owner, ttl)).await?? {
            Acquisition::Granted(lease) => {
                self.leases.push(lease);
                Ok(None)
            }
            Acquisition::Held { owner } => Ok(Some(owner)),
        }
    }

    /// Gives this one back, unless it is the certificate's own.
    pub(super) async fn end(&mut self, name: &Key) {
        let mut others = self.leases.iter().skip(1);
        if let Some(index) = others.position(|lease| lease.name() == name) {
            let lease = self.leases.remove(index + 1);
            // If it does not arrive, the lease runs out by itself.
            let _ = self.storage.release(lease).await;
        }
    }

    /// Gives back all leases but the certificate's own.
    pub(super) async fn let_go(&mut self) {
        // Of a hundred, one after the other, the own one might run out meanwhile.
        while self.leases.len() > 1 {
            let from = self.leases.len().saturating_sub(AT_ONCE).max(1);
            let released = self.leases.drain(from..);
            let released = released.map(|lease| self.storage.release(lease));
            // What does not arrive runs out by itself.
            all(released.collect()).await;
        }
    }

    /// Asks for a turn, to be used at once and kept until [`Hold::end_turn`]; `false` if
    /// somebody else has it. Unlike the other leases it may be lost: giving up what was sent to a CA in it
    /// would only mean sending it twice.
    pub(super) async fn turn(
        &mut self,
        name: &Key,
        owner: &str,
        ttl: Duration,
    ) -> Result<bool, StorageError> {
        let storage = self.storage;
        match self.during(storage.acquire(name, owner, ttl)).await?? {
            Acquisition::Granted(lease) => self.turn = Some(lease),
            Acquisition::Held { .. } => return Ok(false),
        }
        // What is due is done now, and not between the turn and what it is for.
        if self.until_renewal().is_zero() {
            self.keep_alive().await?;
        }
        // That, or the answer, may have taken longer than the turn lasts.
        let now = self.runtime.instant();
        if self.turn.as_ref().is_some_and(|turn| !turn.is_held(now)) {
            self.end_turn().await;
        }
        Ok(self.turn.is_some())
    }

    pub(super) async fn end_turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            // If it does not arrive, the lease runs out by itself.
            let _ = self.storage.release(turn).await;
        }
    }

    /// What every write carries.
    pub(super) fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Does this work, keeping the lease alive; gives up when the lease is lost.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, StorageError> {
        let mut work = pin!(work);
        loop {
            let pause = self.until_renewal();
            if pause.is_zero() {
                self.keep_alive().await?;
                continue;
            }
            let pause = pause.min(self.until_turn().unwrap_or(pause));
            let mut timer = self.runtime.sleep(pause);
            let done = poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => timer.as_mut().poll(context).map(|()| None),
            });
            if let Some(done) = done.await {
                return Ok(done);
            }
            self.keep_turn().await;
        }
    }

    /// Waits.
    pub(super) async fn sleep(&mut self, pause: Duration) -> Result<(), StorageError> {
        let runtime = self.runtime;
        self.during(runtime.sleep(pause)).await
    }

    pub(super) async fn release(&mut self) {
        self.end_turn().await;
        self.let_go().await;
        if let Some(lease) = self.leases.pop() {
            // If it does not arrive, the lease runs out by itself.
            let _ = self.storage.release(lease).await;
        }
    }

    /// Until a third of a lease is used up, or the rest after the last renewal is over, unless
    /// a lease is before. The turn does not count.
    fn until_renewal(&self) -> Duration {
        let now = self.runtime.instant();
        let pauses = self.leases.iter().map(|lease| until_renewal(lease, now));
        let due = pauses.min().unwrap_or_default();
        let deadline = self.leases.iter().map(Lease::deadline).min();
        let over = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let rest = self.rest.saturating_duration_since(now);
        due.max(rest.min(over.unwrap_or_default()))
    }

    /// The same of the turn, but never at once: what it is for goes on between two renewals,
    /// however slow the store is.
    fn until_turn(&self) -> Option<Duration> {
        let turn = self.turn.as_ref()?;
        let pause = until_renewal(turn, self.runtime.instant());
        Some(pause.max(turn.ttl().mul_f64(RETRY)))
    }

    async fn keep_alive(&mut self) -> Result<(), StorageError> {
        if self.leases.is_empty() {
            return Err(self.lost());
        }
        let (storage, runtime) = (self.storage, self.runtime);
        let mut rest = Duration::MAX;
        // Side by side, or the first of a hundred would be due again before the last has had its turn.
        for some in self.leases.chunks_mut(AT_ONCE) {
            let now = runtime.instant();
            let mut asked = Vec::new();
            for lease in some {
                rest = rest.min(lease.ttl().mul_f64(RETRY));
                if !until_renewal(lease, now).is_zero() {
                    continue;
                }
                if !lease.is_held(now) {
                    return Err(StorageError::LeaseLost {
                        name: lease.name().clone(),
                        token: lease.token(),
                    });
                }
                asked.push(storage.keep_alive(lease));
            }
            for kept in all(asked).await {
                // Of others, the store may come back before the lease is over.
                if let Err(error @ StorageError::LeaseLost { .. }) = kept {
                    return Err(error);
                }
            }
        }
        self.rest = runtime.instant() + rest;
        Ok(())
    }

    async fn keep_turn(&mut self) {
        let now = self.runtime.instant();
        let due = |turn: &&mut Lease| until_renewal(turn, now).is_zero();
        let Some(turn) = self.turn.as_mut().filter(due) else {
            return;
        };
        let kept = self.storage.keep_alive(turn).await;
        if kept.is_err() {
            // It runs out by itself.
            self.turn = None;
        }
    }

    fn lost(&self) -> StorageError {
        StorageError::LeaseLost {
            name: self.fence.name.clone(),
            token: self.fence.token,
        }
    }
}

impl Drop for Hold<'_> {
    /// Whoever comes next need not wait until the lease has run out.
    fn drop(&mut self) {
        for lease in self.leases.drain(..).chain(self.turn.take()) {
            let storage = Arc::clone(self.storage);
            self.runtime.aside(Box::pin(async move {
                let _ = storage.release(lease).await;
            }));
        }
    }
}

fn until_renewal(lease: &Lease, now: Instant) -> Duration {
    let left = lease.deadline().saturating_duration_since(now);
    left.saturating_sub(lease.ttl().mul_f64(REST))
}

/// The share of a lease that is kept in reserve. Nine tenths are usable.
const REST: f64 = 0.57;
/// The least pause between two keep-alives, as a share of the lease, whatever became of the first.
const RETRY: f64 = 0.1;
/// How many leases are asked for something at the same time: each may need a connection.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use certwright_storage::Operation;
    use certwright_storage::conformance::{Attendant, Attended, Call};

    use super::*;
    use crate::runtime::within;
    use crate::testing::{World, run};

    /// What is asked for a lease is done at once, and told so much later.
    #[derive(Debug)]
    struct Far(World, Duration);

    impl Attendant for Far {
        fn after(&self, call: Call) -> Operation<'_, ()> {
            Box::pin(async move {
                if let Call::Acquire | Call::KeepAlive | Call::Release = call {
                    self.0.sleep(self.1).await;
                }
                Ok(())
            })
        }
    }

    const TTL: Duration = Duration::from_secs(15);

    #[test]
    fn work_goes_on_beside_many_leases_of_a_slow_store() {
        for (names, takes) in [
            (100, 0),
            (100, 60),
            (50, 100),
            (100, 400),
            (1, 5000),
            (0, 8000),
        ] {
            let world = World::new();
            let far = Far(world.clone(), Duration::from_millis(takes));
            let storage: Arc<dyn Storage> = Arc::new(Attended::new(world.storage(), far));
            let own = "/locks/own".parse().unwrap();
            let lease = run(storage.acquire(&own, "one", TTL)).unwrap();
            let mut hold = Hold::new(&storage, &world, lease.granted().unwrap());
            let begun = world.instant();
            run(async {
                for number in 0..names {
                    let name = format!("/locks/{number}").parse().unwrap();
                    let held = hold.also(&name, "one", TTL).await.unwrap();
                    assert_eq!(held, None);
                }
                hold.sleep(Duration::from_secs(30)).await.unwrap();
                hold.let_go().await;
                // Giving back took less than the lease lasts.
                hold.sleep(Duration::from_millis(1)).await.unwrap();
            });
            let passed = world.instant() - begun;
            assert!(
                passed < Duration::from_secs(300),
                "{names} of {takes} ms: {passed:?}"
            );
        }
    }

    #[test]
    fn a_turn_is_of_use_however_slow_the_store_is() {
        let (own, turn) = (
            "/locks/own".parse().unwrap(),
            "/locks/turn".parse().unwrap(),
        );
        // A turn of five seconds is over after four and a half, and is due again at 1.65.
        for (takes, granted) in [
            (0, true),
            (1000, true),
            (1700, true),
            (2400, true),
            (4600, false),
        ] {
            let world = World::new();
            let far = Far(world.clone(), Duration::from_millis(takes));
            let storage: Arc<dyn Storage> = Arc::new(Attended::new(world.storage(), far));
            let lease = run(storage.acquire(&own, "one", TTL)).unwrap();
            let mut hold = Hold::new(&storage, &world, lease.granted().unwrap());
            let used = async {
                let granted = hold
                    .turn(&turn, "one", Duration::from_secs(5))
                    .await
                    .unwrap();
                // Longer than one renewal of each.
                hold.sleep(Duration::from_secs(12)).await.unwrap();
                granted
            };
            let used = run(within(&world, Duration::from_secs(60), used));
            assert_eq!(used, Some(granted), "{takes} ms");
        }
    }
}
