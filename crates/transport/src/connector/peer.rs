//! Who is at the other end of a connection.

use core::fmt;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::leaf::Facts;
use crate::peer::PeerIdentity;

/// The verified server of a connection, in the extensions of each response that came over it; cheap to clone.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    identity: PeerIdentity,
    generation: u64,
    name: ServerName<'static>,
    chain: Vec<CertificateDer<'static>>,
}

impl Peer {
    pub(super) fn new(
        identity: PeerIdentity,
        generation: u64,
        name: ServerName<'static>,
        chain: &[CertificateDer<'_>],
    ) -> Self {
        let chain = chain.iter().cloned().map(CertificateDer::into_owned);
        Self(Arc::new(Inner {
            identity,
            generation,
            name,
            chain: chain.collect(),
        }))
    }

    /// Who it proved to be.
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.identity
    }

    /// The [`Generation`](crate::rotation::Generation) that made the connection.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The certificates it showed, its own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The name it was asked for.
    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.0.name
    }

    pub(super) fn not_after(&self) -> Option<UnixTime> {
        Facts::read(self.0.chain.first()?)?.not_after()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("identity", &self.0.identity)
            .field("generation", &self.0.generation)
            .finish_non_exhaustive()
    }
}
