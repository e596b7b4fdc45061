//! The core as rustls' verifier of clients.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::client::into_rustls;
use crate::roots::Roots;
use crate::verify::{PeerRole, PeerVerifier};

/// Verifies clients with a [`PeerVerifier`]; every client must present a certificate.
///
/// A configuration that holds one must not resume sessions: set `session_storage` to
/// `NoServerSessionStorage`, `send_tls13_tickets` to 0, and no ticketer.
#[derive(Debug)]
pub struct ClientVerifier {
    peer: PeerVerifier,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// Uses `provider`'s algorithms for the handshake signature.
    pub fn new(peer: PeerVerifier, provider: &CryptoProvider) -> Self {
        let hints = peer
            .roots()
            .into_iter()
            .flat_map(Roots::anchors)
            .map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref()))
            .collect();
        Self {
            peer,
            hints,
            algorithms: provider.signature_verification_algorithms,
        }
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
