//! The core as rustls' verifier of servers.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, Error, ExtendedKeyPurpose, HandshakeKind,
    OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

use crate::peer_error::{PeerError, instant};
use crate::verify::verdict::refused;
use crate::verify::{PeerRole, PeerVerifier};

/// Verifies servers with a [`PeerVerifier`].
///
/// A configuration that holds one must not resume sessions: TLS does not verify again on resumption.
#[derive(Debug)]
pub struct ServerVerifier {
    peer: Arc<PeerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    /// Uses `provider`'s algorithms for the handshake signature.
    pub fn new(peer: impl Into<Arc<PeerVerifier>>, provider: &CryptoProvider) -> Self {
        Self {
            peer: peer.into(),
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.peer
            .verify(
                end_entity,
                intermediates,
                PeerRole::Server(server_name),
                now,
            )
            .map(|_| ServerCertVerified::assertion())
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

/// Verifies resumed connections again; TLS itself does not.
#[derive(Debug)]
#[must_use]
pub struct Reverify(pub(crate) Arc<PeerVerifier>);

impl Reverify {
    /// Checks a connection whose handshake is finished, made for `name`.
    ///
    /// # Errors
    ///
    /// The session was resumed, and its server would not be accepted today: close the connection.
    pub fn check(
        &self,
        connection: &CommonState,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), PeerError> {
        if matches!(
            connection.handshake_kind(),
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        ) {
            return Ok(());
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        self.0
            .verify_chain(chain, PeerRole::Server(name), now)
            .map(|_| ())
    }
}

/// The only variant that keeps the evidence; the peer is told `certificate_unknown`.
pub(crate) fn into_rustls(error: PeerError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

impl PeerError {
    /// The reason why a connection was refused, also when rustls' own verifier refused it; `None` if the
    /// error is about something else than the peer's certificates and the revocation lists for them.
    pub fn from_rustls(error: &Error) -> Option<Self> {
        let error = match error {
            Error::InvalidCertificate(error) => error,
            // rustls' own verifier tells an unusable list apart from an unusable certificate.
            Error::InvalidCertRevocationList(error) => {
                return Some(Self::CrlUnusable {
                    reason: format!("{error:?}"),
                });
            }
            Error::NoCertificatesPresented => return Some(Self::NoCertificate),
            _ => return None,
        };
        Some(match error {
            CertificateError::Other(OtherError(error)) => {
                // What rustls has no word for comes as webpki's error.
                let foreign = error.downcast_ref::<webpki::Error>().cloned();
                return error
                    .downcast_ref::<Self>()
                    .cloned()
                    .or_else(|| Some(refused(foreign?, PeerRole::Client)));
            }
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::ExpiredContext { time, not_after } => Self::Expired {
                not_after: instant(*not_after),
                now: instant(*time),
            },
            CertificateError::ExpiredRevocationListContext { time, next_update } => {
                Self::CrlExpired {
                    next_update: instant(*next_update),
                    now: instant(*time),
                }
            }
            CertificateError::InvalidPurposeContext { required, .. } => Self::WrongPurpose {
                required: match required {
                    ExtendedKeyPurpose::ClientAuth => "client authentication",
                    ExtendedKeyPurpose::ServerAuth | ExtendedKeyPurpose::Other(_) => {
                        "server authentication"
                    }
                },
            },
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::NameMismatch {
                expected: expected.to_str().into_owned(),
                presented: presented.clone(),
            },
            CertificateError::NotValidYetContext { time, not_before } => Self::NotYetValid {
                not_before: instant(*not_before),
                now: instant(*time),
            },
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnhandledCriticalExtension => Self::UnknownCriticalExtension,
            CertificateError::UnknownIssuer => Self::UnknownIssuer { trust_domain: None },
            CertificateError::UnknownRevocationStatus => Self::UnknownRevocationStatus,
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::UnsupportedAlgorithm
            }
            other => Self::Malformed {
                reason: other.to_string(),
            },
        })
    }
}
