//! Time and randomness, as values: the edge where a simulation takes over.

use core::fmt;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::Poll;
use std::time::{Duration, Instant};

use certwright_cert_model::key::KeyAlgorithm;
use certwright_issuance::{KeyError, KeyPair};
use time::OffsetDateTime;

/// A future that a trait object hands out.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the engine asks of the world besides the store and the CA.
pub trait Runtime: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> OffsetDateTime;

    /// The monotonic clock, by which leases run out.
    fn instant(&self) -> Instant;

    /// Waits.
    fn sleep(&self, pause: Duration) -> Task<'_, ()>;

    /// A fresh private key.
    fn new_key(&self, algorithm: KeyAlgorithm) -> Task<'_, Result<KeyPair, KeyError>>;

    /// Does this beside everything else, if it can: a courtesy to others that nothing
    /// depends on, such as giving back a lease whose holder was dropped.
    fn aside(&self, work: Task<'static, ()>) {
        drop(work);
    }
}

/// The results of all tasks, run side by side, in their order.
pub(crate) async fn all<T>(tasks: Vec<Task<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    let mut tasks = tasks;
    poll_fn(|context| {
        let mut waiting = false;
        for (task, done) in tasks.iter_mut().zip(&mut done) {
            if done.is_none() {
                match task.as_mut().poll(context) {
                    Poll::Ready(result) => *done = Some(result),
                    Poll::Pending => waiting = true,
                }
            }
        }
        match waiting {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// What this work comes to, unless it takes longer than this.
pub(crate) async fn within<T>(
    runtime: &dyn Runtime,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut timer = runtime.sleep(limit);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// The machine's clocks, tokio's timer, the system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioRuntime;

impl Runtime for TokioRuntime {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, pause: Duration) -> Task<'_, ()> {
        Box::pin(tokio::time::sleep(pause))
    }

    fn new_key(&self, algorithm: KeyAlgorithm) -> Task<'_, Result<KeyPair, KeyError>> {
        Box::pin(async move {
            match algorithm {
                // Seconds of work for the larger sizes.
                KeyAlgorithm::Rsa(_) => {
                    let made = tokio::task::spawn_blocking(move || KeyPair::generate(algorithm));
                    made.await.unwrap_or(Err(KeyError::Random))
                }
                _ => KeyPair::generate(algorithm),
            }
        })
    }

    fn aside(&self, work: Task<'static, ()>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(work);
        }
    }
}
