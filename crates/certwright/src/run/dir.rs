use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certwright_cert_model::TlsSecret;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::store::{Keeping, SecretStore, Seen, StoreError};
use crate::inventory::ResourceName;
use crate::secret_dir::SecretDir;

/// Secrets in a directory that this process alone writes, and others may edit by hand.
#[derive(Clone, Debug)]
pub struct DirStore {
    dir: SecretDir,
    poll: Duration,
    /// The versions that were told of last.
    versions: Arc<Mutex<BTreeMap<ResourceName, String>>>,
    watch: Arc<Mutex<Watch>>,
}

/// What outlives a future that is dropped.
#[derive(Debug, Default)]
struct Watch {
    /// When it is to be looked next.
    next: Option<Instant>,
    /// What was found and not told yet.
    seen: Vec<Seen>,
}

impl DirStore {
    /// Keeps Secrets in `dir`, and looks every `poll` whether somebody changed one.
    pub fn new(dir: SecretDir, poll: Duration) -> Self {
        Self {
            dir,
            poll,
            versions: Arc::default(),
            watch: Arc::default(),
        }
    }

    /// Finds whatever changed since it was looked last.
    fn look(&self) -> Result<(), StoreError> {
        let list = |error| StoreError::failed("list", error);
        let now = self.dir.versions().map_err(list)?;
        let before = self.versions().clone();
        let mut seen = Vec::new();
        for (name, version) in &now {
            if before.get(name) != Some(version) {
                let read = self.dir.read(&name.namespace, &name.name);
                match read.map_err(|error| StoreError::failed("read", error))? {
                    Some(secret) => seen.push(Seen::Put(Box::new(secret))),
                    None => seen.push(Seen::Removed(name.clone())),
                }
            }
        }
        let gone = before.keys().filter(|name| !now.contains_key(name));
        seen.extend(gone.map(|name| Seen::Removed(name.clone())));
        *self.versions() = now;
        self.watch().seen.extend(seen);
        Ok(())
    }

    fn watch(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn versions(&self) -> std::sync::MutexGuard<'_, BTreeMap<ResourceName, String>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the version this process wrote, which is nothing to be told of.
    fn wrote(&self, name: &ResourceName) -> Result<(), StoreError> {
        let version = self.dir.version(&name.namespace, &name.name);
        match version.map_err(|error| StoreError::failed("read", error))? {
            Some(version) => self.versions().insert(name.clone(), version),
            None => self.versions().remove(name),
        };
        Ok(())
    }

    /// Does something with files where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        let done = spawn_blocking(move || work(&this)).await;
        done.map_err(|error| StoreError::failed(action, error))?
    }
}

impl SecretStore for DirStore {
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, StoreError>>> {
        Box::pin(self.blocking("list", |this| {
            let list = |error| StoreError::failed("list", error);
            let versions = this.dir.versions().map_err(list)?;
            let names = versions.keys();
            let secrets = names.filter_map(|name| {
                let read = this.dir.read(&name.namespace, &name.name);
                read.map_err(|error| StoreError::failed("read", error))
                    .transpose()
            });
            let secrets = secrets.collect();
            *this.versions() = versions;
            Ok(secrets)
        }))
    }

    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()> {
        let secret = secret.clone_with_keys();
        Box::pin(self.blocking("write", move |this| {
            let written = this.dir.write(&secret);
            written.map_err(|error| StoreError::failed("write", error))?;
            this.wrote(&ResourceName::new(&secret.namespace, &secret.name))
        }))
    }

    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()> {
        let secret = secret.clone();
        Box::pin(self.blocking("remove", move |this| {
            let removed = this.dir.remove(&secret.namespace, &secret.name);
            removed.map_err(|error| StoreError::failed("remove", error))?;
            this.wrote(&secret)
        }))
    }

    fn changed(&self) -> Keeping<'_, Vec<Seen>> {
        Box::pin(async {
            loop {
                let seen = core::mem::take(&mut self.watch().seen);
                if !seen.is_empty() {
                    return Ok(seen);
                }
                let first = Instant::now() + self.poll;
                let next = *self.watch().next.get_or_insert(first);
                tokio::time::sleep_until(next).await;
                self.watch().next = None;
                self.blocking("list", Self::look).await?;
            }
        })
    }

    fn lead(&self) -> Keeping<'_, bool> {
        Box::pin(core::future::ready(Ok(true)))
    }

    fn resign(&self) -> Keeping<'_, ()> {
        Box::pin(core::future::ready(Ok(())))
    }
}
