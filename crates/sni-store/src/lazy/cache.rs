//! What is kept: the loaded in a scan-resistant cache bounded in weight, the missing in a small one of
//! their own, so that no flood of names without certificate drives a certificate out.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hashbrown::DefaultHashBuilder;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder as CacheHashBuilder, OptionsBuilder, Weighter};

use super::{LazyError, LazyOptions};
use crate::entry::{Entry, EntryId};
use crate::index::Rows;
use crate::select::{Match, Query, Selection, SelectionPolicy};
use crate::server_name::{Buffer, Wanted};

pub(super) struct Caches<T> {
    found: Cache<EntryId, Arc<Loaded<T>>, ByWeight>,
    /// The cache passes over what weighs more, without a word.
    most: u64,
    /// By the hash of the id: a colliding one waits thirty seconds for nothing, once in a blue moon.
    missed: Cache<u64, Stamp>,
    hasher: DefaultHashBuilder,
    ttl: Duration,
    miss_ttl: Duration,
}

/// What a source had under an id.
pub(super) struct Loaded<T> {
    stamp: Stamp,
    weight: u64,
    /// Unix seconds in which each of the entries is valid.
    valid: RangeInclusive<i64>,
    policy: SelectionPolicy,
    rows: Rows<T>,
}

/// When something was found or missed, and in which generation.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) generation: u64,
    /// Unix seconds; `None` if nobody knew, which stays young until somebody does.
    pub(super) at: Option<i64>,
}

pub(super) enum Cached<T> {
    Fresh(Arc<Loaded<T>>),
    /// Nothing was there, or it could not be loaded, a moment ago.
    Missed(Option<Arc<Loaded<T>>>),
    /// Nothing is known, or what is known is too old.
    Unknown(Option<Arc<Loaded<T>>>),
}

impl<T> Caches<T> {
    pub(super) fn new(options: &LazyOptions) -> Self {
        let entries = options.max_entries.max(1);
        let bytes = options.max_bytes.max(1) as u64;
        let shards = shards(entries, bytes);
        let fewest = bytes.div_ceil(shards);
        // A bit less than the share of it that the cache takes one entry up to.
        let most = fewest - fewest.div_ceil(32);
        let weighter = ByWeight {
            // Whatever weighs a share of the whole at least is bounded in number too.
            least: bytes.div_ceil(entries as u64).min(most),
        };
        Self {
            found: sharded(entries, bytes, shards, weighter),
            most,
            missed: Cache::new(options.max_misses.max(1)),
            hasher: DefaultHashBuilder::default(),
            ttl: options.ttl,
            miss_ttl: options.miss_ttl,
        }
    }

    pub(super) fn get(&self, id: &EntryId, generation: u64, query: &Query<'_>) -> Cached<T> {
        let found = self.found.get(id);
        if let Some(loaded) = &found
            && loaded.stamp.generation == generation
            && self.is_fresh(loaded, query.now)
        {
            return found.map_or(Cached::Unknown(None), Cached::Fresh);
        }
        match self.missed.get(&self.hasher.hash_one(id)) {
            Some(missed)
                if missed.generation == generation
                    && missed.is_within(self.miss_ttl, query.now) =>
            {
                Cached::Missed(found)
            }
            _ => Cached::Unknown(found),
        }
    }

    fn is_fresh(&self, loaded: &Loaded<T>, now: Option<i64>) -> bool {
        // A certificate that is not valid may have a successor any moment.
        let valid = now.is_none_or(|now| loaded.valid.contains(&now));
        let life = if valid { self.ttl } else { self.miss_ttl };
        loaded.stamp.is_within(life, now)
    }

    /// Refuses what is too large to be kept; what was kept under the id is gone then too.
    pub(super) fn keep(&self, id: &EntryId, loaded: &Arc<Loaded<T>>) -> Result<(), LazyError> {
        self.missed.remove(&self.hasher.hash_one(id));
        let bytes = loaded.weight_under(id);
        if bytes > self.most {
            self.found.remove(id);
            let most = self.most;
            return Err(LazyError::TooLarge { bytes, most });
        }
        self.found.insert(id.clone(), loaded.clone());
        Ok(())
    }

    pub(super) fn gone(&self, id: &EntryId, stamp: Stamp) {
        self.found.remove(id);
        self.failed(id, stamp);
    }

    pub(super) fn failed(&self, id: &EntryId, stamp: Stamp) {
        self.missed.insert(self.hasher.hash_one(id), stamp);
    }

    pub(super) fn forget(&self, id: &EntryId) {
        self.found.remove(id);
        self.missed.remove(&self.hasher.hash_one(id));
    }

    pub(super) fn kept(&self) -> (usize, u64) {
        (self.found.len(), self.found.weight())
    }
}

impl<T> Loaded<T> {
    pub(super) fn new(
        policy: SelectionPolicy,
        stamp: Stamp,
        entries: Vec<Entry<T>>,
        size: impl Fn(&T) -> usize,
    ) -> Self {
        let bytes: usize = entries.iter().map(|entry| weigh(entry, &size)).sum();
        let from = entries.iter().map(Entry::valid_from).max();
        let until = entries.iter().map(Entry::valid_until).min();
        let entries: Vec<Arc<Entry<T>>> = entries.into_iter().map(Arc::new).collect();
        Self {
            stamp,
            // A quarter more, for what allocators round up and leave between.
            weight: (bytes.saturating_add(SLOT) as u64).saturating_mul(5) / 4,
            valid: from.unwrap_or(i64::MIN)..=until.unwrap_or(i64::MAX),
            policy,
            rows: Rows::new(policy, &entries),
        }
    }

    fn weight_under(&self, id: &EntryId) -> u64 {
        self.weight.saturating_add(id.as_str().len() as u64)
    }

    pub(super) fn select(&self, query: &Query<'_>) -> Option<Selection<'_, T>> {
        let mut buffer = Buffer::new();
        let wanted = Wanted::new(self.policy, query, &mut buffer)?;
        self.select_wanted(&wanted, query)
    }

    pub(super) fn select_wanted(
        &self,
        wanted: &Wanted<'_>,
        query: &Query<'_>,
    ) -> Option<Selection<'_, T>> {
        let exact = self.rows.exact(wanted.exact);
        if let SelectionPolicy::Best = self.policy
            && let Some((payload, entry)) = exact.and_then(|found| found.at_once(query))
        {
            return Some(Selection::served(payload, entry, Match::Exact));
        }
        let suffix = wanted.suffix;
        let wildcard = suffix.and_then(|suffix| self.rows.wildcard(suffix));
        self.policy.select(exact, wildcard, wanted, query)
    }
}

impl Stamp {
    /// Within this long, forwards or backwards: a clock that was set back is no reason to keep
    /// something for as long again.
    fn is_within(self, life: Duration, now: Option<i64>) -> bool {
        match (self.at, now) {
            (Some(at), Some(now)) => at.abs_diff(now) <= life.as_secs(),
            (None, Some(_)) => false,
            (_, None) => true,
        }
    }
}

#[derive(Clone)]
struct ByWeight {
    least: u64,
}

impl<T> Weighter<EntryId, Arc<Loaded<T>>> for ByWeight {
    fn weight(&self, id: &EntryId, loaded: &Arc<Loaded<T>>) -> u64 {
        loaded.weight_under(id).max(self.least)
    }
}

/// Into how many parts the cache is divided, a power of two: as many as keep processors from waiting for
/// each other, but none too small for a certificate or two, nor for fewer entries than the cache wants.
fn shards(entries: usize, bytes: u64) -> u64 {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let most = (4 * processors as u64)
        .min(bytes / MIN_SHARD)
        .min(entries as u64 / 32);
    1 << most.max(1).ilog2()
}

fn sharded<T>(
    entries: usize,
    bytes: u64,
    shards: u64,
    weighter: ByWeight,
) -> Cache<EntryId, Arc<Loaded<T>>, ByWeight> {
    let mut options = OptionsBuilder::new();
    options
        .estimated_items_capacity(entries)
        .weight_capacity(bytes)
        .shards(usize::try_from(shards).unwrap_or(1));
    match options.build() {
        Ok(options) => Cache::with_options(
            options,
            weighter,
            CacheHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        // Only what is not set is an error.
        Err(_) => Cache::with_weighter(entries, bytes, weighter),
    }
}

fn weigh<T>(entry: &Entry<T>, size: impl Fn(&T) -> usize) -> usize {
    let names = entry.names().map(|name| name.len() + NAME);
    let texts = 2 * entry.identifier().len() + entry.id().as_str().len();
    names
        .chain([size(entry.payload()), size_of::<Entry<T>>(), texts])
        .fold(0, usize::saturating_add)
}

/// What a name takes beside its text: where it is kept and where it is looked up.
const NAME: usize = 160;
/// The bytes of the smallest part of a cache that has parts.
const MIN_SHARD: u64 = 1 << 20;
/// What each id takes: its place in the cache and in the memory of what
/// was driven out.
const SLOT: usize = 1024;
