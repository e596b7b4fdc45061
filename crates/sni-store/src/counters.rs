//! How often the store answered what, counted without two threads writing to one cache line.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::select::{Match, Selection};

/// What [`CertStore::select`](crate::CertStore::select) and those who serve a store answered, since the
/// store was made. Each answer counts once.
///
/// The good answers, `exact` and `wildcard`, are counted from
/// [`CertStore::track_use`](crate::CertStore::track_use) on; the others always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// A TLS-ALPN-01 challenge was answered.
    pub challenged: u64,
    /// Nothing matched, the default entry was served.
    pub defaulted: u64,
    /// A usable and valid certificate was served by the very name or address.
    pub exact: u64,
    /// What was served has expired or is not valid yet.
    pub invalid: u64,
    /// No certificate was looked for: the hello was malformed or late, or asked for a challenge that
    /// is not pending.
    pub rejected: u64,
    /// Nothing matched, nothing was served.
    pub unmatched: u64,
    /// What was served has a key the client cannot use.
    pub unusable: u64,
    /// A usable and valid certificate was served by a wildcard.
    pub wildcard: u64,
}

/// One thing to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Challenged,
    Defaulted,
    Exact,
    Invalid,
    Rejected,
    Unmatched,
    Unusable,
    Wildcard,
}

impl Event {
    #[inline]
    pub(crate) fn of<T>(selection: Option<&Selection<'_, T>>) -> Self {
        match selection {
            None => Self::Unmatched,
            Some(s) if s.matched == Match::Default => Self::Defaulted,
            Some(s) if !s.valid => Self::Invalid,
            Some(s) if !s.usable => Self::Unusable,
            Some(s) if s.matched == Match::Wildcard => Self::Wildcard,
            Some(_) => Self::Exact,
        }
    }

    #[inline]
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Exact | Self::Wildcard)
    }
}

/// Counters of eight events. Threads write to a shard each, as far as there are shards; reading sums
/// them up.
pub(crate) struct Counters(Box<[Shard; SHARDS]>);

/// Two cache lines, which processors fetch in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Shard([AtomicU64; EVENTS]);

const EVENTS: usize = 8;
const SHARDS: usize = 16;

impl Counters {
    pub(crate) fn new() -> Self {
        Self(Box::default())
    }

    #[inline]
    pub(crate) fn add(&self, event: usize) {
        self.0[shard()].0[event].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self, event: usize) -> u64 {
        let of = |shard: &Shard| shard.0[event].load(Ordering::Relaxed);
        self.0.iter().map(of).sum()
    }
}

impl Counts {
    pub(crate) fn read(counters: &Counters) -> Self {
        let sum = |event: Event| counters.sum(event as usize);
        Self {
            challenged: sum(Event::Challenged),
            defaulted: sum(Event::Defaulted),
            exact: sum(Event::Exact),
            invalid: sum(Event::Invalid),
            rejected: sum(Event::Rejected),
            unmatched: sum(Event::Unmatched),
            unusable: sum(Event::Unusable),
            wildcard: sum(Event::Wildcard),
        }
    }
}

/// This thread's shard, the same one for every store.
#[inline]
fn shard() -> usize {
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // While a thread ends it has none of its own any more.
    SHARD
        .try_with(|shard| {
            if shard.get() == usize::MAX {
                shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
            }
            shard.get()
        })
        .unwrap_or(0)
        % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_up() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counters.add(Event::Exact as usize);
                    }
                    counters.add(Event::Wildcard as usize);
                });
            }
        });
        let counts = Counts::read(&counters);
        assert_eq!(counts.exact, 2000 * u64::try_from(SHARDS).unwrap());
        assert_eq!(counts.wildcard, 2 * u64::try_from(SHARDS).unwrap());
        assert_eq!(counts.invalid, 0);
    }
}
