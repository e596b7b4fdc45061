//! What issuing yields, and how a TLS Secret holds it.

use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::key::KeyEncoding;
use certwright_cert_model::output::OutputFormat;
use certwright_cert_model::pem;
use certwright_cert_model::secret::{
    CA_CRT, KEY_DER, KEYSTORE_JKS, KEYSTORE_P12, TLS_COMBINED, TLS_CRT, TLS_KEY, TRUSTSTORE_JKS,
    TRUSTSTORE_P12,
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::certificate::{Certificate, CertificateError};
use crate::chain::AssembledChain;
use crate::key_pair::{KeyError, KeyPair};
use crate::preflight::Warning;
use crate::signing::Signer;

/// A signed certificate with the chain above it.
#[derive(Clone, Debug)]
pub struct SignedBundle {
    leaf: CertificateDer<'static>,
    issuers: Arc<Issuers>,
    /// Whether the leaf is its own authority.
    is_own_authority: bool,
    warnings: Vec<Warning>,
}

/// The certificates above a leaf, the same for everything a CA signs.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
    pub(crate) authority: Option<CertificateDer<'static>>,
}

impl SignedBundle {
    pub(crate) fn issued(
        leaf: CertificateDer<'static>,
        signer: &Signer,
        warnings: Vec<Warning>,
    ) -> Self {
        Self {
            leaf,
            issuers: signer.issuers.clone(),
            is_own_authority: signer.chain.is_empty(),
            warnings,
        }
    }

    /// The bundle of a chain that someone else issued.
    ///
    /// An ACME server's chain says nothing about its root: leave the authority out there, as
    /// cert-manager does ([`SignedBundle::without_authority`]).
    pub fn from_chain(chain: &AssembledChain) -> Option<Self> {
        let (leaf, above) = chain.chain.split_first()?;
        let issuers = Issuers {
            intermediates: above.iter().map(|one| one.der().clone()).collect(),
            authority: chain.authority.as_ref().map(|one| one.der().clone()),
        };
        Some(Self {
            leaf: leaf.der().clone(),
            issuers: Arc::new(issuers),
            is_own_authority: false,
            warnings: Vec::new(),
        })
    }

    /// The bundle with an unknown CA: there will be no `ca.crt`.
    #[must_use]
    pub fn without_authority(mut self) -> Self {
        self.is_own_authority = false;
        self.issuers = Arc::new(Issuers {
            intermediates: self.issuers.intermediates.clone(),
            authority: None,
        });
        self
    }

    /// The certificate itself.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// The certificate itself, read.
    ///
    /// # Errors
    ///
    /// Never for what this crate issued.
    pub fn certificate(&self) -> Result<Certificate, CertificateError> {
        Certificate::from_der(self.leaf.clone())
    }

    /// What a server sends: the certificate, then each one's issuer, without the root.
    pub fn chain(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        core::iter::once(&self.leaf).chain(&self.issuers.intermediates)
    }

    /// The CA, if it is known: the root, or the highest intermediate there is.
    pub fn authority(&self) -> Option<&CertificateDer<'static>> {
        if self.is_own_authority {
            return Some(&self.leaf);
        }
        self.issuers.authority.as_ref()
    }

    /// What is unusual about the certificate: what rustls will not accept, usages the key cannot do.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// [`SignedBundle::chain`] in PEM, as `tls.crt` holds it.
    pub fn chain_pem(&self) -> String {
        self.chain()
            .map(|der| pem::write("CERTIFICATE", der).to_string())
            .collect()
    }

    /// [`SignedBundle::authority`] in PEM, as `ca.crt` holds it.
    pub fn authority_pem(&self) -> Option<String> {
        self.authority()
            .map(|der| pem::write("CERTIFICATE", der).to_string())
    }

    /// Puts key and chain into a Secret: `tls.crt`, `tls.key`, `ca.crt` if the CA is known, `key.der`
    /// and `tls-combined.pem` if asked for. What the Secret held under these keys before is replaced
    /// or removed; keystores are removed, since they hold another key: with the feature `keystore`,
    /// `SecretKeystores::write` makes those that the specification asks for from what is in the Secret.
    ///
    /// `ca.crt` tells which CA signed; do not mount it as a trust store. It comes with the
    /// certificate, so whoever can replace one replaces both, and it changes with the CA in the same
    /// moment as the certificate: peers that trust it lose all connections to servers that have not
    /// renewed yet. Distribute trust separately.
    ///
    /// # Errors
    ///
    /// A key that is not the certificate's or cannot be exported.
    pub fn into_secret(
        self,
        mut secret: TlsSecret,
        key: &KeyPair,
        encoding: KeyEncoding,
        outputs: &[OutputFormat],
    ) -> Result<TlsSecret, SecretError> {
        let certificate = self.certificate().map_err(SecretError::Certificate)?;
        if certificate.spki_der() != key.public_key().spki_der() {
            return Err(SecretError::ForeignKey);
        }
        let chain = self.chain_pem();
        let pem = key.to_pem(encoding).map_err(SecretError::Key)?;
        for name in [TLS_CRT, TLS_KEY, CA_CRT, TLS_COMBINED, KEY_DER] {
            secret.remove(name);
        }
        for name in KEYSTORES {
            secret.remove(name);
        }
        if let Some(authority) = self.authority_pem() {
            secret.insert(CA_CRT, authority);
        }
        for output in outputs {
            match output {
                OutputFormat::CombinedPem => {
                    let combined = combined_pem(&pem, &chain);
                    secret.insert(TLS_COMBINED, combined.as_bytes());
                }
                OutputFormat::Der => {
                    let der = key.to_der(encoding).map_err(SecretError::Key)?;
                    secret.insert(KEY_DER, der.as_slice());
                }
            }
        }
        secret.insert(TLS_CRT, chain);
        secret.insert(TLS_KEY, pem.as_bytes());
        Ok(secret)
    }
}

/// The keys of keystores in a Secret.
pub(crate) const KEYSTORES: [&str; 4] =
    [KEYSTORE_JKS, KEYSTORE_P12, TRUSTSTORE_JKS, TRUSTSTORE_P12];

/// `tls-combined.pem`: the key, one newline, the chain; a key that ends in a newline is followed by a
/// blank line.
pub fn combined_pem(key: &str, chain: &str) -> Zeroizing<String> {
    let mut combined = Zeroizing::new(String::with_capacity(key.len() + 1 + chain.len()));
    combined.push_str(key);
    combined.push('\n');
    combined.push_str(chain);
    combined
}

/// Why a certificate and a key do not go into one Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Certificate(#[source] CertificateError),
    /// The key belongs to another certificate.
    #[error("the private key is not the certificate's")]
    ForeignKey,
    /// The key cannot be exported.
    #[error("the private key cannot be written")]
    Key(#[source] KeyError),
}
