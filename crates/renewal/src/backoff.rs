//! cert-manager's pause after failed issuances.

use time::{Duration, OffsetDateTime};

use crate::instant::{at, floor};

/// The pause between failed issuances of one certificate: `min`, doubled by every
/// further failure, at most `max`.
///
/// cert-manager's defaults make 1, 2, 4, 8, 16, 32, 32, ... hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureBackoff {
    /// The first pause; not positive switches the pauses off.
    pub min: Duration,
    /// The longest pause; `min` if that is longer.
    pub max: Duration,
}

/// Whether the next request, if there is one, asks for what the specification says
/// now; complete by definition. A user who repaired a specification is not kept waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRequest {
    /// It asks for something else, or cannot be read: no pause.
    Differs,
    /// It asks for the same, or there is none.
    Matches,
}

impl FailureBackoff {
    /// Pauses from `min` to `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// The whole pause after so many failures in a row; `None` if pauses are off.
    ///
    /// `attempts` is `status.failedIssuanceAttempts`. Unset, zero and negative numbers
    /// make `min`. No pause is shorter than that, even where `max` is.
    #[must_use]
    pub fn delay(&self, attempts: Option<i64>) -> Option<Duration> {
        if !self.min.is_positive() {
            return None;
        }
        let Some(attempts @ 1..) = attempts else {
            return Some(self.min);
        };
        let doublings = u32::try_from(attempts - 1).unwrap_or(u32::MAX);
        let factor = 1i128.checked_shl(doublings).filter(|factor| *factor > 0);
        let nanos = factor.and_then(|factor| self.min.whole_nanoseconds().checked_mul(factor));
        match nanos {
            Some(nanos) if nanos <= self.max.whole_nanoseconds() => {
                Some(Duration::nanoseconds_i128(nanos))
            }
            _ => Some(self.max.max(self.min)),
        }
    }

    /// How much of the pause is left; `None` if the next attempt may start.
    ///
    /// `since_failure` is `now - status.lastFailureTime`, `None` without a failure.
    /// It is negative after the clock stepped back, and the pause grows by as much.
    #[must_use]
    pub fn remaining(
        &self,
        attempts: Option<i64>,
        since_failure: Option<Duration>,
        next_request: NextRequest,
    ) -> Option<Duration> {
        let delay = self.delay(attempts)?;
        let since = since_failure?;
        if next_request == NextRequest::Differs {
            return None;
        }
        let left = delay.saturating_sub(since);
        left.is_positive().then_some(left)
    }

    /// The instant from which the next attempt may start.
    #[must_use]
    pub fn until(&self, last_failure: OffsetDateTime, attempts: Option<i64>) -> OffsetDateTime {
        let delay = self.delay(attempts).unwrap_or(Duration::ZERO);
        let whole = delay.whole_seconds();
        let second = floor(last_failure).saturating_add(whole);
        let fraction = Duration::nanoseconds(
            i64::from(last_failure.nanosecond()) + i64::from(delay.subsec_nanoseconds()),
        );
        at(second).saturating_add(fraction)
    }
}

impl Default for FailureBackoff {
    fn default() -> Self {
        Self::new(Duration::HOUR, Duration::hours(32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NextRequest::{Differs, Matches};
    use proptest::prelude::*;

    #[test]
    fn pauses_like_cert_manager() {
        let default = FailureBackoff::default();
        let short = FailureBackoff::new(Duration::minutes(10), Duration::hours(2));
        let inverted = FailureBackoff::new(Duration::HOUR, Duration::minutes(10));
        let off = FailureBackoff::new(Duration::ZERO, Duration::hours(32));
        for (backoff, attempts, since, request, left) in [
            (default, None, None, Matches, None),
            (default, Some(1), Some(59), Matches, Some(1)),
            (default, Some(1), Some(61), Matches, None),
            (default, Some(1), Some(60), Matches, None),
            (default, Some(2), Some(119), Matches, Some(1)),
            (default, Some(2), Some(121), Matches, None),
            (default, Some(4), Some(600), Matches, None),
            (default, Some(5), Some(0), Matches, Some(960)),
            (default, Some(6), Some(32 * 60), Matches, None),
            (default, Some(100), Some(0), Matches, Some(32 * 60)),
            (default, Some(i64::MAX), Some(0), Matches, Some(32 * 60)),
            (default, None, Some(59), Matches, Some(1)),
            (default, Some(0), Some(0), Matches, Some(60)),
            (default, Some(-7), Some(0), Matches, Some(60)),
            (default, Some(i64::MIN), Some(0), Matches, Some(60)),
            (default, Some(3), Some(0), Differs, None),
            (off, Some(1), Some(0), Matches, None),
            (short, Some(3), Some(0), Matches, Some(40)),
            (short, Some(9), Some(0), Matches, Some(120)),
            (inverted, None, Some(0), Matches, Some(60)),
            (inverted, Some(1), Some(0), Matches, Some(60)),
            (inverted, Some(3), Some(30), Matches, Some(30)),
            // The clock stepped back.
            (default, Some(1), Some(-10), Matches, Some(70)),
        ] {
            let since = since.map(Duration::minutes);
            let found = backoff.remaining(attempts, since, request);
            let left = left.map(Duration::minutes);
            assert_eq!(found, left, "{attempts:?} {since:?} {request:?}");
        }
    }

    #[test]
    fn a_small_beginning_doubles_all_the_way() {
        let backoff = FailureBackoff::new(Duration::NANOSECOND, Duration::hours(32));
        for (attempts, delay) in [
            (41, Duration::nanoseconds(1 << 40)),
            (47, Duration::nanoseconds(1 << 46)),
            (48, Duration::hours(32)),
            (128, Duration::hours(32)),
            (129, Duration::hours(32)),
            (i64::MAX, Duration::hours(32)),
        ] {
            assert_eq!(backoff.delay(Some(attempts)), Some(delay), "{attempts}");
        }
    }

    proptest! {
        #[test]
        fn longer_with_every_failure_and_never_beyond_the_most(
            min in 1i64..100_000, max in 100_000i64..1_000_000, attempts in 1i64..80,
        ) {
            let backoff = FailureBackoff::new(Duration::seconds(min), Duration::seconds(max));
            let delay = |n| backoff.delay(Some(n)).unwrap();
            prop_assert!(delay(attempts) <= delay(attempts + 1));
            prop_assert!(delay(attempts + 1) <= backoff.max);
        }

        #[test]
        fn until_and_remaining_agree(
            attempts in 0i64..10, failed in 0i64..1_000_000, nanos in 0i64..1_000_000_000,
            later in 0i64..200_000,
        ) {
            let backoff = FailureBackoff::default();
            let failed = at(failed) + Duration::nanoseconds(nanos);
            let now = failed + Duration::seconds(later);
            let left = backoff.remaining(Some(attempts), Some(now - failed), Matches);
            let until = backoff.until(failed, Some(attempts));
            prop_assert_eq!(left.is_some(), now < until);
            prop_assert_eq!(now + left.unwrap_or(Duration::ZERO), now.max(until));
        }
    }
}
