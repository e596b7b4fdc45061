//! Changing identity, bundles and roots while connections are made.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;

use crate::material::Material;
use crate::transport_error::TransportError;
use crate::upstream::Verified;

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
}

/// One state of the material.
#[derive(Debug)]
#[non_exhaustive]
pub struct Generation {
    /// Counts up from 1. A pooled connection of an older one should be closed when it is idle: its server
    /// may not be accepted any more.
    pub number: u64,
    /// The configuration for connections.
    pub config: Arc<ClientConfig>,
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
        let config = upstream.client_config(&provider, Arc::clone(&clock), material)?;
        let first = Generation {
            number: 1,
            config: Arc::new(config),
        };
        Ok(Self {
            upstream,
            provider,
            clock,
            current: ArcSwap::from_pointee(first),
            writer: Mutex::new(()),
        })
    }

    /// The transport.
    pub fn upstream(&self) -> &Verified {
        &self.upstream
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
        let config = self.upstream.client_config_as_given(
            &self.provider,
            Arc::clone(&self.clock),
            material,
        )?;
        let number = self.current.load().number + 1;
        self.current.store(Arc::new(Generation {
            number,
            config: Arc::new(config),
        }));
        Ok(number)
    }
}
