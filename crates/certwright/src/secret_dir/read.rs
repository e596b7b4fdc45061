//! Reading one version of a Secret, whoever writes meanwhile, and telling whether somebody did.

#[cfg(feature = "run")]
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata as FileMetadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
#[cfg(feature = "run")]
use std::time::Duration;
use std::time::SystemTime;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};

use super::{CURRENT, METADATA, Metadata, SecretDir, SecretDirError, is_shown};
#[cfg(feature = "run")]
use crate::inventory::ResourceName;

/// What the files of a Secret looked like: the same again if nobody touched them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The version's name.
    version: u64,
    /// Of each of its files name, size, times and number.
    hash: u64,
    /// When one of them was changed last.
    newest: SystemTime,
}

#[cfg(feature = "run")]
/// Files that were changed less than this before they were looked at may be changed again without a trace: clocks of
/// file systems are that coarse.
const GRAIN: Duration = Duration::from_secs(2);

impl Stamp {
    fn new(version: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        version.hash(&mut hasher);
        Self {
            version: hasher.finish(),
            hash: 0,
            newest: SystemTime::UNIX_EPOCH,
        }
    }

    /// Whether it is of another version, which was written whole before it was there.
    #[cfg(feature = "run")]
    pub(crate) fn is_other_version(&self, than: &Self) -> bool {
        self.version != than.version
    }

    /// Whether the same stamp later means the same files, if it is `now` that it was taken.
    #[cfg(feature = "run")]
    pub(crate) fn is_telling(&self, now: SystemTime) -> bool {
        now.duration_since(self.newest).is_ok_and(|age| age > GRAIN)
    }

    /// Takes another file in, in whatever order.
    fn add(&mut self, path: &Path, file: &FileMetadata) {
        let mut hasher = DefaultHasher::new();
        path.file_name().hash(&mut hasher);
        file.len().hash(&mut hasher);
        let modified = file.modified().unwrap_or_else(|_| SystemTime::now());
        modified.hash(&mut hasher);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            (file.ino(), file.ctime(), file.ctime_nsec()).hash(&mut hasher);
        }
        self.hash = self.hash.wrapping_add(hasher.finish());
        self.newest = self.newest.max(modified);
    }
}

/// All Secrets of a directory.
#[cfg(feature = "run")]
pub(crate) struct Survey {
    /// What each looks like; none if even that cannot be told.
    pub(crate) secrets: BTreeMap<ResourceName, Option<Stamp>>,
    /// The namespaces that cannot be read.
    pub(crate) unreadable: BTreeMap<String, SecretDirError>,
}

impl SecretDir {
    /// The same as [`read`](Self::read), with what its files looked like before they were read.
    pub(crate) fn read_stamped(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(TlsSecret, Stamp)>, SecretDirError> {
        let path = self.path(namespace, name)?;
        let read = consistently(&path, |version| {
            let mut secret = TlsSecret::new(namespace, name);
            let stamp = read_version(version, &mut secret)?;
            Ok((secret, stamp))
        })?;
        match read {
            Some(read) => Ok(Some(read)),
            None => check_no_stranger(&path).map(|()| None),
        }
    }

    /// Looks at every Secret without reading it. One that cannot be looked at hides no other.
    #[cfg(feature = "run")]
    pub(crate) fn survey(&self) -> Result<Survey, SecretDirError> {
        let (mut secrets, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        for (namespace, at) in super::directories(self.root())? {
            let found = match super::directories(&at) {
                Ok(found) => found,
                Err(error) => {
                    unreadable.insert(namespace, error);
                    continue;
                }
            };
            for (name, at) in found.into_iter().filter(|(_, at)| is_there(at)) {
                secrets.insert(ResourceName::new(&namespace, name), stamp(&at));
            }
        }
        Ok(Survey {
            secrets,
            unreadable,
        })
    }

    /// What a Secret looks like; none if there is none, or that cannot be told.
    #[cfg(feature = "run")]
    pub(crate) fn stamp(&self, secret: &ResourceName) -> Result<Option<Stamp>, SecretDirError> {
        let path = self.path(&secret.namespace, &secret.name)?;
        Ok(stamp(&path))
    }
}

/// Reads one version: once more if it was replaced meanwhile. None if there is no version.
pub(super) fn consistently<T>(
    path: &Path,
    mut read: impl FnMut(&Path) -> Result<T, SecretDirError>,
) -> Result<Option<T>, SecretDirError> {
    loop {
        let Some(version) = current(path)? else {
            return Ok(None);
        };
        let read = read(&version);
        // A writer may have removed this version while it was read: only one that is still current is whole.
        if current(path)?.as_ref() == Some(&version) {
            return read.map(Some);
        }
    }
}

/// The directory of the current version.
pub(super) fn current(path: &Path) -> Result<Option<PathBuf>, SecretDirError> {
    let link = path.join(CURRENT);
    match fs::read_link(&link) {
        // Only what lies beside the link is a version.
        Ok(version) if version.file_name() == Some(version.as_os_str()) => {
            Ok(Some(path.join(version)))
        }
        Ok(_) => Err(SecretDirError::Stranger { path: link }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SecretDirError::io("read", &link, error)),
    }
}

/// That nothing but what an unfinished first write leaves is in the directory of a Secret without a version.
fn check_no_stranger(path: &Path) -> Result<(), SecretDirError> {
    let failed = |error| SecretDirError::io("read", path, error);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !is_shown(path, &name) {
            return Err(SecretDirError::Stranger { path: entry.path() });
        }
    }
    Ok(())
}

/// Whether a Secret is in this directory: a version, or files where one belongs that were not written here.
pub(super) fn is_there(path: &Path) -> bool {
    let found = |name: &str| fs::symlink_metadata(path.join(name));
    match found(CURRENT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => [TLS_KEY, TLS_CRT]
            .iter()
            .any(|key| found(key).is_ok() && !is_shown(path, key)),
        _ => true,
    }
}

/// Reads every file of a version; what the files looked like before.
pub(super) fn read_version(
    version: &Path,
    secret: &mut TlsSecret,
) -> Result<Stamp, SecretDirError> {
    let failed = |error| SecretDirError::io("read", version, error);
    let mut stamp = Stamp::new(version);
    for entry in fs::read_dir(version).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let (bytes, file) = read_bytes(&path)?;
        stamp.add(&path, &file);
        let key = path.file_name().unwrap_or_default().to_string_lossy();
        if key != METADATA {
            secret.insert(key, bytes);
            continue;
        }
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| SecretDirError::Metadata {
                path: path.clone(),
                line: error.line(),
                column: error.column(),
            })?;
        secret.annotations = metadata.annotations;
        secret.labels = metadata.labels;
    }
    Ok(stamp)
}

/// A file, and what it looked like before it was read.
pub(super) fn read_bytes(path: &Path) -> Result<(Vec<u8>, FileMetadata), SecretDirError> {
    let failed = |error| SecretDirError::io("read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // With room for all of it no part of a key is left behind in a smaller buffer.
    let length = usize::try_from(metadata.len()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length.saturating_add(1));
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok((bytes, metadata))
}

#[cfg(feature = "run")]
fn stamp(path: &Path) -> Option<Stamp> {
    let version = current(path).ok()??;
    let mut stamp = Stamp::new(&version);
    for entry in fs::read_dir(&version).ok()? {
        let path = entry.ok()?.path();
        stamp.add(&path, &fs::metadata(&path).ok()?);
    }
    Some(stamp)
}
