//! Percentages of a lifetime, in integers.

use core::fmt;

use thiserror::Error;
use time::Duration;

/// A share of a lifetime that a schedule can use: 1 to 99 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// The number, 1 to 99.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// This share of `total`, cut down to whole nanoseconds.
    #[must_use]
    pub fn of(self, total: Duration) -> Duration {
        percent_of(total, i32::from(self.0))
    }
}

impl TryFrom<i32> for Percent {
    type Error = InvalidPercent;

    fn try_from(number: i32) -> Result<Self, Self::Error> {
        match u8::try_from(number) {
            Ok(percent @ 1..=99) => Ok(Self(percent)),
            _ => Err(InvalidPercent { found: number }),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// `total * percentage / 100`, cut towards zero to whole nanoseconds.
///
/// The one percentage arithmetic of the family: scheduling and the validation of
/// `renewBeforePercentage` both call it, on the percentage itself. (cert-manager
/// validated the complement of what it scheduled until its pull request 9129.)
/// Integers throughout, because `f64` is off by nanoseconds beyond 104 days and a
/// nanosecond moves the truncated second. Any number is taken, also those
/// [`Percent`] refuses; a result beyond [`Duration`]'s range is held at its end.
#[must_use]
pub fn percent_of(total: Duration, percentage: i32) -> Duration {
    // Hundreds of seconds, the seconds beyond, the nanoseconds beyond: each product
    // fits an i64, where the whole in nanoseconds would need an i128 and its slow
    // division.
    let factor = i64::from(percentage);
    let (hundreds, rest) = (total.whole_seconds() / 100, total.whole_seconds() % 100);
    let rest = rest * factor;
    let nanos = i64::from(total.subsec_nanoseconds()) * factor / 100;
    match hundreds.checked_mul(factor) {
        Some(seconds) => Duration::seconds(seconds)
            .saturating_add(Duration::seconds(rest / 100))
            .saturating_add(Duration::nanoseconds(rest % 100 * 10_000_000 + nanos)),
        None if total.is_negative() == (factor < 0) => Duration::MAX,
        None => Duration::MIN,
    }
}

/// A percentage no schedule can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{found} is no usable percentage of a lifetime, give a number from 1 to 99")]
#[non_exhaustive]
pub struct InvalidPercent {
    /// The number that was given.
    pub found: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_shares() {
        let hour = Duration::HOUR;
        for (total, percentage, nanos) in [
            (hour * 3, 25, 2_700_000_000_000),
            (hour * 87_600, 99, 312_206_400_000_000_000),
            (hour * 26_280, 99, 93_661_920_000_000_000),
            (Duration::NANOSECOND * 199, 1, 1),
            (hour, 0, 0),
            (hour, 100, 3_600_000_000_000),
            (hour, -50, -1_800_000_000_000),
        ] {
            assert_eq!(percent_of(total, percentage).whole_nanoseconds(), nanos);
        }
        assert_eq!(percent_of(Duration::MAX, 200), Duration::MAX);
        assert_eq!(percent_of(Duration::MAX, -200), Duration::MIN);
    }

    #[test]
    fn only_1_to_99_are_percentages() {
        for number in [i32::MIN, -1, 0, 100, 257, i32::MAX] {
            assert_eq!(
                Percent::try_from(number),
                Err(InvalidPercent { found: number })
            );
        }
        assert_eq!(
            Percent::try_from(0).unwrap_err().to_string(),
            "0 is no usable percentage of a lifetime, give a number from 1 to 99"
        );
        assert_eq!(Percent::try_from(99).unwrap().to_string(), "99%");
    }

    proptest! {
        #[test]
        fn does_what_128_bits_do(seconds: i64, nanos in 0i32..1_000_000_000, p: i32) {
            let nanos = if seconds < 0 { -nanos } else { nanos };
            let total = Duration::new(seconds, nanos);
            let exact = total.whole_nanoseconds() * i128::from(p) / 100;
            let found = percent_of(total, p).whole_nanoseconds();
            let (least, most) = (Duration::MIN, Duration::MAX);
            let held = exact.clamp(least.whole_nanoseconds(), most.whole_nanoseconds());
            prop_assert_eq!(found, held);
        }

        #[test]
        fn a_share_and_its_complement_make_the_whole(seconds in 1i64..4_000_000_000, p in 1i32..100) {
            let total = Duration::seconds(seconds);
            // Whole seconds times a whole percentage divide without a rest in nanoseconds.
            prop_assert_eq!(percent_of(total, p) + percent_of(total, 100 - p), total);
        }
    }
}
