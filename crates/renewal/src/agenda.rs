//! Millions of due instants and the next one.

mod queue;

use core::hash::Hash;
use std::collections::HashMap;

use time::OffsetDateTime;

use self::queue::Queue;
use crate::instant::{at, ceil, floor};

/// Keys and the instants they are due, each key once, earliest first.
///
/// It owns no timer: sleep until [`next_wake`](Self::next_wake), then
/// [`pop_due`](Self::pop_due) until it is `None`. A clock that steps forward makes
/// more keys due at once, one that steps back makes the others wait again; none is
/// lost and none comes twice. Keys that are due in the same second come in their
/// own order.
///
/// Instants are kept in whole seconds, rounded up: nothing wakes early. Keys are
/// cloned, so make them cheap to clone: a number, an `Arc<str>`.
#[derive(Clone, Debug)]
pub struct Agenda<K> {
    // Truth is `dues`. The queue may hold surplus entries, left by updates and
    // removals, which say something else than `dues`; its first never is one.
    dues: HashMap<K, i64>,
    queue: Queue<K>,
}

impl<K: Clone + Ord + Hash> Agenda<K> {
    /// An empty agenda.
    #[must_use]
    pub fn new() -> Self {
        Self {
            dues: HashMap::new(),
            queue: Queue::new(),
        }
    }

    /// Sets when `key` is due, whether it was there or not; gives the instant that
    /// held before.
    pub fn insert(&mut self, key: K, due: OffsetDateTime) -> Option<OffsetDateTime> {
        // Through `at`, or the last fraction of a second there is would never be due.
        let due = floor(at(ceil(due)));
        let before = self.dues.insert(key.clone(), due);
        if before != Some(due) {
            self.queue.push(due, key);
            self.settle();
        }
        before.map(at)
    }

    /// Moves a key that is there; `None`, and nothing is added, if it is not.
    pub fn update(&mut self, key: &K, due: OffsetDateTime) -> Option<OffsetDateTime> {
        if !self.dues.contains_key(key) {
            return None;
        }
        self.insert(key.clone(), due)
    }

    /// Takes a key out; gives the instant it was due.
    pub fn remove(&mut self, key: &K) -> Option<OffsetDateTime> {
        let before = self.dues.remove(key)?;
        self.settle();
        Some(at(before))
    }

    /// The earliest instant anything is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<OffsetDateTime> {
        self.queue.peek().map(|(due, _)| at(due))
    }

    /// Takes out the earliest key if it is due at `now`, with the instant it was due.
    pub fn pop_due(&mut self, now: OffsetDateTime) -> Option<(K, OffsetDateTime)> {
        let (due, _) = self.queue.peek()?;
        if due > floor(now) {
            return None;
        }
        let (due, key) = self.queue.pop()?;
        self.dues.remove(&key);
        self.settle();
        Some((key, at(due)))
    }

    /// When `key` is due.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<OffsetDateTime> {
        self.dues.get(key).copied().map(at)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dues.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dues.is_empty()
    }

    /// Makes the queue's first entry tell the truth, and the queue hold no more than
    /// half as many surplus entries as keys.
    fn settle(&mut self) {
        let surplus = self.queue.len().saturating_sub(self.dues.len());
        if surplus > self.dues.len() / 2 + 32 {
            // From the truth, not by dropping what contradicts it: a key moved to
            // and fro leaves many entries that all agree with it.
            let truth = self.dues.iter();
            self.queue
                .replace(truth.map(|(key, due)| (*due, key.clone())));
            return;
        }
        while self.queue.len() > self.dues.len() {
            match self.queue.peek() {
                Some((due, key)) if self.dues.get(key) != Some(&due) => self.queue.pop(),
                _ => return,
            };
        }
    }
}

impl<K: Clone + Ord + Hash> Default for Agenda<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use time::Duration;

    #[test]
    fn a_key_is_due_once_and_in_order() {
        let mut agenda = Agenda::new();
        for (key, due) in [("c", 30), ("a", 10), ("b", 10), ("c", 5)] {
            agenda.insert(key, at(due));
        }
        assert_eq!(agenda.len(), 3);
        assert_eq!(agenda.get(&"c"), Some(at(5)));
        assert_eq!(agenda.next_wake(), Some(at(5)));
        assert_eq!(agenda.pop_due(at(4)), None);
        assert_eq!(agenda.pop_due(at(100)), Some(("c", at(5))));
        assert_eq!(agenda.pop_due(at(100)), Some(("a", at(10))));
        assert_eq!(agenda.remove(&"b"), Some(at(10)));
        assert_eq!(agenda.update(&"b", at(1)), None);
        assert!(agenda.is_empty());
        assert_eq!(agenda.next_wake(), None);
        assert_eq!(agenda.pop_due(at(100)), None);
    }

    #[test]
    fn nothing_wakes_early() {
        let mut agenda = Agenda::new();
        let due = at(10) + Duration::milliseconds(1);
        agenda.insert(1, due);
        assert_eq!(agenda.pop_due(due), None);
        assert_eq!(agenda.pop_due(at(11)), Some((1, at(11))));
    }

    #[test]
    fn the_last_instant_comes_too() {
        let never = time::PrimitiveDateTime::MAX.assume_utc();
        let mut agenda = Agenda::new();
        agenda.insert(1, never);
        let wake = agenda.next_wake().unwrap();
        assert_eq!(agenda.pop_due(wake), Some((1, wake)));
    }

    #[test]
    fn moving_to_and_fro_takes_no_memory() {
        let mut agenda = Agenda::new();
        for round in 0..100_000 {
            agenda.insert(round % 3, at(i64::from(round % 2)));
        }
        assert!(agenda.queue.len() < 48, "{}", agenda.queue.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, i64),
        Pop(i64),
        Remove(u8),
        Update(u8, i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Few keys and instants, so that updates, repeats and ties are common.
        let key = 0u8..12;
        let second = (0i64..20).prop_map(|s| s * 700 - 5000);
        prop_oneof![
            (key.clone(), second.clone()).prop_map(|(k, s)| Step::Insert(k, s)),
            second.clone().prop_map(Step::Pop),
            key.clone().prop_map(Step::Remove),
            (key, second).prop_map(|(k, s)| Step::Update(k, s)),
        ]
    }

    proptest! {
        /// Any mixture of steps, with a clock that jumps to and fro, does what a
        /// sorted map does.
        #[test]
        fn does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..600)) {
            let mut agenda = Agenda::new();
            let mut model: BTreeMap<u8, i64> = BTreeMap::new();
            let first = |model: &BTreeMap<u8, i64>| model.iter().map(|(k, s)| (*s, *k)).min();
            for step in steps {
                match step {
                    Step::Insert(key, second) => {
                        let before = model.insert(key, second);
                        prop_assert_eq!(agenda.insert(key, at(second)), before.map(at));
                    }
                    Step::Update(key, second) => {
                        let before = model.get_mut(&key).map(|s| core::mem::replace(s, second));
                        prop_assert_eq!(agenda.update(&key, at(second)), before.map(at));
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(agenda.remove(&key), model.remove(&key).map(at));
                    }
                    Step::Pop(now) => {
                        let expected = first(&model).filter(|(s, _)| *s <= now);
                        if let Some((_, key)) = expected {
                            model.remove(&key);
                        }
                        let expected = expected.map(|(s, k)| (k, at(s)));
                        prop_assert_eq!(agenda.pop_due(at(now)), expected);
                    }
                }
                prop_assert_eq!(agenda.len(), model.len());
                prop_assert_eq!(agenda.next_wake(), first(&model).map(|(s, _)| at(s)));
            }
        }
    }
}
