//! Durations in Go's text form, the only one cert-manager's API accepts.

use core::fmt;
use core::str::FromStr;

/// A duration in nanoseconds, read and written as Go's `time.Duration` is: `2160h`, `1h30m`, `1.5s`.
///
/// There is no unit for days: 90 days are `2160h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

impl GoDuration {
    /// A duration of this many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A duration of whole hours (at most 2562047).
    pub const fn from_hours(hours: u16) -> Self {
        Self(hours as i64 * HOUR)
    }

    /// A duration of whole minutes.
    pub const fn from_minutes(minutes: u16) -> Self {
        Self(minutes as i64 * MINUTE)
    }

    /// The duration in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The duration in whole seconds, rounded towards zero.
    pub const fn as_secs(self) -> i64 {
        self.0 / SECOND
    }
}

impl From<GoDuration> for time::Duration {
    fn from(duration: GoDuration) -> Self {
        Self::nanoseconds(duration.0)
    }
}

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// 2^63, the magnitude of the smallest duration.
const LIMIT: u64 = 1 << 63;

/// Which units a duration's text may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DurationDialect {
    /// Go's, up to hours: what cert-manager's API accepts.
    #[default]
    Go,
    /// Days (`d`, 24 hours) and weeks (`w`) too: `90d`, `2w`, `1d12h`. Written out again as hours.
    Extended,
}

impl FromStr for GoDuration {
    type Err = DurationError;

    /// Reads what Go's `time.ParseDuration` reads, with the same arithmetic and overflow.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text, DurationDialect::Go)
    }
}

impl GoDuration {
    /// Reads a duration in a dialect.
    ///
    /// # Errors
    ///
    /// As [`FromStr`], which reads Go's.
    pub fn parse(text: &str, dialect: DurationDialect) -> Result<Self, DurationError> {
        let (negative, mut rest) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(DurationError::Empty);
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let (nanos, tail) = component(rest, at, dialect)?;
            total = total
                .checked_add(nanos)
                .filter(|total| *total <= LIMIT)
                .ok_or(DurationError::Overflow)?;
            rest = tail;
        }
        match (negative, i64::try_from(total)) {
            (true, Ok(nanos)) => Ok(Self(-nanos)),
            (true, Err(_)) => Ok(Self(i64::MIN)),
            (false, Ok(nanos)) => Ok(Self(nanos)),
            (false, Err(_)) => Err(DurationError::Overflow),
        }
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn component(
    text: &str,
    at: usize,
    dialect: DurationDialect,
) -> Result<(u64, &str), DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = text.split_at(digits);
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        (fraction, rest) = after.split_at(digits);
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Number { at });
    }
    let mut value = 0_u64;
    for digit in whole.bytes() {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .filter(|value| *value <= LIMIT)
            .ok_or(DurationError::Overflow)?;
    }
    let length = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (name, tail) = rest.split_at(length);
    let unit = unit(name, dialect).ok_or_else(|| DurationError::Unit {
        at: at + text.len() - rest.len(),
        found: name.to_owned(),
        hours: hours_instead(whole, fraction, name),
    })?;
    let nanos = value
        .checked_mul(unit.unsigned_abs())
        .filter(|nanos| *nanos <= LIMIT)
        .ok_or(DurationError::Overflow)?
        .checked_add(fraction_nanos(fraction, unit))
        .ok_or(DurationError::Overflow)?;
    Ok((nanos, tail))
}

fn unit(name: &str, dialect: DurationDialect) -> Option<i64> {
    Some(match name {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" if dialect == DurationDialect::Extended => 24 * HOUR,
        "w" if dialect == DurationDialect::Extended => 7 * 24 * HOUR,
        _ => return None,
    })
}

/// Go's own arithmetic: digits beyond 63 bits are ignored, the product is taken in floating point.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the result is below one unit; this is the rounding Go performs"
)]
fn fraction_nanos(digits: &str, unit: i64) -> u64 {
    let mut value = 0_i64;
    let mut scale = 1.0_f64;
    for digit in digits.bytes() {
        let Some(next) = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
        else {
            break;
        };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// The hours to write for a count of days or weeks.
fn hours_instead(count: &str, fraction: &str, unit: &str) -> Option<u64> {
    let hours = match unit {
        "d" => 24,
        "w" => 7 * 24,
        _ => return None,
    };
    // A part of a day may be no whole hours, and more than the limit is nothing to write.
    let count: u64 = count.parse().ok().filter(|_| fraction.is_empty())?;
    let hours = count.checked_mul(hours)?;
    (hours <= LIMIT / HOUR.unsigned_abs()).then_some(hours)
}

impl fmt::Display for GoDuration {
    /// Writes what Go's `Duration.String` writes: `2160h0m0s`, `1.5s`, `1.1µs`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let second = SECOND.unsigned_abs();
        let (scale, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (second, "s"),
        };
        let (hours, minutes) = (nanos / second / 3600, nanos / second / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        let rest = if scale == second {
            nanos % (60 * second)
        } else {
            nanos
        };
        write!(f, "{}", rest / scale)?;
        if rest % scale > 0 {
            let width = scale.ilog10() as usize;
            let digits = format!("{:0width$}", rest % scale);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str(name)
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Nothing but perhaps a sign.
    #[error("a duration is a number with a unit, like 2160h or 15m")]
    Empty,
    /// No digits where a number must stand.
    #[error("expected a number at byte {at}; a duration looks like 2160h or 1h30m, without spaces")]
    Number {
        /// Byte offset of the place.
        at: usize,
    },
    /// Beyond 2562047h47m16.854775807s.
    #[error("duration is longer than 2562047h47m16.854775807s")]
    Overflow,
    /// No unit, or one that does not exist.
    #[error(
        "unit {found:?} at byte {at} is not one of h, m, s, ms, us, ns{}",
        hours.map_or(String::new(), |hours| format!("; write {hours}h"))
    )]
    Unit {
        /// Byte offset of the unit.
        at: usize,
        /// The unit as written.
        found: String,
        /// What to write instead, when the unit was `d` or `w`.
        hours: Option<u64>,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_go_does() {
        let cases: &[(&str, Option<i64>)] = &[
            ("0", Some(0)),
            ("-0", Some(0)),
            ("5s", Some(5 * SECOND)),
            ("2160h", Some(2160 * HOUR)),
            ("1h30m", Some(90 * MINUTE)),
            (".5s", Some(SECOND / 2)),
            ("1.s", Some(SECOND)),
            ("-1.5h", Some(-90 * MINUTE)),
            ("39h9m14.425s", Some(140_954_425 * MILLISECOND)),
            ("12\u{b5}s", Some(12_000)),
            ("0.3333333333333333333h", Some(20 * MINUTE)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("", None),
            ("+", None),
            ("3", None),
            (".s", None),
            ("1d", None),
            ("1h 30m", None),
            ("1H", None),
            ("1e3s", None),
            ("1h-30m", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(
                text.parse::<GoDuration>().ok().map(GoDuration::as_nanos),
                *nanos,
                "{text}"
            );
        }
    }

    #[test]
    fn a_day_is_refused_with_the_hours_to_write() {
        let error = "90d".parse::<GoDuration>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unit \"d\" at byte 2 is not one of h, m, s, ms, us, ns; write 2160h"
        );
    }

    #[test]
    fn no_hours_are_named_that_would_be_wrong() {
        for text in ["1.5d", "106752d", ".5w"] {
            let error = text.parse::<GoDuration>().unwrap_err();
            let none = matches!(error, DurationError::Unit { hours: None, .. });
            assert!(none, "{text}: {error}");
        }
    }

    #[test]
    fn days_and_weeks_are_a_dialect_of_their_own() {
        for (text, hours) in [
            ("90d", 2160),
            ("2w", 336),
            ("1d12h", 36),
            (".5d", 12),
            ("1w1d1h", 193),
        ] {
            let duration = GoDuration::parse(text, DurationDialect::Extended).unwrap();
            assert_eq!(duration.as_nanos(), hours * HOUR, "{text}");
            assert_eq!(duration.to_string().parse(), Ok(duration));
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
        for text in ["1y", "1D", "d", "106752d"] {
            assert!(
                GoDuration::parse(text, DurationDialect::Extended).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos: i64) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?([0-9]{0,22}[.]?[0-9]{0,4}(ns|us|ms|s|m|h|d|w| )?){0,4}") {
            if let Ok(duration) = GoDuration::parse(&text, DurationDialect::Extended) {
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }
    }

    #[test]
    fn writes_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (4 * MINUTE + 5 * SECOND + 1_000_000, "4m5.001s"),
            (2160 * HOUR, "2160h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            let duration = GoDuration::from_nanos(nanos);
            assert_eq!(duration.to_string(), text);
            assert_eq!(text.parse(), Ok(duration));
        }
    }
}
