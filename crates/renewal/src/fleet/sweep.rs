//! One pass over time that serves as many jobs as can be served.

use core::ops::ControlFlow;

use super::pool::Pool;
use super::rooms::Rooms;

/// Jobs that each need one place in a slot of their window, latest deadline first.
///
/// A sweep goes back in time and gives each slot's places to those waiting whose
/// windows begin last: earliest deadline first, with time reversed. For jobs of one
/// size it serves as many as any other order could (Jackson 1955; Glover 1967 for the
/// convex bipartite graphs these are), and it serves each as late as it can.
#[derive(Debug)]
pub(super) struct Line {
    /// Where each job was in the list the line was made from.
    order: Vec<usize>,
    deadlines: Vec<i64>,
    ranks: Vec<usize>,
    /// Each first slot of a window once, ascending.
    releases: Vec<i64>,
    pool: Pool,
}

/// How many places a slot has, and where the sweep goes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) places: u32,
    pub(super) next: i64,
}

/// What becomes of the jobs of a sweep.
pub(super) trait Report {
    /// `job` gets a place in `slot`.
    fn served(&mut self, _job: usize, _slot: i64) {}
    /// `job` gets none.
    fn dropped(&mut self, job: usize, tight: impl FnOnce() -> Tight) -> ControlFlow<()>;
}

/// Slots that are too few: every job counted has its whole window in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tight {
    pub(super) from: i64,
    /// The slot after the last.
    pub(super) until: i64,
    pub(super) jobs: usize,
    pub(super) places: usize,
}

impl Line {
    /// Windows as (first slot, last slot). Jobs that are alike in both keep their order.
    pub(super) fn new(windows: &[(i64, i64)]) -> Self {
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|job| core::cmp::Reverse(windows[*job].1));
        let mut releases: Vec<i64> = windows.iter().map(|(first, _)| *first).collect();
        releases.sort_unstable();
        releases.dedup();
        let rank = |job: &usize| {
            let found = releases.binary_search(&windows[*job].0);
            found.unwrap_or_else(|place| place)
        };
        Self {
            ranks: order.iter().map(rank).collect(),
            deadlines: order.iter().map(|job| windows[*job].1).collect(),
            pool: Pool::new(releases.len(), order.len()),
            order,
            releases,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many slots there are from the first window's beginning to the last one's end.
    pub(super) fn slots(&self) -> i64 {
        let first = self.releases.first().copied().unwrap_or(0);
        let last = self.deadlines.first().copied().unwrap_or(0);
        last.saturating_sub(first).saturating_add(1)
    }

    pub(super) fn sweep(&mut self, room: impl Fn(i64) -> Room, report: &mut impl Report) {
        self.pool.clear();
        let mut marks = Marks::default();
        let (mut waiting, mut next, mut slot) = (0, 0, 0);
        while waiting > 0 || next < self.order.len() {
            if waiting == 0 {
                slot = self.deadlines[next];
                marks.begin(slot.saturating_add(1));
            }
            while next < self.order.len() && self.deadlines[next] >= slot {
                self.pool.push(self.ranks[next], next);
                (waiting, next) = (waiting + 1, next + 1);
            }
            // Windows that begin after this slot are over.
            while let Some(rank) = self.pool.top().filter(|rank| self.releases[*rank] > slot)
                && let Some(job) = self.pool.pop(rank)
            {
                waiting -= 1;
                marks.dropped += 1;
                let tight = || marks.tight(self.releases[rank]);
                if report.dropped(self.order[job], tight).is_break() {
                    return;
                }
            }
            let Room { places, next: on } = room(slot);
            let mut lowest = None;
            for _ in 0..places {
                let Some(rank) = self.pool.top() else { break };
                let Some(job) = self.pool.pop(rank) else {
                    break;
                };
                waiting -= 1;
                marks.served += 1;
                lowest = Some(rank);
                report.served(self.order[job], slot);
            }
            if let Some(rank) = lowest.filter(|_| waiting > 0) {
                marks.pass(slot, self.releases[rank]);
            }
            slot = on;
        }
    }
}

/// Everything a sweep can tell.
pub(super) struct Full {
    pub(super) slots: Vec<Option<i64>>,
    pub(super) dropped: Vec<(usize, Tight)>,
}

impl Full {
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            slots: vec![None; jobs],
            dropped: Vec::new(),
        }
    }

    pub(super) fn sweep(windows: &[(i64, i64)], rooms: &Rooms<'_>) -> Self {
        let mut full = Self::new(windows.len());
        Line::new(windows).sweep(|slot| rooms.at(slot, u32::MAX), &mut full);
        full
    }
}

impl Report for Full {
    fn served(&mut self, job: usize, slot: i64) {
        self.slots[job] = Some(slot);
    }

    fn dropped(&mut self, job: usize, tight: impl FnOnce() -> Tight) -> ControlFlow<()> {
        self.dropped.push((job, tight()));
        ControlFlow::Continue(())
    }
}

/// Where the sweep has been: enough to say why a job was dropped.
///
/// The slots that are too few for a job reach from the beginning of its window to
/// before the nearest slot that served a window which begins earlier: all who were
/// served between had no more choice than it.
#[derive(Default)]
struct Marks {
    /// The nearest last; the first slots of the windows they served ascend.
    stack: Vec<Mark>,
    served: usize,
    dropped: usize,
}

struct Mark {
    slot: i64,
    lowest: i64,
    served: usize,
    dropped: usize,
}

impl Marks {
    fn begin(&mut self, slot: i64) {
        self.pass(slot, i64::MIN);
    }

    fn pass(&mut self, slot: i64, lowest: i64) {
        while self.stack.pop_if(|mark| mark.lowest >= lowest).is_some() {}
        self.stack.push(Mark {
            slot,
            lowest,
            served: self.served,
            dropped: self.dropped,
        });
    }

    fn tight(&self, release: i64) -> Tight {
        let place = self.stack.partition_point(|mark| mark.lowest < release);
        // `begin` left one that is lower than any.
        let mark = &self.stack[place.saturating_sub(1)];
        let places = self.served - mark.served;
        Tight {
            from: release,
            until: mark.slot,
            jobs: places + self.dropped - mark.dropped,
            places,
        }
    }
}
