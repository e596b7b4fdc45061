//! A directory of certificates that is read again as far as it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
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
    /// Of the file system all this was on; `None` before anything was read.
    device: Option<u64>,
}

impl CertDir {
    /// The directory, nothing of it read yet.
    pub fn new(path: impl Into<PathBuf>, loader: PairLoader) -> Self {
        Self {
            path: path.into(),
            loader,
            seen: HashMap::new(),
            device: None,
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
    /// If the directory cannot be read, or there is no pair in it and it is on another file system than
    /// what was read before: its volume is not mounted. What was read of it before still stands.
    pub fn changes(
        &mut self,
        store: &CertStore<CertifiedKey>,
    ) -> Result<ChangeSet<CertifiedKey>, DirError> {
        // Looked at on both sides, it was the same while the directory was read.
        let before = self.device_now()?;
        let mut pairs = find_pairs(&self.path)?;
        let device = self.device_now()?;
        if pairs.is_empty() && (self.is_elsewhere(before) || self.is_elsewhere(device)) {
            return Err(self.unmounted());
        }
        self.device = Some(device);
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
    /// If the directory is not there or not mounted, as in [`changes`](Self::changes). What was read of it
    /// before still stands.
    pub fn changes_at<P: AsRef<Path>>(
        &mut self,
        store: &CertStore<CertifiedKey>,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<ChangeSet<CertifiedKey>, DirError> {
        let before = self.device_now()?;
        let ids: BTreeSet<String> = paths
            .into_iter()
            .filter_map(|path| self.place(path.as_ref()))
            .flat_map(|place| ids_of(&place))
            .collect();
        let pairs = ids.into_iter().filter_map(|id| {
            let files = find_pairs_of(&self.path, &id);
            (!files.is_empty() || self.seen.contains_key(&id)).then_some((id, files))
        });
        let pairs: BTreeMap<_, _> = pairs.collect();
        let elsewhere = self.is_elsewhere(before) || self.is_elsewhere(self.device_now()?);
        if elsewhere && pairs.values().any(Vec::is_empty) && find_pairs(&self.path)?.is_empty() {
            return Err(self.unmounted());
        }
        Ok(self.read(store, pairs))
    }

    fn device_now(&self) -> Result<u64, DirError> {
        let metadata = fs::metadata(&self.path).map_err(|source| self.failure(source))?;
        Ok(device(&metadata))
    }

    /// Whether this is another file system than what is known was read from.
    fn is_elsewhere(&self, device: u64) -> bool {
        !self.seen.is_empty() && self.device.is_some_and(|before| before != device)
    }

    /// An unmounted volume leaves an empty directory, which is no reason to drop what the volume held.
    fn unmounted(&self) -> DirError {
        self.failure(io::Error::other(
            "it is on another file system than before and holds no pair; mount its volume",
        ))
    }

    fn failure(&self, source: io::Error) -> DirError {
        DirError {
            path: self.path.clone(),
            source,
        }
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

#[cfg(unix)]
fn device(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(metadata)
}

#[cfg(not(unix))]
fn device(_: &Metadata) -> u64 {
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
    read_file(path).map_err(|source| DirError {
        path: path.to_owned(),
        source,
    })
}

fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Looked at before it is opened: opening a pipe waits for whoever writes to it.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    // Of its final size from the start: what is left of a key in a buffer given up is not zeroized.
    let room = metadata.len().min(MAX_LENGTH) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(room).unwrap_or_default(),
    ));
    File::open(path)?
        .take(MAX_LENGTH + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 1 MiB, which no chain or key is",
        ));
    }
    Ok(bytes)
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
/// In bytes. A chain of ten certificates with post-quantum keys and signatures takes a tenth of it.
const MAX_LENGTH: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::select::SelectionPolicy;

    fn cert_dir(path: &Path) -> CertDir {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        CertDir::new(path, PairLoader::new(provider))
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn an_unmounted_volume_takes_nothing_with_it() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str| root.path().join(name);
        let (chain, key) = pair();
        fs::write(file("a.crt"), chain).unwrap();
        fs::write(file("a.key"), key).unwrap();
        let store = CertStore::new(SelectionPolicy::Best);
        let mut directory = cert_dir(root.path());
        store.apply(directory.changes(&store).unwrap());

        let here = directory.device;
        directory.device = here.map(|device| device ^ 1);
        fs::rename(file("a.crt"), file("a")).unwrap();
        let error = directory.changes(&store).unwrap_err();
        assert!(error.source.to_string().contains("mount"), "{error:?}");
        assert!(directory.changes_at(&store, [file("a.crt")]).is_err());

        // Mounted again, or moved to another volume with everything, it is as it was.
        fs::rename(file("a"), file("a.crt")).unwrap();
        assert!(!store.apply(directory.changes(&store).unwrap()).changed());
        assert_eq!(directory.device, here);
        // What is deleted where it was read is gone.
        fs::remove_file(file("a.crt")).unwrap();
        let report = store.apply(directory.changes(&store).unwrap());
        assert_eq!(report.removed.len(), 1);
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("large");
        let limit = usize::try_from(MAX_LENGTH).unwrap();
        fs::write(&path, vec![b'x'; limit]).unwrap();
        assert_eq!(read(&path).unwrap().len(), limit);
        fs::write(&path, vec![b'x'; limit + 1]).unwrap();
        let kind = |path: &Path| read(path).unwrap_err().source.kind();
        assert_eq!(kind(&path), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(root.path()), io::ErrorKind::InvalidInput);
        assert_eq!(kind(&root.path().join("none")), io::ErrorKind::NotFound);
        #[cfg(unix)]
        {
            assert_eq!(kind(Path::new("/dev/zero")), io::ErrorKind::InvalidInput);
            // Nobody writes to this pipe: opened, it would be waited for.
            let pipe = root.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            assert!(made.unwrap().success());
            assert_eq!(kind(&pipe), io::ErrorKind::InvalidInput);
        }
    }
}
