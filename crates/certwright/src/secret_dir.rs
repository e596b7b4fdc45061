//! TLS Secrets as directories: `<root>/<namespace>/<secret>/tls.crt` and its siblings.
//!
//! A Secret's directory is laid out as the kubelet lays out a mounted one: every key is a link into `..data`, and
//! `..data` is a link to a directory with the files of one version. A new version is written beside the old one and
//! takes its place by renaming that one link, so that no reader pairs an old key with a new certificate. Files are
//! readable by their owner only (mode 0600), because most of them hold a key.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use certwright_cert_model::TlsSecret;

/// A directory that holds Secrets.
#[derive(Clone, Debug)]
pub struct SecretDir {
    root: PathBuf,
}

/// Labels and annotations of a Secret, kept beside its data.
const METADATA: &str = ".metadata.json";
/// The link to the directory of the current version.
const CURRENT: &str = "..data";
/// What directories of versions are called, followed by a number.
const VERSION: &str = "..v";

impl SecretDir {
    /// The directory at `root`; it is created when the first Secret is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a Secret's files are.
    ///
    /// # Errors
    ///
    /// The namespace or the name is not a single plain path component.
    pub fn path(&self, namespace: &str, name: &str) -> Result<PathBuf, SecretDirError> {
        check_component(namespace)?;
        check_component(name)?;
        Ok(self.root.join(namespace).join(name))
    }

    /// Reads a Secret; `None` if there is no directory of that name.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the metadata is not what [`write`](Self::write) wrote.
    pub fn read(&self, namespace: &str, name: &str) -> Result<Option<TlsSecret>, SecretDirError> {
        let path = self.path(namespace, name)?;
        loop {
            let Some(version) = current(&path)? else {
                return Ok(None);
            };
            let mut secret = TlsSecret::new(namespace, name);
            let read = read_version(&version, &mut secret);
            // A writer may have removed this version while it was read: only one that is still current is whole.
            if current(&path)?.as_ref() == Some(&version) {
                return read.map(|()| Some(secret));
            }
        }
    }

    /// Writes a Secret, replacing every file of an earlier version at once, and returns its directory.
    ///
    /// # Errors
    ///
    /// A file cannot be written; the earlier version then stays in place.
    pub fn write(&self, secret: &TlsSecret) -> Result<PathBuf, SecretDirError> {
        let path = self.path(&secret.namespace, &secret.name)?;
        for (key, _) in secret.data() {
            check_component(key)?;
        }
        fs::create_dir_all(&path).map_err(|e| SecretDirError::io("create", &path, e))?;
        let version = (0_u64..)
            .map(|n| format!("{VERSION}{n}"))
            .find(|name| !path.join(name).exists())
            .unwrap_or_default();
        let directory = path.join(&version);
        if let Err((place, error)) = fill(&directory, secret).and_then(|()| swap(&path, &version)) {
            // What could not be finished is not the current version, and the next write removes it too.
            let _ = fs::remove_dir_all(&directory);
            return Err(SecretDirError::io("write", &place, error));
        }
        tidy(&path, &version, secret)
            .map_err(|(place, error)| SecretDirError::io("tidy", &place, error))?;
        Ok(path)
    }
}

fn check_component(part: &str) -> Result<(), SecretDirError> {
    let plain = part
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if part.is_empty() || part.starts_with('.') || !plain {
        return Err(SecretDirError::Name {
            found: part.to_owned(),
        });
    }
    Ok(())
}

/// The directory of the current version, with every link resolved.
fn current(path: &Path) -> Result<Option<PathBuf>, SecretDirError> {
    match fs::canonicalize(path.join(CURRENT)) {
        Ok(version) => Ok(Some(version)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SecretDirError::io("read", path, error)),
    }
}

fn read_version(version: &Path, secret: &mut TlsSecret) -> Result<(), SecretDirError> {
    let failed = |path: &Path, error| SecretDirError::io("read", path, error);
    for entry in fs::read_dir(version).map_err(|e| failed(version, e))? {
        let path = entry.map_err(|e| failed(version, e))?.path();
        let bytes = fs::read(&path).map_err(|e| failed(&path, e))?;
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
    Ok(())
}

type Failed = (PathBuf, io::Error);

/// Writes every file of a version into a directory of its own.
fn fill(directory: &Path, secret: &TlsSecret) -> Result<(), Failed> {
    fs::create_dir(directory).map_err(|e| (directory.to_owned(), e))?;
    for (key, bytes) in secret.data() {
        write_private(&directory.join(key), bytes)?;
    }
    let metadata = Metadata {
        annotations: secret.annotations.clone(),
        labels: secret.labels.clone(),
    };
    let path = directory.join(METADATA);
    let text = serde_json::to_vec_pretty(&metadata).map_err(|e| (path.clone(), e.into()))?;
    write_private(&path, &text)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|e| (path.to_owned(), e))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| (path.to_owned(), e))
}

/// Makes `version` the current one.
fn swap(path: &Path, version: &str) -> Result<(), Failed> {
    let next = path.join("..data_next");
    let _ = fs::remove_file(&next);
    link(Path::new(version), &next)
        .and_then(|()| fs::rename(&next, path.join(CURRENT)))
        .map_err(|e| (next, e))
}

/// Leaves one link per key, and no version but the current one.
fn tidy(path: &Path, version: &str, secret: &TlsSecret) -> Result<(), Failed> {
    for (key, _) in secret.data() {
        let visible = path.join(key);
        if fs::symlink_metadata(&visible).is_err() {
            link(&Path::new(CURRENT).join(key), &visible).map_err(|e| (visible, e))?;
        }
    }
    for entry in fs::read_dir(path)
        .map_err(|e| (path.to_owned(), e))?
        .flatten()
    {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let outdated = name.starts_with(VERSION) && name != version;
        let removed = if outdated {
            fs::remove_dir_all(entry.path())
        } else if !name.starts_with("..") && secret.get(&name).is_none() {
            fs::remove_file(entry.path())
        } else {
            continue;
        };
        removed.map_err(|e| (entry.path(), e))?;
    }
    Ok(())
}

#[cfg(unix)]
fn link(target: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "a directory of Secrets needs symbolic links",
    ))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Metadata {
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// Why a Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretDirError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `create`, `read`, `tidy` or `write`.
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The metadata file was changed by somebody else.
    #[error("{} is damaged at line {line}, column {column}; remove the Secret's directory to start over", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A name that would leave the directory.
    #[error("{found:?} cannot name a directory; use letters, digits, '-', '.' and '_'")]
    Name {
        /// The namespace, name or key.
        found: String,
    },
}

impl SecretDirError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(version: &str) -> TlsSecret {
        let mut secret = TlsSecret::new("shop", "web-tls");
        secret.insert("tls.key", format!("key {version}"));
        secret.insert("tls.crt", format!("crt {version}"));
        secret
            .annotations
            .insert("a".to_owned(), version.to_owned());
        secret
    }

    #[test]
    fn what_is_written_reads_back_and_keys_are_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        assert!(dir.read("shop", "web-tls").unwrap().is_none());
        for version in ["1", "2", "3"] {
            let path = dir.write(&secret(version)).unwrap();
            assert_eq!(dir.read("shop", "web-tls").unwrap(), Some(secret(version)));
            let key = path.join("tls.key");
            assert_eq!(fs::read_to_string(&key).unwrap(), format!("key {version}"));
            assert_eq!(
                fs::metadata(&key).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let versions = fs::read_dir(root.path().join("shop/web-tls")).unwrap();
        let left = versions
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("..v"));
        assert_eq!(left.count(), 1, "old versions are removed");
    }

    #[test]
    fn a_key_that_is_gone_leaves_no_link() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let mut with = secret("1");
        with.insert("key.der", "x");
        let path = dir.write(&with).unwrap();
        dir.write(&secret("2")).unwrap();
        assert!(fs::symlink_metadata(path.join("key.der")).is_err());
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let dir = SecretDir::new("/nowhere");
        for bad in ["", "..", "a/b", "/etc", ".hidden", "a\\b"] {
            assert!(dir.path("shop", bad).is_err(), "{bad}");
            assert!(dir.path(bad, "web").is_err(), "{bad}");
        }
    }

    #[test]
    fn readers_see_one_version() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        dir.write(&secret("0")).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 1..200 {
                    dir.write(&secret(&n.to_string())).unwrap();
                }
            });
            while !writer.is_finished() {
                let read = dir.read("shop", "web-tls").unwrap().unwrap();
                let version = &read.annotations["a"];
                assert_eq!(read, secret(version));
            }
        });
    }
}
