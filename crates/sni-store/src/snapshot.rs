//! One generation of the store: immutable, and all a handshake looks at.

use std::fmt;
use std::sync::Arc;

use crate::index::{Candidates, Index, Key, Table};
use crate::select::{Match, Matching, Query, Selection, SelectionPolicy};
use crate::server_name::{Buffer, Wanted, is_clean, suffix};

/// Everything the store served at one moment.
///
/// Nothing in it changes: whoever holds one sees each certificate's names from the same configuration.
pub struct Snapshot<T> {
    pub(crate) generation: u64,
    /// The generation in which the whole configuration was last replaced.
    pub(crate) configuration: u64,
    pub(crate) policy: SelectionPolicy,
    /// The bulk of the names, shared from generation to generation.
    pub(crate) base: Arc<Index<T>>,
    /// What single changes put over it, until they are merged.
    pub(crate) overlay: Index<T>,
    pub(crate) default: Option<Arc<T>>,
}

impl<T> Snapshot<T> {
    /// Counts the configurations published so far; the empty store is generation 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is served where no certificate matches.
    pub fn default_payload(&self) -> Option<&Arc<T>> {
        self.default.as_ref()
    }

    /// The best certificate for a client, or the default entry, or nothing.
    ///
    /// One hash probe for a name that is there as it was sent, two for any other, four for one that is
    /// rewritten first (upper case, trailing dot), twice that while single changes wait to be merged; no
    /// lock, no allocation, no parsing.
    #[inline]
    pub fn select(&self, query: &Query<'_>) -> Option<Selection<'_, T>> {
        // Outer `None`: not looked up.
        let sent = match self.policy {
            SelectionPolicy::Best => Some(self.exact(query.name)),
            SelectionPolicy::Traefik => None,
        };
        // The usual case with half the work: a name that is found as it was sent is a clean one, and
        // under `Best` nothing beats the first in rank if it is usable and valid.
        if let Some((payload, entry)) = sent.flatten().and_then(|found| found.at_once(query)) {
            return Some(Selection::served(payload, entry, Match::Exact));
        }
        self.choose(query, sent).or_else(|| self.fall_back(query))
    }

    /// `sent` is what was found under the name as it was sent.
    fn choose<'s>(
        &'s self,
        query: &Query<'_>,
        sent: Option<Option<&'s Candidates<T>>>,
    ) -> Option<Selection<'s, T>> {
        // The second probe goes out before anything else, so that both wait for memory together; whether
        // the name is one that can be looked up as it was sent is found out meanwhile.
        let behind = sent.and_then(|_| suffix(query.name));
        let early = behind.and_then(|suffix| self.wildcard(suffix));
        let mut buffer;
        let (exact, wildcard, wanted) = match sent {
            Some(exact) if is_clean(query.name) => {
                let wanted = Wanted {
                    exact: query.name,
                    suffix: behind,
                };
                (exact, early, wanted)
            }
            _ => {
                buffer = Buffer::new();
                let wanted = Wanted::new(self.policy, query, &mut buffer)?;
                let wildcard = wanted.suffix.and_then(|suffix| self.wildcard(suffix));
                (self.exact(wanted.exact), wildcard, wanted)
            }
        };
        self.policy.select(exact, wildcard, &wanted, query)
    }

    fn fall_back(&self, query: &Query<'_>) -> Option<Selection<'_, T>> {
        let payload = self.default.as_ref().filter(|_| !query.strict)?;
        Some(Selection {
            payload,
            entry: None,
            matched: Match::Default,
            usable: true,
            valid: true,
        })
    }

    /// The entries found under a name.
    pub(crate) fn matching(&self, wanted: &Wanted<'_>) -> Matching<'_, T> {
        let wildcard = wanted.suffix.and_then(|suffix| self.wildcard(suffix));
        Matching::new(self.exact(wanted.exact), wildcard)
    }

    #[inline]
    fn exact(&self, name: &[u8]) -> Option<&Candidates<T>> {
        look_up(&self.overlay.exact, &self.base.exact, name)
    }

    #[inline]
    fn wildcard(&self, suffix: &[u8]) -> Option<&Candidates<T>> {
        look_up(&self.overlay.wildcard, &self.base.wildcard, suffix)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Candidates<T>> {
        self.overlay.get(key).or_else(|| self.base.get(key))
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("policy", &self.policy)
            .field("names", &self.base.len())
            .field("changed_names", &self.overlay.len())
            .field("default", &self.default.is_some())
            .finish_non_exhaustive()
    }
}

#[inline]
fn look_up<'s, T>(
    overlay: &'s Table<T>,
    base: &'s Table<T>,
    name: &[u8],
) -> Option<&'s Candidates<T>> {
    if overlay.is_empty() {
        return base.get(name);
    }
    overlay.get(name).or_else(|| base.get(name))
}
