//! The pictures as they are. `UPDATE_SNAPSHOTS=1` writes them anew: look at them then.

#![cfg(feature = "timeline")]
#![allow(clippy::unwrap_used, reason = "a test reports nothing else")]

use std::path::Path;

use certwright_renewal::fleet::{Fleet, Goal, Load, Quota, Renewal};
use certwright_renewal::{
    AriWindow, Lifetime, LoadTimeline, Opening, RenewalPolicy, Schedule, Seed, Timeline,
};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

const DAY: i64 = 86_400;

/// So many hours after 2026-01-01T00:00:00Z.
fn hour(hour: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_225_600 + hour * 3600).unwrap()
}

fn day(day: i64) -> OffsetDateTime {
    hour(day * 24)
}

fn life() -> Lifetime {
    Lifetime::new(day(0), day(90)).unwrap()
}

fn plain() -> Schedule {
    RenewalPolicy::TwoThirds.schedule(life()).unwrap()
}

/// A schedule of nights that failed twice.
fn nights() -> Timeline {
    let night = |n: i64| Opening::new(day(n), day(n + 2)).unwrap();
    Timeline::new(plain().moved_into(night(60)).unwrap())
        .openings((0..12).map(|week| night(week * 7 + 4)))
        .retries([day(61), day(64)])
        .now(day(63))
}

/// One whose CA suggests a window.
fn suggested() -> Timeline {
    let window = AriWindow::new(day(40), day(50)).unwrap();
    let policy = RenewalPolicy::TwoThirds;
    Timeline::new(
        policy
            .schedule_with_ari(life(), window, Seed::new(b"a"))
            .unwrap(),
    )
}

/// A crowd of a morning under a quota of 20 an hour.
fn crowd() -> LoadTimeline {
    let mut fleet = Fleet::new();
    fleet.set_quota((), Quota::new(20, Duration::HOUR));
    for number in 0..100 {
        let planned = hour(20 + number % 3) + Duration::seconds(number * 7);
        let renewal = Renewal::new(hour(8 + number % 7), planned, hour(200)).unwrap();
        fleet.add(&(), renewal).unwrap();
    }
    let smoothed = fleet.smooth(Goal::WithinQuotas);
    LoadTimeline::new(fleet.forecast(Duration::HOUR))
        .after(smoothed.forecast(Duration::HOUR))
        .unwrap()
        .limit(20)
}

#[test]
fn pictures_stay_what_they_are() {
    let year = LoadTimeline::new(Load::new((0..365).map(|n| day(n * n % 365)), Duration::DAY));
    for (name, picture) in [
        ("life_nights.svg", nights().svg()),
        ("life_nights.txt", nights().text(72)),
        ("life_suggested.svg", suggested().svg()),
        ("life_suggested.txt", suggested().text(40)),
        ("load_crowd.svg", crowd().svg()),
        ("load_crowd.txt", crowd().text(40, 20)),
        ("load_crowd_short.txt", crowd().text(40, 3)),
        ("load_year.txt", year.text(30, 12)),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/snapshots")
            .join(name);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &picture).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap();
        assert_eq!(picture, known, "{name} is\n{picture}\nand was\n{known}");
    }
}

#[test]
fn loads_of_other_steps_are_not_compared() {
    let load = |step| Load::new([day(0)], step);
    let picture = LoadTimeline::new(load(Duration::DAY));
    assert!(picture.clone().after(load(Duration::HOUR)).is_none());
    assert!(picture.after(load(Duration::DAY)).is_some());
}

#[test]
fn nothing_is_drawn_of_nothing() {
    let none = LoadTimeline::new(Load::new([], Duration::DAY));
    assert_eq!(none.text(0, 0), "from                   before    after\n");
    assert!(none.svg().ends_with("at most 0</text>\n</svg>\n"));
    for limit in [0, 2, usize::MAX] {
        let svg = none.clone().limit(limit).svg();
        assert!(svg.contains(&format!("<title>{limit} allowed</title>")));
    }
}

proptest! {
    #[test]
    fn stays_inside_the_picture(
        before in prop::collection::vec(-4_000_000_000i64..4_000_000_000, 0..50),
        after in prop::collection::vec(-4_000_000_000i64..4_000_000_000, 0..50),
        limit: Option<usize>, step in 1..400 * DAY, columns in 0u16..200, rows in 0u16..300,
    ) {
        let load = |seconds: Vec<i64>| {
            let instants = seconds.into_iter();
            let instants = instants.map(|s| OffsetDateTime::from_unix_timestamp(s).unwrap());
            Load::new(instants, Duration::seconds(step))
        };
        let mut picture = LoadTimeline::new(load(before)).after(load(after)).unwrap();
        if let Some(limit) = limit {
            picture = picture.limit(limit);
        }
        let text = picture.text(columns, rows);
        prop_assert!(text.lines().count() <= usize::from(rows.max(1)) + 1);
        let widest = 41 + usize::from(columns.max(10));
        prop_assert!(text.lines().all(|line| line.len() <= widest), "{}", text);
        let svg = picture.svg();
        for (name, most) in [("x", 9700), ("y", 2400), ("width", 9400), ("height", 1500)] {
            for part in svg.split(&format!(" {name}=\"")).skip(1) {
                let found: usize = part.split('"').next().unwrap().parse().unwrap();
                prop_assert!(found <= most, "{} {}", name, found);
            }
        }
        for tag in ["svg", "style", "title", "rect", "text"] {
            let opened = svg.matches(&format!("<{tag}")).count();
            prop_assert_eq!(opened, svg.matches(&format!("</{tag}>")).count());
        }
    }
}
