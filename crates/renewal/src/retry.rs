//! The next attempt, by the kind of failure.

use time::{Duration, OffsetDateTime};

use crate::instant::{at, ceil};
use crate::seed::Seed;

/// The kinds of failure an issuer's answer can be sorted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No attempt can succeed before the configuration changes: a name the issuer
    /// refuses, a malformed request, an unknown profile.
    Permanent,
    /// The issuer said when to come back (429, `rateLimited`, `Retry-After`).
    RateLimited {
        /// The instant it named.
        until: OffsetDateTime,
    },
    /// It may work in a moment: timeouts, 5xx, lost nonces.
    Transient,
    /// The issuer could not verify control over a name. CAs count these: Let's
    /// Encrypt allows five an hour for a name.
    Validation,
}

/// What to do after a failure; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Try again at this instant, not before.
    At(OffsetDateTime),
    /// Not before the configuration changes.
    Parked,
}

impl Failure {
    /// When to try again after the last of `failures` failures of this kind in a
    /// row, which came at `now`.
    ///
    /// | kind | pause |
    /// |---|---|
    /// | transient | 1 s, doubling, at most 5 min; 20 % shorter to 20 % longer |
    /// | rate limited | until the instant named, at least 1 s, at most 7 d; up to 10 % longer, at least up to 1 s, at most up to 1 h |
    /// | validation | 1 min, then 15 min, doubling, at most 32 h; up to 20 % longer |
    /// | permanent | parked |
    ///
    /// The jitter comes from the seed and the number of failures. A CA that limits a
    /// fleet names one instant for all of it, so nobody returns in that very second.
    /// Seven days are the longest window of [Let's Encrypt's limits]: an instant
    /// beyond is asked for again by then, not waited for.
    ///
    /// [Let's Encrypt's limits]: https://letsencrypt.org/docs/rate-limits/
    #[must_use]
    pub fn retry(self, failures: u32, now: OffsetDateTime, seed: Seed) -> Retry {
        let earlier = failures.saturating_sub(1);
        let jitter = |span: Duration, share: i64| {
            let bound = span.whole_milliseconds().try_into().unwrap_or(i64::MAX) / 100 * share + 1;
            let drawn = seed.with(u64::from(failures)).seconds_below(bound);
            Duration::milliseconds(drawn)
        };
        match self {
            Self::Permanent => Retry::Parked,
            Self::RateLimited { until } => {
                let pause: Duration = until - now;
                let pause = pause.clamp(Duration::SECOND, Duration::WEEK);
                let share: Duration = pause / 10;
                let share = share.clamp(Duration::SECOND, Duration::HOUR);
                Retry::At(now.saturating_add(pause + jitter(share, 100)))
            }
            Self::Transient => {
                let pause = doubled(Duration::SECOND, earlier, Duration::minutes(5));
                let shortest = pause / 5 * 4;
                Retry::At(now.saturating_add(shortest + jitter(pause, 40)))
            }
            Self::Validation => {
                let pause = match earlier {
                    0 => Duration::MINUTE,
                    n => doubled(Duration::minutes(15), n - 1, Duration::hours(32)),
                };
                let second = ceil(now.saturating_add(pause + jitter(pause, 20)));
                Retry::At(at(second))
            }
        }
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 1i32.checked_shl(times.min(24)).unwrap_or(i32::MAX);
    first.checked_mul(factor).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn pause(failure: Failure, failures: u32, name: &str) -> Duration {
        match failure.retry(failures, NOW, Seed::new(name.as_bytes())) {
            Retry::At(instant) => instant - NOW,
            Retry::Parked => Duration::MAX,
        }
    }

    #[test]
    fn pauses_lie_in_their_bounds() {
        let minute = 60_000;
        for (failure, failures, least, most) in [
            (Failure::Transient, 0, 800, 1200),
            (Failure::Transient, 1, 800, 1200),
            (Failure::Transient, 4, 6400, 9600),
            (Failure::Transient, 10, 4 * minute, 6 * minute),
            (Failure::Transient, u32::MAX, 4 * minute, 6 * minute),
            (Failure::Validation, 1, minute, minute * 12 / 10 + 1000),
            (Failure::Validation, 2, 15 * minute, 18 * minute + 1000),
            (Failure::Validation, 3, 30 * minute, 36 * minute + 1000),
            (Failure::Validation, 99, 1920 * minute, 2304 * minute + 1000),
        ] {
            let mut seen = std::collections::HashSet::new();
            for i in 0..200 {
                let pause = pause(failure, failures, &format!("host-{i}"));
                let millis = pause.whole_milliseconds();
                assert!(
                    (least..=most).contains(&millis),
                    "{failure:?} {failures}: {millis}"
                );
                seen.insert(millis);
            }
            assert!(seen.len() > 5, "{failure:?} {failures} does not jitter");
        }
    }

    #[test]
    fn what_the_issuer_says_is_the_least_and_nobody_returns_together() {
        let (second, day) = (Duration::SECOND, Duration::DAY);
        for (named, least, most) in [
            // An instant in the past does not make a busy loop.
            (-Duration::HOUR, second, second * 2),
            (second / 2, second, second * 2),
            (second * 98, second * 98, second * 98 + second * 98 / 10),
            (day, day, day + Duration::HOUR),
            // Nor one beyond every quota a stop for ever.
            (day * 400, day * 7, day * 7 + Duration::HOUR),
        ] {
            let limited = Failure::RateLimited { until: NOW + named };
            let mut seen = std::collections::HashSet::new();
            for i in 0..200 {
                let pause = pause(limited, 1, &format!("host-{i}"));
                assert!((least..=most).contains(&pause), "{named}: {pause}");
                seen.insert(pause);
            }
            assert!(seen.len() > 100, "{named} does not jitter");
        }
        let late = time::PrimitiveDateTime::MAX.assume_utc();
        let limited = Failure::RateLimited { until: late };
        assert_eq!(
            limited.retry(1, late, Seed::new(b"a")),
            Retry::At(late),
            "the last instant there is"
        );
    }

    #[test]
    fn what_cannot_succeed_is_parked() {
        assert_eq!(
            Failure::Permanent.retry(1, NOW, Seed::new(b"a")),
            Retry::Parked
        );
    }
}
