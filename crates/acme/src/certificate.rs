//! Certificates from a CA: looked at before they are used, and stored with their keys.

use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_issuance::Certificate;
use certwright_issuance::certificate::CertificateError;
use certwright_renewal::{EmptyLifetime, Lifetime};
use certwright_storage::{Record, RecordError, Value};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::identifier::Identifier;
use crate::secret::StoredKey;

/// A certificate in use: chain, key, and where they are from.
pub struct IssuedCertificate {
    pub(crate) identifiers: Vec<Identifier>,
    pub(crate) generation: u64,
    pub(crate) issuer: String,
    pub(crate) chain: String,
    pub(crate) key: StoredKey,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) obtained: OffsetDateTime,
    pub(crate) ari_id: Option<String>,
    pub(crate) order: Option<String>,
    pub(crate) profile: Option<String>,
}

impl IssuedCertificate {
    /// What it is for; the first is the main one.
    pub fn identifiers(&self) -> &[Identifier] {
        &self.identifiers
    }

    /// How many certificates there were before it for the same identifiers, and itself.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The name of the issuer it is from.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The chain in PEM, leaf first, as a server sends it.
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }

    /// The private key in PEM, PKCS#8.
    pub fn key_pem(&self) -> &Zeroizing<String> {
        self.key.pem()
    }

    /// The first instant of its validity.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// When it was obtained.
    pub fn obtained(&self) -> OffsetDateTime {
        self.obtained
    }

    /// Its identifier in renewal information (RFC 9773 section 4.1); `None` without an
    /// authority key identifier.
    pub fn ari_id(&self) -> Option<&str> {
        self.ari_id.as_deref()
    }

    /// The leaf in DER.
    ///
    /// # Errors
    /// [`CertificateError`] if the stored chain was tampered with.
    pub fn leaf_der(&self) -> Result<Vec<u8>, CertificateError> {
        let chain = Certificate::read_pem(self.chain.as_bytes())?;
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        Ok(leaf.der().to_vec())
    }

    /// The time it works for.
    ///
    /// # Errors
    /// [`EmptyLifetime`] for a validity that ends before it begins.
    pub fn lifetime(&self) -> Result<Lifetime, EmptyLifetime> {
        Ok(Lifetime::new(self.not_before, self.not_after)?.obtained_at(self.obtained))
    }

    /// Reads a stored certificate.
    ///
    /// # Errors
    /// [`RecordError`] if it is none, or of a later release.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let stored: Stored = Record::decode(bytes, KIND, VERSION)?.read()?;
        Ok(Self {
            identifiers: stored.identifiers,
            generation: stored.generation,
            issuer: stored.issuer,
            chain: stored.chain,
            key: stored.key,
            not_before: stored.not_before,
            not_after: stored.not_after,
            obtained: stored.obtained,
            ari_id: stored.ari_id,
            order: stored.order,
            profile: stored.profile,
        })
    }

    pub(crate) fn encode(&self) -> Result<Value, RecordError> {
        let stored = Stored {
            identifiers: self.identifiers.clone(),
            generation: self.generation,
            issuer: self.issuer.clone(),
            chain: self.chain.clone(),
            key: self.key.copy(),
            not_before: self.not_before,
            not_after: self.not_after,
            obtained: self.obtained,
            ari_id: self.ari_id.clone(),
            order: self.order.clone(),
            profile: self.profile.clone(),
        };
        Ok(Record::new(KIND, VERSION, &stored)?.encode())
    }
}

/// The record. Of its own, so that nobody outside serializes a private key by accident.
#[derive(Serialize, Deserialize)]
struct Stored {
    identifiers: Vec<Identifier>,
    generation: u64,
    issuer: String,
    chain: String,
    key: StoredKey,
    #[serde(with = "crate::instant")]
    not_before: OffsetDateTime,
    #[serde(with = "crate::instant")]
    not_after: OffsetDateTime,
    #[serde(with = "crate::instant")]
    obtained: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ari_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    /// The profile that was wanted, not the issuer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("identifiers", &self.identifiers)
            .field("generation", &self.generation)
            .field("issuer", &self.issuer)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

const KIND: &str = "acme-certificate";
const VERSION: u32 = 1;

/// ```compile_fail
/// # fn serialize<T: serde::Serialize>() {}
/// serialize::<certwright_acme::IssuedCertificate>();
/// ```
/// ```compile_fail
/// # fn serialize<T: serde::Serialize>() {}
/// serialize::<certwright_acme::journal::Journal>();
/// ```
#[cfg(doctest)]
struct KeysAreNotSerialized;

/// The identifier of a leaf in renewal information; `None` without an authority key
/// identifier.
pub(crate) fn ari_id_of(leaf: &Certificate) -> Option<String> {
    leaf.authority_key_id().map(|id| ari_id(id, leaf.serial()))
}

/// RFC 9773 section 4.1: the key identifier, a dot, and the serial's content octets.
fn ari_id(authority_key_id: &[u8], serial: &[u8]) -> String {
    let text = Base64UrlUnpadded::encode_string;
    format!("{}.{}", text(authority_key_id), text(serial))
}

#[cfg(test)]
mod tests {
    use certwright_cert_model::key::{Curve, KeyAlgorithm};
    use certwright_issuance::KeyPair;
    use time::Duration;

    use super::*;

    #[test]
    fn example_of_the_rfc() {
        // RFC 9773 section 4.1.
        let key_id = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
            0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
        ];
        let serial = [0x00, 0x87, 0x65, 0x43, 0x21];
        assert_eq!(
            ari_id(&key_id, &serial),
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
        );
    }

    #[test]
    fn stored_certificates_read_back_and_show_no_key() {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let certificate = IssuedCertificate {
            identifiers: vec!["a.test".parse().unwrap()],
            generation: 3,
            issuer: "le".to_owned(),
            chain: "a chain".to_owned(),
            key: StoredKey::of(&key).unwrap(),
            not_before: OffsetDateTime::UNIX_EPOCH,
            not_after: OffsetDateTime::UNIX_EPOCH + Duration::days(90),
            obtained: OffsetDateTime::UNIX_EPOCH,
            ari_id: None,
            order: None,
            profile: None,
        };
        let stored = certificate.encode().unwrap();
        let read = IssuedCertificate::decode(stored.as_bytes()).unwrap();
        assert_eq!(read.encode().unwrap(), stored);
        assert!(!format!("{read:?}").contains("PRIVATE"));
    }
}
