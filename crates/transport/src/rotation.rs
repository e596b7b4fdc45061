//! Changing identity, bundles and roots while connections are made.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use crate::material::Material;
use crate::transport_error::TransportError;
use crate::upstream::{Loaded, Verified};

/// A transport whose material changes.
///
/// Identity, roots and policy of a connection always come from one [`Generation`]: each has a configuration
/// of its own, with its own verifier and session store, so nothing of an older one is resumed.
#[derive(Debug)]
pub struct Rotating {
    upstream: Verified,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    current: ArcSwap<Generation>,
    writer: Mutex<()>,
    /// Wakes those who keep connections, which must not outlive their generation.
    #[cfg(feature = "hyper")]
    pub(crate) changed: tokio::sync::Notify,
}

/// One state of the material.
#[derive(Debug)]
#[non_exhaustive]
pub struct Generation {
    /// Counts up from 1. A pooled connection of an older one must be closed when it is idle, because its server
    /// may not be accepted any more; `UpstreamClient` (feature `hyper`) does.
    pub number: u64,
    /// The configuration for connections.
    pub config: Arc<ClientConfig>,
    /// What the configuration verifies servers with, for connections that an older generation made.
    pub verifier: Arc<dyn ServerCertVerifier>,
    /// The ends of validity of the certificates we show.
    pub identities_end: Vec<UnixTime>,
}

impl Generation {
    pub(crate) fn new(number: u64, loaded: Loaded) -> Self {
        Self {
            number,
            config: Arc::new(loaded.config),
            verifier: loaded.verifier,
            identities_end: loaded.identities_end,
        }
    }
}

impl Rotating {
    /// Starts with generation 1.
    ///
    /// # Errors
    ///
    /// As [`Verified::client_config`].
    pub fn new(
        upstream: Verified,
        provider: Arc<CryptoProvider>,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<Self, TransportError> {
        upstream.check_bundles(material)?;
        let loaded = upstream.load(&provider, Arc::clone(&clock), material)?;
        Ok(Self {
            upstream,
            provider,
            clock,
            current: ArcSwap::from_pointee(Generation::new(1, loaded)),
            writer: Mutex::new(()),
            #[cfg(feature = "hyper")]
            changed: tokio::sync::Notify::new(),
        })
    }

    /// The transport.
    pub fn upstream(&self) -> &Verified {
        &self.upstream
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn now(&self) -> Option<UnixTime> {
        self.clock.current_time()
    }

    /// The state to make the next connection with; waits for nobody.
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Makes `material` count from the next connection on; the number of the new generation.
    ///
    /// Bundles that leave nobody to accept are taken as they are: that is what revocation looks like.
    ///
    /// # Errors
    ///
    /// The material cannot be used; the last generation stays.
    pub fn update(&self, material: &Material) -> Result<u64, TransportError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self
            .upstream
            .load(&self.provider, Arc::clone(&self.clock), material)?;
        let number = self.current.load().number + 1;
        self.current
            .store(Arc::new(Generation::new(number, loaded)));
        #[cfg(feature = "hyper")]
        self.changed.notify_waiters();
        Ok(number)
    }
}
