//! One generation of the store: immutable, and all a handshake looks at.

use std::fmt;
use std::sync::Arc;

use crate::entry::Entry;
use crate::index::{Candidates, Index, Key, Table};
use crate::select::{Match, Matching, Query, Selection, SelectionPolicy};
use crate::server_name::{Buffer, Wanted};

/// Everything the store served at one moment.
///
/// Nothing in it changes: whoever holds one sees each certificate's names from the same configuration.
pub struct Snapshot<T> {
    pub(crate) generation: u64,
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

    /// The best certificate for a client, or the default entry, or nothing.
    ///
    /// At most four hash probes; no lock, no allocation, no parsing.
    #[inline]
    pub fn select(&self, query: &Query<'_>) -> Option<Selection<'_, T>> {
        let mut buffer = Buffer::new();
        let chosen = Wanted::new(self.policy, query, &mut buffer)
            .and_then(|wanted| self.policy.choose(&self.matching(&wanted), &wanted, query));
        if let Some(chosen) = chosen {
            return Some(Selection {
                payload: chosen.entry.payload(),
                entry: Some(chosen.entry),
                matched: chosen.matched(),
                usable: chosen.usable,
                valid: chosen.valid,
            });
        }
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
    #[inline]
    pub(crate) fn matching(&self, wanted: &Wanted<'_>) -> Matching<'_, T> {
        Matching {
            exact: look_up(&self.overlay.exact, &self.base.exact, wanted.exact),
            wildcard: wanted.suffix.map_or(&[][..], |suffix| {
                look_up(&self.overlay.wildcard, &self.base.wildcard, suffix)
            }),
        }
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
fn look_up<'s, T>(overlay: &'s Table<T>, base: &'s Table<T>, name: &str) -> &'s [Arc<Entry<T>>] {
    let name = name.as_bytes();
    let changed = if overlay.is_empty() {
        None
    } else {
        overlay.get(name)
    };
    changed
        .or_else(|| base.get(name))
        .map_or(&[], Candidates::as_slice)
}
