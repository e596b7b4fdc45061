//! A directory of certificates that is read again as far as it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use hashbrown::HashMap;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::change::ChangeSet;
use crate::dir::{DirError, Files, SameNameError, find_pairs, find_pairs_of, text};
use crate::pairs::{PairLoader, PemPair};
use crate::store::CertStore;

/// A directory of pairs as [`PairLoader::load_dir`] reads it, with a memory: what has the size, the time
/// and the place it had is not read again.
///
/// The change sets are for [`CertStore::apply`] and name what this directory is about: a store may have
/// entries of other origins beside them, under other ids.
pub struct CertDir {
    path: PathBuf,
    loader: PairLoader,
    seen: HashMap<String, Vec<Seen>>,
}

impl CertDir {
    /// The directory, nothing of it read yet.
    pub fn new(path: impl Into<PathBuf>, loader: PairLoader) -> Self {
        Self {
            path: path.into(),
            loader,
            seen: HashMap::new(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is new, changed or gone since the last time, the whole directory looked through.
    ///
    /// A file that cannot be read or used is rejected, once, and leaves what was served under its id.
    ///
    /// # Errors
    /// If the directory cannot be read. What was read of it before still stands.
    pub fn changes(
        &mut self,
        store: &CertStore<CertifiedKey>,
    ) -> Result<ChangeSet<CertifiedKey>, DirError> {
        let mut pairs = find_pairs(&self.path)?;
        for id in self.seen.keys() {
            if !pairs.contains_key(id) {
                pairs.insert(id.clone(), Vec::new());
            }
        }
        pairs.retain(|id, files| {
            let seen = self.seen.get(id).map_or(&[][..], Vec::as_slice);
            let now = files.iter().cloned().map(Seen::now);
            !now.eq(seen.iter().cloned())
        });
        Ok(self.read(store, pairs))
    }

    /// The same for what these paths in the directory belong to, each of which is read. Paths elsewhere,
    /// hidden ones and those that are not UTF-8 are passed over.
    ///
    /// # Errors
    /// If the directory is not there. What was read of it before still stands.
    pub fn changes_at<P: AsRef<Path>>(
        &mut self,
        store: &CertStore<CertifiedKey>,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<ChangeSet<CertifiedKey>, DirError> {
        // An unmounted volume is no reason to drop what it held.
        fs::metadata(&self.path).map_err(|source| DirError {
            path: self.path.clone(),
            source,
        })?;
        let ids: BTreeSet<String> = paths
            .into_iter()
            .filter_map(|path| self.place(path.as_ref()))
            .flat_map(|place| ids_of(&place))
            .collect();
        let pairs = ids.into_iter().filter_map(|id| {
            let files = find_pairs_of(&self.path, &id);
            (!files.is_empty() || self.seen.contains_key(&id)).then_some((id, files))
        });
        let pairs = pairs.collect();
        Ok(self.read(store, pairs))
    }

    /// The name in this directory that a path is, or is below.
    pub(crate) fn place(&self, path: &Path) -> Option<String> {
        let mut inside = path.strip_prefix(&self.path).ok()?.components();
        match inside.next()? {
            // What is no text cannot be found again by it; looking through the directory finds it.
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        }
    }

    /// Takes everything for unread.
    #[cfg(feature = "watch")]
    pub(crate) fn doubt(&mut self) {
        for seen in self.seen.values_mut().flatten() {
            (seen.chain, seen.key) = (None, None);
        }
    }

    /// Reads these pairs; an id without files is gone.
    fn read(
        &mut self,
        store: &CertStore<CertifiedKey>,
        pairs: BTreeMap<String, Vec<Files>>,
    ) -> ChangeSet<CertifiedKey> {
        let mut unread = ChangeSet::new();
        let mut texts = Vec::new();
        let mut gone = Vec::new();
        for (id, files) in pairs {
            let mut all = files.into_iter();
            let Some(first) = all.next() else {
                unread.remove(id.clone());
                gone.push(id);
                continue;
            };
            let (first, read) = read_stable(first);
            for other in all.clone() {
                let path = other.chain;
                let name = text(path.file_name()).unwrap_or_default().into_owned();
                let first = first.files.chain.clone();
                unread.reject(name, SameNameError { path, first });
            }
            let seen = [first].into_iter().chain(all.map(Seen::now)).collect();
            self.seen.insert(id.clone(), seen);
            match read {
                Ok((chain, key)) => texts.push((id, chain, key)),
                Err(error) => {
                    unread.reject(id, error);
                }
            }
        }
        let pairs = texts.iter().map(|(id, chain, key)| {
            let pair = PemPair { chain, key };
            (id.as_str(), pair)
        });
        unread.merge(self.loader.load_all(store, pairs));
        // Should the loading panic, they are found to be gone the next time.
        for id in &gone {
            self.seen.remove(id);
        }
        unread
    }
}

impl fmt::Debug for CertDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertDir")
            .field("path", &self.path)
            .field("pairs", &self.seen.len())
            .finish_non_exhaustive()
    }
}

/// A pair's files as they were when they were read.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    files: Files,
    chain: Option<Stamp>,
    key: Option<Stamp>,
}

impl Seen {
    fn now(files: Files) -> Self {
        let chain = Stamp::of(&files.chain);
        let key = if files.key == files.chain {
            chain
        } else {
            Stamp::of(&files.key)
        };
        Self { files, chain, key }
    }
}

/// What changes when a file is written, replaced, or another one is linked in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Stamp {
    /// `None` for a file that is not there.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            inode: inode(&metadata),
        })
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

type Texts = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

/// Both files as they were at one moment: read again if one was replaced meanwhile, so that a key is not
/// taken for that of the certificate before it.
fn read_stable(files: Files) -> (Seen, Result<Texts, DirError>) {
    let mut before = Seen::now(files);
    let mut attempts = 0;
    loop {
        let texts = read_pair(&before.files);
        let after = Seen::now(before.files.clone());
        attempts += 1;
        // Of a writer that never rests the earlier state is remembered: it is another one than what is
        // there, which is read again the next time.
        if before == after || attempts == ATTEMPTS {
            return (before, texts);
        }
        before = after;
    }
}

fn read_pair(files: &Files) -> Result<Texts, DirError> {
    let chain = read(&files.chain)?;
    let key = if files.key == files.chain {
        chain.clone()
    } else {
        read(&files.key)?
    };
    Ok((chain, key))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, DirError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(source) => Err(DirError {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The ids that a name in the directory may belong to: a subdirectory's, and a file's.
fn ids_of(place: &str) -> Vec<String> {
    if place.starts_with('.') {
        return Vec::new();
    }
    let file = Path::new(place);
    let stem = match text(file.extension()).as_deref() {
        Some("crt" | "key" | "pem") => text(file.file_stem()).map(std::borrow::Cow::into_owned),
        _ => None,
    };
    stem.into_iter().chain([place.to_owned()]).collect()
}

const ATTEMPTS: usize = 10;
