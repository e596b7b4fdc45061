//! The monotonic clock by which leases run out.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The monotonic clock by which a backend lets leases run out: the machine's, or one a
/// test moves.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Machine,
    Manual(Arc<Mutex<Instant>>),
}

impl Clock {
    /// The machine's monotonic clock.
    pub const fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands still at `start` until it is moved by [`Clock::advance`]
    /// of any copy.
    pub fn manual(start: Instant) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The instant it shows.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::Machine => Instant::now(),
            Source::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock and every copy of it; the machine's clock moves by itself,
    /// and `false` says so.
    pub fn advance(&self, by: Duration) -> bool {
        match &self.0 {
            Source::Machine => false,
            Source::Manual(at) => {
                *at.lock().unwrap_or_else(PoisonError::into_inner) += by;
                true
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::machine()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Machine => "Clock(machine)",
            Source::Manual(_) => "Clock(manual)",
        })
    }
}
