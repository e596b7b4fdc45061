use time::{Duration, OffsetDateTime};

/// The value of a `Retry-After` field ([RFC 9110 section 10.2.3]).
///
/// ```
/// # use time::{Duration, OffsetDateTime};
/// use certwright_acme::problem::{Bounds, RetryAfter};
///
/// let now = OffsetDateTime::from_unix_timestamp(784_111_777)?;
/// let date = RetryAfter::parse("Sun, 06 Nov 1994 08:51:37 GMT").unwrap();
/// assert_eq!(date.until(now, Bounds::FREEZE) - now, Duration::minutes(2));
/// assert_eq!(RetryAfter::parse("120").unwrap().until(now, Bounds::POLL) - now, Duration::minutes(2));
/// # Ok::<(), time::error::ComponentRange>(())
/// ```
///
/// [RFC 9110 section 10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryAfter {
    /// Seconds from the moment the answer came.
    Delay(Duration),
    /// An HTTP date.
    At(OffsetDateTime),
}

/// Between which pauses an answer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest pause.
    pub least: Duration,
    /// The longest pause.
    pub most: Duration,
}

impl Bounds {
    /// For a refusal: exactly what the CA says, from a second to eight days; Let's Encrypt's longest
    /// window has seven.
    pub const FREEZE: Self = Self {
        least: Duration::SECOND,
        most: Duration::days(8),
    };
    /// For an order or authorization in progress: from a second to five minutes.
    pub const POLL: Self = Self {
        least: Duration::SECOND,
        most: Duration::minutes(5),
    };
    /// For renewal information: from a minute to a day (RFC 9773, section 4.3.2).
    pub const RENEWAL_INFO: Self = Self {
        least: Duration::MINUTE,
        most: Duration::DAY,
    };

    /// The instant after this pause, or after the bound it is beyond.
    pub fn clamp(self, pause: Duration, now: OffsetDateTime) -> OffsetDateTime {
        // Not `clamp`, which panics on bounds the wrong way round.
        now.saturating_add(pause.min(self.most).max(self.least))
    }
}

impl RetryAfter {
    /// Reads the field's value; `None` if it is neither seconds nor an HTTP date. Seconds beyond 64
    /// bits are the most there are.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim_matches([' ', '\t']);
        if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
            let seconds = value.parse().unwrap_or(i64::MAX);
            return Some(Self::Delay(Duration::seconds(seconds)));
        }
        let date = httpdate::parse_http_date(value).ok()?;
        Some(Self::At(date.into()))
    }

    /// The instant it names, not before and not after the bounds allow.
    pub fn until(self, now: OffsetDateTime, bounds: Bounds) -> OffsetDateTime {
        let pause = match self {
            Self::Delay(pause) => pause,
            Self::At(instant) => instant - now,
        };
        bounds.clamp(pause, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1994-11-06 08:49:37 UTC, RFC 9110's example.
    const NOW: i64 = 784_111_777;

    #[test]
    fn values() {
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        for (value, pause) in [
            ("0", Some(1)),
            ("1", Some(1)),
            (" 3600\t", Some(3600)),
            ("99999999999999999999999", Some(8 * 86_400)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(8 * 86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("+1", None),
            ("soon", None),
            ("2026-01-01T00:00:00Z", None),
        ] {
            let read = RetryAfter::parse(value);
            let found = read.map(|value| (value.until(now, Bounds::FREEZE) - now).whole_seconds());
            assert_eq!(found, pause, "{value:?}");
        }
    }

    #[test]
    fn each_use_has_its_bounds() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (bounds, least, most) in [
            (Bounds::FREEZE, 1, 691_200),
            (Bounds::POLL, 1, 300),
            (Bounds::RENEWAL_INFO, 60, 86_400),
        ] {
            for (seconds, expected) in [(0, least), (i64::MAX, most)] {
                let delay = RetryAfter::Delay(Duration::seconds(seconds));
                let pause = delay.until(now, bounds) - now;
                assert_eq!(pause.whole_seconds(), expected, "{bounds:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_outside_the_bounds(value in ".{0,40}", now in -62_135_596_800i64..253_402_300_000) {
            let now = OffsetDateTime::from_unix_timestamp(now).unwrap();
            if let Some(read) = RetryAfter::parse(&value) {
                let until = read.until(now, Bounds::POLL);
                prop_assert!(until >= now + Bounds::POLL.least && until <= now + Bounds::POLL.most);
            }
        }
    }
}
