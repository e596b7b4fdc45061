//! Who we are to the peer: certificate chains with their keys, and which one to show.

use core::fmt;
use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::pem::{self, PemError};
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::leaf::Facts;

/// A certificate chain with the private key of its leaf; the two are known to fit.
///
/// Clones share the one key in memory; `Debug` shows sizes only.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads a chain, leaf first, and its key: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    ///
    /// There is no certificate or not exactly one key, or the two do not fit.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, IdentityError> {
        let chain: Vec<_> = pem::read(chain)
            .map_err(IdentityError::Pem)?
            .into_iter()
            .filter(|block| block.label() == "CERTIFICATE")
            .map(|block| CertificateDer::from(block.der().to_vec()))
            .collect();
        Self::from_der(chain, read_key(key)?, provider)
    }

    /// Takes a chain, leaf first, and its key in DER.
    ///
    /// # Errors
    ///
    /// The chain is empty, the key cannot be used, or the two do not fit.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, IdentityError> {
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        CertifiedKey::from_der(chain, key, provider)
            .map(|key| Self(Arc::new(key)))
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
                error => IdentityError::Unusable {
                    reason: error.to_string(),
                },
            })
    }

    /// Reads keys `tls.crt` and `tls.key` of a Secret.
    ///
    /// # Errors
    ///
    /// One of them is missing, or what [`Identity::from_pem`] says.
    pub fn from_secret(
        secret: &TlsSecret,
        provider: &CryptoProvider,
    ) -> Result<Self, IdentityError> {
        let get = |key| secret.get(key).ok_or(IdentityError::NoSecretKey { key });
        Self::from_pem(get(TLS_CRT)?, get(TLS_KEY)?, provider)
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }

    /// The chain with its key, as rustls takes it.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.0
    }

    /// The end of the leaf's validity.
    pub(crate) fn not_after(&self) -> Option<UnixTime> {
        Facts::read(self.0.cert.first()?)?.not_after()
    }

    /// Whether a peer that trusts CAs of these names can verify the chain; no names: anything may do.
    fn is_hinted(&self, names: &[&[u8]]) -> bool {
        names.is_empty()
            || self.0.cert.iter().any(|certificate| {
                Facts::read(certificate).is_some_and(|facts| names.contains(&facts.issuer))
            })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.0.cert.len())
    }
}

/// Shows the first identity the server can use, by its signature schemes and the CAs it names; none if no
/// identity fits.
#[derive(Debug)]
pub struct Candidates(Vec<Identity>);

impl Candidates {
    /// Candidates in order of preference.
    pub fn new(identities: Vec<Identity>) -> Self {
        Self(identities)
    }
}

impl ResolvesClientCert for Candidates {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0
            .iter()
            .find(|identity| {
                identity.0.key.choose_scheme(sigschemes).is_some()
                    && identity.is_hinted(root_hint_subjects)
            })
            .map(|identity| Arc::clone(&identity.0))
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let mut keys = pem::read(text)
        .map_err(IdentityError::Pem)?
        .into_iter()
        .filter(|block| block.label().ends_with("PRIVATE KEY"));
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(IdentityError::KeyCount);
    };
    let der = key.der().to_vec();
    match key.label() {
        "PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs8(der.into())),
        "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(der.into())),
        "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(der.into())),
        label => Err(IdentityError::KeyLabel {
            found: label.to_owned(),
        }),
    }
}

/// Why a chain and key cannot be an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No private key, or several.
    #[error("there must be exactly one private key")]
    KeyCount,
    /// A key of a kind that is not read, such as an encrypted one.
    #[error(
        "a block {found} cannot be read; give a PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY"
    )]
    KeyLabel {
        /// The block's label.
        found: String,
    },
    /// The key is not the leaf's.
    #[error("the private key does not fit the first certificate")]
    Mismatch,
    /// No certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// A Secret lacks one of its two keys.
    #[error("the Secret has no {key}")]
    NoSecretKey {
        /// `tls.crt` or `tls.key`.
        key: &'static str,
    },
    /// The text is not PEM.
    #[error("the text is not PEM")]
    Pem(#[source] PemError),
    /// The crypto provider refuses the key or the certificate.
    #[error("the chain or the key cannot be used: {reason}")]
    Unusable {
        /// What it said; never key material.
        reason: String,
    },
}
