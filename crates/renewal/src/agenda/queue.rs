//! A priority queue that stays fast when it no longer fits the cache.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Seconds and keys, least first; the same pair may be in it twice.
///
/// A heap of a million entries misses the cache at every level of every operation.
/// So only the near future is a heap. What lies beyond waits unsorted, in a bucket
/// for about an hour, and becomes the heap when that hour comes: almost every
/// operation touches few and small pieces of memory.
#[derive(Clone, Debug)]
pub(super) struct Queue<K> {
    near: BinaryHeap<Reverse<(i64, K)>>,
    far: BTreeMap<i64, Vec<Reverse<(i64, K)>>>,
    /// The last bucket that is part of `near`.
    horizon: i64,
    len: usize,
}

impl<K: Ord> Queue<K> {
    pub(super) fn new() -> Self {
        Self {
            near: BinaryHeap::new(),
            far: BTreeMap::new(),
            horizon: i64::MIN,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, second: i64, key: K) {
        self.place(second, key);
        self.refill();
    }

    pub(super) fn peek(&self) -> Option<(i64, &K)> {
        let Reverse((second, key)) = self.near.peek()?;
        Some((*second, key))
    }

    pub(super) fn pop(&mut self) -> Option<(i64, K)> {
        let Reverse(entry) = self.near.pop()?;
        self.len -= 1;
        self.refill();
        Some(entry)
    }

    /// Forgets everything and holds `entries` instead, in the memory it has.
    pub(super) fn replace(&mut self, entries: impl Iterator<Item = (i64, K)>) {
        self.near.clear();
        self.far.values_mut().for_each(Vec::clear);
        self.len = 0;
        for (second, key) in entries {
            self.place(second, key);
        }
        self.far.retain(|_, bucket| !bucket.is_empty());
        self.refill();
    }

    fn place(&mut self, second: i64, key: K) {
        let bucket = second >> BUCKET_BITS;
        let entry = Reverse((second, key));
        if bucket <= self.horizon {
            self.near.push(entry);
        } else {
            self.far.entry(bucket).or_default().push(entry);
        }
        self.len += 1;
    }

    /// Keeps the least entry in the heap.
    fn refill(&mut self) {
        if self.near.is_empty()
            && let Some((bucket, entries)) = self.far.pop_first()
        {
            self.near = BinaryHeap::from(entries);
            self.horizon = bucket;
        }
    }
}

/// 4096 seconds to a bucket: a million certificates of 90 days make 500 each.
const BUCKET_BITS: u32 = 12;
