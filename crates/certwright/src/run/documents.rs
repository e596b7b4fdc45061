use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use certwright_cert_model::Defaults;
use certwright_cert_model::document::Format;
use certwright_storage::{Revision, Storage, StorageError};
use tokio::time::Instant;

use crate::documents::{Documents, Files};

/// Where documents come from.
///
/// What has a problem takes nothing away: while one document cannot be read, whatever is not among the others stays as
/// it was asked for last, and no Secret is removed. A document is gone once it is gone and all others read well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// Files, and directories with all files below them, looked at again and again.
    ///
    /// A file counts when it was the same in two looks, or nobody touched it for two seconds: one that is half-written
    /// is waited for. Whoever renames a whole file into its place is never misread.
    Paths {
        /// The files and directories.
        paths: Vec<PathBuf>,
        /// How often they are looked at.
        poll: Duration,
    },
    /// The values under a prefix of a shared store, YAML each, looked at again and again.
    Storage {
        /// The store.
        storage: Arc<dyn Storage>,
        /// What the keys start with.
        prefix: String,
        /// How often they are looked at.
        poll: Duration,
    },
}

/// What was read.
pub(super) struct Found {
    pub(super) documents: Documents,
    /// Whether there is nothing that could not be read: only then what is not there is gone.
    pub(super) whole: bool,
}

/// A source, and what it looked like.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// When it is to be looked at next; at once if it never was.
    next: Option<Instant>,
    /// The files at the last look.
    last: BTreeMap<PathBuf, Option<FileStamp>>,
    /// What was acted on last.
    acted: Option<Stamp>,
    /// How many looks in a row some file changed.
    restless: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Stamp {
    Files(BTreeMap<PathBuf, Option<FileStamp>>),
    Keys(Vec<(String, Revision)>),
}

/// What a file looks like without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    size: u64,
    /// Its number and when that was changed, where there is such a thing.
    inode: (u64, i64, i64),
}

/// A file that nobody touched for so long is not being written.
const MOMENT: Duration = Duration::from_secs(2);
/// A file that was touched just now is looked at again after this.
const SETTLE: Duration = Duration::from_millis(500);
/// Others wait so many looks for a file that is written all the time.
const PATIENCE: u32 = 10;

impl Watched {
    /// Reads everything, if it is time to, unless it is as it was or still being written.
    pub(super) async fn look(
        &mut self,
        source: &Source,
        namespace: &str,
        defaults: &Defaults,
    ) -> Result<Option<Found>, StorageError> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return Ok(None);
        }
        let documents = Documents::new(namespace, defaults.clone());
        match source {
            Source::Paths { paths, poll } => {
                let found = self.files(paths, documents, SystemTime::now());
                let wait = match self.acted {
                    Some(_) => *poll,
                    None => SETTLE.min(*poll),
                };
                self.next = Some(now + wait);
                Ok(found)
            }
            Source::Storage {
                storage,
                prefix,
                poll,
            } => {
                self.next = Some(now + *poll);
                let listed = storage.list(prefix).await?;
                let entries = listed.entries.iter();
                let keys = entries.map(|entry| (entry.key.to_string(), entry.revision));
                let stamp = Some(Stamp::Keys(keys.collect()));
                if self.acted == stamp {
                    return Ok(None);
                }
                self.acted = stamp;
                let mut documents = documents;
                for entry in &listed.entries {
                    let bytes = entry.value.as_bytes();
                    documents.read_bytes(entry.key.as_str(), bytes, Format::Yaml);
                }
                let whole = documents.problems.is_empty();
                Ok(Some(Found { documents, whole }))
            }
        }
    }

    /// When it is to be looked at next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    fn files(
        &mut self,
        paths: &[PathBuf],
        mut documents: Documents,
        now: SystemTime,
    ) -> Option<Found> {
        let files = Files::below(paths, &mut documents.problems);
        let stamp = |(path, _): &(PathBuf, Format)| (path.clone(), FileStamp::of(path));
        let stamps: BTreeMap<_, _> = files.iter().map(stamp).collect();
        let last = core::mem::replace(&mut self.last, stamps.clone());
        let stamps = Stamp::Files(stamps);
        let mut unsettled = self.unsettled(&last, now);
        if !unsettled.is_empty() {
            self.acted = None;
            self.restless = self.restless.saturating_add(1);
            if self.restless < PATIENCE {
                return None;
            }
        } else if self.acted.as_ref() == Some(&stamps) {
            return None;
        }
        self.restless = 0;
        for (file, format) in &files {
            if unsettled.contains(file) {
                continue;
            }
            documents.read_file(file, *format);
            if FileStamp::of(file) != self.last[file] {
                unsettled.insert(file.clone());
            }
        }
        // What was skipped, or changed while it was read, is read when it has come to rest.
        self.acted = unsettled.is_empty().then_some(stamps);
        let whole = documents.problems.is_empty() && unsettled.is_empty();
        Some(Found { documents, whole })
    }

    /// The files that may be half-written, and those that are gone just now and may come back.
    fn unsettled(
        &self,
        last: &BTreeMap<PathBuf, Option<FileStamp>>,
        now: SystemTime,
    ) -> BTreeSet<PathBuf> {
        let young = self.last.iter().filter(|(path, stamp)| {
            let old = stamp.is_some_and(|stamp| stamp.is_older_than(MOMENT, now));
            !old && last.get(*path) != Some(*stamp)
        });
        let young = young.map(|(path, _)| path);
        let gone = last.keys().filter(|path| !self.last.contains_key(*path));
        young.chain(gone).cloned().collect()
    }
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: found.modified().ok(),
            size: found.len(),
            inode: inode(&found),
        })
    }

    fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let since = self.modified.and_then(|at| now.duration_since(at).ok());
        since.is_some_and(|since| since >= age)
    }
}

#[cfg(unix)]
fn inode(found: &Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.ino(), found.ctime(), found.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {name: NAME}\nspec: {selfSigned: {}}\n---\n";

    /// What a look finds, if anything: how many issuers, and whether that is all.
    fn look(watched: &mut Watched, path: &Path, at: SystemTime) -> Option<(usize, bool)> {
        let found = watched.files(&[path.to_owned()], Documents::default(), at)?;
        Some((found.documents.inventory.issuer_count(), found.whole))
    }

    fn issuers(names: &[&str]) -> String {
        names
            .iter()
            .map(|name| ISSUER.replace("NAME", name))
            .collect()
    }

    #[test]
    fn a_file_counts_when_it_was_the_same_twice_or_is_old() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.yaml");
        std::fs::write(&file, issuers(&["a", "b"])).unwrap();
        let now = SystemTime::now();
        let later = now + Duration::from_secs(60);
        let mut watched = Watched::default();
        assert_eq!(look(&mut watched, home.path(), now), None, "just written");
        assert_eq!(look(&mut watched, home.path(), now), Some((2, true)));
        assert_eq!(look(&mut watched, home.path(), now), None, "as it was");

        // An editor empties it, writes the first half, then the rest.
        for half in [issuers(&[]), issuers(&["a"])] {
            std::fs::write(&file, half).unwrap();
            assert_eq!(look(&mut watched, home.path(), now), None);
        }
        std::fs::write(&file, issuers(&["a", "b", "c"])).unwrap();
        assert_eq!(look(&mut watched, home.path(), now), None);
        assert_eq!(look(&mut watched, home.path(), now), Some((3, true)));

        // Another one removes it and writes a new one.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(look(&mut watched, home.path(), now), None);
        std::fs::write(&file, issuers(&["a"])).unwrap();
        assert_eq!(look(&mut watched, home.path(), now), None);
        assert_eq!(look(&mut watched, home.path(), now), Some((1, true)));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(look(&mut watched, home.path(), now), None);
        assert_eq!(look(&mut watched, home.path(), now), Some((0, true)));

        std::fs::write(&file, issuers(&["a"])).unwrap();
        let mut fresh = Watched::default();
        assert_eq!(look(&mut fresh, home.path(), later), Some((1, true)), "old");
    }

    #[test]
    fn a_file_that_never_rests_holds_up_no_other_for_ever() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a.yaml"), issuers(&["a"])).unwrap();
        let now = SystemTime::now();
        let mut watched = Watched::default();
        let mut found = Vec::new();
        for n in 0..usize::try_from(PATIENCE).unwrap() {
            let log = issuers(&vec!["b"; n + 1]);
            std::fs::write(home.path().join("b.yaml"), log).unwrap();
            found.extend(look(&mut watched, home.path(), now));
        }
        assert_eq!(found, [(1, false)], "the one that rests, and not whole");
    }

    #[test]
    fn what_cannot_be_read_is_not_whole() {
        let home = tempfile::tempdir().unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        std::fs::write(home.path().join("a.yaml"), issuers(&["a"])).unwrap();
        for (name, text) in [
            ("b.yaml", &b"a: ["[..]),
            ("b.yaml", b"kind: x: y"),
            ("b.yaml", b"\xff"),
        ] {
            std::fs::write(home.path().join(name), text).unwrap();
            let found = look(&mut Watched::default(), home.path(), later);
            assert_eq!(found, Some((1, false)), "{text:?}");
        }
        let gone = home.path().join("gone");
        let found = look(&mut Watched::default(), &gone, later);
        assert_eq!(found, Some((0, false)));
    }
}
