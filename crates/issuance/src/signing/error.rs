use certwright_cert_model::usage::KeyUsages;
use time::OffsetDateTime;

use crate::decode::DerError;
use crate::key_pair::KeyError;
use crate::name_constraints::{MalformedConstraints, NameViolations};
use crate::preflight::PreflightError;
use crate::serial::SerialError;

/// Why a certificate is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The request wants to be a CA, the profile does not.
    #[error("the request asks for a CA certificate, but its specification does not have isCA")]
    CaRequested,
    /// A CA that may not sign.
    #[error("a CA certificate needs the usage cert sign")]
    CaWithoutCertSign,
    /// A leaf that may sign.
    #[error("the usage cert sign needs isCA")]
    CertSignWithoutCa,
    /// Name constraints outside a CA certificate.
    #[error("the request has name constraints, but its specification does not have isCA")]
    ConstraintsWithoutCa,
    /// The CA's certificate is not valid at this time.
    #[error("the CA {ca:?} is valid from {not_before} to {not_after} only")]
    CaNotValid {
        /// The CA's subject.
        ca: String,
        /// First second of its validity.
        not_before: OffsetDateTime,
        /// Last second of its validity.
        not_after: OffsetDateTime,
    },
    /// The extended key usages are not those of the profile.
    #[error(
        "the request asks for the extended key usages {asked:?}, the specification for {expected:?}"
    )]
    ExtendedKeyUsages {
        /// Object identifiers in the request.
        asked: Vec<String>,
        /// Object identifiers in the profile.
        expected: Vec<String>,
    },
    /// An extension that the request brings, by leave of its policy, and the profile writes as well.
    #[error(
        "extension {oid} is in the request and in the profile; take it off the CsrPolicy or clear the profile's URLs"
    )]
    ExtensionOfProfile {
        /// Its object identifier.
        oid: String,
    },
    /// The key does not belong to the issuer.
    #[error("the key is not the issuer's")]
    ForeignKey,
    /// The key could not sign.
    #[error("the certificate cannot be signed")]
    Key(#[source] KeyError),
    /// The key usages are not those of the profile.
    #[error("the request asks for other key usages than its specification")]
    KeyUsages {
        /// In the request.
        asked: KeyUsages,
        /// In the profile.
        expected: KeyUsages,
    },
    /// The request does not want to be a CA, the profile does.
    #[error("the request says it is no CA, but its specification has isCA")]
    LeafRequested,
    /// The constraints of the chain, or those asked for, cannot be read.
    #[error(transparent)]
    MalformedConstraints(#[from] MalformedConstraints),
    /// The name constraints asked for cannot be read.
    #[error("the name constraints in the request are malformed")]
    MalformedRequestedConstraints(#[source] DerError),
    /// Names outside the constraints of the chain.
    #[error("the CAs above do not allow it: {0}")]
    Names(NameViolations),
    /// A CA without a name.
    #[error("a CA certificate needs a subject")]
    NamelessCa,
    /// A self-signed certificate without a name; its issuer would be empty (RFC 5280, 4.1.2.4).
    #[error("a self-signed certificate needs a subject, for it is its own issuer; set commonName")]
    NamelessIssuer,
    /// The certificate would be valid beyond its CA, and the profile refuses that.
    #[error("the certificate would be valid until {wanted}, its CA only until {ca}")]
    OutlivesCa {
        /// The certificate's last second.
        wanted: OffsetDateTime,
        /// The CA's last second.
        ca: OffsetDateTime,
    },
    /// The CA, or one above it, may have fewer CAs below.
    #[error(
        "the chain allows {allowed} more CAs below {ca:?}; the certificate asks for room for {asked} below itself"
    )]
    PathLength {
        /// The issuing CA's subject.
        ca: String,
        /// CAs that may follow the issuing one.
        allowed: u64,
        /// The path length asked for; 0 if none is.
        asked: u64,
    },
    /// The finished certificate did not pass its check.
    #[error("the signed certificate does not pass its own check")]
    Preflight(#[from] PreflightError),
    /// No serial number could be made.
    #[error("there is no serial number")]
    Serial(#[from] SerialError),
    /// An extended key usage that is not approved.
    #[error("the extended key usage {oid} is not approved")]
    UnapprovedUsage {
        /// Its object identifier.
        oid: String,
    },
    /// The certificate would never be valid.
    #[error(
        "the certificate would be valid from {not_before} to {not_after} (seconds since 1970), which is no period"
    )]
    Validity {
        /// First second.
        not_before: i64,
        /// Last second.
        not_after: i64,
    },
    /// A signature made elsewhere does not verify.
    #[error("the signature does not verify with the issuer's key")]
    WrongSignature,
}
