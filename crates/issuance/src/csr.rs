//! Certification requests (PKCS#10, RFC 2986): written from a specification, signed in two halves.

mod policy;
mod verified;

use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::key::SignatureAlgorithm;
use certwright_cert_model::name::{DnsNameError, Names};
use certwright_cert_model::name_constraints::NameConstraints;
use certwright_cert_model::pem::{self, PemError};
use certwright_cert_model::subject::Subject;
use certwright_cert_model::usage::Usages;

use crate::decode::DerError;
use crate::encode::extension::name_constraints_to_der;
use crate::encode::name::{NameStyle, SubjectError, subject_alt_name_to_der, subject_to_der};
use crate::encode::tbs;
use crate::extensions::ExtensionError;
use crate::key_pair::{KeyError, KeyPair};
use crate::public_key::{PublicKey, PublicKeyError, SignatureError, signature_identifier};

pub use policy::{CsrPolicy, UnknownExtensions};
pub use verified::VerifiedCsr;

/// What a request is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The subject; may be empty if there is a name.
    pub subject: Subject,
    /// How the subject is written.
    pub style: NameStyle,
    /// The subject alternative names.
    pub names: Names,
    /// The usages, if the request is to name them; an empty set writes nothing.
    pub usages: Usages,
    /// Whether the certificate is to be a CA's, if the request is to say so (cert-manager's requests
    /// do not).
    pub basic_constraints: Option<bool>,
    /// The name constraints of a CA certificate.
    pub constraints: Option<NameConstraints>,
    /// The algorithm of the request's own signature; the key decides when this is `None`.
    pub signature_algorithm: Option<SignatureAlgorithm>,
}

impl Request {
    /// A request for a common name (none if empty) and DNS names.
    ///
    /// # Errors
    ///
    /// A text that is no DNS name; wildcards are allowed.
    pub fn new(common_name: &str, dns_names: &[&str]) -> Result<Self, DnsNameError> {
        let dns = dns_names.iter().map(|name| name.parse());
        let mut request = Self::default();
        request.names.dns = dns.collect::<Result<_, _>>()?;
        if !common_name.is_empty() {
            request.subject = crate::name::common_name(common_name);
        }
        Ok(request)
    }

    /// What a specification asks for: every extension cert-manager encodes; usages only if
    /// `encodeUsagesInRequest` is not false.
    pub fn for_spec(spec: &ValidatedSpec) -> Self {
        let usages = if spec.encode_usages_in_request() {
            spec.usages().clone()
        } else {
            Usages::default()
        };
        Self {
            subject: spec.subject().clone(),
            style: NameStyle::default(),
            names: spec.names().clone(),
            usages,
            basic_constraints: None,
            constraints: spec.constraints().cloned(),
            signature_algorithm: spec.signature_algorithm(),
        }
    }

    /// The first half: everything but the signature, for the key with this public half.
    ///
    /// # Errors
    ///
    /// Neither a subject nor a name, or a subject that cannot be written.
    pub fn prepare(&self, key: &PublicKey) -> Result<UnsignedCsr, CsrError> {
        let subject = subject_to_der(&self.subject, self.style).map_err(CsrError::Subject)?;
        if subject == tbs::EMPTY_NAME && self.names.is_empty() {
            return Err(CsrError::NoIdentity);
        }
        let names = (!self.names.is_empty()).then(|| subject_alt_name_to_der(&self.names));
        let constraints = self.constraints.as_ref();
        let constraints = constraints.map(|c| (c.critical, name_constraints_to_der(c)));
        let info = tbs::Request {
            subject: &subject,
            spki: key.spki_der(),
            subject_alt_name: names.as_deref(),
            key_usage: self.usages.key,
            extended_key_usage: &self.usages.extended,
            ca: self.basic_constraints,
            name_constraints: constraints
                .as_ref()
                .map(|(critical, value)| (*critical, value.as_slice())),
        };
        let algorithm = self.signature_algorithm;
        Ok(UnsignedCsr {
            info: info.to_der(),
            algorithm: algorithm.unwrap_or_else(|| key.signature_algorithm()),
            key: key.clone(),
        })
    }

    /// Both halves: the request, signed with its own key.
    ///
    /// # Errors
    ///
    /// As [`Request::prepare`], and a signature algorithm that the key cannot do.
    pub fn sign(&self, key: &KeyPair) -> Result<Csr, CsrError> {
        let unsigned = self.prepare(key.public_key())?;
        let signature = key.sign(unsigned.algorithm, &unsigned.info);
        Ok(unsigned.assemble(&signature.map_err(CsrError::Key)?))
    }
}

/// A request that waits for its signature, for example from an HSM.
#[derive(Clone, Debug)]
pub struct UnsignedCsr {
    info: Vec<u8>,
    algorithm: SignatureAlgorithm,
    key: PublicKey,
}

impl UnsignedCsr {
    /// The bytes to sign: the DER of the CertificationRequestInfo.
    pub fn bytes(&self) -> &[u8] {
        &self.info
    }

    /// How to sign them.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The second half: puts the signature to the request.
    ///
    /// # Errors
    ///
    /// The signature does not verify with the request's key.
    pub fn complete(self, signature: &[u8]) -> Result<Csr, CsrError> {
        let identifier = signature_identifier(self.algorithm);
        self.key
            .verify(&identifier, &self.info, signature)
            .map_err(CsrError::Signature)?;
        Ok(self.assemble(signature))
    }

    fn assemble(&self, signature: &[u8]) -> Csr {
        let identifier = signature_identifier(self.algorithm);
        Csr {
            der: tbs::signed(&self.info, &identifier, signature),
        }
    }
}

/// A signed certification request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
}

impl Csr {
    /// The request of a specification, signed with `key`: what cert-manager would send.
    ///
    /// # Errors
    ///
    /// A subject that RFC 5280 does not allow, or a `signatureAlgorithm` that the key cannot do.
    pub fn for_spec(spec: &ValidatedSpec, key: &KeyPair) -> Result<Self, CsrError> {
        Request::for_spec(spec).sign(key)
    }

    /// The request in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request in PEM.
    pub fn to_pem(&self) -> String {
        pem::write("CERTIFICATE REQUEST", &self.der).to_string()
    }

    /// The request as the signing side sees it; the checks are those of any other request.
    ///
    /// # Errors
    ///
    /// As [`VerifiedCsr::from_der`].
    pub fn verify(&self, policy: &CsrPolicy) -> Result<VerifiedCsr, CsrError> {
        VerifiedCsr::from_der(&self.der, policy)
    }
}

/// Why a request cannot be written, or is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// The same attribute twice.
    #[error("attribute {oid} occurs twice in the request")]
    DuplicateAttribute {
        /// Its object identifier.
        oid: String,
    },
    /// Not DER, not a request, or bytes behind it.
    #[error("the request is not a DER CertificationRequest")]
    Der(#[from] DerError),
    /// An extension that is twice there or malformed.
    #[error("the request's extensions are not valid")]
    Extensions(#[from] ExtensionError),
    /// The request's own key cannot sign it.
    #[error("the request cannot be signed")]
    Key(#[source] KeyError),
    /// A name that no certificate should carry.
    #[error("the request's subject alternative name {name:?} is not a valid {form}")]
    Name {
        /// The form of the name.
        form: &'static str,
        /// The name.
        name: String,
    },
    /// Neither a subject nor a subject alternative name.
    #[error("the request names nobody; give it a common name or a subject alternative name")]
    NoIdentity,
    /// The PEM text holds another block, or none.
    #[error("expected a CERTIFICATE REQUEST block, found {found:?}")]
    NotARequest {
        /// The label of the first block; empty if there is none.
        found: String,
    },
    /// The text is not PEM.
    #[error("the request is not valid PEM")]
    Pem(#[source] PemError),
    /// The request's public key is of no use.
    #[error("the request's public key is not acceptable")]
    PublicKey(#[source] PublicKeyError),
    /// The signature is missing its proof: it does not verify, or its algorithm is broken.
    #[error("the request's own signature is not acceptable")]
    Signature(#[source] SignatureError),
    /// An RSA exponent below 65537.
    #[error("the request's RSA exponent is below 65537; make a new key")]
    SmallExponent,
    /// The subject cannot be written.
    #[error("the subject cannot be encoded")]
    Subject(#[source] SubjectError),
    /// A NUL, or bytes that are no text, in the subject or in a directory name.
    #[error("attribute {oid} of the name {name:?} has a NUL or is not text of its string type")]
    Text {
        /// The attribute's object identifier.
        oid: String,
        /// The name.
        name: String,
    },
    /// More bytes than a request needs.
    #[error("the request has {found} bytes, more than the {max} allowed")]
    TooLarge {
        /// The request's length.
        found: usize,
        /// The policy's limit.
        max: usize,
    },
    /// An extension that the policy does not let pass.
    #[error("the request asks for extension {oid}{}, which the policy does not allow", if *critical { " (critical)" } else { "" })]
    UnknownExtension {
        /// Its object identifier.
        oid: String,
        /// Whether it is marked critical.
        critical: bool,
    },
    /// Another version than 1 (written 0).
    #[error("the request has version {found}, not 0")]
    Version {
        /// The number found.
        found: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use certwright_cert_model::key::{Curve, KeyAlgorithm};

    fn key(algorithm: KeyAlgorithm) -> KeyPair {
        KeyPair::generate(algorithm).unwrap()
    }

    fn request(dns: &[&str]) -> Request {
        let mut request = Request::default();
        request.names.dns = dns.iter().map(|name| name.parse().unwrap()).collect();
        request
    }

    #[test]
    fn a_request_must_name_somebody() {
        let key = key(KeyAlgorithm::Ed25519);
        assert_eq!(Request::default().sign(&key), Err(CsrError::NoIdentity));
    }

    #[test]
    fn every_key_proves_possession() {
        for algorithm in [
            KeyAlgorithm::Rsa(certwright_cert_model::key::RsaSize::MIN),
            KeyAlgorithm::Ecdsa(Curve::P256),
            KeyAlgorithm::Ecdsa(Curve::P384),
            KeyAlgorithm::Ecdsa(Curve::P521),
            KeyAlgorithm::Ed25519,
        ] {
            let key = key(algorithm);
            let csr = request(&["example.com"]).sign(&key).unwrap();
            let verified = csr.verify(&CsrPolicy::default()).unwrap();
            assert_eq!(verified.public_key(), key.public_key());
        }
    }

    #[test]
    fn p521_signs_with_every_hash() {
        let key = key(KeyAlgorithm::Ecdsa(Curve::P521));
        for algorithm in [
            SignatureAlgorithm::EcdsaWithSha256,
            SignatureAlgorithm::EcdsaWithSha384,
            SignatureAlgorithm::EcdsaWithSha512,
        ] {
            let mut request = request(&["example.com"]);
            request.signature_algorithm = Some(algorithm);
            let csr = request.sign(&key).unwrap();
            csr.verify(&CsrPolicy::default()).unwrap();
        }
    }

    #[test]
    fn a_foreign_signature_is_refused() {
        let (one, other) = (key(KeyAlgorithm::Ed25519), key(KeyAlgorithm::Ed25519));
        let unsigned = request(&["example.com"]).prepare(one.public_key()).unwrap();
        let wrong = other.sign(unsigned.algorithm(), unsigned.bytes()).unwrap();
        let right = one.sign(unsigned.algorithm(), unsigned.bytes()).unwrap();
        assert_eq!(
            unsigned.clone().complete(&wrong),
            Err(CsrError::Signature(SignatureError::Wrong))
        );
        assert!(unsigned.complete(&right).is_ok());
    }
}
