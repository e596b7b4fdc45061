//! Smoothing against its promises, and against every plan there is where that is few.

#![allow(clippy::unwrap_used, reason = "a test reports nothing else")]

use std::collections::{BTreeMap, HashMap};

use certwright_renewal::fleet::{Cause, Fleet, Goal, Load, Quota, Renewal, Smoothed};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

/// Seconds of a span: few, so that instants share spans and edges.
const SPAN: i64 = 10;

type Jobs = Vec<(usize, [i64; 3])>;

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

fn slot(instant: OffsetDateTime) -> i64 {
    instant.unix_timestamp().div_euclid(SPAN)
}

fn fleet(jobs: &Jobs, quotas: &[Quota]) -> Fleet<usize> {
    let mut fleet = Fleet::new();
    for (key, quota) in quotas.iter().enumerate() {
        fleet.set_quota(key, quota.clone());
    }
    for (key, [earliest, planned, latest]) in jobs {
        let renewal = Renewal::new(at(*earliest), at(*planned), at(*latest)).unwrap();
        fleet.add(&(key % quotas.len()), renewal).unwrap();
    }
    fleet
}

fn jobs(most: usize, seconds: i64) -> impl Strategy<Value = Jobs> {
    let job = (0usize..2, prop::array::uniform3(0..seconds)).prop_map(|(key, mut instants)| {
        instants.sort_unstable();
        (key, instants)
    });
    prop::collection::vec(job, 0..most)
}

fn quota(most: u32, slots: i64) -> impl Strategy<Value = Quota> {
    let exception = (0..slots, 0..4i64, 0..most);
    (0..=most, prop::collection::vec(exception, 0..2)).prop_map(|(count, exceptions)| {
        let quota = Quota::new(count, Duration::seconds(SPAN));
        exceptions
            .into_iter()
            .fold(quota, |quota, (from, slots, count)| {
                quota.except(at(from * SPAN), at((from + slots) * SPAN), count)
            })
    })
}

fn goals() -> impl Strategy<Value = Goal> {
    prop_oneof![Just(Goal::LowestPeak), Just(Goal::WithinQuotas)]
}

/// The least (lost, late, places moved by) of every plan below `most` a span.
fn brute(jobs: &Jobs, quota: &Quota, most: u32, late_too: bool) -> Option<(usize, usize, i64)> {
    fn go(
        jobs: &[(usize, [i64; 3])],
        used: &mut HashMap<i64, u32>,
        room: &impl Fn(i64) -> u32,
        late_too: bool,
    ) -> Option<(usize, usize, i64)> {
        let Some(((_, [earliest, planned, latest]), rest)) = jobs.split_first() else {
            return Some((0, 0, 0));
        };
        let (first, own, last) = (earliest / SPAN, planned / SPAN, latest / SPAN);
        let mut best = None;
        for slot in first..=if late_too { last } else { own } {
            if used.get(&slot).copied().unwrap_or(0) < room(slot) {
                *used.entry(slot).or_default() += 1;
                if let Some((lost, late, moved)) = go(rest, used, room, late_too) {
                    let worse = (
                        lost,
                        late + usize::from(slot > own),
                        moved + (own - slot).max(0),
                    );
                    best = Some(best.map_or(worse, |best| worse.min(best)));
                }
                *used.get_mut(&slot).unwrap() -= 1;
            }
        }
        if late_too && let Some((lost, late, moved)) = go(rest, used, room, late_too) {
            let worse = (lost + 1, late, moved);
            best = Some(best.map_or(worse, |best| worse.min(best)));
        }
        best
    }
    let room = |slot| quota.count_at(at(slot * SPAN)).min(most);
    go(jobs, &mut HashMap::new(), &room, late_too)
}

/// How many are lost, late, and the places the others are moved by.
fn found(fleet: &Fleet<usize>, smoothed: &Smoothed<'_, usize>) -> (usize, usize, i64) {
    let lost = smoothed.iter().filter(Option::is_none).count();
    let late = smoothed.shortages().iter().filter(|s| s.late.is_some());
    let moved = smoothed.iter().enumerate().filter_map(|(number, instant)| {
        Some((slot(fleet.get(number).unwrap().planned()) - slot(instant?)).max(0))
    });
    (lost, late.count(), moved.sum())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn keeps_its_promises(
        jobs in jobs(60, 300), quotas in prop::collection::vec(quota(5, 30), 1..3), goal in goals(),
    ) {
        let fleet = fleet(&jobs, &quotas);
        let smoothed = fleet.smooth(goal);
        // Inside the span; later than planned only by name.
        let shortages: BTreeMap<_, _> = smoothed.shortages().iter().map(|s| (s.renewal, s)).collect();
        for (number, instant) in smoothed.iter().enumerate() {
            let renewal = fleet.get(number).unwrap();
            match (instant, shortages.get(&number)) {
                (Some(instant), None) => {
                    prop_assert!(renewal.earliest() <= instant && instant <= renewal.planned());
                }
                (Some(instant), Some(shortage)) => {
                    prop_assert_eq!(shortage.late, Some(instant));
                    prop_assert!(renewal.planned() < instant && instant <= renewal.latest());
                }
                (None, shortage) => prop_assert_eq!(shortage.unwrap().late, None),
            }
        }
        // No quota is exceeded, and the sum of the load is kept.
        let span = Duration::seconds(SPAN);
        for (key, quota) in quotas.iter().enumerate() {
            for (from, count) in smoothed.forecast_of(&key, span).iter() {
                prop_assert!(count <= usize::try_from(quota.count_at(from)).unwrap());
            }
        }
        let lost = shortages.values().filter(|s| s.late.is_none()).count();
        prop_assert_eq!(smoothed.forecast(span).total() + lost, fleet.forecast(span).total());
        prop_assert_eq!(fleet.overruns().is_empty() || smoothed.moved() + lost > 0, true);
    }

    #[test]
    fn one_less_than_the_lowest_peak_is_too_little(jobs in jobs(200, 100)) {
        let span = Duration::seconds(SPAN);
        let peak = |load: Load| load.busiest().map_or(0, |(_, count)| count);
        for key in 0..2 {
            let own: Jobs = jobs.iter().filter(|(own, _)| *own == key).map(|(_, job)| (0, *job)).collect();
            let alone = fleet(&own, &[Quota::new(1000, span)]);
            let lowest = peak(alone.smooth(Goal::LowestPeak).forecast(span));
            prop_assert!(lowest <= peak(alone.forecast(span)));
            if let Some(less) = u32::try_from(lowest).unwrap().checked_sub(1) {
                let tried = fleet(&own, &[Quota::new(less, span)]);
                prop_assert!(!tried.smooth(Goal::WithinQuotas).shortages().is_empty());
            }
        }
    }

    #[test]
    fn says_truly_why_there_is_no_room(jobs in jobs(40, 200), quota in quota(3, 20), goal in goals()) {
        let quotas = [quota];
        let fleet = fleet(&jobs, &quotas);
        for shortage in fleet.smooth(goal).shortages() {
            let Cause::Crowded { from, until, renewals, allowed, .. } = shortage.cause else {
                prop_assert!(shortage.late.is_some(), "who is lost did not yield");
                continue;
            };
            // Counted anew: these have no other time, and that time has no more room.
            let bound = |r: Renewal| if shortage.late.is_some() { r.planned() } else { r.latest() };
            let inside = |r: &Renewal| from <= at(slot(r.earliest()) * SPAN) && bound(*r) < until;
            let all = (0..fleet.len()).map(|number| fleet.get(number).unwrap());
            prop_assert!(all.filter(inside).count() >= renewals);
            prop_assert!(inside(&fleet.get(shortage.renewal).unwrap()));
            let slots = slot(from)..slot(until);
            let room: u32 = slots.map(|slot| quotas[0].count_at(at(slot * SPAN))).sum();
            prop_assert_eq!(usize::try_from(room).unwrap(), allowed);
            prop_assert!(renewals > allowed);
        }
    }

    #[test]
    fn the_order_does_not_matter(
        (jobs, shuffled) in jobs(40, 200).prop_flat_map(|jobs| (Just(jobs.clone()), Just(jobs).prop_shuffle())),
        quotas in prop::collection::vec(quota(4, 20), 2), goal in goals(),
    ) {
        let outcomes = |jobs: &Jobs| {
            let fleet = fleet(jobs, &quotas);
            let smoothed = fleet.smooth(goal);
            let mut outcomes: Vec<_> = jobs.iter().copied().zip(smoothed.iter()).collect();
            outcomes.sort_unstable();
            outcomes
        };
        prop_assert_eq!(outcomes(&jobs), outcomes(&shuffled));
    }

    #[test]
    fn smoothing_what_is_smooth_changes_nothing(
        jobs in jobs(40, 200), quotas in prop::collection::vec(quota(4, 20), 2), goal in goals(),
    ) {
        let before = fleet(&jobs, &quotas);
        let smoothed = before.smooth(goal);
        let kept = jobs.iter().zip(smoothed.iter()).filter_map(|((key, [first, _, last]), instant)| {
            Some((*key, [*first, instant?.unix_timestamp(), *last]))
        });
        let kept: Jobs = kept.collect();
        let again = fleet(&kept, &quotas);
        let again = again.smooth(goal);
        prop_assert_eq!(again.shortages(), &[]);
        prop_assert_eq!(again.moved(), 0);
    }

    #[test]
    fn no_plan_is_better(jobs in jobs(6, 50), quota in quota(2, 5)) {
        let quotas = [quota.clone()];
        let fleet = fleet(&jobs, &quotas);
        let (lost, late, moved) = brute(&jobs, &quota, u32::MAX, true).unwrap();
        let in_time = brute(&jobs, &quota, u32::MAX, false);
        for goal in [Goal::LowestPeak, Goal::WithinQuotas] {
            let smoothed = fleet.smooth(goal);
            let found = found(&fleet, &smoothed);
            prop_assert_eq!(found.0, lost);
            prop_assert_eq!(in_time.is_some(), smoothed.shortages().is_empty());
            let yields = smoothed.shortages().iter().any(|s| s.cause == Cause::Yields);
            if lost == 0 && !yields {
                prop_assert_eq!(found.1, late);
            }
            if lost + late > 0 {
                continue;
            }
            match goal {
                Goal::WithinQuotas => prop_assert_eq!(found.2, moved),
                Goal::LowestPeak => {
                    let lowest = (0..).find_map(|most| Some((most, brute(&jobs, &quota, most, false)?.2)));
                    let (lowest, moved) = lowest.unwrap();
                    let peak = smoothed.forecast(Duration::seconds(SPAN)).busiest().map_or(0, |(_, n)| n);
                    prop_assert_eq!(peak, usize::try_from(lowest).unwrap());
                    prop_assert_eq!(found.2, moved);
                }
            }
        }
    }
}
