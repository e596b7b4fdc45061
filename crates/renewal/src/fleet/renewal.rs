//! One renewal and the span it may move in.

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::instant::{Utc, at, ceil, floor};
use crate::schedule::{Basis, Schedule};

/// When one certificate is to be renewed, and the earliest and latest instants that
/// are safe for it; whole seconds, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Renewal {
    pub(super) earliest: i64,
    pub(super) planned: i64,
    pub(super) latest: i64,
}

impl Renewal {
    /// A renewal planned at one instant inside its safe span.
    ///
    /// The earliest instant is rounded up to a second, the others down: the span
    /// never grows.
    ///
    /// # Errors
    /// [`InvalidRenewal`] unless, rounded, `earliest <= planned <= latest`.
    pub fn new(
        earliest: OffsetDateTime,
        planned: OffsetDateTime,
        latest: OffsetDateTime,
    ) -> Result<Self, InvalidRenewal> {
        let renewal = Self {
            earliest: ceil(earliest),
            planned: floor(planned),
            latest: floor(latest),
        };
        if renewal.earliest <= renewal.planned && renewal.planned <= renewal.latest {
            return Ok(renewal);
        }
        Err(InvalidRenewal {
            earliest,
            planned,
            latest,
        })
    }

    /// The renewal of a schedule that may come earlier by up to `earlier`.
    ///
    /// | instant | is |
    /// |---|---|
    /// | planned | the due instant, `now` if that has passed |
    /// | earliest | `earlier` before planned, but not before `now`, the minimum progress of the certificate, the opening it was fitted into, or the window its CA suggested ([RFC 9773 section 4.2]) |
    /// | latest | a twentieth of the lifetime before expiry, which leaves time for retries; the expiry if it is planned later than that |
    ///
    /// A certificate that has expired has no span left: all three are `now`.
    ///
    /// [RFC 9773 section 4.2]: https://www.rfc-editor.org/rfc/rfc9773#section-4.2
    #[must_use]
    pub fn of(schedule: &Schedule, earlier: Duration, now: OffsetDateTime) -> Self {
        let (life, now) = (schedule.lifetime(), ceil(now));
        let planned = schedule.due_second().max(now);
        let mut earliest = planned
            .saturating_sub(earlier.whole_seconds().max(0))
            .max(life.earliest());
        if let Basis::Ari(window) = schedule.basis() {
            earliest = earliest.max(window.start_second());
        }
        if let Some(opening) = schedule.opening() {
            earliest = earliest.max(opening.opening_second());
        }
        let reserve = life.end().saturating_sub(life.length_seconds() / 20);
        let latest = match planned <= reserve {
            true => reserve,
            false => life.end().max(planned),
        };
        Self {
            earliest: earliest.max(now).min(planned),
            planned,
            latest,
        }
    }

    /// The earliest safe instant.
    #[must_use]
    pub fn earliest(&self) -> OffsetDateTime {
        at(self.earliest)
    }

    /// The planned instant.
    #[must_use]
    pub fn planned(&self) -> OffsetDateTime {
        at(self.planned)
    }

    /// The latest safe instant.
    #[must_use]
    pub fn latest(&self) -> OffsetDateTime {
        at(self.latest)
    }
}

/// A renewal that is not planned inside its safe span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a renewal planned at {} is not safe, plan it from {} to {}",
    Utc(floor(*planned)), Utc(ceil(*earliest)), Utc(floor(*latest))
)]
#[non_exhaustive]
pub struct InvalidRenewal {
    /// The earliest safe instant that was given.
    pub earliest: OffsetDateTime,
    /// The planned instant that was given.
    pub planned: OffsetDateTime,
    /// The latest safe instant that was given.
    pub latest: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AriWindow, Lifetime, Opening, RenewalPolicy, Seed};

    const DAY: i64 = 86_400;

    fn seconds(renewal: Renewal) -> [i64; 3] {
        [renewal.earliest, renewal.planned, renewal.latest]
    }

    #[test]
    fn keeps_its_order() {
        let new = |e, p, l| Renewal::new(at(e), at(p), at(l));
        assert_eq!(new(1, 1, 1).map(seconds), Ok([1, 1, 1]));
        for (earliest, planned, latest) in [(2, 1, 3), (1, 3, 2), (3, 2, 1)] {
            assert!(new(earliest, planned, latest).is_err());
        }
        let half = Duration::milliseconds(500);
        assert!(Renewal::new(at(1) + half, at(1) + half, at(3)).is_err());
        assert_eq!(
            new(0, DAY, 60).unwrap_err().to_string(),
            "a renewal planned at 1970-01-02T00:00:00Z is not safe, plan it from \
             1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z"
        );
    }

    #[test]
    fn a_schedule_says_how_far_it_may_move() {
        let life = Lifetime::from_seconds(0, 100 * DAY).unwrap();
        let before = RenewalPolicy::Before(Duration::days(40));
        let plain = before.schedule(life).unwrap();
        let opening = Opening::new(at(60 * DAY - 9), at(61 * DAY)).unwrap();
        let fitted = plain.moved_into(opening).unwrap();
        let window = AriWindow::new(at(50 * DAY), at(50 * DAY + 1)).unwrap();
        let ari = before
            .schedule_with_ari(life, window, Seed::new(b"a"))
            .unwrap();
        for (schedule, earlier, now, expected) in [
            (plain, 10, 0, [50 * DAY, 60 * DAY, 95 * DAY]),
            (plain, 10, 55 * DAY, [55 * DAY, 60 * DAY, 95 * DAY]),
            (plain, 100, 0, [60, 60 * DAY, 95 * DAY]),
            (plain, -1, 0, [60 * DAY, 60 * DAY, 95 * DAY]),
            // Overdue.
            (plain, 10, 70 * DAY, [70 * DAY, 70 * DAY, 95 * DAY]),
            (plain, 10, 97 * DAY, [97 * DAY, 97 * DAY, 100 * DAY]),
            (plain, 10, 101 * DAY, [101 * DAY, 101 * DAY, 101 * DAY]),
            (fitted, 10, 0, [60 * DAY - 9, 60 * DAY, 95 * DAY]),
            (ari, 10, 0, [50 * DAY, 50 * DAY, 95 * DAY]),
        ] {
            let renewal = Renewal::of(&schedule, Duration::days(earlier), at(now));
            assert_eq!(seconds(renewal), expected, "{earlier} {now}");
            let again = Renewal::new(renewal.earliest(), renewal.planned(), renewal.latest());
            assert_eq!(again, Ok(renewal));
        }
    }
}
