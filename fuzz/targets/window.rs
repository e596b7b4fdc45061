//! A zone, a bar and a cron text: a schedule that is moved into the window is due no earlier, while it is open, and
//! before the certificate expires.
#![no_main]

use certwright_renewal::window::{Cron, Window, Windows, Zone};
use certwright_renewal::{Lifetime, RenewalPolicy};
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

fuzz_target!(|input: (u16, u16, &str)| {
    let (minutes, hours, text) = input;
    let (zone, cron) = text.split_once('|').unwrap_or(("", text));
    let (Ok(zone), Ok(cron)) = (zone.parse::<Zone>(), cron.parse::<Cron>()) else {
        return;
    };
    let Ok(window) = Window::new(cron, Duration::minutes(minutes.into()), Some(zone)) else {
        return;
    };
    let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let life = Lifetime::new(start, start + Duration::hours(i64::from(hours) + 2)).expect("a life");
    let Ok(schedule) = RenewalPolicy::TwoThirds.schedule(life) else {
        return;
    };
    let windows: Windows = [window].into_iter().collect();
    if let Ok(fitted) = windows.fit(schedule) {
        assert!(fitted.due() >= schedule.due() && fitted.due() <= life.not_after());
        assert!(windows.opening_at(fitted.due()).is_some());
    }
});
