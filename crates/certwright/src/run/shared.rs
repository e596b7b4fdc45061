use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, TlsSecret, manifest};
use certwright_storage::{
    Change, Entry, Event, Key, Lease, Revision, Storage, StorageError, Txn, Value, Watch,
};

use super::store::{Keeping, SecretStore, Seen, StoreError, Unreadable};
use crate::inventory::ResourceName;

/// Secrets in a [`Storage`] that replicas share: one of them issues, under a lease, and all see what it stores.
///
/// A Secret is a manifest under `PREFIX/secret/NAMESPACE/NAME`. Every write is guarded by the revision that was seen
/// last and by the lease's fencing token: a replica that lost the right without noticing writes nothing.
pub struct SharedStore {
    storage: Arc<dyn Storage>,
    prefix: String,
    owner: String,
    ttl: Duration,
    lease: tokio::sync::Mutex<Option<Lease>>,
    watch: tokio::sync::Mutex<Option<Watch>>,
    revisions: Mutex<Revisions>,
}

#[derive(Debug, Default)]
struct Revisions {
    known: BTreeMap<ResourceName, Revision>,
    /// Everything up to it was told of.
    listed: Revision,
}

impl SharedStore {
    /// Keeps Secrets under `prefix`, for example `/v1/certwright`; others are told that `owner` has the right to
    /// issue, which runs out `ttl` after this replica was heard of last.
    pub fn new(
        storage: Arc<dyn Storage>,
        prefix: impl Into<String>,
        owner: impl Into<String>,
        ttl: Duration,
    ) -> Self {
        Self {
            storage,
            prefix: prefix.into(),
            owner: owner.into(),
            ttl,
            lease: tokio::sync::Mutex::default(),
            watch: tokio::sync::Mutex::default(),
            revisions: Mutex::default(),
        }
    }

    fn secrets(&self) -> String {
        format!("{}/secret/", self.prefix)
    }

    fn key(&self, secret: &ResourceName) -> Result<Key, StoreError> {
        let text = format!("{}{secret}", self.secrets());
        Key::new(&text).map_err(|error| StoreError::failed("write", error))
    }

    fn name(&self, key: &Key) -> Option<ResourceName> {
        let name = key.as_str().strip_prefix(&self.secrets())?;
        // A key that names no Secret is still told of as one that cannot be read.
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        Some(ResourceName::new(namespace, name))
    }

    fn revisions(&self) -> std::sync::MutexGuard<'_, Revisions> {
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The Secret of an entry, whose revision counts as told with that.
    fn take(&self, name: &ResourceName, entry: &Entry) -> Result<TlsSecret, Unreadable> {
        self.revisions().known.insert(name.clone(), entry.revision);
        let text = core::str::from_utf8(entry.value.as_bytes());
        let mut manifests = text.map_or_else(
            |_| Vec::new(),
            |text| manifest::read(text, Format::Yaml, Strictness::Lenient),
        );
        let named =
            |secret: &TlsSecret| (&secret.namespace, &secret.name) == (&name.namespace, &name.name);
        match manifests.pop() {
            Some(Ok(Manifest::Secret(secret))) if manifests.is_empty() && named(&secret) => {
                Ok(secret)
            }
            _ => {
                let place = &entry.key;
                let why = format!("key {place} of the store holds no manifest of this Secret");
                Err(Unreadable::new(name.clone(), why))
            }
        }
    }

    /// Everything there is, and a watch from there.
    async fn list(&self) -> Result<Vec<Result<TlsSecret, Unreadable>>, StoreError> {
        let listed = self
            .storage
            .list(&self.secrets())
            .await
            .map_err(plain("list"))?;
        *self.watch.lock().await = None;
        // From here on nothing waits: if this future were dropped now, nobody would be told of what is known already.
        {
            let mut revisions = self.revisions();
            revisions.known.clear();
            revisions.listed = listed.revision;
        }
        let entries = listed.entries.iter();
        let taken = entries.filter_map(|entry| Some(self.take(&self.name(&entry.key)?, entry)));
        Ok(taken.collect())
    }

    /// Writes under the lease, if nobody else wrote since.
    async fn write(&self, secret: &ResourceName, value: Option<Value>) -> Result<(), StoreError> {
        let key = self.key(secret)?;
        let known = self.revisions().known.get(secret).copied();
        let lease = self.lease.lock().await;
        let fence = lease.as_ref().ok_or(StoreError::LeaseLost)?.fence();
        let txn = match known {
            Some(revision) => Txn::new().if_unchanged(key.clone(), revision),
            None => Txn::new().if_absent(key.clone()),
        };
        let txn = txn.if_held(fence);
        let txn = match &value {
            Some(value) => txn.put(key.clone(), value.clone()),
            None => txn.delete(key.clone()),
        };
        match self.storage.txn(txn).await {
            Ok(revision) => {
                let mut revisions = self.revisions();
                match value {
                    Some(_) => revisions.known.insert(secret.clone(), revision),
                    None => revisions.known.remove(secret),
                };
                Ok(())
            }
            Err(StorageError::Conflict { .. }) => Err(StoreError::Conflict {
                secret: secret.clone(),
            }),
            Err(StorageError::LeaseLost { .. }) => Err(StoreError::LeaseLost),
            // It may have happened: what is there now tells.
            Err(StorageError::Indeterminate { .. }) => self.resolve(secret, &key, value).await,
            Err(error) => Err(StoreError::failed("write", error)),
        }
    }

    async fn resolve(
        &self,
        secret: &ResourceName,
        key: &Key,
        wanted: Option<Value>,
    ) -> Result<(), StoreError> {
        let found = self.storage.get(key).await.map_err(plain("read"))?;
        if found.as_ref().map(|entry| &entry.value) != wanted.as_ref() {
            return Err(StoreError::Conflict {
                secret: secret.clone(),
            });
        }
        let mut revisions = self.revisions();
        match found {
            Some(entry) => revisions.known.insert(secret.clone(), entry.revision),
            None => revisions.known.remove(secret),
        };
        Ok(())
    }

    /// What of a change somebody else did.
    fn seen(&self, change: &Change, revision: Revision) -> Option<Seen> {
        let name = self.name(change.key())?;
        let known = self.revisions().known.get(&name).copied();
        match change {
            Change::Delete(_) => {
                known.filter(|known| *known < revision)?;
                self.revisions().known.remove(&name);
                Some(Seen::Removed(name))
            }
            Change::Put(_) if known.is_some_and(|known| known >= revision) => None,
            Change::Put(entry) => Some(seen(self.take(&name, entry))),
        }
    }
}

fn seen(taken: Result<TlsSecret, Unreadable>) -> Seen {
    match taken {
        Ok(secret) => Seen::Put(Box::new(secret)),
        Err(error) => Seen::Unreadable(error),
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore")
            .field("prefix", &self.prefix)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

fn plain(action: &'static str) -> impl FnOnce(StorageError) -> StoreError {
    move |error| StoreError::failed(action, error)
}

impl SecretStore for SharedStore {
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, Unreadable>>> {
        Box::pin(self.list())
    }

    fn read<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, Seen> {
        Box::pin(async move {
            let key = self.key(secret)?;
            let found = self.storage.get(&key).await.map_err(plain("read"))?;
            Ok(match found {
                Some(entry) => seen(self.take(secret, &entry)),
                None => {
                    self.revisions().known.remove(secret);
                    Seen::Removed(secret.clone())
                }
            })
        })
    }

    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()> {
        Box::pin(async move {
            let name = ResourceName::new(&secret.namespace, &secret.name);
            let value = Value::from(secret.to_manifest().as_bytes());
            self.write(&name, Some(value)).await
        })
    }

    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()> {
        Box::pin(self.write(secret, None))
    }

    fn changed(&self) -> Keeping<'_, Vec<Seen>> {
        Box::pin(async {
            let mut watch = self.watch.lock().await;
            loop {
                let running = match &mut *watch {
                    Some(running) => running,
                    None => {
                        let after = self.revisions().listed;
                        let secrets = self.secrets();
                        let started = self.storage.watch(&secrets, after).await;
                        watch.insert(started.map_err(plain("list"))?)
                    }
                };
                match running.next().await {
                    Some(Ok(Event::Changed { revision, changes })) => {
                        self.revisions().listed = revision;
                        let seen = changes.iter().filter_map(|c| self.seen(c, revision));
                        let seen: Vec<_> = seen.collect();
                        if !seen.is_empty() {
                            return Ok(seen);
                        }
                    }
                    // The history is gone: what there is now tells all.
                    Some(Ok(_)) => {
                        *watch = None;
                        drop(watch);
                        let before: Vec<_> = self.revisions().known.keys().cloned().collect();
                        let mut all: Vec<_> = self.list().await?.into_iter().map(seen).collect();
                        let there: BTreeSet<_> = all.iter().map(Seen::name).collect();
                        let gone = before.into_iter().filter(|name| !there.contains(name));
                        all.extend(gone.map(Seen::Removed));
                        return Ok(all);
                    }
                    Some(Err(error)) => {
                        *watch = None;
                        return Err(StoreError::failed("list", error));
                    }
                    None => *watch = None,
                }
            }
        })
    }

    fn lead(&self) -> Keeping<'_, bool> {
        Box::pin(async {
            let mut lease = self.lease.lock().await;
            if let Some(held) = &mut *lease {
                match self.storage.keep_alive(held).await {
                    Ok(()) => return Ok(true),
                    // Somebody else may have had it since: who asks has to know.
                    Err(StorageError::LeaseLost { .. }) => {
                        *lease = None;
                        return Ok(false);
                    }
                    Err(error) if !held.is_held(std::time::Instant::now()) => {
                        *lease = None;
                        return Err(StoreError::failed("lead", error));
                    }
                    // It is ours until its deadline.
                    Err(_) => return Ok(true),
                }
            }
            let name = format!("{}/lock", self.prefix);
            let name = Key::new(&name).map_err(|error| StoreError::failed("lead", error))?;
            let asked = self.storage.acquire(&name, &self.owner, self.ttl).await;
            *lease = asked.map_err(plain("lead"))?.granted();
            Ok(lease.is_some())
        })
    }

    fn resign(&self) -> Keeping<'_, ()> {
        Box::pin(async {
            match self.lease.lock().await.take() {
                Some(lease) => self.storage.release(lease).await.map_err(plain("lead")),
                None => Ok(()),
            }
        })
    }
}
