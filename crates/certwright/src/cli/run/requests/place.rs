//! Where requests are kept, and how they are changed with nobody in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certwright::{ResourceName, SecretDir};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, TlsSecret, manifest};
use certwright_storage::{Entry, Key, Storage, StorageError, Txn, Value};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Failed, Request};

/// Where requests are kept.
#[derive(Clone, Debug)]
pub(crate) enum Requests {
    /// Beside the Secrets of a directory.
    Dir(SecretDir),
    /// Beside those of storage that machines share.
    Shared {
        /// The storage.
        storage: Arc<dyn Storage>,
        /// What keys start with.
        prefix: String,
    },
}

/// Among the requests of a directory: locked while one of them is changed. No namespace is called so.
const LOCK: &str = ".lock";
/// How soon a lock that somebody else has is tried again.
const BUSY: Duration = Duration::from_millis(20);

impl Requests {
    /// Writes a request down, with all that was asked for before and is not done; what is asked for now.
    pub(crate) async fn make(&self, request: &Request) -> Result<Request, Failed> {
        let joined = |before| Some(request.clone().and(before));
        let made = self.update(&request.certificate, joined).await?;
        Ok(made.unwrap_or_else(|| request.clone()))
    }

    /// What is asked for a Certificate.
    pub(crate) async fn find(&self, certificate: &ResourceName) -> Result<Option<Request>, Failed> {
        let text = match self {
            Self::Dir(dir) => read_file(&path(dir, certificate)?)?,
            Self::Shared { storage, prefix } => {
                let entry = storage.get(&key(prefix, certificate)?).await?;
                entry.as_ref().map(text).transpose()?
            }
        };
        text.map(|text| Request::read(certificate, &text))
            .transpose()
    }

    /// The Secret of this name, as it is stored.
    pub(crate) async fn secret(&self, name: &ResourceName) -> Result<Option<TlsSecret>, Failed> {
        Ok(match self {
            Self::Dir(dir) => dir.read(&name.namespace, &name.name)?,
            Self::Shared { storage, prefix } => {
                let key = Key::new(&format!("{prefix}/secret/{name}"))?;
                let entry = storage.get(&key).await?;
                entry.and_then(|entry| read_secret(entry.value.as_bytes()))
            }
        })
    }

    /// Everything that is asked for, and why some of it cannot be read.
    pub(super) async fn list(&self) -> Result<Vec<Result<Request, Failed>>, Failed> {
        match self {
            Self::Dir(dir) => Ok(list_dir(&root(dir)?)?),
            Self::Shared { storage, prefix } => {
                let root = format!("{prefix}/renew/");
                let listed = storage.list(&root).await?;
                let requests = listed.entries.iter().filter_map(|entry| {
                    let name = entry.key.as_str().strip_prefix(&root)?;
                    let (namespace, name) = name.split_once('/')?;
                    let name = ResourceName::new(namespace, name);
                    Some(text(entry).and_then(|text| Request::read(&name, &text)))
                });
                Ok(requests.collect())
            }
        }
    }

    /// Puts a request in the place of one, or nothing; whether that was still there.
    pub(super) async fn replace(
        &self,
        request: &Request,
        by: Option<&Request>,
    ) -> Result<bool, Failed> {
        let change = |found: Option<Request>| match found {
            Some(found) if found == *request => by.cloned(),
            other => other,
        };
        let left = self.update(&request.certificate, change).await?;
        Ok(left.as_ref() == by)
    }

    /// Changes what is asked for a Certificate; what is asked for then.
    async fn update(
        &self,
        certificate: &ResourceName,
        change: impl Fn(Option<Request>) -> Option<Request>,
    ) -> Result<Option<Request>, Failed> {
        let read = |text: String| Request::read(certificate, &text);
        match self {
            Self::Dir(dir) => {
                let path = path(dir, certificate)?;
                let root = root(dir)?;
                let secrets = root.parent().unwrap_or(&root);
                fs::create_dir_all(secrets)?;
                let owner = fs::metadata(secrets)?;
                for part in [&*root, path.parent().unwrap_or(&root)] {
                    match fs::create_dir(part) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return Err(error.into());
                        }
                        Err(_) => {}
                        Ok(()) => give(part, &owner),
                    }
                }
                let _locked = lock(&root, &owner).await?;
                let before = read_file(&path)?.map(read).transpose()?;
                let after = change(before.clone());
                match &after {
                    after if *after == before => {}
                    Some(after) => {
                        // Whoever looks sees all of it or nothing.
                        let next = path.with_file_name(format!(".{}", certificate.name));
                        remove_file(&next)?;
                        let mut file = File::create_new(&next)?;
                        file.write_all(after.to_text()?.as_bytes())?;
                        file.sync_all()?;
                        give(&next, &owner);
                        fs::rename(&next, &path)?;
                    }
                    None => remove_file(&path)?,
                }
                Ok(after)
            }
            Self::Shared { storage, prefix } => loop {
                let key = key(prefix, certificate)?;
                let entry = storage.get(&key).await?;
                let before = entry.as_ref().map(text).transpose()?;
                let before = before.map(read).transpose()?;
                let after = change(before.clone());
                if after == before {
                    return Ok(after);
                }
                let txn = match &entry {
                    Some(entry) => Txn::new().if_unchanged(key.clone(), entry.revision),
                    None => Txn::new().if_absent(key.clone()),
                };
                let txn = match &after {
                    Some(after) => txn.put(key, Value::from(after.to_text()?.as_bytes())),
                    None => txn.delete(key),
                };
                match storage.txn(txn).await {
                    Ok(_) => return Ok(after),
                    // Somebody else changed it meanwhile: what is there now counts.
                    Err(StorageError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            },
        }
    }
}

fn root(dir: &SecretDir) -> Result<PathBuf, Failed> {
    let any = dir.path("a", "b")?;
    Ok(any.ancestors().nth(2).unwrap_or(&any).join(".renew"))
}

fn path(dir: &SecretDir, certificate: &ResourceName) -> Result<PathBuf, Failed> {
    // No name leads elsewhere.
    dir.path(&certificate.namespace, &certificate.name)?;
    let namespace = root(dir)?.join(&certificate.namespace);
    Ok(namespace.join(&certificate.name))
}

fn key(prefix: &str, certificate: &ResourceName) -> Result<Key, Failed> {
    Ok(Key::new(&format!("{prefix}/renew/{certificate}"))?)
}

fn text(entry: &Entry) -> Result<String, Failed> {
    Ok(core::str::from_utf8(entry.value.as_bytes())?.to_owned())
}

fn read_file(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was made here belongs to whom the Secrets belong to: who asks as root does not shut out the process that issues.
fn give(made: &Path, owner: &fs::Metadata) {
    // Root can, and nobody else needs to.
    let _ = lchown(made, Some(owner.uid()), Some(owner.gid()));
}

/// Waits until nobody else changes a request of a directory; nobody does as long as the file is open.
async fn lock(root: &Path, owner: &fs::Metadata) -> Result<File, Failed> {
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    // Who may only read the directory cannot hold anybody up.
    options.read(true).write(true).mode(0o660);
    let file = match options.clone().create_new(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(&path)?,
        made => {
            let made = made?;
            give(&path, owner);
            made
        }
    };
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => tokio::time::sleep(BUSY).await,
            locked => return Ok(locked.map(|()| file)?),
        }
    }
}

fn list_dir(root: &Path) -> io::Result<Vec<Result<Request, Failed>>> {
    let mut requests = Vec::new();
    let listed = |path: &Path| match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>(),
    };
    for namespace in listed(root)? {
        if !namespace.is_dir() {
            continue;
        }
        for path in listed(&namespace)? {
            let names =
                [&namespace, &path].map(|path| path.file_name().and_then(|name| name.to_str()));
            if let [Some(namespace), Some(name)] = names
                && !name.starts_with('.')
            {
                let name = ResourceName::new(namespace, name);
                let text = read_file(&path).map_err(Failed::from).transpose();
                requests.extend(text.map(|text| Request::read(&name, &text?)));
            }
        }
    }
    Ok(requests)
}

fn read_secret(bytes: &[u8]) -> Option<TlsSecret> {
    let text = core::str::from_utf8(bytes).ok()?;
    match manifest::read(text, Format::Yaml, Strictness::Lenient).pop() {
        Some(Ok(Manifest::Secret(secret))) => Some(secret),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use certwright_storage::MemoryStorage;
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    /// Whoever ends a request ends the one that it knows, and no other that was made meanwhile.
    #[tokio::test]
    async fn what_is_asked_for_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let prefix = "/v1/certwright".to_owned();
        for requests in [
            Requests::Dir(SecretDir::new(dir.path())),
            Requests::Shared { storage, prefix },
        ] {
            let web = ResourceName::new("shop", "web");
            let first = Request::new(web.clone(), "web-tls".to_owned(), NOW);
            assert!(requests.list().await.unwrap().is_empty());
            assert_eq!(requests.make(&first).await.unwrap(), first);
            let taken = first.take(None, NOW);
            assert!(requests.replace(&first, Some(&taken)).await.unwrap());
            let mut second = first.clone();
            second.old_key = Some("ab".to_owned());
            assert_eq!(requests.make(&second).await.unwrap(), second);
            // By who knows the first.
            assert!(!requests.replace(&taken, None).await.unwrap());
            assert!(!requests.replace(&first, Some(&taken)).await.unwrap());
            assert_eq!(requests.find(&web).await.unwrap(), Some(second.clone()));
            let listed = requests.list().await.unwrap();
            let listed: Vec<_> = listed.into_iter().map(Result::unwrap).collect();
            assert_eq!(listed, [second.clone()]);
            assert!(requests.replace(&second, None).await.unwrap());
            assert_eq!(requests.find(&web).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let requests = Requests::Dir(SecretDir::new(dir.path()));
        let request = |name| Request::new(ResourceName::new("shop", name), "s".to_owned(), NOW);
        requests.make(&request("web")).await.unwrap();
        let newer = "2026-03-01T12:00:00Z s\0of-tomorrow\n";
        let path = dir.path().join(".renew/shop/api");
        fs::write(&path, newer).unwrap();
        let listed = requests.list().await.unwrap();
        assert_eq!(listed.iter().filter(|one| one.is_ok()).count(), 1);
        assert_eq!(listed.len(), 2);
        assert!(requests.make(&request("api")).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
}
