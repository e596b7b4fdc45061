//! Who waits and who is given up where not all can be in time.

use super::quota::Quota;
use super::renewal::Renewal;
use super::rooms::Rooms;
use super::shortage::Cause;
use super::sweep::{Full, Tight};
use crate::instant::at;

pub(super) struct Rescue {
    /// The last slot of each that can be saved.
    pub(super) deadlines: Vec<Option<i64>>,
    pub(super) causes: Vec<Option<Cause>>,
}

/// Who is lost, who is late, and by how much, where not all can be in time.
///
/// First the fewest are given up. Of the others as many as possible are in time. If
/// that leaves one without a place, those with more time left wait for it.
pub(super) fn rescue(renewals: &[Renewal], quota: &Quota, windows: &[(i64, i64)]) -> Rescue {
    let mut causes = vec![None; renewals.len()];
    let latest = |i: usize| quota.slot(renewals[i].latest);
    let crowded = |tight: Tight| Cause::Crowded {
        from: at(quota.start(tight.from)),
        until: at(quota.start(tight.until)),
        renewals: tight.jobs,
        allowed: tight.places,
    };
    let mirror = |tight: Tight| Tight {
        from: 1 - tight.until,
        until: 1 - tight.from,
        ..tight
    };

    // Earliest deadline first by the latest safe slots: the sweep with time mirrored.
    let mirrored: Vec<_> = (0..renewals.len())
        .map(|i| (-latest(i), -windows[i].0))
        .collect();
    let soonest = Full::sweep(&mirrored, &Rooms::of(quota).mirrored());
    for (i, tight) in &soonest.dropped {
        causes[*i] = Some(crowded(mirror(*tight)));
    }
    let saved: Vec<usize> = (0..renewals.len())
        .filter(|i| soonest.slots[*i].is_some())
        .collect();

    let in_time: Vec<_> = saved.iter().map(|i| windows[*i]).collect();
    let in_time = Full::sweep(&in_time, &Rooms::of(quota));
    let mut deadlines: Vec<Option<i64>> = vec![None; renewals.len()];
    for i in &saved {
        deadlines[*i] = Some(windows[*i].1);
    }
    let waiting: Vec<usize> = in_time
        .dropped
        .iter()
        .map(|(place, _)| saved[*place])
        .collect();
    for (place, tight) in &in_time.dropped {
        causes[saved[*place]] = Some(crowded(*tight));
    }

    // What is left of the quota, to those that wait.
    let mut left = Rooms::of(quota).mirrored();
    for slot in in_time.slots.iter().flatten() {
        *left.used.entry(*slot).or_default() += 1;
    }
    let late: Vec<_> = waiting
        .iter()
        .map(|i| (-latest(*i), -windows[*i].1 - 1))
        .collect();
    let late = Full::sweep(&late, &left);
    if late.dropped.is_empty() {
        for (i, slot) in waiting.iter().zip(&late.slots) {
            deadlines[*i] = slot.map(|slot| -slot);
        }
        return Rescue { deadlines, causes };
    }
    for i in saved {
        let soonest = soonest.slots[i].map(|slot| -slot);
        deadlines[i] = soonest.max(Some(windows[i].1));
    }
    Rescue { deadlines, causes }
}
