//! Why a valid transport cannot be used as things are.

use certwright_cert_model::FieldPath;

use crate::identity::IdentityError;
use crate::material::Source;
use crate::peer_error::shown;
use crate::roots::RootsError;

/// Why no client configuration can be made; nothing is used instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The host of a request is no name TLS can ask for.
    #[error("{found:?} is neither a DNS name nor an IP address")]
    Host {
        /// The host.
        found: String,
    },
    /// A client certificate cannot be used.
    #[error("{field}: {origin} cannot be shown to the server")]
    Identity {
        /// The field that names it.
        field: FieldPath,
        /// What it names.
        origin: Source,
        /// Why.
        source: Box<IdentityError>,
    },
    /// Something the transport refers to was not given.
    #[error("{field} names {origin}, which is not there")]
    Missing {
        /// The field that names it.
        field: FieldPath,
        /// What it names.
        origin: Source,
    },
    /// No bundle can lead to an accepted identity.
    #[error("accepted is {accepted}, but there are roots for {}", domains(known))]
    NoBundle {
        /// Who is accepted.
        accepted: String,
        /// The trust domains there are bundles for.
        known: Vec<String>,
    },
    /// The crypto provider has none of the suites, or not for the versions, that may be offered.
    #[error("the crypto provider has no cipher suite that this transport may offer")]
    NoCommonSuite,
    /// A Secret or ConfigMap lacks a key.
    #[error("{field} names {origin}, which has no {key}")]
    NoKey {
        /// The field that names it.
        field: FieldPath,
        /// What it names.
        origin: Source,
        /// The key.
        key: &'static str,
    },
    /// The transport names no roots, and no system roots were given.
    #[error("there are no roots: set rootCAs, or give the system's roots")]
    NoRoots,
    /// Re-verification was asked for where rustls' own verifier works.
    #[error(
        "this transport verifies the server name only; use client_config, which resumes already"
    )]
    NothingToReverify,
    /// Roots cannot be used.
    #[error("{field}: {origin} does not hold usable roots")]
    Roots {
        /// The field that names them.
        field: FieldPath,
        /// What it names.
        origin: Source,
        /// Why.
        source: Box<RootsError>,
    },
    /// A fixed name for SNI where the host name is verified.
    #[error("the host name is verified, so {found} cannot be told instead; set serverName to it")]
    SniIsVerified {
        /// The name.
        found: String,
    },
    /// rustls refuses the configuration.
    #[error("rustls refuses the configuration: {reason}")]
    Tls {
        /// What it said.
        reason: String,
    },
}

impl TransportError {
    pub(crate) fn missing(field: &FieldPath, origin: &Source) -> Self {
        Self::Missing {
            field: field.clone(),
            origin: origin.clone(),
        }
    }

    pub(crate) fn no_key(field: &FieldPath, origin: &Source, key: &'static str) -> Self {
        Self::NoKey {
            field: field.clone(),
            origin: origin.clone(),
            key,
        }
    }
}

fn domains(known: &[String]) -> String {
    match known {
        [] => "no trust domain at all".to_owned(),
        [domain] => format!("trust domain {domain} only"),
        domains => format!("trust domains {} only", shown(domains)),
    }
}
