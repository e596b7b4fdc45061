//! Connections whose other side is not verified; what comes over them may come from anyone.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use crate::material::{Material, Source};
use crate::transport_error::TransportError;
use crate::upstream::{Loaded, Placed, Settings, identity_sources, load_identities};

/// A transport with `insecureSkipVerify` and no peer names: neither chain nor name is verified.
///
/// The handshake's signature is, so that at least the holder of the shown certificate is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    pub(crate) settings: Settings,
    pub(crate) identities: Vec<Placed<(Source, Source)>>,
}

impl Unverified {
    /// What has nothing to do with trust.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Everything the transport refers to: load it into a [`Material`].
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        identity_sources(&self.identities)
    }

    /// The name to hand to rustls for a request to `host`: the transport's own, or the host's.
    ///
    /// # Errors
    ///
    /// `host` is neither a DNS name nor an IP address.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TransportError> {
        self.settings.server_name(host)
    }

    /// A rustls configuration that accepts every server.
    ///
    /// # Errors
    ///
    /// Something the transport refers to is missing or unusable.
    pub fn client_config(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<ClientConfig, TransportError> {
        self.load(provider, clock, material)
            .map(|loaded| loaded.config)
    }

    /// A connector that accepts every server; its material does not change, so make a new one instead.
    ///
    /// # Errors
    ///
    /// As [`Unverified::client_config`].
    #[cfg(feature = "hyper")]
    pub fn connector(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<crate::Connector, TransportError> {
        let loaded = self.load(provider, clock, material)?;
        let generation = crate::rotation::Generation::new(1, loaded);
        Ok(crate::Connector::unverified(self, generation))
    }

    fn load(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<Loaded, TransportError> {
        let mut identities = load_identities(&self.identities, provider, material)?;
        identities.extend(material.identities.iter().cloned());
        let verifier = Arc::new(AnyServer(provider.signature_verification_algorithms));
        self.settings.load(provider, clock, verifier, identities)
    }
}

#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        EndEntityCert::try_from(end_entity)
            .map(|_| ServerCertVerified::assertion())
            .map_err(|_| CertificateError::BadEncoding.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Takes any client certificate, or none: `RequestClientCert` and `RequireAnyClientCert` of Traefik's TLS
/// options. Whose certificate it is, nobody knows.
#[derive(Debug)]
pub struct AnyClient {
    pub(crate) mandatory: bool,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClient {
    /// The verifier for a server configuration.
    pub fn into_verifier(self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(self)
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        EndEntityCert::try_from(end_entity)
            .map(|_| ClientCertVerified::assertion())
            .map_err(|_| CertificateError::BadEncoding.into())
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
