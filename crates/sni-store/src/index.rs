//! Two hash tables from a name to its candidates, ranked: exact names, and what follows a wildcard's asterisk.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::change::WarningKind;
use crate::entry::{Entry, EntryId};
use crate::pattern::Pattern;
use crate::scheme::SchemeMask;
use crate::select::{Query, SelectionPolicy};

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

/// An [`Index`] of a few names in as little memory as they take: sorted, not hashed.
#[cfg(feature = "lazy")]
pub(crate) struct Rows<T> {
    exact: Box<[(Name, Candidates<T>)]>,
    wildcard: Box<[(Name, Candidates<T>)]>,
}

#[cfg(feature = "lazy")]
impl<T> Rows<T> {
    pub(crate) fn new(policy: SelectionPolicy, entries: &[Arc<Entry<T>>]) -> Self {
        let sorted = |table: Table<T>| {
            let mut rows: Box<[_]> = table.into_iter().collect();
            rows.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
            rows
        };
        let index = patches(policy, |_| None, &HashMap::new(), entries, |_, _| {});
        Self {
            exact: sorted(index.exact),
            wildcard: sorted(index.wildcard),
        }
    }

    pub(crate) fn exact(&self, name: &[u8]) -> Option<&Candidates<T>> {
        find(&self.exact, name)
    }

    pub(crate) fn wildcard(&self, suffix: &[u8]) -> Option<&Candidates<T>> {
        find(&self.wildcard, suffix)
    }
}

#[cfg(feature = "lazy")]
fn find<'r, T>(rows: &'r [(Name, Candidates<T>)], name: &[u8]) -> Option<&'r Candidates<T>> {
    let found = rows.binary_search_by(|(row, _)| row.as_bytes().cmp(name));
    found.ok().map(|at| &rows[at].1)
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
    gone: &HashMap<EntryId, Arc<Entry<T>>>,
    come: &[Arc<Entry<T>>],
    mut warn: impl FnMut(&Entry<T>, WarningKind),
) -> Index<T> {
    let mut arrivals: HashMap<Key, Vec<Arc<Entry<T>>>> = HashMap::with_capacity(come.len());
    for entry in gone.values() {
        for key in keys(policy, entry, |_| ()) {
            arrivals.entry(key).or_default();
        }
    }
    for entry in come {
        for key in keys(policy, entry, |kind| warn(entry, kind)) {
            arrivals.entry(key).or_default().push(entry.clone());
        }
    }
    let mut patches = Index::new();
    patches.exact.reserve(arrivals.len());
    for (key, mut list) in arrivals {
        let kept = current(&key).map_or(&[][..], Candidates::as_slice);
        list.extend(
            kept.iter()
                .filter(|entry| !gone.contains_key(entry.id()))
                .cloned(),
        );
        if list.len() > 1 {
            list.sort_by(|a, b| policy.rank(a, b));
        }
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
    if keys.len() > 1 {
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
    }
    keys
}

/// The candidates of one name, best first; nearly always one.
pub(crate) enum Candidates<T> {
    /// The payload is here once more, and beside it what tells that it can be served, so that a
    /// handshake need not fetch the entry: at a million names that is one cache miss of four.
    One {
        at_once: AtOnce,
        payload: Arc<T>,
        entry: Arc<Entry<T>>,
    },
    Many(Box<[Arc<Entry<T>>]>),
}

/// When an entry can be served without a second look: an extract of its validity and schemes.
#[derive(Clone, Copy)]
pub(crate) struct AtOnce {
    /// Unix seconds; empty (`from > until`) for an entry that always needs the second look.
    from: u32,
    until: u32,
    schemes: SchemeMask,
}

impl AtOnce {
    fn new<T>(entry: &Entry<T>) -> Self {
        let (from, until) = match u32::try_from(entry.valid_from().max(0)) {
            Ok(from) if entry.excluded().is_empty() && entry.valid_until() >= 0 => {
                (from, u32::try_from(entry.valid_until()).unwrap_or(u32::MAX))
            }
            _ => (1, 0),
        };
        Self {
            from,
            until,
            schemes: entry.schemes(),
        }
    }

    #[inline]
    fn holds(self, query: &Query<'_>) -> bool {
        let now = query.now.and_then(|now| u32::try_from(now).ok());
        now.is_some_and(|now| self.from <= now && now <= self.until)
            && self.schemes.intersects(query.schemes)
    }
}

impl<T> Candidates<T> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Arc<Entry<T>>] {
        match self {
            Self::One { entry, .. } => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }

    /// The only candidate, if it is usable and valid, and not excluded from any name.
    #[inline]
    pub(crate) fn at_once(&self, query: &Query<'_>) -> Option<(&Arc<T>, &Arc<Entry<T>>)> {
        match self {
            Self::One {
                at_once,
                payload,
                entry,
            } if at_once.holds(query) => Some((payload, entry)),
            Self::One { .. } | Self::Many(_) => None,
        }
    }
}

impl<T> From<Vec<Arc<Entry<T>>>> for Candidates<T> {
    fn from(mut entries: Vec<Arc<Entry<T>>>) -> Self {
        match (entries.pop(), entries.is_empty()) {
            (Some(entry), true) => Self::One {
                at_once: AtOnce::new(&entry),
                payload: entry.payload().clone(),
                entry,
            },
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
            Self::One {
                at_once,
                payload,
                entry,
            } => Self::One {
                at_once: *at_once,
                payload: payload.clone(),
                entry: entry.clone(),
            },
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

/// As many as fit beside the tag and the length in 32 bytes; host names average under thirty.
const INLINE: usize = 30;

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
        // A cache line each.
        assert_eq!(size_of::<(Name, Candidates<()>)>(), 64);
        for length in [0, 1, INLINE, INLINE + 1, 300] {
            let text = "n".repeat(length);
            assert_eq!(Name::new(&text).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn at_once_only_what_needs_no_second_look() {
        let at = |second: i64| time::OffsetDateTime::from_unix_timestamp(second).unwrap();
        let wide = i64::from(u32::MAX);
        let rsa = SchemeMask::from_code_points([0x0804]);
        let entry = |from: i64, until: i64| {
            Entry::new("id", ["a.test"], Arc::new(())).with_validity(at(from)..=at(until))
        };
        let excluded = entry(0, 9).with_excluded(["b.test".parse().unwrap()]);
        let table = [
            (entry(5, 9), 4, false),
            (entry(5, 9), 5, true),
            (entry(5, 9), 9, true),
            (entry(5, 9), 10, false),
            (entry(-9, 9), 0, true),
            // Beyond 32 bits the entry itself is asked.
            (entry(-9, 9), -1, false),
            (entry(0, wide + 9), wide, true),
            (entry(0, wide + 9), wide + 1, false),
            (entry(wide + 1, wide + 9), wide, false),
            (entry(-9, -1), 0, false),
            (excluded, 5, false),
            (entry(0, 9).with_schemes(SchemeMask::NONE), 5, false),
        ];
        for (row, (entry, now, expected)) in table.into_iter().enumerate() {
            let candidates = Candidates::from(vec![Arc::new(entry)]);
            let query = Query::new("a.test", at(now)).with_schemes(rsa);
            assert_eq!(candidates.at_once(&query).is_some(), expected, "row {row}");
            let blind = query.ignoring_validity();
            assert!(candidates.at_once(&blind).is_none(), "row {row}");
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
