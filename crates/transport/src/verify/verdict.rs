//! webpki's errors and raw names, put into the words of this crate.

use super::PeerRole;
use crate::leaf::{Facts, RawName};
use crate::peer_error::{PeerError, instant};

/// webpki's verdict in our words.
pub(crate) fn refused(error: webpki::Error, role: PeerRole<'_>) -> PeerError {
    use webpki::Error as E;
    match error {
        E::CaUsedAsEndEntity => PeerError::LeafIsCa,
        E::CertExpired { time, not_after } => PeerError::Expired {
            not_after: instant(not_after),
            now: instant(time),
        },
        E::CertNotValidForName(context) => PeerError::NameMismatch {
            expected: context.expected.to_str().into_owned(),
            presented: context.presented,
        },
        E::CertNotValidYet { time, not_before } => PeerError::NotYetValid {
            not_before: instant(not_before),
            now: instant(time),
        },
        E::CertRevoked | E::CertDistrusted => PeerError::Revoked,
        E::CrlExpired { time, next_update } => PeerError::CrlExpired {
            next_update: instant(next_update),
            now: instant(time),
        },
        E::EmptyEkuExtension | E::RequiredEkuNotFoundContext(_) => PeerError::WrongPurpose {
            required: match role {
                PeerRole::Client => "client authentication",
                PeerRole::Server(_) => "server authentication",
            },
        },
        E::EndEntityUsedAsCa => PeerError::IssuerNotCa,
        E::InvalidSignatureForPublicKey => PeerError::BadSignature,
        E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlIssuingDistributionPoint
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | E::UnsupportedDeltaCrl
        | E::UnsupportedIndirectCrl => PeerError::CrlUnusable {
            reason: format!("{error:?}"),
        },
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded => PeerError::TooMuchWork {
            reason: format!("{error:?}"),
        },
        E::MaximumPathDepthExceeded | E::PathLenConstraintViolated => PeerError::PathLength,
        E::NameConstraintViolation => PeerError::NameConstraint,
        E::SignatureAlgorithmMismatch
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => PeerError::UnsupportedAlgorithm,
        E::UnknownIssuer => PeerError::UnknownIssuer { trust_domain: None },
        E::UnknownRevocationStatus => PeerError::UnknownRevocationStatus,
        E::UnsupportedCriticalExtension => PeerError::UnknownCriticalExtension,
        other => PeerError::Malformed {
            reason: format!("{other:?}"),
        },
    }
}

/// The DNS and URI names of a certificate, for people to read.
pub(super) fn presented(facts: Facts<'_>) -> Vec<String> {
    facts
        .names()
        .flatten()
        .filter_map(|name| match name {
            RawName::Dns(name) => Some(format!("DNS {}", escaped(name))),
            RawName::Uri(uri) => Some(format!("URI {}", escaped(uri))),
            RawName::Other => None,
        })
        .collect()
}

pub(super) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(super) fn unreadable() -> PeerError {
    PeerError::Malformed {
        reason: "its DER is broken".to_owned(),
    }
}
