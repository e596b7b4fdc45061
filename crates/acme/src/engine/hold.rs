//! The lease of a certificate, kept alive while something takes its time.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;
use std::time::Duration;

use certwright_storage::{Fence, Lease, Storage, StorageError};

use crate::runtime::Runtime;

/// The right to order one certificate.
pub(super) struct Hold<'e> {
    storage: &'e Arc<dyn Storage>,
    runtime: &'e dyn Runtime,
    lease: Option<Lease>,
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
            lease: Some(lease),
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
            let mut timer = self.runtime.sleep(pause);
            let done = poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => timer.as_mut().poll(context).map(|()| None),
            });
            if let Some(done) = done.await {
                return Ok(done);
            }
        }
    }

    /// Waits.
    pub(super) async fn sleep(&mut self, pause: Duration) -> Result<(), StorageError> {
        let runtime = self.runtime;
        self.during(runtime.sleep(pause)).await
    }

    pub(super) async fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            // If it does not arrive, the lease runs out by itself.
            let _ = self.storage.release(lease).await;
        }
    }

    /// Until a third of the lease is used up.
    fn until_renewal(&self) -> Duration {
        let Some(lease) = &self.lease else {
            return Duration::ZERO;
        };
        let left = lease.deadline();
        let left = left.saturating_duration_since(self.runtime.instant());
        left.saturating_sub(lease.ttl().mul_f64(REST))
    }

    async fn keep_alive(&mut self) -> Result<(), StorageError> {
        let Some(lease) = &mut self.lease else {
            return Err(self.lost());
        };
        if !lease.is_held(self.runtime.instant()) {
            return Err(self.lost());
        }
        match self.storage.keep_alive(lease).await {
            Ok(()) => Ok(()),
            Err(error @ StorageError::LeaseLost { .. }) => Err(error),
            // It may come back before the lease is over.
            Err(_) => {
                let pause = lease.ttl().mul_f64(RETRY);
                self.runtime.sleep(pause).await;
                Ok(())
            }
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
        if let Some(lease) = self.lease.take() {
            let storage = Arc::clone(self.storage);
            self.runtime.aside(Box::pin(async move {
                let _ = storage.release(lease).await;
            }));
        }
    }
}

/// The share of a lease that is kept in reserve. Nine tenths are usable.
const REST: f64 = 0.57;
/// The pause, as a share of the lease, after a keep-alive that did not arrive.
const RETRY: f64 = 0.1;
