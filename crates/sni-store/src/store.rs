//! The store: readers follow one pointer, writers publish the next snapshot behind it.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use hashbrown::{HashMap, HashSet};

use crate::change::{Change, ChangeSet, Origin, Rejection, ReplacedError, Report, Warning};
use crate::counters::{Counters, Counts, Event};
use crate::default::DefaultEntry;
use crate::entry::{Entry, EntryId};
use crate::index::{Index, Key, patches};
use crate::select::{Query, Selection, SelectionPolicy};
use crate::snapshot::Snapshot;

/// Certificates by name, replaced while they are served.
///
/// Cloning makes another handle to the same store. Reading never waits; writers wait for each other.
pub struct CertStore<T> {
    shared: Arc<Shared<T>>,
}

impl<T> CertStore<T> {
    /// An empty store without a default entry.
    pub fn new(policy: SelectionPolicy) -> Self {
        Self::with_default(policy, DefaultEntry::None)
    }

    /// An empty store that serves `default` where no certificate matches.
    pub fn with_default(policy: SelectionPolicy, default: DefaultEntry<T>) -> Self {
        let served = match &default {
            DefaultEntry::Given(payload) => Some(payload.clone()),
            DefaultEntry::None | DefaultEntry::OnDemand(_) => None,
        };
        Self {
            shared: Arc::new(Shared {
                current: ArcSwap::from_pointee(Snapshot {
                    generation: 0,
                    configuration: 0,
                    policy,
                    base: Arc::new(Index::new()),
                    overlay: Index::new(),
                    default: served,
                }),
                writer: Mutex::new(Writer {
                    entries: HashSet::new(),
                    default,
                    merging: None,
                    retired: Vec::new(),
                }),
                tracking: AtomicBool::new(false),
                counters: Counters::new(),
            }),
        }
    }

    /// The snapshot being served. Meant to be held for a look-up, not kept.
    #[inline]
    pub fn current(&self) -> Current<T> {
        Current(self.shared.current.load())
    }

    /// The payload to serve to a client: [`Snapshot::select`] on [`current`](Self::current), counted.
    #[inline]
    pub fn select(&self, query: &Query<'_>) -> Option<Arc<T>> {
        let current = self.current();
        let selection = current.select(query);
        self.note(selection.as_ref(), query);
        selection.map(|selection| selection.payload.clone())
    }

    /// From now on good answers are [counted](Self::counts) too, and each entry remembers when it was
    /// [last used](Entry::last_used).
    ///
    /// Costs a few nanoseconds for each look-up, in large stores a cache miss. Without it a look-up
    /// writes to nothing but the reference count of what it returns.
    pub fn track_use(&self) {
        self.shared.tracking.store(true, Ordering::Relaxed);
    }

    /// What was answered so far; stops nobody. Only what is asked of the store itself counts, not of
    /// its [`Snapshot`]s.
    pub fn counts(&self) -> Counts {
        Counts::read(&self.shared.counters)
    }

    #[inline]
    pub(crate) fn note(&self, selection: Option<&Selection<'_, T>>, query: &Query<'_>) {
        let event = Event::of(selection);
        let tracking = self.shared.tracking.load(Ordering::Relaxed);
        if tracking || !event.is_good() {
            self.shared.counters.add(event as usize);
        }
        if tracking
            && let Some(entry) = selection.and_then(Selection::entry)
            && let Some(now) = query.now
        {
            entry.note_use(now);
        }
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn count(&self, event: Event) {
        self.shared.counters.add(event as usize);
    }

    /// The entry with this id. Waits for a writer; not for handshakes.
    pub fn entry(&self, id: &str) -> Option<Arc<Entry<T>>> {
        self.shared
            .writer()
            .entries
            .get(id)
            .map(|ById(entry)| entry.clone())
    }

    /// Every entry, by ascending id. Waits for a writer; not for handshakes.
    pub fn entries(&self) -> Vec<Arc<Entry<T>>> {
        let writer = self.shared.writer();
        let mut entries: Vec<_> = writer.entries.iter().map(|ById(e)| e.clone()).collect();
        drop(writer);
        entries.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        entries
    }
}

impl<T: Send + Sync + 'static> CertStore<T> {
    /// Publishes the changes as one new generation; entries they do not name stay.
    ///
    /// A few changes cost microseconds whatever the store's size: they lie over the index until a
    /// thread merges them in.
    pub fn apply(&self, change: impl Into<ChangeSet<T>>) -> Report {
        self.shared.apply(change.into(), Unnamed::Stay)
    }

    /// Publishes `all` as the whole configuration: entries it does not name are removed.
    pub fn replace_all(&self, all: impl Into<ChangeSet<T>>) -> Report {
        self.shared.apply(all.into(), Unnamed::Leave)
    }
}

impl<T> Clone for CertStore<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Default for CertStore<T> {
    fn default() -> Self {
        Self::new(SelectionPolicy::default())
    }
}

impl<T> fmt::Debug for CertStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CertStore").field(&*self.current()).finish()
    }
}

/// The [`Snapshot`] being served when it was asked for.
pub struct Current<T>(Guard<Arc<Snapshot<T>>>);

impl<T> Deref for Current<T> {
    type Target = Snapshot<T>;

    #[inline]
    fn deref(&self) -> &Snapshot<T> {
        &self.0
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

struct Shared<T> {
    current: ArcSwap<Snapshot<T>>,
    tracking: AtomicBool,
    writer: Mutex<Writer<T>>,
    counters: Counters,
}

/// What only writers need.
struct Writer<T> {
    entries: HashSet<ById<T>>,
    default: DefaultEntry<T>,
    /// The keys changed since a merge began, while one runs.
    merging: Option<std::collections::HashSet<Key>>,
    /// Snapshots a reader may still hold, kept so that no reader has to free one.
    retired: Vec<Arc<Snapshot<T>>>,
}

/// An entry found by its id, which it holds already.
struct ById<T>(Arc<Entry<T>>);

impl<T> Borrow<str> for ById<T> {
    fn borrow(&self) -> &str {
        self.0.id().as_str()
    }
}

impl<T> Hash for ById<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().as_str().hash(state);
    }
}

impl<T> PartialEq for ById<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl<T> Eq for ById<T> {}

/// What a new snapshot has beside its index.
struct Head<T> {
    generation: u64,
    configuration: u64,
    default: Option<Arc<T>>,
}

/// What becomes of the entries a change set does not name.
#[derive(Clone, Copy)]
enum Unnamed {
    Leave,
    Stay,
}

/// As many names lie in the overlay before they are merged; a larger index, which takes longer to
/// merge, waits for more of them.
const MIN_OVERLAY: usize = 1024;
const OVERLAY_SHARE: usize = 256;
/// An index of this many names is rebuilt in milliseconds; a thread is not worth it.
const SMALL_BASE: usize = 32 * 1024;

impl<T> Shared<T> {
    fn writer(&self) -> MutexGuard<'_, Writer<T>> {
        // What a panicking writer leaves behind is consistent: entries change right before the swap.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, writer: &mut Writer<T>, next: Snapshot<T>) {
        writer.retired.push(self.current.swap(Arc::new(next)));
    }
}

impl<T> Writer<T> {
    /// Frees the snapshots nobody reads any more. Whoever reads one has a count of it; this list has
    /// another, so that the last count is never a reader's.
    fn free_retired(&mut self) {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
    }
}

impl<T: Send + Sync + 'static> Shared<T> {
    fn apply(self: &Arc<Self>, change: ChangeSet<T>, unnamed: Unnamed) -> Report {
        let mut writer = self.writer();
        let mut report = Report::default();
        match change.default {
            None => {}
            Some(Ok(default)) => writer.default = default,
            Some(Err(error)) => report.rejected.push(Rejection {
                origin: Origin::Default,
                error,
            }),
        }
        let current = self.current.load_full();
        let default = writer.default.make().unwrap_or_else(|error| {
            report.rejected.push(Rejection {
                origin: Origin::Default,
                error,
            });
            // A default that cannot be made does not take a working one away.
            current.default.clone()
        });
        report.default_replaced = match (&default, &current.default) {
            (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
            (new, old) => new.is_some() != old.is_some(),
        };

        let (gone, come) = sort_out(&writer.entries, change.changes, unnamed, &mut report);
        report.generation = current.generation;
        if !report.changed() {
            return report;
        }
        report.generation += 1;
        let find = |key: &Key| current.get(key);
        let patches = patches(current.policy, find, &gone, &come, |entry, kind| {
            report.warnings.push(Warning {
                id: entry.id().clone(),
                kind,
            });
        });
        report.warnings.sort_by(|a, b| a.id.cmp(&b.id));
        for id in &report.removed {
            writer.entries.remove(id.as_str());
        }
        for entry in &come {
            writer.entries.replace(ById(entry.clone()));
        }
        let configuration = match unnamed {
            Unnamed::Leave => report.generation,
            Unnamed::Stay => current.configuration,
        };
        let head = Head {
            generation: report.generation,
            configuration,
            default,
        };
        self.lay_over(&mut writer, &current, &patches, head);
        for entry in come {
            // After the swap, so that no use of the old version is lost.
            if let Some(old) = gone.get(entry.id()) {
                entry.inherit_use(old);
            }
        }
        drop(current);
        writer.free_retired();
        report
    }

    /// Publishes `patches` over the current snapshot, in its overlay or merged into a new base.
    fn lay_over(
        self: &Arc<Self>,
        writer: &mut Writer<T>,
        current: &Snapshot<T>,
        patches: &Index<T>,
        head: Head<T>,
    ) {
        let limit = MIN_OVERLAY.max(current.base.len() / OVERLAY_SHARE);
        let next = |base, overlay| Snapshot {
            generation: head.generation,
            configuration: head.configuration,
            policy: current.policy,
            base,
            overlay,
            default: head.default,
        };
        let overlaid = current.overlay.len() + patches.len();
        if patches.len() > limit || (overlaid > limit && current.base.len() <= SMALL_BASE) {
            // A merge under way would bring back what this one changes.
            writer.merging = None;
            let base = current.base.patched([&current.overlay, patches]);
            self.publish(writer, next(Arc::new(base), Index::new()));
            return;
        }
        if let Some(touched) = &mut writer.merging {
            touched.extend(patches.keys());
        }
        let mut overlay = current.overlay.clone();
        overlay.overlay(patches);
        self.publish(writer, next(current.base.clone(), overlay));
        if overlaid > limit && writer.merging.is_none() {
            self.merge_aside(writer);
        }
    }

    /// Merges the overlay into a new base on a thread of its own.
    fn merge_aside(self: &Arc<Self>, writer: &mut Writer<T>) {
        let shared = self.clone();
        let from = self.current.load_full();
        let merge = move || {
            let base = Arc::new(from.base.patched([&from.overlay]));
            shared.adopt(from, base);
        };
        // Without a thread the overlay grows, and the next change tries again.
        if std::thread::Builder::new()
            .name("sni-store merge".to_owned())
            .spawn(merge)
            .is_ok()
        {
            writer.merging = Some(std::collections::HashSet::new());
        }
    }

    /// Publishes a merged base, with what changed while it was made still laid over it.
    fn adopt(&self, from: Arc<Snapshot<T>>, base: Arc<Index<T>>) {
        let mut writer = self.writer();
        let current = self.current.load_full();
        if !Arc::ptr_eq(&current.base, &from.base) {
            return;
        }
        drop(from);
        let Some(touched) = writer.merging.take() else {
            return;
        };
        let next = Snapshot {
            generation: current.generation,
            configuration: current.configuration,
            policy: current.policy,
            base,
            overlay: current.overlay.only(&touched),
            default: current.default.clone(),
        };
        drop(current);
        self.publish(&mut writer, next);
        writer.free_retired();
    }
}

/// The entries that leave, old versions included, and those that come.
type SortedOut<T> = (HashMap<EntryId, Arc<Entry<T>>>, Vec<Arc<Entry<T>>>);

fn sort_out<T>(
    entries: &HashSet<ById<T>>,
    changes: HashMap<EntryId, Change<T>>,
    unnamed: Unnamed,
    report: &mut Report,
) -> SortedOut<T> {
    let mut gone = HashMap::new();
    let mut come = Vec::new();
    if let Unnamed::Leave = unnamed {
        let leaving = entries
            .iter()
            .filter(|ById(entry)| !changes.contains_key(entry.id()))
            .map(|ById(entry)| (entry.id().clone(), entry.clone()));
        gone.extend(leaving);
        report.removed.extend(gone.keys().cloned());
    }
    for (id, change) in changes {
        let old = entries.get(id.as_str()).map(|ById(entry)| entry);
        match (change, old) {
            (Change::Put(new), Some(old)) if same(&new, old) => report.unchanged += 1,
            (Change::Put(new), Some(old)) => {
                gone.insert(id.clone(), old.clone());
                come.push(Arc::from(new));
                report.replaced.push(id);
            }
            (Change::Put(new), None) => {
                come.push(Arc::from(new));
                report.added.push(id);
            }
            (Change::Payload { of, payload }, Some(old)) if Arc::ptr_eq(&of, old) => {
                gone.insert(id.clone(), old.clone());
                come.push(Arc::new(old.with_payload(payload)));
                report.replaced.push(id);
            }
            (Change::Payload { .. }, _) => report.rejected.push(Rejection {
                origin: Origin::Entry(id),
                error: ReplacedError.into(),
            }),
            (Change::Keep, Some(_)) => report.unchanged += 1,
            (Change::Remove, Some(old)) => {
                gone.insert(id.clone(), old.clone());
                report.removed.push(id);
            }
            (Change::Keep | Change::Remove, None) => {}
            (Change::Reject(error), _) => report.rejected.push(Rejection {
                origin: Origin::Entry(id),
                error,
            }),
        }
    }
    report.added.sort_unstable();
    report.replaced.sort_unstable();
    report.removed.sort_unstable();
    report.rejected.sort_by(|a, b| a.origin.cmp(&b.origin));
    (gone, come)
}

/// Equal fingerprints and equal surroundings: nothing to publish.
fn same<T>(a: &Entry<T>, b: &Entry<T>) -> bool {
    a.fingerprint().is_some()
        && a.fingerprint() == b.fingerprint()
        && a.identifier() == b.identifier()
        && a.source() == b.source()
        && a.excluded() == b.excluded()
}
