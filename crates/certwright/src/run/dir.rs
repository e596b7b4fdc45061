use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use certwright_cert_model::TlsSecret;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::lock::Lock;
use super::store::{Keeping, SecretStore, Seen, StoreError, Unreadable};
use crate::inventory::ResourceName;
use crate::manager::with_causes;
use crate::secret_dir::{SecretDir, SecretDirError, Stamp, Survey};

/// Secrets in a directory that one process at a time keeps, and others may edit by hand.
///
/// The right to issue is the kernel's lock on a file in the directory: a second process serves what is there, says who
/// has the lock, and takes over when that one ends, however it ends. A lock does not cross machines on every network
/// file system: use a directory of a local one. Reading needs no right ([`SecretDir`]).
///
/// What others do is found by looking at every file again and again, and an edit by hand counts when it was the same in
/// two looks. One that leaves size, times and number of a file as they were is not seen.
#[derive(Clone, Debug)]
pub struct DirStore {
    dir: SecretDir,
    poll: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What was told of last.
    known: Mutex<BTreeMap<ResourceName, Known>>,
    /// What was seen once and may not be finished: its content, none if the Secret was gone.
    pending: Mutex<BTreeMap<ResourceName, Option<String>>>,
    watch: Mutex<Watch>,
    lock: Mutex<Option<Lock>>,
    /// Held by whoever reads or writes: work on files goes on when its future is dropped.
    busy: Mutex<()>,
    /// Tells contents apart.
    hasher: RandomState,
}

/// What outlives a future that is dropped.
#[derive(Debug, Default)]
struct Watch {
    /// When it is to be looked next.
    next: Option<Instant>,
    /// What was found and not told yet.
    seen: Vec<Seen>,
}

/// A Secret as it was told.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Read {
        stamp: Stamp,
        /// Its fingerprint.
        content: String,
        /// Whether the same stamp means the same content.
        telling: bool,
    },
    Unreadable {
        /// Why, with causes.
        why: String,
    },
}

impl Known {
    fn content(&self) -> &str {
        match self {
            Self::Read { content, .. } => content,
            Self::Unreadable { why } => why,
        }
    }
}

impl DirStore {
    /// Keeps Secrets in `dir`, and looks every `poll` whether somebody changed one.
    pub fn new(dir: SecretDir, poll: Duration) -> Self {
        Self {
            dir,
            poll,
            shared: Arc::default(),
        }
    }

    /// Finds whatever changed since it was looked last.
    fn look(&self) -> Result<(), StoreError> {
        let survey = self.dir.survey();
        let survey = survey.map_err(|error| StoreError::failed("list", error))?;
        let mut seen = Vec::new();
        for (name, stamp) in &survey.secrets {
            if !self.is_known(name, stamp.as_ref()) {
                seen.extend(self.learn(name));
            }
        }
        // They are gone, or their namespace cannot be read: each tells that itself.
        for name in self.unlisted(&survey) {
            seen.extend(self.learn(&name));
        }
        lock(&self.shared.watch).seen.extend(seen);
        Ok(())
    }

    /// The Secrets that were told, and are not in a survey.
    fn unlisted(&self, survey: &Survey) -> Vec<ResourceName> {
        let known = self.known();
        let unlisted = known.keys();
        let unlisted = unlisted.filter(|name| !survey.secrets.contains_key(name));
        unlisted.cloned().collect()
    }

    /// Whether this Secret needs no reading to know that it is as it was told.
    fn is_known(&self, secret: &ResourceName, now: Option<&Stamp>) -> bool {
        let known = self.known();
        match (known.get(secret), now) {
            (Some(Known::Read { stamp, telling, .. }), Some(now)) => *telling && stamp == now,
            _ => false,
        }
    }

    /// Reads a Secret; what is to be told about it, if it is not what was told last. An edit that may not be finished
    /// is told when it was the same in two looks.
    fn learn(&self, secret: &ResourceName) -> Option<Seen> {
        let (found, seen) = self.find(secret);
        let mut known = self.known();
        let mut pending = lock(&self.shared.pending);
        let before = known.get(secret);
        let same = before.map(Known::content) == found.as_ref().map(Known::content);
        let whole = match (before, &found) {
            (_, Some(Known::Read { telling: true, .. })) => true,
            (Some(Known::Read { stamp: was, .. }), Some(Known::Read { stamp, .. })) => {
                stamp.is_other_version(was)
            }
            (None, Some(Known::Read { .. })) => true,
            _ => false,
        };
        let content = found.as_ref().map(|found| found.content().to_owned());
        if !same && !whole && pending.get(secret) != Some(&content) {
            pending.insert(secret.clone(), content);
            return None;
        }
        pending.remove(secret);
        match found {
            Some(found) => known.insert(secret.clone(), found),
            None => known.remove(secret),
        };
        (!same).then_some(seen)
    }

    /// What a Secret is now.
    fn find(&self, secret: &ResourceName) -> (Option<Known>, Seen) {
        let now = SystemTime::now();
        match self.dir.read_stamped(&secret.namespace, &secret.name) {
            Ok(None) => (None, Seen::Removed(secret.clone())),
            Ok(Some((read, stamp))) => {
                let content = self.content(&read);
                let telling = stamp.is_telling(now);
                let known = Known::Read {
                    stamp,
                    content,
                    telling,
                };
                (Some(known), Seen::Put(Box::new(read)))
            }
            Err(error) => {
                let why = with_causes(&error);
                let error = Unreadable::new(secret.clone(), error);
                (Some(Known::Unreadable { why }), Seen::Unreadable(error))
            }
        }
    }

    /// That a Secret is what was told last.
    fn check(&self, secret: &ResourceName) -> Result<(), StoreError> {
        let conflict = || {
            let secret = secret.clone();
            Err(StoreError::Conflict { secret })
        };
        let untold = |seen: &Seen| seen.name() == *secret;
        if lock(&self.shared.watch).seen.iter().any(untold) {
            return conflict();
        }
        let stamp = self.dir.stamp(secret).map_err(failed("read"))?;
        if self.is_known(secret, stamp.as_ref()) {
            return Ok(());
        }
        let (found, _) = self.find(secret);
        let same = match (self.known().get(secret), &found) {
            (None, None) => true,
            (Some(Known::Read { content, .. }), Some(Known::Read { content: now, .. })) => {
                content == now
            }
            // What cannot be read is not written over.
            _ => false,
        };
        match same {
            true => Ok(()),
            false => conflict(),
        }
    }

    /// Takes the lock, unless it is ours.
    fn hold(&self) -> Result<(), StoreError> {
        let mut held = lock(&self.shared.lock);
        if held.as_ref().is_some_and(|lock| !lock.is_met()) {
            *held = None;
            return Err(StoreError::LeaseLost);
        }
        if held.is_none() {
            let taken = Lock::take(self.dir.root());
            *held = Some(taken.map_err(|error| StoreError::failed("lead", error))?);
        }
        Ok(())
    }

    fn content(&self, secret: &TlsSecret) -> String {
        let mut hasher = self.shared.hasher.build_hasher();
        for data in secret.data() {
            data.hash(&mut hasher);
        }
        (&secret.annotations, &secret.labels).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ResourceName, Known>> {
        lock(&self.shared.known)
    }

    /// Does something with files where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        let done = spawn_blocking(move || {
            let _busy = lock(&this.shared.busy);
            work(&this)
        });
        let done = done.await;
        done.map_err(|error| StoreError::failed(action, error))?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(action: &'static str) -> impl FnOnce(SecretDirError) -> StoreError {
    move |error| StoreError::failed(action, error)
}

impl SecretStore for DirStore {
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, Unreadable>>> {
        Box::pin(self.blocking("list", |this| {
            let survey = this.dir.survey().map_err(failed("list"))?;
            for (namespace, error) in &survey.unreadable {
                // It keeps no other from being served, and nothing is written over what is there.
                tracing::warn!(
                    namespace,
                    error = error as &dyn core::error::Error,
                    "cannot be read"
                );
            }
            let unlisted = this.unlisted(&survey);
            let mut known = BTreeMap::new();
            let mut secrets = Vec::with_capacity(survey.secrets.len());
            for name in survey.secrets.into_keys().chain(unlisted) {
                let (found, seen) = this.find(&name);
                match seen {
                    Seen::Put(secret) => secrets.push(Ok(*secret)),
                    Seen::Unreadable(error) => secrets.push(Err(error)),
                    Seen::Removed(_) => {}
                }
                known.extend(found.map(|found| (name, found)));
            }
            *this.known() = known;
            lock(&this.shared.watch).seen.clear();
            Ok(secrets)
        }))
    }

    fn read<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, Seen> {
        let secret = secret.clone();
        Box::pin(self.blocking("read", move |this| {
            let (found, seen) = this.find(&secret);
            let watch = &this.shared.watch;
            lock(watch).seen.retain(|seen| seen.name() != secret);
            match found {
                Some(found) => this.known().insert(secret, found),
                None => this.known().remove(&secret),
            };
            Ok(seen)
        }))
    }

    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()> {
        let secret = secret.clone_with_keys();
        Box::pin(self.blocking("write", move |this| {
            let name = ResourceName::new(&secret.namespace, &secret.name);
            this.hold()?;
            this.check(&name)?;
            this.dir.write(&secret).map_err(failed("write"))?;
            let stamp = this.dir.stamp(&name).map_err(failed("read"))?;
            let content = this.content(&secret);
            let known = stamp.map(|stamp| Known::Read {
                stamp,
                content,
                telling: false,
            });
            this.known().extend(known.map(|known| (name, known)));
            Ok(())
        }))
    }

    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()> {
        let secret = secret.clone();
        Box::pin(self.blocking("remove", move |this| {
            this.hold()?;
            this.check(&secret)?;
            let removed = this.dir.remove(&secret.namespace, &secret.name);
            removed.map_err(failed("remove"))?;
            this.known().remove(&secret);
            Ok(())
        }))
    }

    fn changed(&self) -> Keeping<'_, Vec<Seen>> {
        Box::pin(async {
            loop {
                let seen = core::mem::take(&mut lock(&self.shared.watch).seen);
                if !seen.is_empty() {
                    return Ok(seen);
                }
                let first = Instant::now() + self.poll;
                let next = *lock(&self.shared.watch).next.get_or_insert(first);
                tokio::time::sleep_until(next).await;
                lock(&self.shared.watch).next = None;
                self.blocking("list", Self::look).await?;
            }
        })
    }

    fn lead(&self) -> Keeping<'_, bool> {
        Box::pin(self.blocking("lead", |this| match this.hold() {
            // Somebody else may have written since.
            Err(StoreError::LeaseLost) => Ok(false),
            held => held.map(|()| true),
        }))
    }

    fn resign(&self) -> Keeping<'_, ()> {
        Box::pin(async {
            *lock(&self.shared.lock) = None;
            Ok(())
        })
    }
}
