//! Two hash tables from a name to its candidates, ranked: exact names, and what follows a wildcard's asterisk.

use std::borrow::Borrow;
use std::collections::{HashMap as StdMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::change::WarningKind;
use crate::entry::{Entry, EntryId};
use crate::pattern::Pattern;
use crate::select::SelectionPolicy;

/// Candidates by name. An empty list in an overlay hides the one below it.
pub(crate) struct Index<T> {
    pub(crate) exact: Table<T>,
    pub(crate) wildcard: Table<T>,
}

pub(crate) type Table<T> = HashMap<Name, Candidates<T>>;

/// Where an entry stands in an [`Index`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Exact(Name),
    Wildcard(Name),
}

impl<T> Index<T> {
    pub(crate) fn new() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Candidates<T>> {
        match key {
            Key::Exact(name) => self.exact.get(name),
            Key::Wildcard(name) => self.wildcard.get(name),
        }
    }

    pub(crate) fn insert(&mut self, key: Key, candidates: Candidates<T>) {
        match key {
            Key::Exact(name) => self.exact.insert(name, candidates),
            Key::Wildcard(name) => self.wildcard.insert(name, candidates),
        };
    }

    /// This index with the lists of `patches` in place of its own, empty ones removed.
    pub(crate) fn patched<'p>(&self, patches: impl IntoIterator<Item = &'p Self>) -> Self
    where
        T: 'p,
    {
        let mut result = self.clone();
        for patch in patches {
            patch_table(&mut result.exact, &patch.exact);
            patch_table(&mut result.wildcard, &patch.wildcard);
        }
        result
    }

    /// Lays `patches` over this overlay, empty lists kept.
    pub(crate) fn overlay(&mut self, patches: &Self) {
        let copy = |(name, list): (&Name, &Candidates<T>)| (name.clone(), list.clone());
        self.exact.extend(patches.exact.iter().map(copy));
        self.wildcard.extend(patches.wildcard.iter().map(copy));
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let exact = self.exact.keys().cloned().map(Key::Exact);
        exact.chain(self.wildcard.keys().cloned().map(Key::Wildcard))
    }

    /// The lists of these keys only.
    pub(crate) fn only(&self, keys: &HashSet<Key>) -> Self {
        let mut result = Self::new();
        for key in keys {
            if let Some(candidates) = self.get(key) {
                result.insert(key.clone(), candidates.clone());
            }
        }
        result
    }
}

fn patch_table<T>(table: &mut Table<T>, patch: &Table<T>) {
    table.reserve(patch.len().saturating_sub(table.len()));
    for (name, candidates) in patch {
        if candidates.as_slice().is_empty() {
            table.remove(name);
        } else {
            table.insert(name.clone(), candidates.clone());
        }
    }
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self {
            exact: self.exact.clone(),
            wildcard: self.wildcard.clone(),
        }
    }
}

/// The lists that change when the entries `gone` leave and `come` arrive, as seen over `current`.
///
/// Each list is filtered and sorted once, however many entries share it: loading stays linear in the
/// number of names.
pub(crate) fn patches<'c, T: 'c>(
    policy: SelectionPolicy,
    current: impl Fn(&Key) -> Option<&'c Candidates<T>>,
    gone: &StdMap<EntryId, Arc<Entry<T>>>,
    come: &[Arc<Entry<T>>],
) -> Index<T> {
    let mut arrivals: StdMap<Key, Vec<Arc<Entry<T>>>> = StdMap::new();
    for entry in gone.values() {
        for key in keys(policy, entry, |_| ()) {
            arrivals.entry(key).or_default();
        }
    }
    for entry in come {
        for key in keys(policy, entry, |_| ()) {
            arrivals.entry(key).or_default().push(entry.clone());
        }
    }
    let mut patches = Index::new();
    for (key, mut list) in arrivals {
        let kept = current(&key).map_or(&[][..], Candidates::as_slice);
        list.extend(
            kept.iter()
                .filter(|entry| !gone.contains_key(entry.id()))
                .cloned(),
        );
        list.sort_by(|a, b| policy.rank(a, b));
        patches.insert(key, list.into());
    }
    patches
}

/// The keys an entry is found under, each once; what cannot be matched goes to `warn`.
pub(crate) fn keys<T>(
    policy: SelectionPolicy,
    entry: &Entry<T>,
    mut warn: impl FnMut(WarningKind),
) -> Vec<Key> {
    let mut keys: Vec<Key> = match policy {
        SelectionPolicy::Best => {
            let addresses = entry
                .ips()
                .iter()
                .map(|ip| Key::Exact(Name::new(&ip.to_string())));
            let mut keys: Vec<Key> = addresses.collect();
            for name in entry.names() {
                match name.parse::<Pattern>() {
                    Ok(pattern) => keys.push(match pattern.suffix() {
                        None => Key::Exact(Name::new(pattern.as_str())),
                        Some(suffix) => Key::Wildcard(Name::new(suffix)),
                    }),
                    Err(reason) => warn(WarningKind::Unmatched {
                        name: name.to_owned(),
                        reason,
                    }),
                }
            }
            keys
        }
        // The identifier is split again, so that a comma inside a common name makes two names of it.
        SelectionPolicy::Traefik => entry
            .identifier()
            .split(',')
            .flat_map(|element| {
                let wildcard = element
                    .trim_end_matches('.')
                    .strip_prefix('*')
                    .filter(|suffix| suffix.is_empty() || suffix.starts_with('.'))
                    .map(|suffix| Key::Wildcard(Name::new(suffix)));
                [Some(Key::Exact(Name::new(element))), wildcard]
            })
            .flatten()
            .collect(),
    };
    if keys.is_empty() {
        warn(WarningKind::NeverMatched);
    }
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    keys
}

/// The candidates of one name, best first; nearly always one.
pub(crate) enum Candidates<T> {
    One(Arc<Entry<T>>),
    Many(Box<[Arc<Entry<T>>]>),
}

impl<T> Candidates<T> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Arc<Entry<T>>] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }
}

impl<T> From<Vec<Arc<Entry<T>>>> for Candidates<T> {
    fn from(mut entries: Vec<Arc<Entry<T>>>) -> Self {
        match (entries.pop(), entries.is_empty()) {
            (Some(entry), true) => Self::One(entry),
            (Some(entry), false) => {
                entries.push(entry);
                Self::Many(entries.into_boxed_slice())
            }
            (None, _) => Self::Many(Box::default()),
        }
    }
}

impl<T> Clone for Candidates<T> {
    fn clone(&self) -> Self {
        match self {
            Self::One(entry) => Self::One(entry.clone()),
            Self::Many(entries) => Self::Many(entries.clone()),
        }
    }
}

/// A key that needs no allocation, and no second cache line, up to [`INLINE`] bytes.
#[derive(Clone)]
pub(crate) enum Name {
    Short { length: u8, bytes: [u8; INLINE] },
    Long(Box<str>),
}

/// As many as fit beside the tag and the length in 40 bytes; host names average under thirty.
const INLINE: usize = 38;

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        match u8::try_from(text.len()) {
            Ok(length) if text.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(text.into()),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(text) => text.as_bytes(),
        }
    }
}

// Looked up by the bytes of a borrowed name, hence hashed and compared as bytes.
impl Borrow<[u8]> for Name {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Hash for Name {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compact() {
        assert_eq!(size_of::<Name>(), 40);
        assert_eq!(size_of::<(Name, Candidates<()>)>(), 56);
        for length in [0, 1, INLINE, INLINE + 1, 300] {
            let text = "n".repeat(length);
            assert_eq!(Name::new(&text).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn keys_by_policy() {
        let entry = Entry::new(
            "id",
            ["A.test.", "*.a.test.", "*.test", "a.test"],
            Arc::new(()),
        )
        .with_common_name("Foo,bar")
        .with_ips(["::ffff:192.0.2.7".parse().unwrap()]);
        let mut warnings = Vec::new();
        let best = keys(SelectionPolicy::Best, &entry, |w| warnings.push(w));
        assert_eq!(
            best,
            [
                Key::Exact(Name::new("192.0.2.7")),
                Key::Exact(Name::new("a.test")),
                Key::Wildcard(Name::new(".a.test")),
            ]
        );
        assert_eq!(warnings.len(), 1);
        let traefik = keys(SelectionPolicy::Traefik, &entry, |_| unreachable!());
        assert_eq!(
            traefik,
            [
                Key::Exact(Name::new("*.a.test.")),
                Key::Wildcard(Name::new(".a.test")),
                Key::Exact(Name::new("*.test")),
                Key::Wildcard(Name::new(".test")),
                Key::Exact(Name::new("192.0.2.7")),
                Key::Exact(Name::new("a.test")),
                Key::Exact(Name::new("a.test.")),
                Key::Exact(Name::new("foo")),
                Key::Exact(Name::new("bar")),
            ]
        );
    }
}
