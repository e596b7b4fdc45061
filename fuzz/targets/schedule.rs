//! No lifetime and policy gives a schedule that is due at once or only after expiry, and what would is refused with one
//! that does neither.
#![no_main]

use arbitrary::Arbitrary;
use certwright_renewal::{AcmeTable, AriWindow, Lifetime, Percent, RenewalPolicy, Seed};
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

#[derive(Arbitrary, Debug)]
struct Case {
    not_before: i32,
    length: u32,
    late: u16,
    policy: Policy,
    window: Option<(i32, i32)>,
    seed: u64,
}

#[derive(Arbitrary, Debug)]
enum Policy {
    Table(u64),
    Before(i64),
    Percent(u8),
    TwoThirds,
}

fuzz_target!(|case: Case| {
    let start = i64::from(case.not_before);
    let Ok(life) = Lifetime::from_seconds(start, start + i64::from(case.length)) else {
        return;
    };
    let at = |second: i64| OffsetDateTime::from_unix_timestamp(second).expect("in range");
    let life = life.obtained_at(at(start + i64::from(case.late)));
    let policy = match case.policy {
        Policy::Table(hours) => RenewalPolicy::AcmeTable(AcmeTable::for_hours(hours)),
        Policy::Before(nanos) => RenewalPolicy::Before(Duration::nanoseconds(nanos)),
        Policy::Percent(number) => match Percent::try_from(i32::from(number)) {
            Ok(percent) => RenewalPolicy::Percent(percent),
            Err(_) => return,
        },
        Policy::TwoThirds => RenewalPolicy::TwoThirds,
    };
    let window = case
        .window
        .and_then(|(from, until)| AriWindow::new(at(from.into()), at(until.into())).ok());
    let schedule = match window {
        Some(window) => policy.schedule_with_ari(life, window, Seed::new(&case.seed.to_be_bytes())),
        None => policy.schedule(life),
    };
    match schedule {
        Ok(schedule) => {
            assert!(schedule.due() <= life.not_after(), "{schedule:?}");
            // Only the CA itself may ask for a renewal at once, by its window.
            assert!(
                window.is_some() || !schedule.is_due(life.obtained()),
                "{schedule:?}"
            );
        }
        Err(refused) => {
            let guarded = refused.guarded();
            assert!(guarded.due() > life.obtained(), "{refused:?}: {guarded:?}");
        }
    }
});
