//! From stored Secrets to what handshakes read.

use core::fmt;
use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_sni_store::{CertStore, ChangeSet, PairLoader, PemPair, Report, Source};
use certwright_transport::{Material, Rotating};
use rustls::sign::CertifiedKey;

use crate::annotation;
use crate::inventory::ResourceName;

/// Replaces what `store` serves by these Secrets, as one new generation.
///
/// An entry's id is `namespace/secret`. A Secret that cannot be served is in the report, and what was served under
/// its id stays; an unchanged one is not read again. What came from ACME is marked so, for the order of fallbacks of
/// [`SelectionPolicy::Traefik`](certwright_sni_store::SelectionPolicy::Traefik).
pub fn publish<'a>(
    store: &CertStore<CertifiedKey>,
    loader: &PairLoader,
    secrets: impl IntoIterator<Item = &'a TlsSecret>,
) -> Report {
    store.replace_all(load(store, loader, secrets))
}

fn load<'a>(
    store: &CertStore<CertifiedKey>,
    loader: &PairLoader,
    secrets: impl IntoIterator<Item = &'a TlsSecret>,
) -> ChangeSet<CertifiedKey> {
    let (acme, provided): (Vec<_>, Vec<_>) = secrets.into_iter().partition(|s| is_acme(s));
    let pairs = provided.into_iter();
    let pairs = pairs.map(|secret| (id(secret), PemPair::of_secret(secret)));
    let mut change = loader.load_all(store, pairs);
    for secret in acme {
        let pair = PemPair::of_secret(secret);
        let fingerprint = loader.fingerprint(pair);
        let known = store.entry(&id(secret));
        let same = known.is_some_and(|known| {
            known.source() == Source::Acme && known.fingerprint() == fingerprint.as_ref()
        });
        if same && fingerprint.is_some() {
            change.keep(id(secret));
            continue;
        }
        match loader.load(id(secret), pair) {
            Ok(entry) => change.put(entry.with_source(Source::Acme)),
            Err(error) => change.reject(id(secret), error),
        };
    }
    change
}

fn id(secret: &TlsSecret) -> String {
    format!("{}/{}", secret.namespace, secret.name)
}

fn is_acme(secret: &TlsSecret) -> bool {
    secret
        .annotations
        .get(annotation::SOURCE)
        .is_some_and(|source| source == annotation::ACME)
}

/// Whoever reads Secrets when they are stored.
pub trait Publisher: Send + fmt::Debug {
    /// These are all Secrets there are.
    fn replace(&mut self, secrets: &[&TlsSecret]);

    /// A Secret is new, or another one than before.
    fn put(&mut self, secret: &TlsSecret);

    /// A Secret is gone.
    fn remove(&mut self, secret: &ResourceName);
}

/// Keeps a store of certificates by server name up to date: all Secrets but those of CAs.
///
/// Of many Secrets at once the private keys are [left for later](PairLoader::with_lazy_keys), so that a start with
/// thousands serves soon: give it a loader that leaves them, and [warm up](PairLoader::warm_up) a clone of it, to spare
/// first handshakes that work. The key of a single new Secret is loaded at once.
#[derive(Debug)]
pub struct SniPublisher {
    store: CertStore<CertifiedKey>,
    one: PairLoader,
    many: PairLoader,
}

impl SniPublisher {
    /// Publishes to this store.
    pub fn new(store: CertStore<CertifiedKey>, loader: PairLoader) -> Self {
        let many = loader.clone().with_lazy_keys();
        Self {
            store,
            one: loader,
            many,
        }
    }
}

impl Publisher for SniPublisher {
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        let served = secrets.iter().copied().filter(|secret| is_served(secret));
        tell(&publish(&self.store, &self.many, served));
    }

    fn put(&mut self, secret: &TlsSecret) {
        let served = Some(secret).filter(|secret| is_served(secret));
        tell(&self.store.apply(load(&self.store, &self.one, served)));
    }

    fn remove(&mut self, secret: &ResourceName) {
        let mut change = ChangeSet::new();
        change.remove(secret.to_string());
        tell(&self.store.apply(change));
    }
}

/// CAs sign and Secrets of passwords are read; neither is served.
fn is_served(secret: &TlsSecret) -> bool {
    let pair = PemPair::of_secret(secret);
    !annotation::is_ca(secret) && !pair.chain.is_empty() && !pair.key.is_empty()
}

fn tell(report: &Report) {
    for rejection in &report.rejected {
        let error = &*rejection.error;
        tracing::warn!(origin = %rejection.origin, error = error as &dyn core::error::Error, "not served");
    }
}

type Prepare = Box<dyn FnMut(&mut Material, &TlsSecret) + Send>;

/// Keeps an upstream transport up to date with the Secrets it refers to.
pub struct TransportPublisher {
    transport: Arc<Rotating>,
    material: Material,
    prepare: Prepare,
}

impl TransportPublisher {
    /// Updates this transport. What it refers to besides Secrets is in `material`; `prepare` puts into it whatever
    /// else is to follow a Secret, such as the roots of a trust domain from its `trust-bundle.pem`.
    pub fn new(
        transport: Arc<Rotating>,
        material: Material,
        prepare: impl FnMut(&mut Material, &TlsSecret) + Send + 'static,
    ) -> Self {
        Self {
            transport,
            material,
            prepare: Box::new(prepare),
        }
    }

    fn take(&mut self, secret: &TlsSecret) {
        (self.prepare)(&mut self.material, secret);
        self.material.insert_secret(secret.clone_with_keys());
    }

    fn update(&self) {
        if let Err(error) = self.transport.update(&self.material) {
            tracing::warn!(
                error = &error as &dyn core::error::Error,
                "the transport stays as it was"
            );
        }
    }
}

impl fmt::Debug for TransportPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportPublisher").finish_non_exhaustive()
    }
}

impl Publisher for TransportPublisher {
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        for secret in secrets {
            self.take(secret);
        }
        self.update();
    }

    fn put(&mut self, secret: &TlsSecret) {
        self.take(secret);
        self.update();
    }

    /// What is gone is used until something takes its place: a connection is better than none.
    fn remove(&mut self, _: &ResourceName) {}
}
