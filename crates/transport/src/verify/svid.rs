//! The rules of X509-SVIDs, on raw bytes (SPIFFE, X509-SVID).

use certwright_cert_model::name::SpiffeId;
use webpki::VerifiedPath;

use super::verdict::{escaped, presented, unreadable};
use crate::leaf::Facts;
use crate::peer_error::{KeyUsageProblem, PeerError};

/// How strictly an X509-SVID is held to the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SvidProfile {
    /// Everything a verifier must check (X509-SVID, 5.2), and a leaf's key usage (4.3).
    #[default]
    Standard,
    /// Also what only issuers must heed: basic constraints are present, issuers' IDs have no path.
    Strict,
}

/// The identity: the one URI name, of whatever scheme (X509-SVID, 2 and 5.2).
pub(super) fn id(facts: Facts<'_>) -> Result<SpiffeId, PeerError> {
    let mut uris = facts.uris();
    let uri = uris.next().ok_or_else(|| PeerError::NoUriSan {
        presented: presented(facts),
    })?;
    if uris.next().is_some() {
        return Err(PeerError::MultipleUriSans {
            presented: facts.uris().map(escaped).collect(),
        });
    }
    // Bytes beyond ASCII never belong to an ID; the escaped spelling makes the grammar say where.
    let text = match core::str::from_utf8(uri) {
        Ok(text) => text.parse(),
        Err(_) => escaped(uri).parse(),
    };
    text.map_err(|source| PeerError::BadSpiffeId {
        presented: escaped(uri),
        source,
    })
}

pub(super) fn check_leaf(
    id: &SpiffeId,
    facts: Facts<'_>,
    profile: SvidProfile,
) -> Result<(), PeerError> {
    if facts.is_ca == Some(true) {
        return Err(PeerError::LeafIsCa);
    }
    if facts.is_ca.is_none() && profile == SvidProfile::Strict {
        return Err(PeerError::LeafWithoutBasicConstraints);
    }
    let problem = match facts.key_usage {
        None => Some(KeyUsageProblem::Absent),
        Some(usage) if usage.key_cert_sign() || usage.crl_sign() => {
            Some(KeyUsageProblem::Authority)
        }
        Some(usage) if !usage.digital_signature() => Some(KeyUsageProblem::NoDigitalSignature),
        Some(_) => None,
    };
    if let Some(problem) = problem {
        return Err(PeerError::LeafKeyUsage { problem });
    }
    if id.path().is_empty() {
        return Err(PeerError::LeafIdWithoutPath { id: id.clone() });
    }
    Ok(())
}

/// webpki 0.103 does not look at the key usage of issuers (RFC 5280, 6.1.4 n).
pub(super) fn check_issuers(
    path: &VerifiedPath<'_>,
    profile: SvidProfile,
) -> Result<(), PeerError> {
    for issuer in path.intermediate_certificates() {
        let der = issuer.der();
        let facts = Facts::read(&der).ok_or_else(unreadable)?;
        if facts.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(PeerError::IssuerKeyUsage);
        }
        if profile == SvidProfile::Strict
            && let Some(uri) = facts.uris().find(|uri| has_path(uri))
        {
            return Err(PeerError::IssuerIdHasPath {
                presented: escaped(uri),
            });
        }
    }
    Ok(())
}

fn has_path(uri: &[u8]) -> bool {
    uri.strip_prefix(b"spiffe://")
        .is_some_and(|rest| rest.contains(&b'/'))
}
