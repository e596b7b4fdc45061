//! From a plan to a Secret: key, request, signature, bundle.

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::validated::ValidatedSpec;
use certwright_issuance::bundle::SecretError;
use certwright_issuance::{
    CaError, CertificateAuthority, Csr, CsrError, CsrPolicy, KeyError, KeyPair, Profile, SignError,
    SignedBundle, self_signed,
};
use time::OffsetDateTime;

use crate::inventory::{FoundIssuer, ResourceName};
use crate::plan::KeySource;

/// The issuer of one certificate, with its CA if it has one.
#[derive(Debug)]
pub(crate) enum Signer {
    Ca(Box<CertificateAuthority>),
    SelfSigned,
}

impl Signer {
    /// Loads the CA of an issuer from its Secret.
    pub(crate) fn load(
        issuer: FoundIssuer<'_>,
        secret: impl FnOnce(&ResourceName) -> Option<TlsSecret>,
        now: OffsetDateTime,
    ) -> Result<Self, IssueError> {
        match (issuer.spec, issuer.ca_secret()) {
            (IssuerSpec::SelfSigned(_), _) => Ok(Self::SelfSigned),
            (IssuerSpec::Ca(_), Some(name)) => {
                let missing = || IssueError::NoCaSecret {
                    secret: name.clone(),
                };
                let found = secret(&name).ok_or_else(missing)?;
                let mut chain = found.get(TLS_CRT).unwrap_or_default().to_vec();
                // The root stands in ca.crt only, and its name constraints count.
                chain.extend_from_slice(b"\n");
                chain.extend_from_slice(found.get(CA_CRT).unwrap_or_default());
                let key = found.get(TLS_KEY).unwrap_or_default();
                let ca = CertificateAuthority::from_pem(&chain, key, now).map_err(|source| {
                    IssueError::Ca {
                        secret: name,
                        source,
                    }
                })?;
                Ok(Self::Ca(Box::new(ca)))
            }
            _ => Err(IssueError::UnsupportedIssuer),
        }
    }

    /// The CA that signs.
    pub(crate) fn ca(&self) -> Option<&CertificateAuthority> {
        match self {
            Self::Ca(ca) => Some(ca),
            Self::SelfSigned => None,
        }
    }

    /// Issues a certificate into a Secret that may hold an earlier one.
    pub(crate) fn issue(
        &self,
        spec: &ValidatedSpec,
        issuer: &IssuerSpec,
        key: KeySource,
        secret: TlsSecret,
        now: OffsetDateTime,
    ) -> Result<(TlsSecret, Vec<String>), IssueError> {
        let key = match key {
            KeySource::Generate => KeyPair::generate(spec.key().algorithm),
            KeySource::Reuse => KeyPair::from_pem(secret.get(TLS_KEY).unwrap_or_default()),
        }
        .map_err(IssueError::Key)?;
        let csr = Csr::for_spec(spec, &key)
            .and_then(|csr| csr.verify(&CsrPolicy::default()))
            .map_err(IssueError::Request)?;
        let profile = match issuer {
            IssuerSpec::Ca(ca) => Profile::for_spec(spec).with_ca_issuer(ca),
            IssuerSpec::SelfSigned(issuer) => {
                Profile::for_spec(spec).with_self_signed_issuer(issuer)
            }
            _ => return Err(IssueError::UnsupportedIssuer),
        };
        let bundle: SignedBundle = match self {
            Self::Ca(ca) => ca.sign(&csr, &profile, now),
            Self::SelfSigned => self_signed(&csr, &key, &profile, now),
        }
        .map_err(IssueError::Sign)?;
        let warnings = bundle.warnings().iter().map(ToString::to_string).collect();
        let secret = bundle
            .into_secret(secret, &key, spec.key().encoding, spec.outputs())
            .map_err(IssueError::Bundle)?;
        Ok((secret, warnings))
    }
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Key and certificate do not go into one Secret.
    #[error("the result cannot be stored")]
    Bundle(#[source] SecretError),
    /// The issuer's Secret holds no usable CA.
    #[error("Secret {secret} is no usable CA")]
    Ca {
        /// The Secret.
        secret: ResourceName,
        /// Why not.
        source: CaError,
    },
    /// The private key cannot be made or read.
    #[error("no private key")]
    Key(#[source] KeyError),
    /// The issuer does not exist.
    #[error("its issuer does not exist")]
    NoIssuer,
    /// The issuer's Secret does not exist (yet).
    #[error("Secret {secret} of its issuer does not exist")]
    NoCaSecret {
        /// The Secret.
        secret: ResourceName,
    },
    /// The request cannot be made.
    #[error("no certificate request")]
    Request(#[source] CsrError),
    /// The issuer refused.
    #[error("not signed")]
    Sign(#[source] SignError),
    /// An issuer of a type that is not built here, such as ACME.
    #[error("issuers of this type cannot sign here; use selfSigned or ca")]
    UnsupportedIssuer,
}
