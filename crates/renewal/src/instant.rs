//! Whole seconds inside, [`time`] types at the edge.

use core::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last whole second at or before `instant`.
pub(crate) fn floor(instant: OffsetDateTime) -> i64 {
    // `unix_timestamp` forgets the sub-second part, which `time` keeps as a
    // positive distance from that second: this rounds down before 1970 as well.
    instant.unix_timestamp()
}

/// The first whole second at or after `instant`.
pub(crate) fn ceil(instant: OffsetDateTime) -> i64 {
    floor(instant).saturating_add(i64::from(instant.nanosecond() > 0))
}

/// The instant of a Unix second, held to the years `time` can express (-9999 to 9999).
pub(crate) fn at(second: i64) -> OffsetDateTime {
    let end = if second < 0 { FIRST } else { LAST };
    OffsetDateTime::from_unix_timestamp(second).unwrap_or(end)
}

const FIRST: OffsetDateTime = time::PrimitiveDateTime::MIN.assume_utc();
const LAST: OffsetDateTime = time::PrimitiveDateTime::MAX.assume_utc();

/// Prints a Unix second as RFC 3339 in UTC.
pub(crate) struct Utc(pub(crate) i64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match at(self.0).format(&Rfc3339) {
            Ok(text) => f.write_str(&text),
            // RFC 3339 has no years before 0.
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn rounds_towards_the_named_side() {
        let half = Duration::milliseconds(500);
        for (instant, down, up) in [
            (OffsetDateTime::UNIX_EPOCH, 0, 0),
            (OffsetDateTime::UNIX_EPOCH + half, 0, 1),
            (OffsetDateTime::UNIX_EPOCH - half, -1, 0),
        ] {
            assert_eq!((floor(instant), ceil(instant)), (down, up), "{instant}");
        }
    }

    #[test]
    fn prints_and_clamps() {
        assert_eq!(Utc(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(at(i64::MAX).year(), 9999);
        assert_eq!(at(i64::MIN).year(), -9999);
        assert_eq!(
            Utc(-100_000_000_000).to_string(),
            "-100000000000 s after 1970"
        );
    }
}
