//! A priority queue that stays fast when it no longer fits the cache.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Seconds and keys, least first; the same pair may be in it twice.
///
/// A heap of a million entries misses the cache at every level of every operation.
/// So there is one small heap for about every hour: almost every operation touches
/// few and small pieces of memory, in whatever order the entries come.
#[derive(Clone, Debug)]
pub(super) struct Queue<K> {
    /// None is empty.
    hours: BTreeMap<i64, BinaryHeap<Reverse<(i64, K)>>>,
    len: usize,
}

impl<K: Ord> Queue<K> {
    pub(super) fn new() -> Self {
        Self {
            hours: BTreeMap::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, second: i64, key: K) {
        let hour = self.hours.entry(second >> HOUR_BITS).or_default();
        hour.push(Reverse((second, key)));
        self.len += 1;
    }

    pub(super) fn peek(&self) -> Option<(i64, &K)> {
        let (_, first) = self.hours.first_key_value()?;
        let Reverse((second, key)) = first.peek()?;
        Some((*second, key))
    }

    pub(super) fn pop(&mut self) -> Option<(i64, K)> {
        let mut first = self.hours.first_entry()?;
        let Reverse(entry) = first.get_mut().pop()?;
        if first.get().is_empty() {
            first.remove();
        }
        self.len -= 1;
        Some(entry)
    }

    /// Forgets everything and holds `entries` instead, in the memory it has.
    pub(super) fn replace(&mut self, entries: impl Iterator<Item = (i64, K)>) {
        self.hours.values_mut().for_each(BinaryHeap::clear);
        self.len = 0;
        for (second, key) in entries {
            self.push(second, key);
        }
        self.hours.retain(|_, hour| !hour.is_empty());
    }
}

/// 4096 seconds to a heap: a million certificates of 90 days make 500 each.
const HOUR_BITS: u32 = 12;
