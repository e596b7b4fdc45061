//! What a CA allows.

use time::{Duration, OffsetDateTime};

use crate::instant::floor;

/// So many renewals in every span of one length; spans begin at 1970-01-01T00:00:00Z,
/// so that hours are hours of UTC.
///
/// | a CA that allows | is never asked too much by |
/// |---|---|
/// | so many in each hour of the clock | `Quota::new(count, Duration::HOUR)` |
/// | a bucket that refills, such as [Let's Encrypt's] 300 orders in 3 hours | `Quota::refilled(300, Duration::hours(3))` |
/// | anything else | half of it in half of the time |
///
/// Let's Encrypt does not count a renewal that names the certificate it replaces
/// ([RFC 9773 section 5]); a quota of one's own keeps such a fleet even as well.
///
/// [Let's Encrypt's]: https://letsencrypt.org/docs/rate-limits/
/// [RFC 9773 section 5]: https://www.rfc-editor.org/rfc/rfc9773#section-5
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    /// Seconds, at least one.
    span: i64,
    exceptions: Vec<Exception>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exception {
    /// The first and the last slot.
    from: i64,
    to: i64,
    count: u32,
}

impl Quota {
    /// At most `count` renewals in a span, in whole seconds; one shorter than a
    /// second counts as a second.
    #[must_use]
    pub fn new(count: u32, span: Duration) -> Self {
        Self {
            count,
            span: span.whole_seconds().max(1),
            exceptions: Vec::new(),
        }
    }

    /// The quota that never empties a bucket of `count` that refills evenly in `window`.
    ///
    /// Two neighbouring spans may be used up within moments, so a span's share is at
    /// most half of the bucket. Spans are whole hours where they can be: 300 in 3 hours
    /// make 100 an hour, 50 in 7 days make 25 in 84 hours. A bucket of one makes none:
    /// no span is short enough for it.
    #[must_use]
    pub fn refilled(count: u32, window: Duration) -> Self {
        let window = window.whole_seconds().max(2);
        let half = window / 2;
        // An hour, unless its share would be less than one or cut down by much.
        let fits = |span: i64| i64::from(count).saturating_mul(span) / window;
        let span = match half {
            ..HOUR => half,
            _ if fits(HOUR) >= 20 => HOUR,
            _ => half - half % HOUR,
        };
        let share = u32::try_from(fits(span)).unwrap_or(u32::MAX);
        Self::new(share.min(count / 2), Duration::seconds(span))
    }

    /// The same with no more than `count` in every span that meets the time from `from`
    /// to before `until`: an announced outage (0), or the rest of what was used
    /// already. Of several that meet, the least holds; the quota's own count stays the
    /// most.
    #[must_use]
    pub fn except(mut self, from: OffsetDateTime, until: OffsetDateTime, count: u32) -> Self {
        if from < until {
            let last = until.saturating_sub(Duration::NANOSECOND);
            let (from, to) = (self.slot(floor(from)), self.slot(floor(last)));
            self.exceptions.push(Exception { from, to, count });
        }
        self
    }

    /// How many in a span.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The length of a span.
    #[must_use]
    pub fn span(&self) -> Duration {
        Duration::seconds(self.span)
    }

    /// How many in the span `instant` lies in.
    #[must_use]
    pub fn count_at(&self, instant: OffsetDateTime) -> u32 {
        self.room(self.slot(floor(instant)))
    }

    /// The number of the span a second lies in.
    pub(super) fn slot(&self, second: i64) -> i64 {
        second.div_euclid(self.span)
    }

    /// The first second of a span.
    pub(super) fn start(&self, slot: i64) -> i64 {
        slot.saturating_mul(self.span)
    }

    pub(super) fn length(&self) -> i64 {
        self.span
    }

    pub(super) fn room(&self, slot: i64) -> u32 {
        let met = self.exceptions.iter();
        let met = met.filter(|e| e.from <= slot && slot <= e.to);
        met.map(|e| e.count).fold(self.count, u32::min)
    }

    /// The slots around this one that are surely as closed.
    pub(super) fn closed(&self, slot: i64) -> (i64, i64) {
        if self.count == 0 {
            return (i64::MIN + 1, i64::MAX - 1);
        }
        let met = self.exceptions.iter();
        let met = met.filter(|e| e.count == 0 && e.from <= slot && slot <= e.to);
        met.fold((slot, slot), |(from, to), e| {
            (from.min(e.from), to.max(e.to))
        })
    }
}

const HOUR: i64 = 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::at;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_becomes_spans() {
        for (count, hours, share, span) in [
            (300, 3, 100, 1),
            (50, 7 * 24, 25, 84),
            (5, 7 * 24, 2, 84),
            (6, 2, 3, 1),
            (1, 24, 0, 12),
            (0, 24, 0, 12),
        ] {
            let quota = Quota::refilled(count, Duration::hours(hours));
            let expected = Quota::new(share, Duration::hours(span));
            assert_eq!(quota, expected, "{count} in {hours} h");
        }
        let short = Quota::refilled(10, Duration::minutes(10));
        assert_eq!(short, Quota::new(5, Duration::minutes(5)));
        assert_eq!(Quota::new(1, Duration::ZERO).span(), Duration::SECOND);
    }

    #[test]
    fn exceptions_hold_in_every_span_they_meet() {
        let hour = |n: i64| at(n * HOUR);
        let quota = Quota::new(9, Duration::HOUR)
            .except(hour(2) + Duration::MINUTE, hour(4), 3)
            .except(hour(3), hour(3) + Duration::SECOND, 0)
            .except(hour(6), hour(6), 0)
            .except(hour(7), hour(8), 50);
        for (at, count) in [(1, 9), (2, 3), (3, 0), (4, 9), (6, 9), (7, 9)] {
            assert_eq!(quota.count_at(hour(at)), count, "{at}");
        }
    }

    proptest! {
        /// However the renewals fall inside their spans, the CA's bucket has a token
        /// for each.
        #[test]
        fn never_empties_the_bucket(
            count in 2u32..400, window in 2i64..400_000, late in prop::collection::vec(0u64.., 8),
        ) {
            let quota = Quota::refilled(count, Duration::seconds(window));
            // Spans used up at their ends and their beginnings, in any mixture.
            let mut instants = Vec::new();
            for (slot, draw) in (0i64..).zip(late) {
                let offset = [0, quota.length() - 1, quota.length() / 2][usize::try_from(draw % 3).unwrap()];
                instants.extend((0..quota.count()).map(|_| quota.start(slot) + offset));
            }
            // In units of 1/window tokens.
            let full = i64::from(count) * window;
            let (mut tokens, mut last) = (full, 0);
            for instant in instants {
                tokens = full.min(tokens + (instant - last) * i64::from(count));
                last = instant;
                tokens -= window;
                prop_assert!(tokens >= 0, "{:?}", quota);
            }
        }
    }
}
