//! Giving every renewal of one quota its instant.

use core::ops::ControlFlow;

use super::Goal;
use super::quota::Quota;
use super::renewal::Renewal;
use super::rescue::{Rescue, rescue};
use super::rooms::Rooms;
use super::shortage::Cause;
use super::sweep::{Full, Line, Report, Tight};

/// What becomes of one renewal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// `None` if it is lost.
    pub(super) instant: Option<i64>,
    /// If it is late or lost.
    pub(super) cause: Option<Cause>,
}

/// The outcome of each renewal, in their order, which must be a canonical one.
pub(super) fn smooth(renewals: &[Renewal], quota: &Quota, goal: Goal) -> Vec<Outcome> {
    let windows: Vec<_> = renewals
        .iter()
        .map(|r| (quota.slot(r.earliest), quota.slot(r.planned)))
        .collect();
    let mut line = Line::new(&windows);
    let all = Rooms::of(quota);
    if line.fits(&all) {
        let slots = line.place(&all, goal);
        return instants(renewals, quota, &slots, &[]);
    }
    let Rescue { deadlines, causes } = rescue(renewals, quota, &windows);
    let saved: Vec<usize> = (0..renewals.len())
        .filter(|i| deadlines[*i].is_some())
        .collect();
    let windows = saved
        .iter()
        .map(|i| (windows[*i].0, deadlines[*i].unwrap_or(windows[*i].1)));
    let mut line = Line::new(&windows.collect::<Vec<_>>());
    let mut slots = vec![None; renewals.len()];
    for (place, slot) in saved.iter().zip(line.place(&all, goal)) {
        slots[*place] = slot;
    }
    instants(renewals, quota, &slots, &causes)
}

impl Line {
    fn fits(&mut self, rooms: &Rooms<'_>) -> bool {
        self.fits_below(rooms, u32::MAX)
    }

    fn fits_below(&mut self, rooms: &Rooms<'_>, most: u32) -> bool {
        let mut report = Fits(true);
        self.sweep(|slot| rooms.at(slot, most), &mut report);
        report.0
    }

    /// The slot of each; all fit.
    fn place(&mut self, rooms: &Rooms<'_>, goal: Goal) -> Vec<Option<i64>> {
        let most = match goal {
            Goal::LowestPeak => self.lowest_peak(rooms),
            Goal::WithinQuotas => u32::MAX,
        };
        let mut full = Full::new(self.len());
        self.sweep(|slot| rooms.at(slot, most), &mut full);
        full.slots
    }

    /// The least number of places a slot needs for all to fit.
    fn lowest_peak(&mut self, rooms: &Rooms<'_>) -> u32 {
        let jobs = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let slots = u64::try_from(self.slots()).unwrap_or(1).max(1);
        let mean = u32::try_from(jobs.div_ceil(slots)).unwrap_or(u32::MAX);
        // Doubling from below first: a peak far above the mean is rare.
        let (mut low, mut high) = (mean.max(1), mean.max(1));
        while !self.fits_below(rooms, high) {
            if high == u32::MAX {
                return high;
            }
            low = high + 1;
            high = high.saturating_mul(2);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.fits_below(rooms, middle) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        high
    }
}

/// Whether all are served.
struct Fits(bool);

impl Report for Fits {
    fn dropped(&mut self, _job: usize, _tight: impl FnOnce() -> Tight) -> ControlFlow<()> {
        self.0 = false;
        ControlFlow::Break(())
    }
}

/// Who stays in its slot keeps its instant, the others are set evenly in theirs.
fn instants(
    renewals: &[Renewal],
    quota: &Quota,
    slots: &[Option<i64>],
    causes: &[Option<Cause>],
) -> Vec<Outcome> {
    let planned = |i: usize| quota.slot(renewals[i].planned);
    let mut outcomes: Vec<Outcome> = (0..renewals.len())
        .map(|i| Outcome {
            instant: slots[i].map(|_| renewals[i].planned),
            cause: match slots[i] {
                Some(slot) if slot <= planned(i) => None,
                _ => Some(causes.get(i).copied().flatten().unwrap_or(Cause::Yields)),
            },
        })
        .collect();
    let moved = slots.iter().enumerate();
    let moved = moved.filter_map(|(i, slot)| slot.map(|slot| (slot, i)));
    let mut moved: Vec<(i64, usize)> = moved.filter(|(slot, i)| *slot != planned(*i)).collect();
    moved.sort_unstable();
    for group in moved.chunk_by(|(a, _), (b, _)| a == b) {
        let start = quota.start(group[0].0);
        let end = start.saturating_add(quota.length() - 1);
        for (turn, (_, i)) in group.iter().enumerate() {
            let renewal = &renewals[*i];
            let (first, last) = (start.max(renewal.earliest), end.min(renewal.latest));
            let even = start.saturating_add(share(quota.length(), turn, group.len()));
            outcomes[*i].instant = Some(even.max(first).min(last));
        }
    }
    outcomes
}

/// The middle of one of `count` equal parts of a length.
fn share(length: i64, turn: usize, count: usize) -> i64 {
    let wide = |n: usize| i128::try_from(n).unwrap_or(i128::MAX / 4);
    let middle = i128::from(length).saturating_mul(wide(turn) * 2 + 1) / (wide(count) * 2).max(1);
    i64::try_from(middle).unwrap_or(length)
}
