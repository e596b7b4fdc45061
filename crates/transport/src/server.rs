//! The core as rustls' verifier of clients.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashSet;
use std::sync::Arc;

use crate::client::into_rustls;
use crate::roots::Roots;
use crate::verify::{PeerRole, PeerVerifier};

/// Verifies clients with a [`PeerVerifier`]; every client must present a certificate.
///
/// A configuration that holds one must not resume sessions, see [`never_resume`].
#[derive(Debug)]
pub struct ClientVerifier {
    peer: Arc<PeerVerifier>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// Uses `provider`'s algorithms for the handshake signature.
    ///
    /// Clients are told the names of the roots, unless these take more than 32 KiB.
    pub fn new(peer: impl Into<Arc<PeerVerifier>>, provider: &CryptoProvider) -> Self {
        let peer = peer.into();
        let hints = root_hints(peer.roots().into_iter());
        Self {
            peer,
            hints,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

/// The names of roots for a server's request, each once; none if they are too many for a message, which
/// leaves the choice to the client (RFC 8446, 4.2.4).
///
/// rustls writes a list over 64 KiB with a wrong length, and panics in debug builds.
pub(crate) fn root_hints<'a>(roots: impl Iterator<Item = &'a Roots>) -> Vec<DistinguishedName> {
    let mut seen = HashSet::new();
    let mut size = 0;
    let mut hints = Vec::new();
    for anchor in roots.flat_map(Roots::anchors) {
        if seen.insert(anchor.subject.as_ref()) {
            let name = DistinguishedName::in_sequence(anchor.subject.as_ref());
            size += 2 + name.as_ref().len();
            hints.push(name);
        }
    }
    if size > MAX_HINTS {
        hints.clear();
    }
    hints
}

/// How many bytes of names a request holds, so that it fits any client's limit of 64 KiB for a message.
const MAX_HINTS: usize = 32 * 1024;

/// Makes a server start every connection with a full handshake, in which clients are verified.
///
/// Without it a client whose certificate is no longer accepted goes on with an old session, and one that was
/// accepted by another configuration that shares the store or the ticket keys comes in unseen.
pub fn never_resume(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.ticketer = Arc::new(NoTickets);
}

/// rustls' default, which cannot be named.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.peer
            .verify(end_entity, intermediates, PeerRole::Client, now)
            .map(|_| ClientCertVerified::assertion())
            .map_err(into_rustls)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
