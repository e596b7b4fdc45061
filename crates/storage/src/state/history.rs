//! The last changes, for watches that start a little behind.

use std::collections::VecDeque;

use crate::{Change, Revision};

/// The most transactions remembered.
const MAX_TXNS: usize = 4096;
/// The most bytes of values remembered.
const MAX_LEN: usize = 16 << 20;

/// The changes of the last transactions, and the revision they start after.
#[derive(Debug)]
pub(crate) struct History {
    txns: VecDeque<(Revision, Vec<Change>)>,
    len: usize,
    floor: Revision,
}

impl History {
    /// Nothing remembered of what happened up to the revision.
    pub(crate) fn after(floor: Revision) -> Self {
        Self {
            txns: VecDeque::new(),
            len: 0,
            floor,
        }
    }

    pub(crate) fn push(&mut self, revision: Revision, changes: Vec<Change>) {
        self.len += len(&changes);
        self.txns.push_back((revision, changes));
        while self.txns.len() > MAX_TXNS || self.len > MAX_LEN {
            self.forget_one();
        }
    }

    /// Forgets everything.
    pub(crate) fn compact(&mut self) {
        while !self.txns.is_empty() {
            self.forget_one();
        }
    }

    /// The first transaction after the revision that changed something under the
    /// prefix, or the floor if some before it are forgotten.
    pub(crate) fn next(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<Option<(Revision, Vec<Change>)>, Revision> {
        if after < self.floor {
            return Err(self.floor);
        }
        let start = self
            .txns
            .partition_point(|(revision, _)| *revision <= after);
        let mut matching = self.txns.range(start..).filter_map(|(revision, changes)| {
            let changes: Vec<Change> = changes
                .iter()
                .filter(|change| change.key().as_str().starts_with(prefix))
                .cloned()
                .collect();
            (!changes.is_empty()).then_some((*revision, changes))
        });
        Ok(matching.next())
    }

    fn forget_one(&mut self) {
        if let Some((revision, changes)) = self.txns.pop_front() {
            self.len -= len(&changes);
            self.floor = revision;
        }
    }
}

fn len(changes: &[Change]) -> usize {
    let each = changes.iter().map(|change| match change {
        Change::Delete(_) => 0,
        Change::Put(entry) => entry.value.len(),
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Key};

    fn put(revision: u64, len: usize) -> Vec<Change> {
        vec![Change::Put(Entry {
            key: Key::new("/a/b").unwrap(),
            value: vec![0; len].into(),
            revision: Revision::new(revision),
        })]
    }

    #[test]
    fn old_and_large_changes_are_forgotten() {
        let mut history = History::after(Revision::new(5));
        assert_eq!(history.next("", Revision::new(4)), Err(Revision::new(5)));
        assert_eq!(history.next("", Revision::new(5)), Ok(None));
        for revision in 6..6 + 4096 {
            history.push(Revision::new(revision), put(revision, 1));
        }
        let first = history.next("/a", Revision::new(5)).unwrap().unwrap();
        assert_eq!(first, (Revision::new(6), put(6, 1)));
        assert_eq!(history.next("/b", Revision::new(5)), Ok(None));
        history.push(Revision::new(9_000), put(9_000, 1));
        assert_eq!(history.next("/a", Revision::new(5)), Err(Revision::new(6)));
        history.push(Revision::new(9_001), put(9_001, MAX_LEN));
        assert_eq!(
            history.next("/a", Revision::new(6)),
            Err(Revision::new(9_000))
        );
        history.compact();
        assert_eq!(
            history.next("/a", Revision::new(9_000)),
            Err(Revision::new(9_001))
        );
    }
}
