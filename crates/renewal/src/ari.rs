//! ACME Renewal Information (RFC 9773).

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::instant::{Utc, at, ceil, floor};
use crate::lifetime::Lifetime;
use crate::seed::Seed;

/// A suggested renewal window ([RFC 9773 section 4.2]), valid: its end is after its
/// start.
///
/// What overrides what, in
/// [`schedule_with_ari`](crate::RenewalPolicy::schedule_with_ari):
///
/// 1. A window that opens no later than the certificate's `not_before` is set
///    aside for the policy: it would make every fresh certificate due.
/// 2. Otherwise the instant drawn from the window replaces the policy's.
/// 3. The floor, a twentieth of the lifetime before expiry, replaces a later draw:
///    no CA's answer makes us miss.
/// 4. The minimum progress replaces an earlier one.
///
/// Windows of time of day and spreading apply afterwards, as to any schedule.
///
/// [RFC 9773 section 4.2]: https://www.rfc-editor.org/rfc/rfc9773#section-4.2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AriWindow {
    start: i64,
    end: i64,
}

impl AriWindow {
    /// The window between the two instants of a CA's answer.
    ///
    /// # Errors
    /// [`InvalidAriWindow`] unless `end` is after `start`. The RFC demands that such
    /// an answer is treated like none: schedule by the policy alone and ask again as
    /// after [`AriAnswer::Lasting`].
    pub fn new(start: OffsetDateTime, end: OffsetDateTime) -> Result<Self, InvalidAriWindow> {
        if end <= start {
            return Err(InvalidAriWindow { start, end });
        }
        Ok(Self {
            start: floor(start),
            end: ceil(end),
        })
    }

    /// The start, cut down to a whole second.
    #[must_use]
    pub fn start(&self) -> OffsetDateTime {
        at(self.start)
    }

    /// The end, rounded up to a whole second; never drawn.
    #[must_use]
    pub fn end(&self) -> OffsetDateTime {
        at(self.end)
    }

    /// The instant in `[start, end)` for one certificate, a whole second.
    ///
    /// One draw per certificate and window (section 4.2), made from the seed instead
    /// of stored: replicas agree, restarts change nothing, a new window draws anew.
    #[must_use]
    pub fn draw(&self, seed: Seed) -> OffsetDateTime {
        at(self.draw_second(seed))
    }

    pub(crate) fn draw_second(&self, seed: Seed) -> i64 {
        let seed = seed
            .with(self.start.cast_unsigned())
            .with(self.end.cast_unsigned());
        let length = self.end.saturating_sub(self.start);
        self.start.saturating_add(seed.seconds_below(length))
    }

    pub(crate) fn start_second(&self) -> i64 {
        self.start
    }

    pub(crate) fn end_second(&self) -> i64 {
        self.end
    }
}

/// A suggested window that RFC 9773 section 4.2 calls invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the suggested window from {} to {} is empty, treat the answer as none and ask again later",
    Utc(floor(*start)), Utc(floor(*end))
)]
#[non_exhaustive]
pub struct InvalidAriWindow {
    /// The start that came.
    pub start: OffsetDateTime,
    /// The end that came.
    pub end: OffsetDateTime,
}

/// What came of asking for renewal information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AriAnswer {
    /// A lasting failure: no or an invalid `Retry-After`, an invalid window, a
    /// refused connection, no such host, a status that is neither 200 nor 5xx.
    Lasting,
    /// A failure that may pass, such as a timeout or a 5xx.
    Temporary {
        /// How many came in a row, this one included.
        failures: u32,
    },
    /// A valid window.
    Window {
        /// The answer's `Retry-After` as a duration.
        retry_after: Duration,
    },
}

/// When to ask for renewal information again ([RFC 9773 section 4.3]).
///
/// Ask once right after issuance, then whenever [`next`](Self::next) says, until it
/// says `None` or the certificate was replaced.
///
/// [RFC 9773 section 4.3]: https://www.rfc-editor.org/rfc/rfc9773#section-4.3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AriPolling {
    /// The shortest pause, whatever `Retry-After` says; less than a second counts
    /// as a second.
    pub shortest: Duration,
    /// The longest pause, whatever `Retry-After` says.
    pub longest: Duration,
    /// The pause after a lasting failure.
    pub lasting: Duration,
    /// The most a pause is lengthened or shortened, in percent of itself. The
    /// result stays between `shortest` and `longest`.
    pub jitter: u8,
}

impl AriPolling {
    /// The RFC's figures: a minute to a day, six hours after a lasting failure.
    #[must_use]
    pub const fn rfc_9773() -> Self {
        Self {
            shortest: Duration::MINUTE,
            longest: Duration::DAY,
            lasting: Duration::hours(6),
            jitter: 0,
        }
    }

    /// cert-manager's: an hour to a week, six hours otherwise, a tenth of jitter.
    #[must_use]
    pub const fn cert_manager_1_21() -> Self {
        Self {
            shortest: Duration::HOUR,
            longest: Duration::WEEK,
            lasting: Duration::hours(6),
            jitter: 10,
        }
    }

    /// When to ask again after `answer` came at `now`; `None` once the certificate
    /// has expired.
    ///
    /// Temporary failures are asked again after one, two, four, ... 32 minutes; the
    /// seventh in a row counts as lasting. No pause leaves `shortest` to `longest`, so
    /// cert-manager's figures make an hour of each of these minutes.
    #[must_use]
    pub fn next(
        &self,
        now: OffsetDateTime,
        life: Lifetime,
        answer: AriAnswer,
        seed: Seed,
    ) -> Option<OffsetDateTime> {
        if now > life.not_after() {
            return None;
        }
        let pause = match answer {
            AriAnswer::Window { retry_after } => retry_after,
            AriAnswer::Temporary {
                failures: failures @ ..=MOST_FAILURES,
            } => Duration::minutes(1 << failures.saturating_sub(1)),
            AriAnswer::Temporary { .. } | AriAnswer::Lasting => self.lasting,
        };
        let low = self.shortest.whole_seconds().max(1);
        let high = self.longest.whole_seconds();
        let pause = pause.whole_seconds().min(high).max(low);
        let reach = pause.saturating_mul(i64::from(self.jitter)) / 100;
        let seed = seed.with(floor(now).cast_unsigned());
        let jitter = seed.seconds_below(reach.saturating_mul(2).saturating_add(1)) - reach;
        let pause = pause.saturating_add(jitter).min(high).max(low);
        Some(at(ceil(now).saturating_add(pause)))
    }
}

impl Default for AriPolling {
    fn default() -> Self {
        Self::rfc_9773()
    }
}

const MOST_FAILURES: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_window_is_no_window() {
        for (start, end) in [(10, 10), (10, 9)] {
            assert!(AriWindow::new(at(start), at(end)).is_err());
        }
        let text = AriWindow::new(at(0), at(0)).unwrap_err().to_string();
        assert_eq!(
            text,
            "the suggested window from 1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z is empty, \
             treat the answer as none and ask again later"
        );
        let narrow = at(10) + Duration::milliseconds(900);
        let window = AriWindow::new(at(10) + Duration::milliseconds(100), narrow).unwrap();
        assert_eq!(window.draw(Seed::new(b"a")), at(10));
    }

    #[test]
    fn asks_again_when_the_rfc_says() {
        let life = Lifetime::from_seconds(0, 90 * 86_400).unwrap();
        let window = |seconds| AriAnswer::Window {
            retry_after: Duration::seconds(seconds),
        };
        let temporary = |failures| AriAnswer::Temporary { failures };
        let rfc = AriPolling::rfc_9773();
        for (answer, pause) in [
            (window(21_600), 21_600),
            (window(1), 60),
            (window(-5), 60),
            (window(1_000_000), 86_400),
            (temporary(0), 60),
            (temporary(1), 60),
            (temporary(2), 120),
            (temporary(6), 32 * 60),
            (temporary(7), 21_600),
            (temporary(u32::MAX), 21_600),
            (AriAnswer::Lasting, 21_600),
        ] {
            let next = rfc.next(at(1000), life, answer, Seed::new(b"a"));
            assert_eq!(next, Some(at(1000 + pause)), "{answer:?}");
        }
        let late = at(90 * 86_400 + 1);
        assert_eq!(
            rfc.next(late, life, AriAnswer::Lasting, Seed::new(b"a")),
            None
        );
    }

    #[test]
    fn cert_managers_polling_is_clamped_after_the_jitter() {
        let life = Lifetime::from_seconds(0, 90 * 86_400).unwrap();
        let polling = AriPolling::cert_manager_1_21();
        for i in 0..200u32 {
            for (asked, low, high) in [
                (1, 3600, 3960),
                (21_600, 19_440, 23_760),
                (10_000_000, 544_320, 604_800),
            ] {
                let answer = AriAnswer::Window {
                    retry_after: Duration::seconds(asked),
                };
                let seed = Seed::new(&i.to_be_bytes());
                let pause = floor(polling.next(at(0), life, answer, seed).unwrap());
                assert!((low..=high).contains(&pause), "{asked}: {pause}");
            }
        }
    }

    #[test]
    fn no_setting_asks_without_a_pause() {
        let life = Lifetime::from_seconds(0, 90 * 86_400).unwrap();
        for shortest in [Duration::MIN, Duration::ZERO, Duration::milliseconds(999)] {
            let polling = AriPolling {
                shortest,
                longest: Duration::ZERO,
                ..AriPolling::cert_manager_1_21()
            };
            let next = polling.next(at(0), life, AriAnswer::Lasting, Seed::new(b"a"));
            assert_eq!(next, Some(at(1)), "{shortest}");
        }
    }

    proptest! {
        #[test]
        fn replicas_draw_alike_inside_the_window(
            start in -1_000_000i64..1_000_000, length in 1i64..10_000_000, name in ".*",
        ) {
            let window = AriWindow::new(at(start), at(start + length)).unwrap();
            let drawn = window.draw(Seed::new(name.as_bytes()));
            prop_assert!(window.start() <= drawn && drawn < window.end());
            prop_assert_eq!(drawn, window.draw(Seed::new(name.as_bytes())));
        }
    }
}
