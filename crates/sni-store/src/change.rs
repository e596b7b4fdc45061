//! What is to change in a store, and what came of it.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::default::{BoxError, DefaultEntry};
use crate::entry::{Entry, EntryId};
use crate::pattern::PatternError;

/// A set of changes that are applied together or, entry by entry, refused.
///
/// The last word about an id counts. Collect entries to make one:
/// `entries.into_iter().collect::<ChangeSet<_>>()`.
#[derive(Debug)]
pub struct ChangeSet<T> {
    pub(crate) changes: HashMap<EntryId, Change<T>>,
    pub(crate) default: Option<Result<DefaultEntry<T>, BoxError>>,
}

pub(crate) enum Change<T> {
    Put(Box<Entry<T>>),
    Keep,
    Remove,
    Reject(BoxError),
    Payload { of: Arc<Entry<T>>, payload: Arc<T> },
}

impl<T> ChangeSet<T> {
    /// No changes yet.
    pub fn new() -> Self {
        Self {
            changes: HashMap::new(),
            default: None,
        }
    }

    /// Adds the entry, or replaces the one with the same id.
    pub fn put(&mut self, entry: Entry<T>) -> &mut Self {
        self.changes
            .insert(entry.id().clone(), Change::Put(Box::new(entry)));
        self
    }

    /// Says that the entry with this id stays as it is, which matters when everything unsaid is removed
    /// ([`CertStore::replace_all`](crate::CertStore::replace_all)).
    pub fn keep(&mut self, id: impl Into<EntryId>) -> &mut Self {
        self.changes.insert(id.into(), Change::Keep);
        self
    }

    /// Removes the entry with this id, if there is one.
    pub fn remove(&mut self, id: impl Into<EntryId>) -> &mut Self {
        self.changes.insert(id.into(), Change::Remove);
        self
    }

    /// Replaces what an entry serves and keeps all else about it, its fingerprint too: a new OCSP staple
    /// for the same certificate. Rejected with [`ReplacedError`] if the store has another entry under
    /// the id by then.
    pub fn set_payload(&mut self, of: &Arc<Entry<T>>, payload: Arc<T>) -> &mut Self {
        let of = of.clone();
        self.changes
            .insert(of.id().clone(), Change::Payload { of, payload });
        self
    }

    /// Says that the new version of an entry could not be loaded: the version that is there stays, and
    /// the error comes back in the report.
    pub fn reject(&mut self, id: impl Into<EntryId>, error: impl Into<BoxError>) -> &mut Self {
        self.changes.insert(id.into(), Change::Reject(error.into()));
        self
    }

    /// Adds what `later` says, which has the last word.
    pub fn merge(&mut self, later: Self) -> &mut Self {
        self.changes.extend(later.changes);
        self.default = later.default.or(self.default.take());
        self
    }

    /// Replaces the default entry.
    pub fn default_entry(&mut self, entry: DefaultEntry<T>) -> &mut Self {
        self.default = Some(Ok(entry));
        self
    }

    /// Says that the new default entry could not be loaded: the one that is there stays, and the error
    /// comes back in the report.
    pub fn reject_default(&mut self, error: impl Into<BoxError>) -> &mut Self {
        self.default = Some(Err(error.into()));
        self
    }

    /// Adds to the error an entry was rejected with, if it was.
    #[cfg(feature = "config")]
    pub(crate) fn map_rejection(&mut self, id: &str, map: impl FnOnce(BoxError) -> BoxError) {
        if let Some(Change::Reject(error)) = self.changes.get_mut(id) {
            let reason = std::mem::replace(error, "".into());
            *error = map(reason);
        }
    }
}

impl<T> Default for ChangeSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<Entry<T>> for ChangeSet<T> {
    fn from(entry: Entry<T>) -> Self {
        Self::from_iter([entry])
    }
}

impl<T> FromIterator<Entry<T>> for ChangeSet<T> {
    fn from_iter<I: IntoIterator<Item = Entry<T>>>(entries: I) -> Self {
        let mut change = Self::new();
        change.extend(entries);
        change
    }
}

impl<T> Extend<Entry<T>> for ChangeSet<T> {
    fn extend<I: IntoIterator<Item = Entry<T>>>(&mut self, entries: I) {
        for entry in entries {
            self.put(entry);
        }
    }
}

impl<T> fmt::Debug for Change<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(entry) => write!(f, "Put({entry:?})"),
            Self::Keep => f.write_str("Keep"),
            Self::Remove => f.write_str("Remove"),
            Self::Reject(error) => write!(f, "Reject({error})"),
            Self::Payload { of, .. } => write!(f, "Payload({of:?})"),
        }
    }
}

/// What came of a [`ChangeSet`]; ids in ascending order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The generation now served. Unchanged if nothing changed.
    pub generation: u64,
    /// Entries that were not there before.
    pub added: Vec<EntryId>,
    /// Entries whose content changed.
    pub replaced: Vec<EntryId>,
    /// Entries that are gone.
    pub removed: Vec<EntryId>,
    /// Whether the default entry is another one than before, or gone.
    pub default_replaced: bool,
    /// How many entries of the change set were there already, with the same fingerprint.
    pub unchanged: usize,
    /// What could not be used; what was there before stays.
    pub rejected: Vec<Rejection>,
    /// What was stored but will not do what it seems to.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// Whether a new generation was published.
    pub fn changed(&self) -> bool {
        let named = [&self.added, &self.replaced, &self.removed];
        self.default_replaced || named.iter().any(|ids| !ids.is_empty())
    }
}

/// One line for a log: `generation 3: 1 added, 0 replaced, 0 removed, 2 unchanged, 0 rejected, 0 warnings`.
///
/// With `{:#}`, a line more for each rejection, with its cause, and for each warning.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "generation {}: {} added, {} replaced, {} removed, {} unchanged, {} rejected, {} warnings",
            self.generation,
            self.added.len(),
            self.replaced.len(),
            self.removed.len(),
            self.unchanged,
            self.rejected.len(),
            self.warnings.len()
        )?;
        if f.alternate() {
            for rejection in &self.rejected {
                write!(f, "\n  {rejection}: {}", rejection.error)?;
            }
            for warning in &self.warnings {
                write!(f, "\n  {warning}")?;
            }
        }
        Ok(())
    }
}

/// Something of a change set that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin} rejected")]
#[non_exhaustive]
pub struct Rejection {
    /// What was rejected.
    pub origin: Origin,
    /// Why.
    #[source]
    pub error: BoxError,
}

/// What a [`Rejection`] is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The default entry.
    Default,
    /// The entry with this id.
    Entry(EntryId),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default entry"),
            Self::Entry(id) => write!(f, "entry {id}"),
        }
    }
}

/// The entry a new payload was meant for is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry was replaced or removed meanwhile; make the payload for the new one")]
#[non_exhaustive]
pub struct ReplacedError;

/// An entry was stored that will not do all it seems to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {id}: {kind}")]
#[non_exhaustive]
pub struct Warning {
    /// The entry.
    pub id: EntryId,
    /// What about it.
    pub kind: WarningKind,
}

/// What a [`Warning`] is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WarningKind {
    /// No name of the entry can be matched: it is stored, and never served.
    #[error(
        "no name that can be matched; give the certificate a DNS or IP subject alternative name"
    )]
    NeverMatched,
    /// One name of the entry is never matched.
    #[error("the name {name:?} is never matched: it {reason}")]
    Unmatched {
        /// The name, as given.
        name: String,
        /// Why.
        reason: PatternError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_on_demand_what_it_counts() {
        let mut report = Report::default();
        report.rejected.push(Rejection {
            origin: Origin::Entry(EntryId::from("a")),
            error: "the key is another one's".into(),
        });
        report.warnings.push(Warning {
            id: EntryId::from("b"),
            kind: WarningKind::NeverMatched,
        });
        let line = report.to_string();
        assert!(line.ends_with("1 rejected, 1 warnings"), "{line}");
        assert_eq!(
            format!("{report:#}"),
            format!(
                "{line}\n  entry a rejected: the key is another one's\n  {}",
                report.warnings[0]
            )
        );
    }
}
