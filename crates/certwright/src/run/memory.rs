use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use certwright_cert_model::TlsSecret;

use super::store::{Keeping, SecretStore, Seen, Unreadable};
use crate::inventory::ResourceName;

/// Secrets in memory, gone with the last clone: for tests, and for processes that serve what they issue.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<ResourceName, TlsSecret>>>);

impl MemoryStore {
    /// A copy of a Secret.
    pub fn get(&self, secret: &ResourceName) -> Option<TlsSecret> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.get(secret).map(TlsSecret::clone_with_keys)
    }
}

impl SecretStore for MemoryStore {
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, Unreadable>>> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let secrets = secrets.values().map(|s| Ok(s.clone_with_keys())).collect();
        Box::pin(core::future::ready(Ok(secrets)))
    }

    fn read<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, Seen> {
        let seen = match self.get(secret) {
            Some(found) => Seen::Put(Box::new(found)),
            None => Seen::Removed(secret.clone()),
        };
        Box::pin(core::future::ready(Ok(seen)))
    }

    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()> {
        let name = ResourceName::new(&secret.namespace, &secret.name);
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(name, secret.clone_with_keys());
        Box::pin(core::future::ready(Ok(())))
    }

    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()> {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.remove(secret);
        Box::pin(core::future::ready(Ok(())))
    }

    fn changed(&self) -> Keeping<'_, Vec<Seen>> {
        Box::pin(core::future::pending())
    }

    fn lead(&self) -> Keeping<'_, bool> {
        Box::pin(core::future::ready(Ok(true)))
    }

    fn resign(&self) -> Keeping<'_, ()> {
        Box::pin(core::future::ready(Ok(())))
    }
}
