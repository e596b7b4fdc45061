//! A machine: its clocks, and what it is connected to.

use crate::random::Random;
use crate::world::Micros;

/// Whether messages arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// They arrive, the answers do not.
    NoAnswers,
    /// The sender is told at once.
    Refusing,
    /// They are lost, and nobody is told.
    Silent,
}

pub(crate) struct Machine {
    /// How many microseconds its monotonic clock counts in a thousand.
    rate: u64,
    /// How many seconds the time of day is ahead.
    pub(crate) ahead: i64,
    pub(crate) storage: Link,
    pub(crate) authority: Link,
    /// Since when nothing comes from the store.
    pub(crate) cut_since: Option<Micros>,
    /// By SIGSTOP.
    pub(crate) stopped: bool,
    /// What arrived meanwhile.
    pub(crate) held: Vec<Box<dyn FnOnce() + Send>>,
    pub(crate) running: bool,
}

impl Machine {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            rate: random.within(960..1041),
            ahead: skew(random),
            storage: Link::Up,
            authority: Link::Up,
            cut_since: None,
            stopped: false,
            held: Vec::new(),
            running: false,
        }
    }

    /// What its monotonic clock shows.
    pub(crate) fn local(&self, now: Micros) -> Micros {
        now * self.rate / 1000
    }

    /// How long the world waits while it waits.
    pub(crate) fn wait(&self, local: Micros) -> Micros {
        local.saturating_mul(1000) / self.rate + 1
    }
}

/// Five minutes either way.
pub(crate) fn skew(random: &mut Random) -> i64 {
    i64::try_from(random.within(0..580)).unwrap() - 290
}
