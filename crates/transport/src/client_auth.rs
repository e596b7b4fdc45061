//! Client authentication as Traefik's TLS options name it (`clientAuth` with `clientAuthType`).

use core::str::FromStr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::danger::AnyClient;
use crate::revocation::Crls;
use crate::roots::Roots;
use crate::server::root_hints;

/// The five values of `clientAuthType`, which are Go's `tls.ClientAuthType`; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthType {
    /// Clients are not asked for a certificate.
    NoClientCert,
    /// Clients are asked; whatever they show is not verified.
    RequestClientCert,
    /// Clients must show a certificate, which chains to a root.
    RequireAndVerifyClientCert,
    /// Clients must show a certificate, which is not verified.
    RequireAnyClientCert,
    /// Clients are asked; a certificate, if there is one, chains to a root.
    VerifyClientCertIfGiven,
}

/// What a server does about clients' certificates; complete by definition.
#[derive(Debug)]
pub enum ClientAuth {
    /// It takes certificates that nobody verified.
    Danger(AnyClient),
    /// It does not ask.
    Off,
    /// It verifies them.
    Verified(Arc<dyn ClientCertVerifier>),
}

impl ClientAuth {
    /// Puts together what TLS options say: the type, or without one the type that the roots imply.
    ///
    /// Roots without a type mean [`ClientAuthType::RequireAndVerifyClientCert`]. Roots that are named but
    /// could not be loaded must not come here as `None`: that would turn verification off.
    ///
    /// # Errors
    ///
    /// A type that verifies is given without roots, or one that does not with roots or revocation lists.
    pub fn new(
        kind: Option<ClientAuthType>,
        roots: Option<&Roots>,
        crls: Option<&Crls>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, ClientAuthError> {
        use ClientAuthType as Type;
        let any = |mandatory| {
            Self::Danger(AnyClient {
                mandatory,
                algorithms: provider.signature_verification_algorithms,
            })
        };
        match (kind, roots) {
            (
                None
                | Some(Type::NoClientCert | Type::RequestClientCert | Type::RequireAnyClientCert),
                None,
            ) if crls.is_some() => Err(ClientAuthError::UnusedCrls),
            (None | Some(Type::NoClientCert), None) => Ok(Self::Off),
            (Some(Type::RequestClientCert), None) => Ok(any(false)),
            (Some(Type::RequireAnyClientCert), None) => Ok(any(true)),
            (None | Some(Type::RequireAndVerifyClientCert), Some(roots)) => {
                verified(roots, crls, provider, true)
            }
            (Some(Type::VerifyClientCertIfGiven), Some(roots)) => {
                verified(roots, crls, provider, false)
            }
            (
                Some(kind @ (Type::RequireAndVerifyClientCert | Type::VerifyClientCertIfGiven)),
                None,
            ) => Err(ClientAuthError::NoRoots { kind }),
            (Some(kind), Some(_)) => Err(ClientAuthError::UnusedRoots { kind }),
        }
    }
}

fn verified(
    roots: &Roots,
    crls: Option<&Crls>,
    provider: &Arc<CryptoProvider>,
    mandatory: bool,
) -> Result<ClientAuth, ClientAuthError> {
    let store = RootCertStore {
        roots: roots.anchors().to_vec(),
    };
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .clear_root_hint_subjects()
            .add_root_hint_subjects(root_hints(core::iter::once(roots)));
    if let Some(crls) = crls {
        builder = builder
            .with_crls(crls.der().iter().cloned())
            .enforce_revocation_expiration();
    }
    if !mandatory {
        builder = builder.allow_unauthenticated();
    }
    builder
        .build()
        .map(ClientAuth::Verified)
        .map_err(|error| ClientAuthError::Tls {
            reason: error.to_string(),
        })
}

impl FromStr for ClientAuthType {
    type Err = ClientAuthError;

    fn from_str(text: &str) -> Result<Self, ClientAuthError> {
        Ok(match text {
            "NoClientCert" => Self::NoClientCert,
            "RequestClientCert" => Self::RequestClientCert,
            "RequireAndVerifyClientCert" => Self::RequireAndVerifyClientCert,
            "RequireAnyClientCert" => Self::RequireAnyClientCert,
            "VerifyClientCertIfGiven" => Self::VerifyClientCertIfGiven,
            found => {
                return Err(ClientAuthError::Unknown {
                    found: found.to_owned(),
                });
            }
        })
    }
}

/// Why clients cannot be authenticated as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAuthError {
    /// Nothing to verify against.
    #[error("{kind:?} needs roots; give caFiles, or secretNames of Secrets with tls.ca or ca.crt")]
    NoRoots {
        /// The type.
        kind: ClientAuthType,
    },
    /// rustls refuses the roots or the lists.
    #[error("rustls refuses the configuration: {reason}")]
    Tls {
        /// What it said.
        reason: String,
    },
    /// The type is unknown.
    #[error(
        "{found:?} is not a clientAuthType; use NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
    )]
    Unknown {
        /// The text.
        found: String,
    },
    /// Revocation lists that would never be looked at.
    #[error(
        "without roots no client is verified, so the revocation lists would never be looked at; remove them, or give roots and RequireAndVerifyClientCert"
    )]
    UnusedCrls,
    /// Roots that would never be looked at.
    #[error(
        "{kind:?} verifies nothing, so the roots would never be looked at; remove them, or use RequireAndVerifyClientCert"
    )]
    UnusedRoots {
        /// The type.
        kind: ClientAuthType,
    },
}
