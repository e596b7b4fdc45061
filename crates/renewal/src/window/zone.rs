//! IANA time zones.

use core::fmt;
use core::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// An IANA time zone such as `Europe/Berlin`, or `UTC`.
///
/// Zones come from the data built into the crate, never from the machine, so that
/// replicas agree. Names are spelled as IANA spells them; the empty name is UTC, as
/// in Go. Go's `Local` is refused: it means another zone on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        if name.is_empty() {
            return Ok(Self::default());
        }
        let unknown = || UnknownZone {
            found: name.to_owned(),
        };
        let zone = TimeZoneDatabase::bundled()
            .get(name)
            .map_err(|_| unknown())?;
        // The look-up ignores case, Kubernetes' zones do not.
        if zone.iana_name() == Some(name) {
            Ok(Self(zone))
        } else {
            Err(unknown())
        }
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// A name no zone has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found:?} is no time zone, give a name such as \"Europe/Berlin\" or \"UTC\"")]
#[non_exhaustive]
pub struct UnknownZone {
    /// The name that was given.
    pub found: String,
}

/// One date in one zone.
pub(super) struct Day {
    pub(super) date: Date,
    midnight: AmbiguousOffset,
    next_midnight: AmbiguousOffset,
}

impl Zone {
    /// The date at a Unix second; `None` after the last that jiff knows, the first
    /// it knows before that.
    pub(super) fn date(&self, second: i64) -> Option<Date> {
        let second = second.max(Timestamp::MIN.as_second());
        let timestamp = Timestamp::from_second(second).ok()?;
        Some(self.0.to_datetime(timestamp).date())
    }

    pub(super) fn day(&self, date: Date) -> Option<Day> {
        let midnight = |date: Date| self.0.to_ambiguous_timestamp(date.into()).offset();
        Some(Day {
            date,
            midnight: midnight(date),
            next_midnight: midnight(date.tomorrow().ok()?),
        })
    }

    /// The Unix seconds at which the wall clock shows a time: one, none in a gap
    /// when clocks go forward, two when they go back.
    pub(super) fn seconds(&self, date: Date, hour: i8, minute: i8) -> [Option<i64>; 2] {
        let Ok(time) = Time::new(hour, minute, 0, 0) else {
            return [None, None];
        };
        let shown = DateTime::from_parts(date, time);
        let second = |offset: jiff::tz::Offset| {
            let timestamp = offset.to_timestamp(shown).ok()?;
            Some(timestamp.as_second())
        };
        match self.0.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => [second(offset), None],
            AmbiguousOffset::Gap { .. } => [None, None],
            AmbiguousOffset::Fold { before, after } => [second(before), second(after)],
        }
    }
}

impl Day {
    /// The Unix second of midnight if clocks do not change on this day.
    pub(super) fn plain_midnight(&self) -> Option<i64> {
        let AmbiguousOffset::Unambiguous { offset } = self.midnight else {
            return None;
        };
        if self.midnight != self.next_midnight {
            return None;
        }
        let midnight = offset.to_timestamp(self.date.into()).ok()?;
        Some(midnight.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_iana() {
        for name in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Buenos_Aires",
            "EST5EDT",
        ] {
            assert_eq!(name.parse::<Zone>().unwrap().to_string(), name);
        }
        assert_eq!("".parse::<Zone>().unwrap(), Zone::default());
        for name in [
            "Mars/Base",
            "Local",
            "europe/berlin",
            "UTC+1",
            "../etc/passwd",
            "/UTC",
            " UTC",
        ] {
            let error = name.parse::<Zone>().unwrap_err();
            assert_eq!(error.found, name);
        }
    }
}
