//! Why a peer was refused: the rule, what it expects, what was presented.

use core::fmt;

use certwright_cert_model::name::{SpiffeId, SpiffeIdError};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use crate::peer::Unauthorized;

/// The rule a peer's certificates broke.
///
/// [`PeerError::code`] is a stable word per rule for metrics and for programs that must branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A signature was not made by the key it should have been made by.
    #[error("a signature in the chain or the handshake does not fit the signer's key")]
    BadSignature,
    /// The URI of an X509-SVID is not a SPIFFE ID.
    #[error("the URI name {:?} is not a SPIFFE ID", short(presented))]
    BadSpiffeId {
        /// The name, bytes beyond ASCII escaped.
        presented: String,
        /// What is wrong with it.
        source: SpiffeIdError,
    },
    /// A certificate is larger than is read.
    #[error("certificate {index} of the chain has {found} bytes, more than {limit}")]
    CertificateTooLarge {
        /// Position in the chain, the leaf is 0.
        index: usize,
        /// Its size in bytes.
        found: usize,
        /// The largest size that is read.
        limit: usize,
    },
    /// More certificates than are read.
    #[error("the chain has {found} certificates, more than {limit}")]
    ChainTooLong {
        /// How many were presented.
        found: usize,
        /// How many are read.
        limit: usize,
    },
    /// A revocation list is past its next update.
    #[error(
        "a revocation list was to be replaced by {next_update}, and it is {now}; load a fresh one"
    )]
    CrlExpired {
        /// The list's next update.
        next_update: OffsetDateTime,
        /// The time of verification.
        now: OffsetDateTime,
    },
    /// A revocation list cannot be used for this chain.
    #[error("a revocation list cannot be used: {reason}")]
    CrlUnusable {
        /// What is wrong.
        reason: String,
    },
    /// A certificate is past its validity.
    #[error("a certificate of the chain expired at {not_after}, and it is {now}")]
    Expired {
        /// The end of its validity.
        not_after: OffsetDateTime,
        /// The time of verification.
        now: OffsetDateTime,
    },
    /// An issuer's own SPIFFE ID has a path.
    #[error(
        "an issuer carries the SPIFFE ID {}; an issuer's ID has no path",
        short(presented)
    )]
    IssuerIdHasPath {
        /// The issuer's URI name.
        presented: String,
    },
    /// An issuer may not sign certificates.
    #[error("an issuer's key usage does not have certificate signing")]
    IssuerKeyUsage,
    /// An issuer is not a CA.
    #[error("an issuer in the chain is not a CA")]
    IssuerNotCa,
    /// The leaf's SPIFFE ID has no path.
    #[error("{id} names a trust domain, not a workload; the ID of a leaf has a path")]
    LeafIdWithoutPath {
        /// The ID.
        id: SpiffeId,
    },
    /// The leaf is a CA.
    #[error("the leaf is a CA certificate")]
    LeafIsCa,
    /// The leaf's key usage is not a leaf's.
    #[error("the leaf's key usage {problem}")]
    LeafKeyUsage {
        /// What is wrong with it.
        problem: KeyUsageProblem,
    },
    /// The leaf has no basic constraints (strict profile).
    #[error("the leaf has no basic constraints; the strict profile wants them")]
    LeafWithoutBasicConstraints,
    /// Something that was presented is not a certificate.
    #[error("a certificate of the chain cannot be read: {}", short(reason))]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// An X509-SVID has exactly one URI name.
    #[error("the leaf has {} URI names where exactly one is allowed: {}", presented.len(), shown(presented))]
    MultipleUriSans {
        /// The names.
        presented: Vec<String>,
    },
    /// A CA of the chain may not sign these names.
    #[error(
        "a name constraint of a CA in the chain excludes a name of the certificate; constraints on URIs always do"
    )]
    NameConstraint,
    /// The certificate is not for the host.
    #[error(
        "the certificate is not valid for {expected}; it names {}",
        shown(presented)
    )]
    NameMismatch {
        /// The host that was asked for.
        expected: String,
        /// The names of the certificate.
        presented: Vec<String>,
    },
    /// No bundle for the trust domain of the leaf.
    #[error(
        "there is no bundle for trust domain {trust_domain}; known are {}",
        shown(known)
    )]
    NoBundle {
        /// The trust domain the leaf claims.
        trust_domain: String,
        /// Those that are known.
        known: Vec<String>,
    },
    /// No certificate was presented.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// None of the expected names is in the certificate.
    #[error(
        "the certificate has none of {}; it has {}",
        shown(expected),
        shown(presented)
    )]
    NoMatchingSan {
        /// The names of the policy.
        expected: Vec<String>,
        /// The DNS and URI names of the certificate.
        presented: Vec<String>,
    },
    /// The leaf has no URI name.
    #[error(
        "the leaf has no URI name, so it is no X509-SVID; it has {}",
        shown(presented)
    )]
    NoUriSan {
        /// Its DNS names.
        presented: Vec<String>,
    },
    /// The bundle of the leaf's trust domain has no roots.
    #[error(
        "the bundle of trust domain {trust_domain} has no roots: everything the domain signed is revoked"
    )]
    NoUsableAnchors {
        /// The trust domain.
        trust_domain: String,
    },
    /// A certificate is not valid yet.
    #[error("a certificate of the chain is valid from {not_before}, and it is {now}")]
    NotYetValid {
        /// The start of its validity.
        not_before: OffsetDateTime,
        /// The time of verification.
        now: OffsetDateTime,
    },
    /// More CAs below a CA than it allows, or than are followed.
    #[error("the chain is longer than a CA in it, or the limit of six intermediates, allows")]
    PathLength,
    /// A certificate is on a revocation list.
    #[error("a certificate of the chain is revoked")]
    Revoked,
    /// The search for a path was given up.
    #[error("the search for a path to a root took too much work: {reason}")]
    TooMuchWork {
        /// Which budget ran out.
        reason: String,
    },
    /// The leaf has more names than are read.
    #[error("the leaf has more than {limit} names")]
    TooManyNames {
        /// How many are read.
        limit: usize,
    },
    /// The identity is genuine, but not accepted.
    #[error(transparent)]
    Unauthorized(#[from] Unauthorized),
    /// An extension that must be understood is not.
    #[error("a certificate of the chain has an unknown critical extension")]
    UnknownCriticalExtension,
    /// No path to a root.
    #[error("no chain leads to {}", anchors(trust_domain.as_deref()))]
    UnknownIssuer {
        /// The trust domain whose roots were tried, in SPIFFE mode.
        trust_domain: Option<String>,
    },
    /// No revocation list speaks for a certificate.
    #[error("no revocation list covers a certificate of the chain")]
    UnknownRevocationStatus,
    /// A signature algorithm that is not supported.
    #[error("the chain uses a signature algorithm that the crypto provider does not support")]
    UnsupportedAlgorithm,
    /// The certificate is not for this purpose.
    #[error("the extended key usage of a certificate of the chain does not allow {required}")]
    WrongPurpose {
        /// `server authentication` or `client authentication`.
        required: &'static str,
    },
}

/// What is wrong with a leaf's key usage (X509-SVID, 4.3 and 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyUsageProblem {
    /// The extension is missing.
    #[error("is missing")]
    Absent,
    /// It has certificate or CRL signing.
    #[error("has certificate or CRL signing, which only a CA has")]
    Authority,
    /// It does not have digital signature.
    #[error("does not have digital signature")]
    NoDigitalSignature,
}

impl PeerError {
    /// A stable word for the rule, such as `unknown-issuer`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadSignature => "bad-signature",
            Self::BadSpiffeId { .. } => "bad-spiffe-id",
            Self::CertificateTooLarge { .. } => "certificate-too-large",
            Self::ChainTooLong { .. } => "chain-too-long",
            Self::CrlExpired { .. } => "crl-expired",
            Self::CrlUnusable { .. } => "crl-unusable",
            Self::Expired { .. } => "expired",
            Self::IssuerIdHasPath { .. } => "issuer-id-has-path",
            Self::IssuerKeyUsage => "issuer-key-usage",
            Self::IssuerNotCa => "issuer-not-ca",
            Self::LeafIdWithoutPath { .. } => "leaf-id-without-path",
            Self::LeafIsCa => "leaf-is-ca",
            Self::LeafKeyUsage { .. } => "leaf-key-usage",
            Self::LeafWithoutBasicConstraints => "leaf-without-basic-constraints",
            Self::Malformed { .. } => "malformed",
            Self::MultipleUriSans { .. } => "multiple-uri-sans",
            Self::NameConstraint => "name-constraint",
            Self::NameMismatch { .. } => "name-mismatch",
            Self::NoBundle { .. } => "no-bundle-for-trust-domain",
            Self::NoCertificate => "no-certificate",
            Self::NoMatchingSan { .. } => "no-matching-san",
            Self::NoUriSan { .. } => "no-uri-san",
            Self::NoUsableAnchors { .. } => "no-usable-anchors",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::PathLength => "path-length",
            Self::Revoked => "revoked",
            Self::TooMuchWork { .. } => "too-much-work",
            Self::TooManyNames { .. } => "too-many-names",
            Self::Unauthorized(_) => "unauthorized",
            Self::UnknownCriticalExtension => "unknown-critical-extension",
            Self::UnknownIssuer { .. } => "unknown-issuer",
            Self::UnknownRevocationStatus => "unknown-revocation-status",
            Self::UnsupportedAlgorithm => "unsupported-algorithm",
            Self::WrongPurpose { .. } => "wrong-purpose",
        }
    }
}

/// The instant, for people to read.
pub(crate) fn instant(time: UnixTime) -> OffsetDateTime {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(time::PrimitiveDateTime::MAX.assume_utc())
}

/// Names for people to read: the first few, each cut where no honest one is that long, because a peer's
/// certificate has room for pages of them. The variants hold them whole.
pub(crate) fn shown(names: &[impl fmt::Display]) -> String {
    let first: Vec<_> = names.iter().take(SHOWN_NAMES).map(short).collect();
    match (names.len(), names.len().saturating_sub(SHOWN_NAMES)) {
        (0, _) => "none".to_owned(),
        (_, 0) => first.join(", "),
        (_, more) => format!("{} and {more} more", first.join(", ")),
    }
}

fn short(text: &impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > SHOWN_BYTES {
        let length = text.len();
        let end = (0..=SHOWN_BYTES)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push_str(&format!("... ({length} bytes)"));
    }
    text
}

/// How many names of a list are shown.
const SHOWN_NAMES: usize = 8;
/// How much of a name is shown; a DNS name has at most 253 bytes.
const SHOWN_BYTES: usize = 256;

fn anchors(trust_domain: Option<&str>) -> String {
    match trust_domain {
        Some(domain) => format!("a root of trust domain {domain}"),
        None => "a known root".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_fill_the_log() {
        let names = |count: usize, length: usize| vec!["\u{e9}".repeat(length / 2); count];
        let error = |presented| PeerError::MultipleUriSans { presented };
        assert_eq!(
            error(vec!["a".to_owned(), "b".to_owned()]).to_string(),
            "the leaf has 2 URI names where exactly one is allowed: a, b"
        );
        let text = error(names(256, 60_000)).to_string();
        assert!(text.ends_with("... (60000 bytes) and 248 more"), "{text}");
        assert!(text.len() < 2400, "{}", text.len());
        let presented = names(1, 60_000).remove(0);
        let source = "".parse::<SpiffeId>().unwrap_err();
        let error = PeerError::BadSpiffeId { presented, source };
        assert!(error.to_string().len() < 320);
        assert_eq!(shown(&[""; 0]), "none");
        assert_eq!(short(&"x".repeat(256)).len(), 256);
    }
}
