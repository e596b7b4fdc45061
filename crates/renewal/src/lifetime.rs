//! The time a certificate is valid for.

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::instant::{Utc, at, ceil, floor};

/// The validity of one issued certificate, in whole seconds, never empty.
///
/// Both ends belong to it ([RFC 5280 section 4.1.2.5]): a certificate is still
/// good in the second of its `not_after`. Its length, as every scheduling rule
/// here counts it, is `not_after - not_before`.
///
/// Issuers backdate: Let's Encrypt sets `not_before` an hour before it signs, so
/// that a certificate of 90 days works for 89 days and 23 hours. Say when the
/// certificate was obtained with [`obtained_at`](Self::obtained_at), and the
/// proof against renewal loops counts from there.
///
/// [RFC 5280 section 4.1.2.5]: https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lifetime {
    not_before: i64,
    not_after: i64,
    obtained: i64,
}

impl Lifetime {
    /// The lifetime between the two instants of an issued certificate.
    ///
    /// Certificates know whole seconds only, fractions are cut down.
    ///
    /// # Errors
    /// [`EmptyLifetime`] unless `not_after` is at least a second after `not_before`.
    pub fn new(
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Self, EmptyLifetime> {
        Self::from_seconds(floor(not_before), floor(not_after))
    }

    /// The same from Unix seconds, the way certificate parsers give them.
    ///
    /// No certificate leaves the years 0 to 9999. Seconds beyond what
    /// [`OffsetDateTime`] expresses are computed with, but shown as its first or last
    /// instant.
    ///
    /// # Errors
    /// [`EmptyLifetime`] unless `not_after > not_before`.
    pub fn from_seconds(not_before: i64, not_after: i64) -> Result<Self, EmptyLifetime> {
        if not_after <= not_before {
            return Err(EmptyLifetime {
                not_before: at(not_before),
                not_after: at(not_after),
            });
        }
        Ok(Self {
            not_before,
            not_after,
            obtained: not_before,
        })
    }

    /// Notes when the certificate was obtained, which is later than `not_before`
    /// where the issuer backdates. Held inside the lifetime.
    #[must_use]
    pub fn obtained_at(self, instant: OffsetDateTime) -> Self {
        let obtained = floor(instant).clamp(self.not_before, self.not_after);
        Self { obtained, ..self }
    }

    /// The first instant of validity.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        at(self.not_before)
    }

    /// The last instant of validity; it still belongs to the lifetime.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        at(self.not_after)
    }

    /// When the certificate was obtained: `not_before` unless
    /// [`obtained_at`](Self::obtained_at) said otherwise.
    #[must_use]
    pub fn obtained(&self) -> OffsetDateTime {
        at(self.obtained)
    }

    /// `not_after - not_before`: what leads and percentages are computed from.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::seconds(self.length_seconds())
    }

    /// `not_after` minus the instant the certificate was obtained: how long it
    /// can serve (89 d 23 h where [`length`](Self::length) says 90 d).
    #[must_use]
    pub fn working(&self) -> Duration {
        Duration::seconds(self.not_after.saturating_sub(self.obtained))
    }

    /// Whether the certificate is valid at `now`, both ends included.
    #[must_use]
    pub fn contains(&self, now: OffsetDateTime) -> bool {
        // A fraction after the last second is past the end.
        self.not_before <= floor(now) && ceil(now) <= self.not_after
    }

    pub(crate) fn length_seconds(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before)
    }

    pub(crate) fn start(&self) -> i64 {
        self.not_before
    }

    pub(crate) fn end(&self) -> i64 {
        self.not_after
    }

    pub(crate) fn obtained_second(&self) -> i64 {
        self.obtained
    }

    /// The soonest a renewal may follow the certificate's arrival: a hundredth of
    /// its working lifetime, at least a second, at most a minute.
    ///
    /// The hundredth keeps every percentage up to 99 legal; the minute keeps a
    /// wrong setting from becoming a stream of orders.
    pub(crate) fn minimum_progress(&self) -> i64 {
        (self.not_after.saturating_sub(self.obtained) / 100).clamp(1, 60)
    }

    /// The earliest second a renewal may be due.
    pub(crate) fn earliest(&self) -> i64 {
        self.obtained.saturating_add(self.minimum_progress())
    }
}

/// A validity without a second in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a certificate from {} to {} is never valid, not_after must be later than not_before",
    Utc(floor(*not_before)), Utc(floor(*not_after))
)]
#[non_exhaustive]
pub struct EmptyLifetime {
    /// The start that was given.
    pub not_before: OffsetDateTime,
    /// The end that was given.
    pub not_after: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

    #[test]
    fn refuses_emptiness() {
        for length in [0, -1, -3600] {
            let error = Lifetime::from_seconds(T, T + length).unwrap_err();
            assert_eq!(error.not_before, at(T));
        }
        assert_eq!(
            Lifetime::from_seconds(T, T).unwrap_err().to_string(),
            "a certificate from 2026-01-01T00:00:00Z to 2026-01-01T00:00:00Z is never valid, \
             not_after must be later than not_before"
        );
    }

    #[test]
    fn both_ends_belong_to_it() {
        let life = Lifetime::from_seconds(T, T + 10).unwrap();
        for (now, inside) in [
            (at(T) - Duration::NANOSECOND, false),
            (at(T), true),
            (at(T + 10), true),
            (at(T + 10) + Duration::NANOSECOND, false),
        ] {
            assert_eq!(life.contains(now), inside, "{now}");
        }
    }

    #[test]
    fn a_backdated_certificate_works_89_days_and_23_hours() {
        let life = Lifetime::from_seconds(T, T + 90 * 86_400)
            .unwrap()
            .obtained_at(at(T + 3600));
        assert_eq!(life.length(), Duration::days(90));
        assert_eq!(life.working(), Duration::days(89) + Duration::hours(23));
        assert_eq!(life.obtained(), at(T + 3600));
        assert_eq!(life.obtained_at(at(T - 5)).obtained(), life.not_before());
    }

    #[test]
    fn extremes_do_not_overflow() {
        let life = Lifetime::from_seconds(i64::MIN, i64::MAX).unwrap();
        assert_eq!(life.length(), Duration::seconds(i64::MAX));
        assert_eq!(life.minimum_progress(), 60);
    }
}
