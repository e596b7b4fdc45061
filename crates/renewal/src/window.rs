//! Times of day and week in which renewals are allowed.

mod cron;
mod every;
mod field;
mod zone;

use thiserror::Error;
use time::{Duration, OffsetDateTime};

pub use self::cron::{Cron, InvalidCron};
pub use self::field::{Field, InvalidField};
pub use self::zone::{UnknownZone, Zone};
use crate::instant::{Utc, at, floor};
use crate::opening::Opening;
use crate::schedule::Schedule;
use crate::span::Span;

/// Openings that begin when a cron expression fires in a zone and last a while
/// (one entry of cert-manager's `spec.renewal.windows`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    cron: Cron,
    duration: Duration,
    zone: Zone,
}

impl Window {
    /// Openings of `duration`, in `zone`, in the zone named in the cron text, or in
    /// UTC.
    ///
    /// # Errors
    /// [`InvalidWindow`] if the duration is shorter than a second, or if both the
    /// cron text and `zone` name a zone.
    pub fn new(cron: Cron, duration: Duration, zone: Option<Zone>) -> Result<Self, InvalidWindow> {
        if duration < Duration::SECOND {
            return Err(InvalidWindow::TooShort { found: duration });
        }
        let zone = match (cron.zone(), zone) {
            (Some(inner), Some(outer)) => {
                return Err(InvalidWindow::TwoZones {
                    cron: inner.to_string(),
                    window: outer.to_string(),
                });
            }
            (Some(inner), None) => inner.clone(),
            (None, outer) => outer.unwrap_or_default(),
        };
        Ok(Self {
            cron,
            duration,
            zone,
        })
    }

    /// When openings begin.
    #[must_use]
    pub fn cron(&self) -> &Cron {
        &self.cron
    }

    /// How long one lasts.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// The zone whose wall clock the cron expression reads.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The latest opening that contains `instant`, its closing second included.
    ///
    /// `@every` has no fixed beginning and is open whenever it is asked.
    #[must_use]
    pub fn opening_at(&self, instant: OffsetDateTime) -> Option<Opening> {
        let second = floor(instant);
        if self.cron.is_interval() {
            return Some(self.opening(second));
        }
        // The last beginning at or before the instant: leap from the earliest that
        // could still be open. At most `duration / one minute` steps, so the leap
        // halves the span instead of walking it.
        // Held to the years there are, which a duration may exceed.
        let low = second.saturating_sub(self.duration.whole_seconds());
        let mut low = floor(at(low.saturating_sub(1)));
        let mut best = self.begins_after(low).filter(|begin| *begin <= second)?;
        let mut high = second;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.begins_after(middle).filter(|begin| *begin <= second) {
                Some(begin) => (best, low) = (begin, middle),
                None => high = middle,
            }
        }
        Some(self.opening(best))
    }

    /// The earliest opening that begins after `instant`; `None` if there is none
    /// within nine years.
    #[must_use]
    pub fn next_opening(&self, instant: OffsetDateTime) -> Option<Opening> {
        let begin = self.begins_after(floor(instant))?;
        Some(self.opening(begin))
    }

    fn begins_after(&self, second: i64) -> Option<i64> {
        self.cron.next_second(second, &self.zone)
    }

    fn opening(&self, begin: i64) -> Opening {
        Opening::from_seconds(begin, begin.saturating_add(self.duration.whole_seconds()))
    }
}

/// A window that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidWindow {
    /// It is never open.
    #[error("a window of {} is never open, give it a second or more", Span(*found))]
    TooShort {
        /// The duration that was given.
        found: Duration,
    },
    /// Two zones are named.
    #[error("the cron text names the zone {cron}, the window names {window}: name only one")]
    TwoZones {
        /// The zone in the cron text.
        cron: String,
        /// The zone beside it.
        window: String,
    },
}

/// Windows of which any may be used; without one, every instant is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(Vec<Window>);

impl Windows {
    /// The windows.
    #[must_use]
    pub fn as_slice(&self) -> &[Window] {
        &self.0
    }

    /// Moves a schedule into the windows: its due instant stays if it lies in an
    /// opening, otherwise it becomes the beginning of the earliest later opening
    /// that begins before the certificate expires.
    ///
    /// The order of the windows does not matter. (In cert-manager 1.21 it does, and
    /// the opening may begin after expiry.)
    ///
    /// # Errors
    /// [`NoWindow`] if there is no such opening. cert-manager then reports and
    /// renews at the schedule's own instant: keep the schedule you passed in.
    pub fn fit(&self, schedule: Schedule) -> Result<Schedule, NoWindow> {
        if self.0.is_empty() {
            return Ok(schedule);
        }
        let due = schedule.due();
        let open = self.opening_at(due).or_else(|| self.next_opening(due));
        open.and_then(|opening| schedule.moved_into(opening))
            .ok_or_else(|| NoWindow {
                due,
                not_after: schedule.lifetime().not_after(),
                never: self.never().map(|window| window.cron.to_string()).collect(),
            })
    }

    /// The opening that contains `instant`, of several the one that closes last.
    #[must_use]
    pub fn opening_at(&self, instant: OffsetDateTime) -> Option<Opening> {
        let open = self
            .0
            .iter()
            .filter_map(|window| window.opening_at(instant));
        open.max_by_key(|opening| (opening.closing_second(), opening.opening_second()))
    }

    /// The earliest opening that begins after `instant`, of several the one that
    /// closes last.
    #[must_use]
    pub fn next_opening(&self, instant: OffsetDateTime) -> Option<Opening> {
        let next = self
            .0
            .iter()
            .filter_map(|window| window.next_opening(instant));
        next.min_by_key(|opening| (opening.opening_second(), -opening.closing_second()))
    }

    /// The windows that never open, such as on the 31st of February: cert-manager's
    /// grammar allows them, their owner should hear of them.
    pub fn never(&self) -> impl Iterator<Item = &Window> {
        self.0.iter().filter(|window| !window.cron.ever_fires())
    }
}

impl FromIterator<Window> for Windows {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        Self(windows.into_iter().collect())
    }
}

/// No window opens between the due instant and expiry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no renewal window opens between {}, when the renewal is due, and {}, when the certificate \
     expires{}: open the windows more often or renew earlier",
    Utc(floor(*due)), Utc(floor(*not_after)), Never(never)
)]
#[non_exhaustive]
pub struct NoWindow {
    /// When the renewal is due.
    pub due: OffsetDateTime,
    /// When the certificate expires.
    pub not_after: OffsetDateTime,
    /// The cron texts among the windows that never fire at all.
    pub never: Vec<String>,
}

struct Never<'a>(&'a [String]);

impl core::fmt::Display for Never<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for cron in self.0 {
            write!(f, ", {cron:?} never does")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::Lifetime;
    use crate::policy::RenewalPolicy;
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    fn instant(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    fn window(cron: &str, duration: Duration, zone: &str) -> Window {
        let zone = Some(zone.parse().unwrap());
        Window::new(cron.parse().unwrap(), duration, zone).unwrap()
    }

    fn windows(list: &[(&str, i64)]) -> Windows {
        let hours = |(cron, hours): &(&str, i64)| window(cron, Duration::hours(*hours), "UTC");
        list.iter().map(hours).collect()
    }

    /// A schedule due so many minutes before the end of a certificate of 17 days.
    fn schedule(not_after: &str, minutes: i64) -> Schedule {
        let not_after = instant(not_after);
        let life = Lifetime::new(not_after - Duration::days(17), not_after).unwrap();
        RenewalPolicy::Before(Duration::minutes(minutes))
            .schedule(life)
            .unwrap()
    }

    #[test]
    fn moves_into_the_earliest_opening() {
        let daily: &[(&str, i64)] = &[("0 10 * * *", 2)];
        let week: &[(&str, i64)] = &[("0 23 * * 1-5", 2), ("0 10 * * 6,0", 4)];
        for (list, not_after, minutes, due) in [
            // Inside: stays.
            (
                daily,
                "2026-01-08T00:00:00Z",
                37 * 60 + 30,
                "2026-01-06T10:30:00Z",
            ),
            // On the first and on the last second of an opening: stays.
            (
                daily,
                "2026-01-08T00:00:00Z",
                38 * 60,
                "2026-01-06T10:00:00Z",
            ),
            (
                daily,
                "2026-01-08T00:00:00Z",
                36 * 60,
                "2026-01-06T12:00:00Z",
            ),
            // After one, before the next.
            (
                daily,
                "2026-01-08T00:00:00Z",
                35 * 60,
                "2026-01-07T10:00:00Z",
            ),
            (
                week,
                "2026-01-11T00:00:00Z",
                18 * 60,
                "2026-01-10T10:00:00Z",
            ),
            (
                &[("@hourly", 1)],
                "2026-01-08T00:00:00Z",
                2085,
                "2026-01-06T13:15:00Z",
            ),
            // No beginning to hold on to: always open.
            (
                &[("@every 24h", 1)],
                "2026-01-08T00:00:00Z",
                2085,
                "2026-01-06T13:15:00Z",
            ),
            // None at all: always open.
            (&[], "2026-01-08T00:00:00Z", 2085, "2026-01-06T13:15:00Z"),
        ] {
            let fitted = windows(list).fit(schedule(not_after, minutes)).unwrap();
            assert_eq!(fitted.due(), instant(due), "{list:?} {minutes}");
        }
    }

    #[test]
    fn an_opening_after_expiry_is_none() {
        let due = schedule("2026-01-07T19:00:00Z", 7 * 60);
        let error = windows(&[("0 20 * * *", 6)]).fit(due).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no renewal window opens between 2026-01-07T12:00:00Z, when the renewal is due, and \
             2026-01-07T19:00:00Z, when the certificate expires: open the windows more often or \
             renew earlier"
        );
        // Exactly at expiry is too late as well, a second before is not.
        assert!(windows(&[("0 19 * * *", 6)]).fit(due).is_err());
        let due = schedule("2026-01-07T19:00:01Z", 7 * 60);
        let fitted = windows(&[("0 19 * * *", 6)]).fit(due).unwrap();
        assert_eq!(fitted.due(), instant("2026-01-07T19:00:00Z"));
    }

    #[test]
    fn the_order_of_windows_does_not_matter() {
        let due = schedule("2026-01-07T19:00:00Z", 7 * 60);
        let (hit, miss) = (("0 14 * * *", 1), ("0 3 1 * *", 1));
        for list in [[hit, miss], [miss, hit]] {
            let fitted = windows(&list).fit(due).unwrap();
            assert_eq!(fitted.due(), instant("2026-01-07T14:00:00Z"));
        }
    }

    #[test]
    fn windows_that_never_open_are_named() {
        let list = windows(&[("0 0 31 2 *", 1), (", * * * *", 1), ("0 3 1 * *", 1)]);
        let error = list.fit(schedule("2026-01-07T19:00:00Z", 60)).unwrap_err();
        assert_eq!(error.never, ["0 0 31 2 *", ", * * * *"]);
        let text = error.to_string();
        assert!(text.contains(", \"0 0 31 2 *\" never does, \", * * * *\" never does: open"));
    }

    #[test]
    fn impossible_windows_are_refused() {
        let cron = || "TZ=Asia/Tokyo 0 1 * * *".parse::<Cron>().unwrap();
        let zone = Some("Europe/Berlin".parse().unwrap());
        let error = Window::new(cron(), Duration::HOUR, zone).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the cron text names the zone Asia/Tokyo, the window names Europe/Berlin: name only one"
        );
        let window = Window::new(cron(), Duration::HOUR, None).unwrap();
        assert_eq!(window.zone().to_string(), "Asia/Tokyo");
        for seconds in [0, -60] {
            assert!(Window::new(cron(), Duration::seconds(seconds), None).is_err());
        }
    }

    #[test]
    fn zones_move_openings() {
        let due = schedule("2026-01-08T00:00:00Z", 35 * 60);
        for (zone, begins) in [
            ("America/Phoenix", "2026-01-06T17:00:00Z"),
            ("Asia/Kolkata", "2026-01-07T04:30:00Z"),
        ] {
            let list: Windows = [window("0 10 * * *", Duration::hours(2), zone)]
                .into_iter()
                .collect();
            assert_eq!(list.fit(due).unwrap().due(), instant(begins), "{zone}");
        }
    }

    #[test]
    fn a_long_opening_is_found_from_its_far_end() {
        let week = window("0 0 * * 1", Duration::days(6), "UTC");
        // Monday the 5th to Sunday the 11th.
        let opening = week.opening_at(instant("2026-01-10T23:59:00Z")).unwrap();
        assert_eq!(opening.opens(), instant("2026-01-05T00:00:00Z"));
        assert_eq!(opening.closes(), instant("2026-01-11T00:00:00Z"));
        assert_eq!(week.opening_at(instant("2026-01-11T00:00:01Z")), None);
        // Overlapping openings: the latest.
        let hourly = window("0 * * * *", Duration::hours(30), "UTC");
        let opening = hourly.opening_at(instant("2026-01-10T23:59:00Z")).unwrap();
        assert_eq!(opening.opens(), instant("2026-01-10T23:00:00Z"));
    }

    #[test]
    fn a_window_longer_than_time_is_open() {
        for duration in [Duration::days(9000 * 365), Duration::MAX] {
            let window = window("0 0 29 2 *", duration, "America/New_York");
            let opening = window.opening_at(instant("2026-01-10T23:59:00Z"));
            let opens = opening.map(|opening| opening.opens());
            assert_eq!(opens, Some(instant("2024-02-29T05:00:00Z")), "{duration}");
        }
    }

    #[test]
    fn a_thousand_certificates_do_not_meet_at_an_opening() {
        let due = schedule("2026-01-08T00:00:00Z", 35 * 60);
        let fitted = windows(&[("0 10 * * *", 1)]).fit(due).unwrap();
        let mut seconds = std::collections::HashSet::new();
        for i in 0..1000u32 {
            let spread = fitted.spread(crate::Seed::new(&i.to_be_bytes()));
            let opening = spread.opening().unwrap();
            assert!(opening.opens() <= spread.due() && spread.due() <= opening.closes());
            seconds.insert(spread.due());
        }
        assert!(seconds.len() > 600, "{}", seconds.len());
    }

    fn any_cron() -> impl Strategy<Value = String> {
        let minute = prop_oneof![Just("*".to_owned()), (0u8..60).prop_map(|n| n.to_string())];
        let hour = prop_oneof![
            Just("*".to_owned()),
            Just("*/6".to_owned()),
            (0u8..24).prop_map(|n| n.to_string())
        ];
        let date = prop_oneof![Just("*".to_owned()), (1u8..32).prop_map(|n| n.to_string())];
        let weekday = prop_oneof![Just("*".to_owned()), (0u8..7).prop_map(|n| n.to_string())];
        (minute, hour, date, weekday).prop_map(|(m, h, d, w)| format!("{m} {h} {d} * {w}"))
    }

    proptest! {
        /// Against minutes tried one by one.
        #[test]
        fn an_instant_is_open_iff_a_beginning_lies_close_before(
            cron in any_cron(), minutes in 1i64..3000, at_minute in 0i64..2_000_000,
            zone in prop_oneof![Just("UTC"), Just("America/New_York"), Just("Asia/Kolkata")],
        ) {
            let now = 1_750_000_000 / 60 * 60 + at_minute * 60;
            let window = window(&cron, Duration::minutes(minutes), zone);
            let begins = |second: i64| {
                window.next_opening(at(second - 1)).is_some_and(|o| o.opens() == at(second))
            };
            let naive = (0..=minutes).map(|back| now - back * 60).find(|begin| begins(*begin));
            let found = window.opening_at(at(now)).map(|opening| opening.opens());
            prop_assert_eq!(found, naive.map(at));
        }

        #[test]
        fn a_fitted_schedule_is_open_and_in_time(
            first in any_cron(), second in any_cron(), hours in 1i64..20, lead in 1i64..400,
            end in 1_700_000_000i64..1_900_000_000,
        ) {
            let life = Lifetime::from_seconds(end - 17 * 86_400, end).unwrap();
            let due = RenewalPolicy::Before(Duration::hours(lead)).schedule(life).unwrap();
            let one = windows(&[(&first, hours), (&second, 1)]).fit(due);
            let other = windows(&[(&second, 1), (&first, hours)]).fit(due);
            prop_assert_eq!(&one, &other);
            if let Ok(fitted) = one {
                prop_assert!(due.due() <= fitted.due() && fitted.due() < life.not_after());
                prop_assert!(windows(&[(&first, hours), (&second, 1)]).opening_at(fitted.due()).is_some());
            }
        }
    }
}
