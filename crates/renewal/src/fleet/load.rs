//! How many renewals fall into each hour or day.

use core::fmt;
use core::iter::FusedIterator;

use time::{Duration, OffsetDateTime};

use crate::instant::{Utc, at, floor};

/// Renewals counted per hour, per day or per any other step of whole seconds; steps
/// begin at 1970-01-01T00:00:00Z. A step without renewals takes no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Seconds, at least one.
    step: i64,
    /// Ascending, no count is 0.
    counts: Vec<(i64, usize)>,
}

/// Consecutive steps with more renewals than asked about; prints as
/// `12 renewals from 2026-03-02T00:00:00Z to 2026-03-02T06:00:00Z, at most 5 in a step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peak {
    /// The beginning of the first step.
    pub from: OffsetDateTime,
    /// The end of the last step, no longer part of it.
    pub until: OffsetDateTime,
    /// The renewals of all its steps.
    pub renewals: usize,
    /// The renewals of its busiest step.
    pub most: usize,
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (Utc(floor(self.from)), Utc(floor(self.until)));
        let (renewals, most) = (self.renewals, self.most);
        write!(
            f,
            "{renewals} renewals from {from} to {until}, at most {most} in a step"
        )
    }
}

impl Load {
    /// Counts the instants; a step shorter than a second counts as a second.
    #[must_use]
    pub fn new(instants: impl IntoIterator<Item = OffsetDateTime>, step: Duration) -> Self {
        Self::of_seconds(instants.into_iter().map(floor), step)
    }

    pub(super) fn of_seconds(seconds: impl Iterator<Item = i64>, step: Duration) -> Self {
        let step = step.whole_seconds().max(1);
        let mut slots: Vec<i64> = seconds.map(|second| second.div_euclid(step)).collect();
        slots.sort_unstable();
        let runs = slots.chunk_by(|a, b| a == b);
        let counts = runs.map(|run| (run[0], run.len())).collect();
        Self { step, counts }
    }

    /// The length of a step.
    #[must_use]
    pub fn step(&self) -> Duration {
        Duration::seconds(self.step)
    }

    /// All renewals.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The renewals of the step `instant` lies in.
    #[must_use]
    pub fn at(&self, instant: OffsetDateTime) -> usize {
        self.at_slot(floor(instant).div_euclid(self.step))
    }

    /// Every step with renewals: its beginning and their number, in order of time.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (OffsetDateTime, usize)> + FusedIterator {
        let counts = self.counts.iter();
        counts.map(|(slot, count)| (self.start(*slot), *count))
    }

    /// The busiest step, of equals the first: its beginning and its renewals.
    #[must_use]
    pub fn busiest(&self) -> Option<(OffsetDateTime, usize)> {
        let counts = self.counts.iter().rev();
        let (slot, count) = counts.max_by_key(|(_, count)| *count)?;
        Some((self.start(*slot), *count))
    }

    /// Every peak above `limit`, in order of time.
    #[must_use]
    pub fn peaks(&self, limit: usize) -> Vec<Peak> {
        let above: Vec<_> = self.counts.iter().filter(|(_, n)| *n > limit).collect();
        let runs = above.chunk_by(|(a, _), (b, _)| a + 1 == *b);
        runs.map(|run| Peak {
            from: self.start(run[0].0),
            until: self.start(run[run.len() - 1].0 + 1),
            renewals: run.iter().map(|(_, count)| count).sum(),
            most: run.iter().map(|(_, count)| *count).max().unwrap_or(0),
        })
        .collect()
    }

    /// Every step with renewals by its number.
    #[cfg(feature = "timeline")]
    pub(crate) fn slots(&self) -> &[(i64, usize)] {
        &self.counts
    }

    /// The first second of a step.
    #[cfg(feature = "timeline")]
    pub(crate) fn second(&self, slot: i64) -> i64 {
        slot.saturating_mul(self.step)
    }

    fn at_slot(&self, slot: i64) -> usize {
        let found = self.counts.binary_search_by_key(&slot, |(slot, _)| *slot);
        found.map_or(0, |place| self.counts[place].1)
    }

    fn start(&self, slot: i64) -> OffsetDateTime {
        at(slot.saturating_mul(self.step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    #[test]
    fn counts_and_finds_peaks() {
        let seconds = [
            0,
            1,
            HOUR - 1,
            HOUR,
            HOUR + 1,
            3 * HOUR,
            -1,
            9 * HOUR,
            9 * HOUR,
        ];
        let load = Load::new(seconds.map(at), Duration::HOUR);
        let hours: Vec<_> = load
            .iter()
            .map(|(hour, n)| (floor(hour) / HOUR, n))
            .collect();
        assert_eq!(hours, [(-1, 1), (0, 3), (1, 2), (3, 1), (9, 2)]);
        assert_eq!(load.total(), seconds.len());
        assert_eq!(load.busiest(), Some((at(0), 3)));
        assert_eq!((load.at(at(HOUR + 5)), load.at(at(2 * HOUR))), (2, 0));
        let peaks: Vec<_> = load
            .peaks(1)
            .iter()
            .map(|p| (floor(p.from), floor(p.until), p.renewals, p.most))
            .collect();
        assert_eq!(peaks, [(0, 2 * HOUR, 5, 3), (9 * HOUR, 10 * HOUR, 2, 2)]);
        assert_eq!(load.peaks(3), []);
        assert_eq!(
            load.peaks(2)[0].to_string(),
            "3 renewals from 1970-01-01T00:00:00Z to 1970-01-01T01:00:00Z, at most 3 in a step"
        );
        let none = Load::new([], Duration::ZERO);
        assert_eq!(
            (none.busiest(), none.total(), none.step()),
            (None, 0, Duration::SECOND)
        );
    }
}
