//! A fleet's renewals against what its CAs allow: forecast, peaks, smoothing.
//!
//! ```
//! use certwright_renewal::fleet::{Fleet, Goal, Quota, Renewal};
//! use time::{Duration, OffsetDateTime};
//!
//! let (start, day) = (OffsetDateTime::UNIX_EPOCH, Duration::DAY);
//! let mut fleet = Fleet::new();
//! fleet.set_quota("le", Quota::refilled(300, Duration::hours(3)));
//! for _ in 0..150 {
//!     fleet.add(&"le", Renewal::new(start, start + day, start + day * 20)?)?;
//! }
//! assert_eq!(fleet.overruns()[0].renewals, 150); // 100 are allowed
//! let smoothed = fleet.smooth(Goal::LowestPeak);
//! assert_eq!(smoothed.forecast(Duration::HOUR).busiest(), Some((start, 6)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | say what a CA allows | [`Quota`], with announced outages and what is used already |
//! | say how far a renewal may move | [`Renewal::of`] a schedule, [`Renewal::new`] |
//! | count renewals per hour or day, find the peaks | [`Fleet::forecast`], [`Load::peaks`] |
//! | hear where the CA would refuse | [`Fleet::overruns`] |
//! | move renewals so that it does not | [`Fleet::smooth`] |
//! | hear who comes late or is lost, and why | [`Smoothed::shortages`] |
//!
//! # What smoothing promises
//!
//! - No span of a quota holds more than it allows, whatever happens.
//! - A renewal is moved earlier, never before its earliest safe instant. It comes
//!   later, never after its latest, only if its quota leaves no other way, and is then
//!   among the shortages.
//! - All are in time if any plan could have them in time. Otherwise no plan could lose
//!   fewer; and if none is lost and none has to wait only to save another
//!   ([`Cause::Yields`]), no plan could have fewer of them late.
//! - Where all are in time, none is moved further than the goal takes: among all plans
//!   that keep the quotas, and with [`Goal::LowestPeak`] among those of the lowest peak
//!   there can be, the sum of the spans the renewals are moved by is least.
//! - The result depends on the renewals, not on their order, and smoothing what was
//!   smoothed changes nothing.
//!
//! It takes O(n log n) for n renewals, and a pass over them for every doubling of the
//! peak.
//!
//! # What it does not know
//!
//! A renewal counts against one quota. Where two hold at once, as for an account and for
//! a domain, smooth by the narrower, and [`overruns`](Fleet::overruns) of a fleet of the
//! result under the other says whether that is kept as well. The peak is one figure for
//! a quota and all its time: a crowd that cannot move sets it for everybody.

mod load;
mod pool;
mod quota;
mod renewal;
mod rescue;
mod rooms;
mod shortage;
mod smooth;
mod sweep;

use core::cmp::Reverse;
use std::collections::BTreeMap;

use thiserror::Error;
use time::{Duration, OffsetDateTime};

pub use self::load::{Load, Peak};
pub use self::quota::Quota;
pub use self::renewal::{InvalidRenewal, Renewal};
pub use self::shortage::{Cause, Shortage};
use crate::instant::at;

/// Renewals, numbered as they were added, each under one quota; quotas have keys of
/// the caller's.
#[derive(Clone, Debug)]
pub struct Fleet<Q> {
    keys: BTreeMap<Q, usize>,
    quotas: Vec<Quota>,
    /// Each with the place of its quota.
    renewals: Vec<(usize, Renewal)>,
}

/// How far smoothing goes; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// No span holds more than the busiest has to: an even load, at the price of
    /// certificates replaced sooner.
    LowestPeak,
    /// No span holds more than its quota allows; what the quota has room for stays.
    WithinQuotas,
}

impl<Q: Ord> Fleet<Q> {
    /// A fleet without quotas and renewals.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            quotas: Vec::new(),
            renewals: Vec::new(),
        }
    }

    /// Sets a quota; gives the one that held before.
    pub fn set_quota(&mut self, key: Q, quota: Quota) -> Option<Quota> {
        if let Some(place) = self.keys.get(&key) {
            return Some(core::mem::replace(&mut self.quotas[*place], quota));
        }
        self.keys.insert(key, self.quotas.len());
        self.quotas.push(quota);
        None
    }

    /// Adds a renewal and gives its number: the first is 0.
    ///
    /// # Errors
    /// [`UnknownQuota`] if no quota was set for the key; nothing is added.
    pub fn add(&mut self, key: &Q, renewal: Renewal) -> Result<usize, UnknownQuota> {
        let place = self.keys.get(key).ok_or(UnknownQuota)?;
        self.renewals.push((*place, renewal));
        Ok(self.renewals.len() - 1)
    }

    /// How many renewals there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.renewals.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.renewals.is_empty()
    }

    /// The renewal of this number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<Renewal> {
        self.renewals.get(number).map(|(_, renewal)| *renewal)
    }

    /// The load as planned, in steps of this length.
    #[must_use]
    pub fn forecast(&self, step: Duration) -> Load {
        Load::of_seconds(self.renewals.iter().map(|(_, r)| r.planned), step)
    }

    /// The load as planned of one quota; empty if there is none of this key.
    #[must_use]
    pub fn forecast_of(&self, key: &Q, step: Duration) -> Load {
        let place = self.keys.get(key);
        let own = self.renewals.iter().filter(|(p, _)| Some(p) == place);
        Load::of_seconds(own.map(|(_, r)| r.planned), step)
    }

    /// Where the plan asks a CA for more than it allows: every such span, by quota
    /// and time.
    #[must_use]
    pub fn overruns(&self) -> Vec<Overrun<'_, Q>> {
        let mut slots: Vec<(usize, i64)> = self
            .renewals
            .iter()
            .map(|(place, renewal)| (*place, self.quotas[*place].slot(renewal.planned)))
            .collect();
        slots.sort_unstable();
        let mut overruns = Vec::new();
        for (key, place) in &self.keys {
            let first = slots.partition_point(|(p, _)| p < place);
            let last = slots.partition_point(|(p, _)| p <= place);
            let quota = &self.quotas[*place];
            for run in slots[first..last].chunk_by(|a, b| a == b) {
                let allowed = usize::try_from(quota.room(run[0].1)).unwrap_or(usize::MAX);
                if run.len() > allowed {
                    overruns.push(Overrun {
                        quota: key,
                        from: at(quota.start(run[0].1)),
                        until: at(quota.start(run[0].1).saturating_add(quota.length())),
                        renewals: run.len(),
                        allowed,
                    });
                }
            }
        }
        overruns
    }

    /// Moves renewals so that no quota is exceeded.
    #[must_use]
    pub fn smooth(&self, goal: Goal) -> Smoothed<'_, Q> {
        // A canonical order: what is alike in all this may change places unseen.
        let numbered = self.renewals.iter().enumerate();
        let mut order: Vec<_> = numbered
            .map(|(number, (place, r))| (*place, *r, number))
            .collect();
        order.sort_unstable_by_key(|(place, r, number)| {
            (
                *place,
                Reverse(r.planned),
                r.earliest,
                Reverse(r.latest),
                *number,
            )
        });
        let mut instants = vec![None; self.len()];
        let mut shortages = Vec::new();
        for group in order.chunk_by(|(a, ..), (b, ..)| a == b) {
            let renewals: Vec<Renewal> = group.iter().map(|(_, renewal, _)| *renewal).collect();
            let outcomes = smooth::smooth(&renewals, &self.quotas[group[0].0], goal);
            for ((.., number), outcome) in group.iter().zip(outcomes) {
                instants[*number] = outcome.instant;
                if let Some(cause) = outcome.cause {
                    shortages.push(Shortage {
                        renewal: *number,
                        late: outcome.instant.map(at),
                        cause,
                    });
                }
            }
        }
        shortages.sort_unstable_by_key(|shortage| shortage.renewal);
        Smoothed {
            fleet: self,
            instants,
            shortages,
        }
    }
}

impl<Q: Ord> Default for Fleet<Q> {
    fn default() -> Self {
        Self::new()
    }
}

/// A span in which a plan asks for more than the quota allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrun<'a, Q> {
    /// The quota's key.
    pub quota: &'a Q,
    /// The beginning of the span.
    pub from: OffsetDateTime,
    /// Its end, no longer part of it.
    pub until: OffsetDateTime,
    /// The renewals planned in it.
    pub renewals: usize,
    /// How many are allowed.
    pub allowed: usize,
}

/// A fleet's renewals, moved.
#[derive(Clone, Debug)]
pub struct Smoothed<'a, Q> {
    fleet: &'a Fleet<Q>,
    instants: Vec<Option<i64>>,
    shortages: Vec<Shortage>,
}

impl<Q: Ord> Smoothed<'_, Q> {
    /// The instant of a renewal: the planned one if it stays, otherwise one in the span
    /// it was moved to; `None` if it is lost or there is none of this number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<OffsetDateTime> {
        self.instants.get(number).copied().flatten().map(at)
    }

    /// The instants of all renewals in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<OffsetDateTime>> {
        self.instants.iter().map(|instant| instant.map(at))
    }

    /// Every renewal that is late or lost, by its number.
    #[must_use]
    pub fn shortages(&self) -> &[Shortage] {
        &self.shortages
    }

    /// How many renewals have another instant than planned.
    #[must_use]
    pub fn moved(&self) -> usize {
        let both = self.instants.iter().zip(&self.fleet.renewals);
        both.filter(|(instant, (_, r))| instant.is_some_and(|instant| instant != r.planned))
            .count()
    }

    /// The load after smoothing, in steps of this length. Renewals that are lost are not
    /// part of it.
    #[must_use]
    pub fn forecast(&self, step: Duration) -> Load {
        Load::of_seconds(self.instants.iter().flatten().copied(), step)
    }

    /// The load after smoothing of one quota; empty if there is none of this key.
    #[must_use]
    pub fn forecast_of(&self, key: &Q, step: Duration) -> Load {
        let place = self.fleet.keys.get(key);
        let both = self.instants.iter().zip(&self.fleet.renewals);
        let own = both.filter(|(_, (p, _))| Some(p) == place);
        Load::of_seconds(own.filter_map(|(instant, _)| *instant), step)
    }
}

/// A renewal was added under a key without a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the fleet has no quota of this key, set it before adding renewals")]
#[non_exhaustive]
pub struct UnknownQuota;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn hours(earliest: i64, planned: i64, latest: i64) -> Renewal {
        let hour = |n: i64| at(n * HOUR);
        Renewal::new(hour(earliest), hour(planned), hour(latest)).unwrap()
    }

    fn fleet(count: u32, renewals: &[Renewal]) -> Fleet<&'static str> {
        let mut fleet = Fleet::new();
        fleet.set_quota("ca", Quota::new(count, Duration::HOUR));
        for renewal in renewals {
            fleet.add(&"ca", *renewal).unwrap();
        }
        fleet
    }

    fn moved_to(smoothed: &Smoothed<'_, &str>) -> Vec<Option<i64>> {
        let hour = |instant: OffsetDateTime| instant.unix_timestamp() / HOUR;
        smoothed.iter().map(|instant| instant.map(hour)).collect()
    }

    #[test]
    fn moves_as_little_as_the_goal_takes() {
        let renewals = [hours(0, 9, 20); 4];
        for (goal, count, expected) in [
            (Goal::WithinQuotas, 9, [9, 9, 9, 9]),
            (Goal::WithinQuotas, 3, [8, 9, 9, 9]),
            (Goal::LowestPeak, 9, [6, 7, 8, 9]),
        ] {
            let fleet = fleet(count, &renewals);
            let smoothed = fleet.smooth(goal);
            let mut found = moved_to(&smoothed);
            found.sort_unstable();
            assert_eq!(found, expected.map(Some), "{goal:?} {count}");
            let stay = expected.iter().filter(|hour| **hour == 9).count();
            assert_eq!(smoothed.moved(), renewals.len() - stay);
        }
    }

    #[test]
    fn moves_past_an_announced_outage() {
        let mut fleet = fleet(2, &[hours(0, 9, 20), hours(8, 9, 20), hours(0, 5, 20)]);
        let quota = Quota::new(2, Duration::HOUR).except(at(6 * HOUR), at(12 * HOUR), 0);
        assert!(fleet.set_quota("ca", quota).is_some());
        let smoothed = fleet.smooth(Goal::WithinQuotas);
        assert_eq!(moved_to(&smoothed), [Some(5), Some(12), Some(5)]);
        assert_eq!(
            smoothed.shortages()[0].to_string(),
            "renewal 1 has to wait until 1970-01-01T12:30:00Z: from 1970-01-01T08:00:00Z to \
             1970-01-01T10:00:00Z the quota allows 0 of 1 renewals"
        );
    }

    #[test]
    fn names_who_cannot_be_saved() {
        let fleet = fleet(1, &[hours(1, 1, 2), hours(1, 2, 2), hours(1, 2, 2)]);
        let smoothed = fleet.smooth(Goal::LowestPeak);
        assert_eq!(moved_to(&smoothed).iter().flatten().count(), 2);
        let [shortage] = smoothed.shortages() else {
            panic!("{:?}", smoothed.shortages());
        };
        let text = shortage.to_string();
        assert!(
            text.ends_with(
                " cannot be saved: from 1970-01-01T01:00:00Z to 1970-01-01T03:00:00Z the quota \
                 allows 2 of 3 renewals"
            ),
            "{text}"
        );
    }

    #[test]
    fn some_wait_for_others() {
        // The first would take the place the last needs.
        let renewals = [hours(1, 1, 9), hours(0, 1, 1), hours(0, 0, 0)];
        let fleet = fleet(1, &renewals);
        let smoothed = fleet.smooth(Goal::WithinQuotas);
        assert_eq!(moved_to(&smoothed), [Some(2), Some(1), Some(0)]);
        assert_eq!(smoothed.shortages()[0].cause, Cause::Yields);
        assert_eq!(
            smoothed.shortages()[0].to_string(),
            "renewal 0 has to wait until 1970-01-01T02:30:00Z: others have less time left"
        );
    }

    #[test]
    fn a_quota_of_nothing_closes_every_span() {
        let second = Quota::new(0, Duration::SECOND);
        let year = Quota::new(1, Duration::SECOND).except(at(0), at(400 * 366 * 24 * HOUR), 0);
        for quota in [second, year] {
            let mut fleet = fleet(1, &[hours(0, 9, 100 * 366 * 24)]);
            fleet.set_quota("ca", quota);
            for goal in [Goal::LowestPeak, Goal::WithinQuotas] {
                assert_eq!(fleet.smooth(goal).get(0), None);
            }
        }
    }

    #[test]
    fn forecasts_by_quota() {
        let mut fleet = fleet(1, &[hours(0, 1, 9), hours(0, 1, 9), hours(0, 3, 9)]);
        fleet.set_quota("other", Quota::new(9, Duration::HOUR));
        fleet.add(&"other", hours(0, 1, 9)).unwrap();
        assert_eq!(fleet.add(&"none", hours(0, 1, 9)), Err(UnknownQuota));
        let busiest = |load: Load| load.busiest().map(|(_, count)| count);
        assert_eq!(busiest(fleet.forecast(Duration::HOUR)), Some(3));
        assert_eq!(busiest(fleet.forecast_of(&"ca", Duration::HOUR)), Some(2));
        assert_eq!(busiest(fleet.forecast_of(&"none", Duration::HOUR)), None);
        let overruns = fleet.overruns();
        let [overrun] = overruns.as_slice() else {
            panic!("{overruns:?}");
        };
        assert_eq!(
            (overrun.quota, overrun.renewals, overrun.allowed),
            (&"ca", 2, 1)
        );
        assert_eq!((overrun.from, overrun.until), (at(HOUR), at(2 * HOUR)));
        let smoothed = fleet.smooth(Goal::WithinQuotas);
        assert_eq!(
            busiest(smoothed.forecast_of(&"ca", Duration::HOUR)),
            Some(1)
        );
        assert_eq!(smoothed.forecast_of(&"other", Duration::DAY).total(), 1);
        assert_eq!(smoothed.get(99), None);
    }
}
