//! The right to act, and the token that proves it.

use core::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Key, StorageError};

/// The shortest and the longest time a lease may be asked for.
pub const LEASE_TTL: core::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// What makes a write the holder's: of two leases of one name, the later one has the
/// greater token, and a write guarded by the earlier one is refused from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The token of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The token's number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease's name and token: what a guarded write carries ([`Guard::Held`](crate::Guard::Held)).
///
/// Plain data that may be kept in a journal; it proves nothing by itself, the store
/// checks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// What the lease is of.
    pub name: Key,
    /// Which of its leases.
    pub token: FencingToken,
}

/// The right to act under a name until a deadline.
///
/// The deadline is on this machine's monotonic clock and earlier than the store's own:
/// it counts from before the request was sent, and leaves out a tenth of the time
/// against clocks of different speed. Whoever stops at the deadline stops before
/// anybody else may start; whoever does not is refused by the token.
#[derive(Debug)]
pub struct Lease {
    fence: Fence,
    ttl: Duration,
    deadline: Instant,
    handle: u64,
}

impl Lease {
    /// For backends: a lease granted for `ttl` by a request sent at `asked`. `handle`
    /// is the backend's own name of the lease.
    pub fn granted(fence: Fence, ttl: Duration, asked: Instant, handle: u64) -> Self {
        Self {
            fence,
            ttl,
            deadline: deadline(ttl, asked),
            handle,
        }
    }

    /// For backends: kept alive for `ttl` by a request sent at `asked`.
    pub fn kept(&mut self, ttl: Duration, asked: Instant) {
        self.ttl = ttl;
        self.deadline = deadline(ttl, asked);
    }

    /// What the lease is of.
    pub fn name(&self) -> &Key {
        &self.fence.name
    }

    /// The token every write of the holder carries.
    pub fn token(&self) -> FencingToken {
        self.fence.token
    }

    /// Name and token, for the guard of a write.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// How long the store granted it, which may be longer than was asked for. A third
    /// of it is a good pause between keep-alives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// From when on the holder must not act any more.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the holder may still act.
    pub fn is_held(&self, now: Instant) -> bool {
        now < self.deadline
    }

    /// For backends: their own name of the lease.
    pub fn handle(&self) -> u64 {
        self.handle
    }
}

/// What came of asking for a lease; complete by definition.
#[derive(Debug)]
#[must_use]
pub enum Acquisition {
    /// It is ours.
    Granted(Lease),
    /// Somebody else has it; ask again later.
    Held {
        /// Who, as they named themselves.
        owner: String,
    },
}

impl Acquisition {
    /// The lease, if it was granted.
    pub fn granted(self) -> Option<Lease> {
        match self {
            Self::Granted(lease) => Some(lease),
            Self::Held { .. } => None,
        }
    }
}

/// The time in whole seconds, rounded up, because that is what every backend can keep.
pub(crate) fn whole_seconds(ttl: Duration) -> Result<Duration, StorageError> {
    if !LEASE_TTL.contains(&ttl) {
        return Err(StorageError::InvalidTtl { asked: ttl });
    }
    Ok(Duration::from_secs(
        ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0),
    ))
}

fn deadline(ttl: Duration, asked: Instant) -> Instant {
    // Earlier is always right, also for a time no clock can show.
    asked.checked_add(ttl - ttl / 10).unwrap_or(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_whole_seconds() {
        for (millis, expected) in [
            (999, None),
            (1_000, Some(1)),
            (1_001, Some(2)),
            (86_400_000, Some(86_400)),
            (86_400_001, None),
        ] {
            let seconds = whole_seconds(Duration::from_millis(millis)).ok();
            assert_eq!(seconds, expected.map(Duration::from_secs), "{millis} ms");
        }
    }

    #[test]
    fn the_deadline_is_earlier_than_the_stores() {
        let asked = Instant::now();
        let fence = Fence {
            name: Key::new("orders").unwrap(),
            token: FencingToken::new(7),
        };
        let mut lease = Lease::granted(fence, Duration::from_secs(10), asked, 0);
        assert!(lease.is_held(asked + Duration::from_millis(8_999)));
        assert!(!lease.is_held(asked + Duration::from_secs(9)));
        lease.kept(Duration::from_secs(10), asked + Duration::from_secs(5));
        assert!(lease.is_held(asked + Duration::from_secs(13)));
        assert!(!lease.is_held(asked + Duration::from_secs(14)));
        lease.kept(Duration::MAX, asked);
        assert!(!lease.is_held(asked));
    }
}
