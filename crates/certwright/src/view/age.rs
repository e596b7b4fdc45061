use core::fmt;

use time::Duration;

/// A duration as `kubectl` writes ages: its largest unit, and the next one while it matters (`96d`, `2d5h`, `3m20s`).
///
/// A negative one, which only a wrong clock makes, is `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.whole_seconds().max(0);
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        let years = days / 365;
        let mut pair = |large: i64, unit: &str, small: i64, next: &str| match small {
            0 => write!(f, "{large}{unit}"),
            small => write!(f, "{large}{unit}{small}{next}"),
        };
        if seconds < 120 {
            pair(seconds, "s", 0, "")
        } else if minutes < 10 {
            pair(minutes, "m", seconds % 60, "s")
        } else if hours < 3 {
            pair(minutes, "m", 0, "")
        } else if hours < 8 {
            pair(hours, "h", minutes % 60, "m")
        } else if hours < 48 {
            pair(hours, "h", 0, "")
        } else if days < 8 {
            pair(days, "d", hours % 24, "h")
        } else if years < 2 {
            pair(days, "d", 0, "")
        } else if years < 8 {
            pair(years, "y", days % 365, "d")
        } else {
            pair(years, "y", 0, "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_like_kubectls() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 3600;
        const DAY: i64 = 86_400;
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (2 * MINUTE, "2m"),
            (3 * MINUTE + 20, "3m20s"),
            (10 * MINUTE, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 59 * MINUTE, "7h59m"),
            (8 * HOUR + 59 * MINUTE, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY + 5 * HOUR, "2d5h"),
            (8 * DAY + 5 * HOUR, "8d"),
            (96 * DAY, "96d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (800 * DAY, "2y70d"),
            (8 * 365 * DAY + 9 * DAY, "8y"),
        ] {
            assert_eq!(Age(Duration::seconds(seconds)).to_string(), text);
        }
    }
}
