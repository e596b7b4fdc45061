//! The lease of a certificate, kept alive while something takes its time.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::{Acquisition, Fence, Key, Lease, Storage, StorageError};

use crate::runtime::Runtime;

/// The right to order one certificate, and what else nobody may do at the same time.
pub(super) struct Hold<'e> {
    storage: &'e Arc<dyn Storage>,
    runtime: &'e dyn Runtime,
    /// The certificate's own first.
    leases: Vec<Lease>,
    /// A courtesy to others: what is done in it may be done without it.
    turn: Option<Lease>,
    fence: Fence,
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
        while self.leases.len() > 1 {
            self.give_back().await;
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
        // What is due is done now, and not between the turn and what it is for. The turn itself
        // is not renewed here: where the store is slow, it would be due again at once, for ever.
        while self.until_renewal().is_zero() {
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
        while !self.leases.is_empty() {
            self.give_back().await;
        }
    }

    async fn give_back(&mut self) {
        if let Some(lease) = self.leases.pop() {
            // If it does not arrive, the lease runs out by itself.
            let _ = self.storage.release(lease).await;
        }
    }

    /// Until a third of a lease is used up; the turn does not count.
    fn until_renewal(&self) -> Duration {
        let now = self.runtime.instant();
        let pauses = self.leases.iter().map(|lease| until_renewal(lease, now));
        pauses.min().unwrap_or_default()
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
        let mut retry = None;
        for lease in &mut self.leases {
            let now = runtime.instant();
            if !until_renewal(lease, now).is_zero() {
                continue;
            }
            if !lease.is_held(now) {
                return Err(StorageError::LeaseLost {
                    name: lease.name().clone(),
                    token: lease.token(),
                });
            }
            match storage.keep_alive(lease).await {
                Ok(()) => {}
                Err(error @ StorageError::LeaseLost { .. }) => return Err(error),
                // It may come back before the lease is over.
                Err(_) => retry = Some(lease.ttl().mul_f64(RETRY)),
            }
        }
        if let Some(pause) = retry {
            runtime.sleep(pause).await;
        }
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
/// The pause, as a share of the lease, after a keep-alive that did not arrive, and the least
/// between two of a turn.
const RETRY: f64 = 0.1;

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
                if let Call::Acquire | Call::KeepAlive = call {
                    self.0.sleep(self.1).await;
                }
                Ok(())
            })
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
            let lease = run(storage.acquire(&own, "one", Duration::from_secs(15))).unwrap();
            let Acquisition::Granted(lease) = lease else {
                panic!("{lease:?}");
            };
            let mut hold = Hold::new(&storage, &world, lease);
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
