//! Durations as manifests write them: Go's `time.Duration` text.

use core::fmt;

use time::Duration;

/// Prints a duration as Go does: `2160h0m0s`, `1m0s`, `1.5s`, `0s`.
///
/// Users compare our messages with their manifests, so both speak one language.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_negative() {
            f.write_str("-")?;
        }
        let whole = self.0.whole_seconds().unsigned_abs();
        let nanos = self.0.subsec_nanoseconds().unsigned_abs();
        let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if nanos == 0 {
            return write!(f, "{seconds}s");
        }
        let fraction = format!("{nanos:09}");
        write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_manifest() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::seconds(60), "1m0s"),
            (Duration::hours(2160), "2160h0m0s"),
            (Duration::milliseconds(1500), "1.5s"),
            (Duration::seconds(-61), "-1m1s"),
            (Duration::milliseconds(-500), "-0.5s"),
        ] {
            assert_eq!(Span(duration).to_string(), text);
        }
    }
}
