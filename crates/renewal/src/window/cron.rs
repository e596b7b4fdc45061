//! Five-field cron expressions.

use core::fmt;
use core::str::FromStr;

use jiff::civil::Date;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::every;
use super::field::{Field, InvalidField, Mask};
use super::zone::{UnknownZone, Zone};
use crate::instant::{at, floor};

/// A cron expression in the grammar of cert-manager's renewal windows.
///
/// Five fields, minute, hour, day of month, month, day of week, each a list of
/// numbers, names, ranges and steps (`N/s` runs from `N` to the field's end), `*` or
/// `?`; or one of `@yearly` `@annually` `@monthly` `@weekly` `@daily` `@midnight`
/// `@hourly` and `@every DURATION`; with an optional `TZ=` or `CRON_TZ=` prefix.
///
/// If both day fields are restricted, a day that matches either matches. A field
/// with a plain `*` or `?` in it is not restricted, one with `*/2` is.
///
/// Wall-clock times that clocks skip in spring do not occur, those that they repeat
/// in autumn occur twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    zone: Option<Zone>,
    beat: Beat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Beat {
    Calendar(Calendar),
    /// Whole seconds, at least one.
    Every(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Calendar {
    minute: Mask,
    hour: Mask,
    day_of_month: Mask,
    month: Mask,
    day_of_week: Mask,
}

impl Cron {
    /// The zone named in the text itself.
    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The first instant after `after` at which it fires, read in its own zone or
    /// else in `zone`; `None` if there is none until the end of the ninth year after
    /// `after`'s, the longest a 29th of February can take and a year.
    ///
    /// `@every` counts from `after`.
    #[must_use]
    pub fn next(&self, after: OffsetDateTime, zone: &Zone) -> Option<OffsetDateTime> {
        let zone = self.zone.as_ref().unwrap_or(zone);
        self.next_second(floor(after), zone).map(at)
    }

    /// Whether it fires at all: `0 0 31 2 *` and `, * * * *` never do.
    #[must_use]
    pub fn ever_fires(&self) -> bool {
        match &self.beat {
            Beat::Calendar(calendar) => calendar.ever_fires(),
            Beat::Every(_) => true,
        }
    }

    pub(super) fn is_interval(&self) -> bool {
        matches!(self.beat, Beat::Every(_))
    }

    pub(super) fn next_second(&self, after: i64, zone: &Zone) -> Option<i64> {
        match &self.beat {
            Beat::Calendar(calendar) => calendar.next(after, zone),
            Beat::Every(pause) => after.checked_add(*pause),
        }
    }
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        let prefix = ["TZ=", "CRON_TZ="]
            .into_iter()
            .find_map(|prefix| text.strip_prefix(prefix));
        let (zone, expression) = match prefix {
            Some(rest) => {
                let (name, expression) = rest.split_once(' ').ok_or(InvalidCron::ZoneOnly)?;
                (Some(name.parse()?), expression.trim())
            }
            None => (None, text),
        };
        let beat = if expression.starts_with('@') {
            descriptor(expression)?
        } else {
            Beat::Calendar(Calendar::parse(expression)?)
        };
        Ok(Self {
            text: text.to_owned(),
            zone,
            beat,
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn descriptor(text: &str) -> Result<Beat, InvalidCron> {
    if let Some(duration) = text.strip_prefix("@every ") {
        let pause = every::parse(duration).ok_or_else(|| InvalidCron::Every {
            found: duration.to_owned(),
        })?;
        // Below a second, negative ones included, counts as a second.
        return Ok(Beat::Every(pause.max(Duration::SECOND).whole_seconds()));
    }
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            return Err(InvalidCron::Descriptor {
                found: text.to_owned(),
            });
        }
    };
    Calendar::parse(fields).map(Beat::Calendar)
}

impl Calendar {
    fn parse(text: &str) -> Result<Self, InvalidCron> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
            return Err(InvalidCron::FieldCount {
                found: fields.len(),
            });
        };
        Ok(Self {
            minute: Mask::parse(minute, Field::Minute)?,
            hour: Mask::parse(hour, Field::Hour)?,
            day_of_month: Mask::parse(day_of_month, Field::DayOfMonth)?,
            month: Mask::parse(month, Field::Month)?,
            day_of_week: Mask::parse(day_of_week, Field::DayOfWeek)?,
        })
    }

    fn next(&self, after: i64, zone: &Zone) -> Option<i64> {
        let today = zone.date(after)?;
        let last = today.year().saturating_add(HORIZON_YEARS);
        // From yesterday, because clocks that go back over midnight show an earlier
        // date later.
        let mut date = today.yesterday().unwrap_or(today);
        while date.year() <= last {
            if let Some(second) = self.first_on(date, after, zone) {
                let tomorrow = date.tomorrow().ok();
                let other = tomorrow.and_then(|date| self.first_on(date, after, zone));
                return Some(other.map_or(second, |other| other.min(second)));
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The first firing after `after` on a date.
    fn first_on(&self, date: Date, after: i64, zone: &Zone) -> Option<i64> {
        if !self.matches(date) {
            return None;
        }
        let day = zone.day(date)?;
        if let Some(midnight) = day.plain_midnight() {
            let passed = after.saturating_add(1).saturating_sub(midnight).max(0);
            let minute = u16::try_from(passed.saturating_add(59) / 60).ok()?;
            let first = self.first_minute(minute)?;
            return midnight.checked_add(i64::from(first) * 60);
        }
        let hours = (0..24).filter(|hour| self.hour.contains(*hour));
        let times = hours.flat_map(|hour| {
            let minutes = (0..60).filter(|minute| self.minute.contains(*minute));
            minutes.map(move |minute| (hour.cast_signed(), minute.cast_signed()))
        });
        times
            .flat_map(|(hour, minute)| zone.seconds(date, hour, minute))
            .flatten()
            .filter(|second| *second > after)
            .min()
    }

    /// The first matching minute of the day that is at least `minute`.
    fn first_minute(&self, minute: u16) -> Option<u16> {
        let hour = u8::try_from(minute / 60).ok()?;
        let in_hour = u8::try_from(minute % 60).ok()?;
        let this_hour = || self.minute.at_least(in_hour).map(|minute| (hour, minute));
        let later_hour = || Some((self.hour.at_least(hour + 1)?, self.minute.at_least(0)?));
        let this = self.hour.contains(hour).then(this_hour).flatten();
        let (hour, minute) = this.or_else(later_hour)?;
        Some(u16::from(hour) * 60 + u16::from(minute))
    }

    fn matches(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset().cast_unsigned();
        let day_of_month = self.day_of_month.contains(date.day().cast_unsigned());
        let day_of_week = self.day_of_week.contains(weekday);
        self.month.contains(date.month().cast_unsigned())
            && if self.day_of_month.star || self.day_of_week.star {
                day_of_month && day_of_week
            } else {
                day_of_month || day_of_week
            }
    }

    fn ever_fires(&self) -> bool {
        let mut months = LONGEST_MONTHS
            .into_iter()
            .filter(|(month, _)| self.month.contains(*month));
        let either = !self.day_of_month.star && !self.day_of_week.star;
        let some_day = months.any(|(_, days)| {
            // In some year each date falls on each day of the week.
            let first = self.day_of_month.at_least(1);
            let date = first.is_some_and(|first| first <= days);
            let weekday = !self.day_of_week.is_empty();
            if either {
                date || weekday
            } else {
                date && weekday
            }
        });
        some_day && !self.hour.is_empty() && !self.minute.is_empty()
    }
}

/// A text that is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCron {
    /// An unknown `@` word.
    #[error(
        "{found:?} is no schedule, give five fields or one of @yearly, @annually, @monthly, \
         @weekly, @daily, @midnight, @hourly, @every DURATION"
    )]
    Descriptor {
        /// The word.
        found: String,
    },
    /// `@every` without a duration in Go's grammar.
    #[error("{found:?} is no duration, write hours, minutes and seconds such as \"1h30m\"")]
    Every {
        /// What followed `@every `.
        found: String,
    },
    /// A field that cannot be read.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// Not five fields.
    #[error("found {found} fields, give five: minute, hour, day of month, month, day of week")]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// The prefix names a zone that does not exist.
    #[error(transparent)]
    Zone(#[from] UnknownZone),
    /// A zone prefix and nothing else.
    #[error("the time zone must be followed by a space and five fields")]
    ZoneOnly,
}

/// cert-manager's search horizon.
const HORIZON_YEARS: i16 = 9;

const LONGEST_MONTHS: [(u8, u8); 12] = [
    (1, 31),
    (2, 29),
    (3, 31),
    (4, 30),
    (5, 31),
    (6, 30),
    (7, 31),
    (8, 31),
    (9, 30),
    (10, 31),
    (11, 30),
    (12, 31),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    fn next(cron: &str, zone: &str, after: &str) -> Option<String> {
        let cron: Cron = cron.parse().unwrap();
        let after = OffsetDateTime::parse(after, &Rfc3339).unwrap();
        let next = cron.next(after, &zone.parse().unwrap())?;
        Some(next.format(&Rfc3339).unwrap())
    }

    #[test]
    fn fires_in_utc() {
        for (cron, after, expected) in [
            (
                "0 0 29 2 *",
                "2096-03-01T00:00:00Z",
                Some("2104-02-29T00:00:00Z"),
            ),
            (
                "0 0 29 2 *",
                "2024-03-01T00:00:00Z",
                Some("2028-02-29T00:00:00Z"),
            ),
            ("0 0 31 2 *", "2024-01-01T00:00:00Z", None),
            (", * * * *", "2024-01-01T00:00:00Z", None),
            (
                "*/15 * * * *",
                "2026-01-01T00:01:00Z",
                Some("2026-01-01T00:15:00Z"),
            ),
            (
                "*/15 * * * *",
                "2026-01-01T00:15:00Z",
                Some("2026-01-01T00:30:00Z"),
            ),
            (
                "*/15 * * * *",
                "2026-01-01T00:14:59.9Z",
                Some("2026-01-01T00:15:00Z"),
            ),
            (
                "59 23 31 12 *",
                "2026-12-31T23:59:00Z",
                Some("2027-12-31T23:59:00Z"),
            ),
            (
                "0 9 * * mon-fri",
                "2026-01-03T00:00:00Z",
                Some("2026-01-05T09:00:00Z"),
            ),
            // Both days restricted: either. A plain star: both. A stepped star restricts.
            (
                "0 0 13 * 5",
                "2026-01-01T00:00:00Z",
                Some("2026-01-02T00:00:00Z"),
            ),
            (
                "0 0 13 * *",
                "2026-01-01T00:00:00Z",
                Some("2026-01-13T00:00:00Z"),
            ),
            (
                "0 0 */2 * 5",
                "2026-01-01T00:00:00Z",
                Some("2026-01-02T00:00:00Z"),
            ),
            (
                "0 0 */1 * 5",
                "2026-01-02T00:00:00Z",
                Some("2026-01-09T00:00:00Z"),
            ),
            (
                "@weekly",
                "2026-01-01T00:00:00Z",
                Some("2026-01-04T00:00:00Z"),
            ),
            (
                "@monthly",
                "2026-01-01T00:00:00Z",
                Some("2026-02-01T00:00:00Z"),
            ),
            (
                "@annually",
                "2026-01-01T00:00:00Z",
                Some("2027-01-01T00:00:00Z"),
            ),
            (
                "@every 1h30m0.9s",
                "2026-01-01T00:00:00.5Z",
                Some("2026-01-01T01:30:00Z"),
            ),
            (
                "@every -1h",
                "2026-01-01T00:00:00Z",
                Some("2026-01-01T00:00:01Z"),
            ),
            (
                "? ? ? ? ?",
                "2026-01-01T00:00:10Z",
                Some("2026-01-01T00:01:00Z"),
            ),
        ] {
            assert_eq!(
                next(cron, "UTC", after).as_deref(),
                expected,
                "{cron} {after}"
            );
        }
    }

    #[test]
    fn fires_by_the_wall_clock() {
        for (cron, zone, after, expected) in [
            // Clocks go forward on the 8th of March: 02:30 does not occur.
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-08T05:00:00Z",
                "2026-03-09T06:30:00Z",
            ),
            (
                "30 3 * * *",
                "America/New_York",
                "2026-03-08T05:00:00Z",
                "2026-03-08T07:30:00Z",
            ),
            (
                "0 * * * *",
                "America/New_York",
                "2026-03-08T06:30:00Z",
                "2026-03-08T07:00:00Z",
            ),
            // Clocks go back on the 1st of November: 01:30 occurs twice.
            (
                "30 1 * * *",
                "America/New_York",
                "2026-11-01T04:00:00Z",
                "2026-11-01T05:30:00Z",
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-11-01T05:30:00Z",
                "2026-11-01T06:30:00Z",
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-11-01T06:30:00Z",
                "2026-11-02T06:30:00Z",
            ),
            (
                "0 2 * * *",
                "America/New_York",
                "2026-11-01T05:00:00Z",
                "2026-11-01T07:00:00Z",
            ),
            // Half an hour forward and back.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T15:00:00Z",
                "2026-10-04T15:15:00Z",
            ),
            (
                "45 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-04T14:45:00Z",
                "2026-04-04T15:15:00Z",
            ),
            // Midnight skipped.
            (
                "0 0 * * *",
                "Africa/Cairo",
                "2026-04-23T12:00:00Z",
                "2026-04-24T21:00:00Z",
            ),
            // A day skipped.
            (
                "0 12 30 12 *",
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                "2012-12-29T22:00:00Z",
            ),
            // The text's own zone goes first.
            (
                "CRON_TZ=Asia/Tokyo 0 0 * * *",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-01T15:00:00Z",
            ),
            (
                "TZ=Asia/Tokyo @daily",
                "UTC",
                "2026-01-01T00:00:00Z",
                "2026-01-01T15:00:00Z",
            ),
        ] {
            let found = next(cron, zone, after);
            assert_eq!(found.as_deref(), Some(expected), "{cron} {zone} {after}");
        }
    }

    #[test]
    fn fires_from_the_first_instant_to_the_last() {
        let cron: Cron = "0 12 2 1 *".parse().unwrap();
        let zone = Zone::default();
        let first = cron.next(at(i64::MIN), &zone).unwrap();
        assert_eq!(
            (first.year(), first.ordinal(), first.hour()),
            (-9999, 2, 12)
        );
        assert_eq!(cron.next(at(i64::MAX), &zone), None);
    }

    #[test]
    fn refuses_what_upstream_refuses() {
        for (text, message) in [
            (
                "",
                "found 0 fields, give five: minute, hour, day of month, month, day of week",
            ),
            (
                "* * * *",
                "found 4 fields, give five: minute, hour, day of month, month, day of week",
            ),
            (
                "* * * * * *",
                "found 6 fields, give five: minute, hour, day of month, month, day of week",
            ),
            (
                "TZ=UTC",
                "the time zone must be followed by a space and five fields",
            ),
            (
                "TZ=UTC ",
                "found 0 fields, give five: minute, hour, day of month, month, day of week",
            ),
            (
                "CRON_TZ=Nope/Zone 0 1 * * *",
                "\"Nope/Zone\" is no time zone, give a name such as \"Europe/Berlin\" or \"UTC\"",
            ),
            ("* * * * 7", "\"7\" is no day of week: it runs from 0 to 6"),
            (
                "@reboot",
                "\"@reboot\" is no schedule, give five fields or one of @yearly, @annually, \
                 @monthly, @weekly, @daily, @midnight, @hourly, @every DURATION",
            ),
            (
                "@every 1d",
                "\"1d\" is no duration, write hours, minutes and seconds such as \"1h30m\"",
            ),
        ] {
            assert_eq!(text.parse::<Cron>().unwrap_err().to_string(), message);
        }
        for text in [
            "@Daily",
            "@daily ",
            " @daily",
            "@every",
            "@every  1h",
            "TZ=UTC TZ=UTC * * * * *",
        ] {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
    }

    #[test]
    fn reads_what_upstream_reads_and_prints_it_back() {
        for text in [
            "* * * JAN SUN",
            "  0\t0 * *  * ",
            "TZ= 0 1 * * *",
            "CRON_TZ=Europe/Berlin   @every 1h",
            "@midnight",
        ] {
            let cron: Cron = text.parse().unwrap();
            assert_eq!(cron.to_string(), text);
            assert_eq!(cron.to_string().parse::<Cron>().unwrap(), cron);
        }
    }

    #[test]
    fn knows_whether_it_ever_fires() {
        for (cron, fires) in [
            ("0 0 29 2 *", true),
            ("0 0 30 2 *", false),
            ("0 0 31 4,6,9,11 *", false),
            ("0 0 31 4,6,7 *", true),
            // A weekday besides: either.
            ("0 0 31 2 1", true),
            (", * * * *", false),
            ("* , * * *", false),
            ("* * , * *", false),
            ("* * , * 1", true),
            ("* * * , *", false),
            ("* * 1 * ,", true),
            ("* * , * ,", false),
            ("@every 1h", true),
        ] {
            let cron: Cron = cron.parse().unwrap();
            assert_eq!(cron.ever_fires(), fires, "{cron}");
            // 2096 to 2104 is the longest way to a 29th of February.
            let after = OffsetDateTime::from_unix_timestamp(3_981_225_600).unwrap();
            assert_eq!(
                cron.next(after, &Zone::default()).is_some(),
                fires,
                "{cron}"
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[-*?/,@a-z0-9 =TZ_C]{0,30}|\\PC{0,20}") {
            let _ = text.parse::<Cron>();
        }

        /// Against seconds tried one by one, around the changes of clocks.
        #[test]
        fn the_next_firing_is_the_first_that_matches(
            hour in 0u8..5, minute in prop_oneof![Just(0u8), Just(15), Just(30), Just(45)],
            start in -2i64..30, day in prop_oneof![Just("*"), Just("1"), Just("8")],
            (zone, change) in prop_oneof![
                Just(("America/New_York", 1_772_953_200i64)),
                Just(("America/New_York", 1_793_512_800)),
                Just(("Australia/Lord_Howe", 1_775_314_800)),
                Just(("Australia/Lord_Howe", 1_791_041_400)),
                Just(("Africa/Cairo", 1_776_981_600)),
            ],
        ) {
            let cron: Cron = format!("{minute} {hour} {day} * *").parse().unwrap();
            let zone: Zone = zone.parse().unwrap();
            let after = change - 12 * 3600 + start * 1800;
            let Some(found) = cron.next_second(after, &zone) else { return Ok(()) };
            let Beat::Calendar(calendar) = &cron.beat else { unreachable!() };
            let shows = |second: i64| {
                let date = zone.date(second).unwrap();
                let seconds = zone.seconds(date, hour.cast_signed(), minute.cast_signed());
                calendar.matches(date) && seconds.contains(&Some(second))
            };
            prop_assert!(shows(found) && found > after);
            let first = (after / 900 * 900..found).step_by(900).find(|s| *s > after && shows(*s));
            prop_assert_eq!(first, None);
        }
    }
}
