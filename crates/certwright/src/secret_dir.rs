//! TLS Secrets as directories: `<root>/<namespace>/<secret>/tls.crt` and its siblings.
//!
//! A Secret's directory is laid out as the kubelet lays out a mounted one: every key is a link into `..data`, and
//! `..data` is a link to a directory with the files of one version. A new version is written beside the old one and
//! takes its place by renaming that one link: what `..data` leads to is always whole. Files are readable by their
//! owner only (mode 0600), because most of them hold a key.
//!
//! One process writes, any number read. A file that somebody else put there is neither replaced nor removed.

mod error;
mod read;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certwright_cert_model::TlsSecret;
use zeroize::Zeroizing;

pub use self::error::SecretDirError;
#[cfg(feature = "run")]
pub(crate) use self::read::{Stamp, Survey};
use self::read::{consistently, current, is_there, read_bytes};
use crate::inventory::ResourceName;

/// A directory that holds Secrets.
///
/// # Reading beside a writer
///
/// Whoever opens `tls.crt` and `tls.key` by these names, one after the other, may meet two versions: the key of one
/// and the certificate of the next. Each of these always meets one:
///
/// - [`read`](Self::read), or [`read_files`](Self::read_files) for a directory that somebody else laid out;
/// - resolve the link `..data` once, read everything below the directory it leads to, and begin anew if the link
///   leads elsewhere afterwards, or a file is gone. In a shell, `cd -P SECRET/..data` and then read, which needs no
///   second look: a version is never changed, only removed, and no later one has its name;
/// - `tls-combined.pem` (`additionalOutputFormats: [{type: CombinedPEM}]`), which is one file.
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

    /// Reads a Secret; `None` if none was written under that name.
    ///
    /// # Errors
    ///
    /// A file cannot be read, the metadata is not what [`write`](Self::write) wrote, or there are files in the
    /// directory that `write` did not put there.
    pub fn read(&self, namespace: &str, name: &str) -> Result<Option<TlsSecret>, SecretDirError> {
        self.read_stamped(namespace, name)
            .map(|read| read.map(|(secret, _)| secret))
    }

    /// Reads files of one version of a Secret in any directory with a `..data` link, such as one that a kubelet
    /// mounted, in the order of their names: the way to read a certificate with its key while somebody replaces both.
    ///
    /// ```
    /// use certwright::SecretDir;
    /// use certwright_cert_model::TlsSecret;
    ///
    /// let home = tempfile::tempdir()?;
    /// let mut secret = TlsSecret::new("shop", "web-tls");
    /// secret.insert("tls.crt", "chain");
    /// secret.insert("tls.key", "key");
    /// let path = SecretDir::new(home.path()).write(&secret)?;
    /// let [chain, key] = SecretDir::read_files(&path, ["tls.crt", "tls.key"])?;
    /// assert_eq!((&chain[..], &key[..]), (&b"chain"[..], &b"key"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There is no `..data`, or the version it leads to lacks one of the files, or one cannot be read.
    pub fn read_files<const N: usize>(
        directory: impl AsRef<Path>,
        names: [&str; N],
    ) -> Result<[Zeroizing<Vec<u8>>; N], SecretDirError> {
        let directory = directory.as_ref();
        for name in names {
            check_component(name)?;
        }
        let read = consistently(directory, |version| {
            let mut files = names.map(|_| Zeroizing::default());
            for (file, name) in files.iter_mut().zip(names) {
                *file = Zeroizing::new(read_bytes(&version.join(name))?.0);
            }
            Ok(files)
        });
        read?.ok_or_else(|| {
            let link = directory.join(CURRENT);
            SecretDirError::io("read", &link, io::ErrorKind::NotFound.into())
        })
    }

    /// The names of all Secrets, each with the name of its current version: another one after every
    /// [`write`](Self::write), and never one that was there before. It is empty for a Secret that cannot be read.
    ///
    /// # Errors
    ///
    /// A directory of Secrets or of a namespace cannot be read.
    pub fn versions(&self) -> Result<BTreeMap<ResourceName, String>, SecretDirError> {
        let mut versions = BTreeMap::new();
        for (namespace, at) in directories(&self.root)? {
            for (name, at) in directories(&at)? {
                let version = match current(&at) {
                    Ok(None) if !is_there(&at) => continue,
                    version => version.ok().flatten().unwrap_or_default(),
                };
                let version = version.file_name().unwrap_or_default();
                let version = version.to_string_lossy().into_owned();
                versions.insert(ResourceName::new(&namespace, name), version);
            }
        }
        Ok(versions)
    }

    #[cfg(feature = "run")]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Removes a Secret's directory with everything that was written into it; whether there was one.
    ///
    /// # Errors
    ///
    /// A file cannot be removed. Something that was not written here stays, and the directory with it.
    pub fn remove(&self, namespace: &str, name: &str) -> Result<bool, SecretDirError> {
        let path = self.path(namespace, name)?;
        let failed = |error| SecretDirError::io("remove", &path, error);
        let found = current(&path)?.is_some();
        if found {
            // Without the link there is no Secret: what a kill leaves behind is removed by the next call or write.
            fs::remove_file(path.join(CURRENT)).map_err(failed)?;
        } else if !path.is_dir() {
            return Ok(false);
        }
        for entry in fs::read_dir(&path).map_err(failed)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let removed = if name.starts_with(VERSION) {
                fs::remove_dir_all(entry.path())
            } else if is_shown(&path, &name) {
                fs::remove_file(entry.path())
            } else {
                continue;
            };
            removed.map_err(failed)?;
        }
        // Strangers keep it.
        let _ = fs::remove_dir(&path);
        Ok(found)
    }

    /// Writes a Secret, replacing every file of an earlier version at once, and returns its directory.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or one that was not written here stands where one belongs; the earlier version then
    /// stays in place. If it is only removing what is outdated that fails, the new version is in place.
    pub fn write(&self, secret: &TlsSecret) -> Result<PathBuf, SecretDirError> {
        let path = self.path(&secret.namespace, &secret.name)?;
        for (key, _) in secret.data() {
            check_component(key)?;
        }
        fs::create_dir_all(&path).map_err(|e| SecretDirError::io("create", &path, e))?;
        // Links come before what they lead to: a process that is killed in between leaves no version without them.
        for (key, _) in secret.data() {
            show(&path, key)?;
        }
        let failed = |(place, error): Failed| SecretDirError::io("write", &place, error);
        let version = new_version(&path).map_err(failed)?;
        let directory = path.join(&version);
        if let Err(error) = fill(&directory, secret).and_then(|()| swap(&path, &version)) {
            // What could not be finished is not the current version, and the next write removes it too.
            let _ = fs::remove_dir_all(&directory);
            return Err(failed(error));
        }
        tidy(&path, &version, secret)
            .map_err(|(place, error)| SecretDirError::io("tidy", &place, error))?;
        Ok(path)
    }
}

/// The directories in a directory with their names, as many as can name a Secret or its namespace.
fn directories(path: &Path) -> Result<Vec<(String, PathBuf)>, SecretDirError> {
    let failed = |error| SecretDirError::io("read", path, error);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut directories = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().map_err(failed)?.is_dir() && check_component(&name).is_ok() {
            directories.push((name, entry.path()));
        }
    }
    Ok(directories)
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

/// Whether the file of a key is our link into the current version.
fn is_shown(path: &Path, key: &str) -> bool {
    fs::read_link(path.join(key)).is_ok_and(|target| target == Path::new(CURRENT).join(key))
}

/// Makes the link of a key, unless it is there.
fn show(path: &Path, key: &str) -> Result<(), SecretDirError> {
    let visible = path.join(key);
    match link(&Path::new(CURRENT).join(key), &visible) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match is_shown(path, key) {
            true => Ok(()),
            false => Err(SecretDirError::Stranger { path: visible }),
        },
        linked => linked.map_err(|error| SecretDirError::io("write", &visible, error)),
    }
}

type Failed = (PathBuf, io::Error);

/// Creates the directory of a new version, under a number that no version before had, not even one of a Secret that
/// was removed since: a reader tells by it whether the version that it has read is still the current one.
fn new_version(path: &Path) -> Result<String, Failed> {
    let entries = fs::read_dir(path).map_err(|e| (path.to_owned(), e))?;
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(VERSION)?.parse::<u64>().ok()
    };
    let last = entries.flatten().filter_map(number).max();
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let time = time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
    let number = last.map_or(time, |last| time.max(last.saturating_add(1)));
    let version = format!("{VERSION}{number}");
    let directory = path.join(&version);
    fs::create_dir(&directory).map_err(|e| (directory, e))?;
    Ok(version)
}

/// Writes every file of a version into its directory.
fn fill(directory: &Path, secret: &TlsSecret) -> Result<(), Failed> {
    for (key, bytes) in secret.data() {
        write_private(&directory.join(key), bytes)?;
    }
    let metadata = Metadata {
        annotations: secret.annotations.clone(),
        labels: secret.labels.clone(),
    };
    let path = directory.join(METADATA);
    let text = serde_json::to_vec_pretty(&metadata).map_err(|e| (path.clone(), e.into()))?;
    write_private(&path, &text)?;
    sync(directory)
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

/// Makes a directory's entries outlive a loss of power.
fn sync(directory: &Path) -> Result<(), Failed> {
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| (directory.to_owned(), e))
}

/// Makes `version` the current one.
fn swap(path: &Path, version: &str) -> Result<(), Failed> {
    let next = path.join("..data_next");
    let _ = fs::remove_file(&next);
    link(Path::new(version), &next)
        .and_then(|()| fs::rename(&next, path.join(CURRENT)))
        .map_err(|e| (next, e))
}

/// Leaves no link of a key that is gone, and no version but the current one.
fn tidy(path: &Path, version: &str, secret: &TlsSecret) -> Result<(), Failed> {
    // The old version must not be gone before the link to the new one is sure to stay.
    sync(path)?;
    for entry in fs::read_dir(path)
        .map_err(|e| (path.to_owned(), e))?
        .flatten()
    {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let removed = if name.starts_with(VERSION) && name != version {
            fs::remove_dir_all(entry.path())
        } else if secret.get(&name).is_none() && is_shown(path, &name) {
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
    fn what_others_put_there_stays_and_is_not_mistaken_for_ours() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let path = root.path().join("shop/web-tls");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("tls.key"), "theirs").unwrap();
        let message = dir.read("shop", "web-tls").unwrap_err().to_string();
        assert!(message.ends_with("tls.key was not written here; move it away"));
        assert!(dir.write(&secret("1")).is_err());
        assert_eq!(
            fs::read_to_string(path.join("tls.key")).unwrap(),
            "theirs",
            "a key may exist nowhere else"
        );

        fs::remove_file(path.join("tls.key")).unwrap();
        assert!(dir.read("shop", "web-tls").unwrap().is_none());
        fs::write(path.join("notes"), "theirs").unwrap();
        fs::create_dir(path.join("backup")).unwrap();
        dir.write(&secret("1")).unwrap();
        dir.write(&secret("2")).unwrap();
        assert_eq!(dir.read("shop", "web-tls").unwrap(), Some(secret("2")));
        assert!(path.join("notes").exists() && path.join("backup").exists());

        fs::remove_file(path.join(CURRENT)).unwrap();
        link(&path.join("backup"), &path.join(CURRENT)).unwrap();
        assert!(dir.read("shop", "web-tls").is_err(), "not within");
        fs::remove_file(path.join(CURRENT)).unwrap();
        link(Path::new("..v9"), &path.join(CURRENT)).unwrap();
        assert!(dir.read("shop", "web-tls").is_err(), "lost, not new");
    }

    #[test]
    fn a_writer_killed_at_any_point_leaves_a_whole_secret_or_none() {
        for earlier in [None, Some("1")] {
            let root = tempfile::tempdir().unwrap();
            let dir = SecretDir::new(root.path());
            let path = root.path().join("shop/web-tls");
            fs::create_dir_all(&path).unwrap();
            if let Some(earlier) = earlier {
                dir.write(&secret(earlier)).unwrap();
            }
            let check = |expected: Option<&str>| {
                let expected = expected.map(secret);
                assert_eq!(dir.read("shop", "web-tls").unwrap(), expected);
                for (key, bytes) in expected.iter().flat_map(TlsSecret::data) {
                    assert_eq!(fs::read(path.join(key)).unwrap(), bytes, "as servers read");
                }
            };
            show(&path, "tls.crt").unwrap();
            check(earlier);
            show(&path, "tls.key").unwrap();
            check(earlier);
            let version = new_version(&path).unwrap();
            check(earlier);
            fill(&path.join(&version), &secret("2")).unwrap();
            check(earlier);
            swap(&path, &version).unwrap();
            check(Some("2"));
            dir.write(&secret("3")).unwrap();
            check(Some("3"));
        }
    }

    #[test]
    fn a_secret_that_is_removed_is_gone_and_strangers_stay() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        assert!(dir.versions().unwrap().is_empty());
        assert!(!dir.remove("shop", "web-tls").unwrap());
        let path = dir.write(&secret("1")).unwrap();
        let name = ResourceName::new("shop", "web-tls");
        let before = dir.versions().unwrap();
        dir.write(&secret("2")).unwrap();
        assert_ne!(dir.versions().unwrap()[&name], before[&name]);
        assert!(dir.remove("shop", "web-tls").unwrap());
        assert!(dir.versions().unwrap().is_empty());
        assert!(!path.exists());
        dir.write(&secret("3")).unwrap();
        fs::write(path.join("notes"), "theirs").unwrap();
        assert!(dir.remove("shop", "web-tls").unwrap());
        assert!(path.join("notes").exists());
        dir.write(&secret("4")).unwrap();
        assert_eq!(dir.read("shop", "web-tls").unwrap(), Some(secret("4")));
    }

    #[test]
    fn what_a_killed_removal_leaves_is_removed_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let path = dir.write(&secret("1")).unwrap();
        fs::remove_file(path.join(CURRENT)).unwrap();
        assert!(!dir.remove("shop", "web-tls").unwrap(), "it was gone");
        assert!(!path.exists(), "the key too");
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
    fn no_version_has_the_number_of_one_before() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let mut seen = std::collections::BTreeSet::new();
        for version in ["1", "2", "3"] {
            let path = dir.write(&secret(version)).unwrap();
            assert!(seen.insert(current(&path).unwrap()), "{seen:?}");
        }
    }

    #[test]
    fn no_version_has_the_name_of_one_that_was_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let mut seen = std::collections::BTreeSet::new();
        for version in ["1", "2", "3"] {
            dir.write(&secret(version)).unwrap();
            let name = dir.versions().unwrap().into_values().next();
            assert!(seen.insert(name), "{seen:?}");
            dir.remove("shop", "web-tls").unwrap();
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let path = dir.write(&secret("1")).unwrap();
        let name = ResourceName::new("shop", "web-tls");
        fs::remove_file(path.join(CURRENT)).unwrap();
        assert!(!dir.versions().unwrap().contains_key(&name), "as if killed");
        link(Path::new("/tmp"), &path.join(CURRENT)).unwrap();
        assert_eq!(dir.versions().unwrap()[&name], "");
        fs::remove_file(path.join(CURRENT)).unwrap();
        fs::remove_file(path.join("tls.key")).unwrap();
        fs::write(path.join("tls.key"), "theirs").unwrap();
        assert_eq!(dir.versions().unwrap()[&name], "");
        assert!(dir.read("shop", "web-tls").is_err());
    }

    #[test]
    fn files_of_one_version_are_read_together() {
        let root = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(root.path());
        let path = root.path().join("shop/web-tls");
        let missing = SecretDir::read_files(&path, ["tls.crt"]).unwrap_err();
        assert!(missing.to_string().ends_with("..data"), "{missing}");
        dir.write(&secret("0")).unwrap();
        assert!(SecretDir::read_files(&path, ["../tls.crt"]).is_err());
        assert!(SecretDir::read_files(&path, ["tls.crt", "none"]).is_err());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 1..100 {
                    dir.remove("shop", "web-tls").unwrap();
                    dir.write(&secret(&n.to_string())).unwrap();
                }
            });
            while !writer.is_finished() {
                let Ok([key, crt]) = SecretDir::read_files(&path, ["tls.key", "tls.crt"]) else {
                    continue;
                };
                assert_eq!(key.strip_prefix(b"key "), crt.strip_prefix(b"crt "));
            }
        });
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
