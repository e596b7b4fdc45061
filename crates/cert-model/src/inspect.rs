//! What a certificate says, read out of its DER.

#[cfg(feature = "x509")]
pub(crate) mod der;

use core::net::IpAddr;

use time::OffsetDateTime;

use crate::key::KeyAlgorithm;
use crate::name::{Names, OtherName, SpiffeId};
use crate::subject::Subject;
use crate::usage::KeyUsages;

/// What a certificate says (RFC 5280, 4.1 and 4.2); nothing is verified.
///
/// Names are text as the certificate carries it, not our newtypes: certificates of others hold what
/// we would refuse. `from_der` needs the feature `x509`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// Whom the certificate is for.
    pub subject: Subject,
    /// Who signed it.
    pub issuer: Subject,
    /// The serial number's content octets, big-endian.
    pub serial: Vec<u8>,
    /// When its validity begins, to the second.
    pub not_before: OffsetDateTime,
    /// The last second of its validity.
    pub not_after: OffsetDateTime,
    /// The subject alternative names.
    pub names: NameTexts,
    /// The public key's algorithm, or `None` for one that no specification can ask for.
    pub key: Option<KeyAlgorithm>,
    /// The public key's `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// Whether it is a CA's.
    pub is_ca: bool,
    /// How many CAs may follow below a CA, if limited.
    pub max_path_len: Option<u32>,
    /// The key usages, if the certificate restricts them.
    pub key_usages: Option<KeyUsages>,
    /// The extended key usages' object identifiers, if the certificate restricts them.
    pub extended_key_usages: Option<Vec<String>>,
    /// The subject key identifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// The authority key identifier.
    pub authority_key_id: Option<Vec<u8>>,
}

/// Subject alternative names as text, per form, in the certificate's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameTexts {
    /// DNS names.
    pub dns: Vec<String>,
    /// E-mail addresses.
    pub email: Vec<String>,
    /// IP addresses.
    pub ip: Vec<IpAddr>,
    /// URIs.
    pub uri: Vec<String>,
    /// Other names whose value is UTF-8 text.
    pub other: Vec<OtherName>,
    /// How many names of other forms there are.
    pub unread: usize,
}

impl CertificateFacts {
    /// The SPIFFE ID, if the certificate is an SVID: exactly one URI, and that a SPIFFE ID
    /// (X509-SVID, 2).
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        match self.names.uri.as_slice() {
            [uri] => uri.parse().ok(),
            _ => None,
        }
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The serial number as the usual pairs of hexadecimal digits, `01:a3`.
    pub fn serial_text(&self) -> String {
        let pairs: Vec<_> = self.serial.iter().map(|b| format!("{b:02x}")).collect();
        pairs.join(":")
    }
}

impl From<&Names> for NameTexts {
    fn from(names: &Names) -> Self {
        fn texts<T: ToString>(names: &[T]) -> Vec<String> {
            names.iter().map(T::to_string).collect()
        }
        Self {
            dns: texts(&names.dns),
            email: texts(&names.email),
            ip: names.ip.clone(),
            uri: texts(&names.uri),
            other: names.other.clone(),
            unread: 0,
        }
    }
}

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// An extension that cannot be read, or stands twice.
    #[error("extension {oid} cannot be read: {reason}")]
    Extension {
        /// The extension's object identifier.
        oid: &'static str,
        /// What the parser found.
        reason: String,
    },
    /// Not the DER of a certificate.
    #[error("not the DER of a certificate: {reason}")]
    Malformed {
        /// What the parser found.
        reason: String,
    },
    /// A subject alternative name that is not what its form demands.
    #[error("subject alternative name {index} is not valid for its form")]
    Name {
        /// Its position, from 0.
        index: usize,
    },
    /// A time beyond the year 9999 or before 1950.
    #[error("the validity is out of range")]
    Time,
    /// Bytes behind the certificate.
    #[error("{count} bytes follow the certificate")]
    Trailing {
        /// How many.
        count: usize,
    },
}
