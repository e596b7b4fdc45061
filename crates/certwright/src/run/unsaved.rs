//! What is still to be stored, and which of it has to wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use certwright_renewal::FailureBackoff;
use tokio::time::Instant;

use crate::inventory::ResourceName;
use crate::manager::{Manager, SecretChange};

/// Changes in the order in which they are to be stored. One that fails waits by itself; only what was signed by a CA
/// that is not stored waits with it.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    changes: VecDeque<SecretChange>,
    parked: BTreeMap<ResourceName, Parked>,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    attempts: i64,
    until: Instant,
}

/// Pauses between attempts to store one Secret: much shorter than those between attempts to issue, a disk that was full
/// may not be any more; longer than that of a store that failed, after which others come first.
const BACKOFF: FailureBackoff =
    FailureBackoff::new(time::Duration::seconds(4), time::Duration::minutes(5));

impl Unsaved {
    pub(super) fn push(&mut self, change: SecretChange) {
        let name = change.name();
        if self.parked.contains_key(&name) {
            // The latest alone is to be stored.
            self.changes.retain(|earlier| earlier.name() != name);
        }
        self.changes.push_back(change);
    }

    /// The place of the first change from `from` on that can be stored at `now`.
    pub(super) fn ready(&self, from: usize, now: Instant, manager: &Manager) -> Option<usize> {
        let may = |change: &SecretChange| {
            if self.parked.is_empty() {
                return true;
            }
            let name = change.name();
            let parked = self.parked.get(&name);
            parked.is_none_or(|parked| parked.until <= now)
                && !manager.is_below(&name, |ca| self.parked.contains_key(ca))
        };
        let mut rest = self.changes.iter().enumerate().skip(from);
        rest.find(|(_, change)| may(change)).map(|(at, _)| at)
    }

    pub(super) fn take(&mut self, at: usize) -> Option<SecretChange> {
        self.changes.remove(at)
    }

    /// Puts a change back that could not be stored; how often it was tried, and how long it waits now.
    pub(super) fn park(
        &mut self,
        at: usize,
        change: SecretChange,
        now: Instant,
    ) -> (i64, Duration) {
        let name = change.name();
        let known = self.parked.get(&name);
        let attempts = known.map_or(1, |parked| parked.attempts.saturating_add(1));
        let pause = BACKOFF.delay(Some(attempts)).unwrap_or_default();
        let pause = Duration::try_from(pause).unwrap_or_default();
        let until = now + pause;
        self.parked.insert(name.clone(), Parked { attempts, until });
        let later = self.changes.iter().skip(at);
        if later.into_iter().all(|later| later.name() != name) {
            self.changes.insert(at.min(self.changes.len()), change);
        }
        (attempts, pause)
    }

    /// Takes note that a Secret needs no more storing; whether it had to wait.
    pub(super) fn stored(&mut self, secret: &ResourceName) -> bool {
        self.parked.remove(secret).is_some()
    }

    /// The Secrets of which something is still to be stored, each once.
    pub(super) fn names(&self) -> std::collections::BTreeSet<ResourceName> {
        self.changes.iter().map(SecretChange::name).collect()
    }

    /// Forgets what was to become of a Secret; whether there was anything.
    pub(super) fn give_up(&mut self, secret: &ResourceName) -> bool {
        let before = self.changes.len();
        self.changes.retain(|change| change.name() != *secret);
        self.parked.remove(secret);
        self.changes.len() != before
    }

    /// Everything is tried again at once.
    pub(super) fn retry(&mut self, now: Instant) {
        for parked in self.parked.values_mut() {
            parked.until = now;
        }
    }

    /// When something is tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.parked.values().map(|parked| parked.until).min()
    }
}
