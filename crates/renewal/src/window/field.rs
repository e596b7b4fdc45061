//! One field of a cron expression as a bit mask.

use core::fmt;

use thiserror::Error;

/// The five fields of a cron expression, in the order they are written; complete by
/// definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or `jan` to `dec`.
    Month,
    /// 0 (Sunday) to 6, or `sun` to `sat`. 7 is no Sunday here.
    DayOfWeek,
}

impl Field {
    /// The least and the most number.
    #[must_use]
    pub fn range(self) -> (u8, u8) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
        }
    }

    /// The names of the numbers from the least on.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &[
                "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
            ],
            Self::DayOfWeek => &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
            Self::Minute | Self::Hour | Self::DayOfMonth => &[],
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// The numbers of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    bits: u64,
    /// Whether an unstepped `*` or `?` is among the parts: such a day field does not
    /// restrict, see `Cron`.
    pub(super) star: bool,
}

impl Mask {
    /// Parses a list such as `1,5-9,20-40/2,*/15`. Empty parts are skipped, so a
    /// list of commas alone is an empty mask, which never matches.
    pub(super) fn parse(text: &str, field: Field) -> Result<Self, InvalidField> {
        let mut mask = Self {
            bits: 0,
            star: false,
        };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let Self { bits, star } = Self::part(part, field).map_err(|fault| InvalidField {
                field,
                part: part.to_owned(),
                fault,
            })?;
            mask.bits |= bits;
            mask.star |= star;
        }
        Ok(mask)
    }

    pub(super) fn contains(self, number: u8) -> bool {
        number < 64 && self.bits >> number & 1 == 1
    }

    /// The least number that is at least `number`.
    pub(super) fn at_least(self, number: u8) -> Option<u8> {
        let rest = self.bits.checked_shr(u32::from(number)).unwrap_or(0);
        let skipped = u8::try_from(rest.trailing_zeros()).ok()?;
        (rest != 0).then(|| number + skipped)
    }

    pub(super) fn is_empty(self) -> bool {
        self.bits == 0
    }

    fn part(part: &str, field: Field) -> Result<Self, Fault> {
        let (least, most) = field.range();
        let (range, step) = match part.split_once('/') {
            Some((_, step)) if step.contains('/') => return Err(Fault::Slashes),
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (low, Some(high)),
            None => (range, None),
        };
        let any = matches!(low, "*" | "?");
        let (start, end) = match high {
            // Whatever follows a star's hyphen is not looked at upstream.
            _ if any => (u64::from(least), u64::from(most)),
            Some(high) if high.contains('-') => return Err(Fault::Hyphens),
            Some(high) => (number(low, field)?, number(high, field)?),
            None => {
                let only = number(low, field)?;
                // A single number with a step runs to the field's end.
                (
                    only,
                    if step.is_some() {
                        u64::from(most)
                    } else {
                        only
                    },
                )
            }
        };
        // A step's range is its own: the field's would mislead.
        let step = step.map_or(Ok(1), |step| integer(step).map_err(|_| Fault::Step))?;
        if start > end {
            // A stepped number beyond the field's end comes here as well.
            return Err(if high.is_none() {
                Fault::Range
            } else {
                Fault::Backwards
            });
        }
        let (Ok(start), Ok(end)) = (u8::try_from(start), u8::try_from(end)) else {
            return Err(Fault::Range);
        };
        if start < least || end > most {
            return Err(Fault::Range);
        }
        if step == 0 {
            return Err(Fault::Step);
        }
        Ok(Self::range(start, end, step, any && step == 1))
    }

    fn range(start: u8, end: u8, step: u64, star: bool) -> Self {
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        let bits = (start..=end)
            .step_by(step)
            .fold(0, |bits, number| bits | 1 << number);
        Self { bits, star }
    }
}

fn number(text: &str, field: Field) -> Result<u64, Fault> {
    let named = field
        .names()
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text));
    match named.map(u64::try_from) {
        Some(Ok(position)) => Ok(position + u64::from(field.range().0)),
        _ => integer(text),
    }
}

/// What Go's `strconv.Atoi` takes, without negative numbers.
fn integer(text: &str) -> Result<u64, Fault> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::NoNumber);
    }
    let number: i64 = digits.parse().map_err(|_| Fault::Range)?;
    Ok(number.unsigned_abs())
}

/// A part of a cron field that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{part:?} is no {field}: {fault}", fault = fault.text(*field))]
#[non_exhaustive]
pub struct InvalidField {
    /// The field it is in.
    pub field: Field,
    /// The part between commas.
    pub part: String,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Backwards,
    Hyphens,
    NoNumber,
    Range,
    Slashes,
    Step,
}

impl Fault {
    fn text(self, field: Field) -> String {
        let (least, most) = field.range();
        match (self, field.names()) {
            (Self::Backwards, _) => "the range runs backwards".to_owned(),
            (Self::Hyphens, _) => "a range has one hyphen".to_owned(),
            (Self::Slashes, _) => "a step has one slash".to_owned(),
            (Self::Step, _) => "the step must be a number from 1".to_owned(),
            (Self::NoNumber, [first, .., last]) => {
                format!("give {least} to {most}, {first} to {last}, or *")
            }
            (Self::NoNumber, _) => format!("give {least} to {most}, or *"),
            (Self::Range, _) => format!("it runs from {least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, field: Field) -> Result<Vec<u8>, InvalidField> {
        let mask = Mask::parse(text, field)?;
        Ok((0..64).filter(|n| mask.contains(*n)).collect())
    }

    #[test]
    fn reads_lists_ranges_steps_and_names() {
        use Field::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
        for (text, field, expected) in [
            ("5", Minute, vec![5]),
            ("05", Minute, vec![5]),
            ("+5", Minute, vec![5]),
            ("1,3,,5,", Minute, vec![1, 3, 5]),
            (",", Minute, vec![]),
            ("20-23", Hour, vec![20, 21, 22, 23]),
            ("*/6", Hour, vec![0, 6, 12, 18]),
            ("?/6", Hour, vec![0, 6, 12, 18]),
            ("5/9", Hour, vec![5, 14, 23]),
            ("5-15/5", Hour, vec![5, 10, 15]),
            ("*/100", Hour, vec![0]),
            ("*/10", DayOfMonth, vec![1, 11, 21, 31]),
            ("JAN,feb-Apr", Month, vec![1, 2, 3, 4]),
            ("SUN,sat", DayOfWeek, vec![0, 6]),
            ("mon-fri", DayOfWeek, vec![1, 2, 3, 4, 5]),
            ("*-3", DayOfWeek, vec![0, 1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(numbers(text, field).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        use Field::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
        for (text, field, message) in [
            ("60", Minute, "\"60\" is no minute: it runs from 0 to 59"),
            (
                "61/2",
                Minute,
                "\"61/2\" is no minute: it runs from 0 to 59",
            ),
            ("24", Hour, "\"24\" is no hour: it runs from 0 to 23"),
            (
                "0",
                DayOfMonth,
                "\"0\" is no day of month: it runs from 1 to 31",
            ),
            (
                "7",
                DayOfWeek,
                "\"7\" is no day of week: it runs from 0 to 6",
            ),
            (
                "5-3",
                Minute,
                "\"5-3\" is no minute: the range runs backwards",
            ),
            (
                "1-2-3",
                Minute,
                "\"1-2-3\" is no minute: a range has one hyphen",
            ),
            (
                "1/2/3",
                Minute,
                "\"1/2/3\" is no minute: a step has one slash",
            ),
            (
                "*/0",
                Minute,
                "\"*/0\" is no minute: the step must be a number from 1",
            ),
            ("-1", Minute, "\"-1\" is no minute: give 0 to 59, or *"),
            ("1,x", Minute, "\"x\" is no minute: give 0 to 59, or *"),
            (
                "*/",
                Minute,
                "\"*/\" is no minute: the step must be a number from 1",
            ),
            (
                "*/x",
                Minute,
                "\"*/x\" is no minute: the step must be a number from 1",
            ),
            ("jan", Minute, "\"jan\" is no minute: give 0 to 59, or *"),
            (
                "sun",
                Month,
                "\"sun\" is no month: give 1 to 12, jan to dec, or *",
            ),
            (
                "99999999999999999999",
                Hour,
                "\"99999999999999999999\" is no hour: it runs from 0 to 23",
            ),
        ] {
            assert_eq!(numbers(text, field).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn only_an_unstepped_star_lifts_the_restriction() {
        for (text, star) in [
            ("*", true),
            ("?", true),
            ("*/1", true),
            ("1,*", true),
            ("*/2", false),
            ("1-31", false),
        ] {
            let mask = Mask::parse(text, Field::DayOfMonth).unwrap();
            assert_eq!(mask.star, star, "{text}");
        }
    }
}
