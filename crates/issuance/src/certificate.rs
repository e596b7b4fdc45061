//! Certificates as issuers and verifiers see them (RFC 5280, 4.1).

use core::fmt;
use core::ops::Range;

use certwright_cert_model::pem::{self, PemError};
use certwright_cert_model::usage::KeyUsages;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::decode::{DerError, INTEGER, Reader, SEQUENCE, context, dotted};
use crate::extensions::{ExtensionError, Extensions, usage_oids};
use crate::general_name::{GeneralName, GeneralNames};
use crate::name;
use crate::pem_limit;
use crate::public_key::{PublicKey, PublicKeyError, SignatureError};
use crate::validity::{Validity, instant};

/// A certificate that has been read once; its DER stays as it was.
#[derive(Clone)]
pub struct Certificate {
    der: CertificateDer<'static>,
    parts: Parts,
}

#[derive(Clone)]
struct Parts {
    tbs: Range<usize>,
    serial: Range<usize>,
    algorithm: Range<usize>,
    issuer: Range<usize>,
    validity: Validity,
    subject: Range<usize>,
    spki: Range<usize>,
    signature: Range<usize>,
    extensions: Extensions,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// Not a DER certificate of version 3, repeated or malformed extensions, bytes behind it.
    pub fn from_der(der: impl Into<CertificateDer<'static>>) -> Result<Self, CertificateError> {
        let der = der.into();
        let parts = Parts::read(&der)?;
        Ok(Self { der, parts })
    }

    /// Reads every certificate of a PEM text, in order; text between blocks is skipped.
    ///
    /// # Errors
    ///
    /// A block with another label than `CERTIFICATE`, no block, a certificate that cannot be read,
    /// or more than [`pem_limit::BUNDLE`] bytes.
    pub fn read_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        pem_limit::check(text, pem_limit::BUNDLE)?;
        let blocks = pem::read(text)?;
        if blocks.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        blocks
            .into_iter()
            .map(|block| {
                if block.label() != "CERTIFICATE" {
                    return Err(CertificateError::Label {
                        found: block.label().to_owned(),
                        line: block.line(),
                    });
                }
                Self::from_der(block.der().to_vec())
            })
            .collect()
    }

    /// The DER that was read.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> String {
        pem::write("CERTIFICATE", &self.der).to_string()
    }

    /// The serial number's octets, as written.
    pub fn serial(&self) -> &[u8] {
        &self.der[self.parts.serial.clone()]
    }

    /// The DER of the issuer's name.
    pub fn issuer_der(&self) -> &[u8] {
        &self.der[self.parts.issuer.clone()]
    }

    /// The DER of the subject's name.
    pub fn subject_der(&self) -> &[u8] {
        &self.der[self.parts.subject.clone()]
    }

    /// The subject as RFC 4514 writes it, for people.
    pub fn subject(&self) -> String {
        name::display(self.subject_der())
    }

    /// The first second of validity.
    pub fn not_before(&self) -> OffsetDateTime {
        instant(self.parts.validity.not_before)
    }

    /// The last second of validity.
    pub fn not_after(&self) -> OffsetDateTime {
        instant(self.parts.validity.not_after)
    }

    pub(crate) fn validity(&self) -> Validity {
        self.parts.validity
    }

    /// The DER of the SubjectPublicKeyInfo: whether a key belongs to the certificate is told by
    /// comparing it with [`PublicKey::spki_der`].
    pub fn spki_der(&self) -> &[u8] {
        &self.der[self.parts.spki.clone()]
    }

    /// The public key.
    ///
    /// # Errors
    ///
    /// A key of an algorithm or size that this crate does not work with.
    pub fn public_key(&self) -> Result<PublicKey, PublicKeyError> {
        PublicKey::from_spki_der(self.spki_der())
    }

    /// Whether basicConstraints says CA.
    pub fn is_ca(&self) -> bool {
        self.parts
            .extensions
            .basic_constraints
            .is_some_and(|basic| basic.ca)
    }

    /// How many intermediate CAs may follow below this one, if that is limited.
    pub fn max_path_len(&self) -> Option<u64> {
        self.parts.extensions.basic_constraints?.max_path_len
    }

    /// The key usages, if there is the extension.
    pub fn key_usage(&self) -> Option<KeyUsages> {
        self.parts.extensions.key_usage
    }

    /// The dotted object identifiers of the extended key usages, in order.
    pub fn extended_key_usage(&self) -> Option<Vec<String>> {
        let value = self.parts.extensions.extended_key_usage.clone()?;
        Some(usage_oids(&self.der[value]).map(dotted).collect())
    }

    /// The contents of the object identifiers of the extended key usages.
    pub(crate) fn usage_oids(&self) -> impl Iterator<Item = &[u8]> {
        let value = self.parts.extensions.extended_key_usage.clone();
        let usages = value.map(|value| usage_oids(&self.der[value]));
        usages.into_iter().flatten()
    }

    /// The subject alternative names; reading the certificate has read them all once.
    pub fn names(&self) -> impl Iterator<Item = GeneralName<'_>> {
        let value = self.subject_alt_name();
        let names = value.map(|(_, value)| GeneralNames::of_extension(value));
        let names = names.and_then(Result::ok);
        names.unwrap_or_else(GeneralNames::none).flatten()
    }

    /// The subjectAltName extension: whether critical, and its value.
    pub fn subject_alt_name(&self) -> Option<(bool, &[u8])> {
        let value = self.parts.extensions.subject_alt_name.as_ref()?;
        Some((value.critical, &self.der[value.range.clone()]))
    }

    /// The nameConstraints extension: whether critical, and its value.
    pub fn name_constraints(&self) -> Option<(bool, &[u8])> {
        let value = self.parts.extensions.name_constraints.as_ref()?;
        Some((value.critical, &self.der[value.range.clone()]))
    }

    /// The subject key identifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        Some(&self.der[self.parts.extensions.subject_key_id.clone()?])
    }

    /// The authority key identifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        Some(&self.der[self.parts.extensions.authority_key_id.clone()?])
    }

    /// The dotted object identifier of a critical extension this crate does not know, if there is one.
    pub fn unknown_critical_extension(&self) -> Option<String> {
        let mut others = self.parts.extensions.others.iter();
        let unknown = others.find(|other| other.critical)?;
        Some(dotted(&self.der[unknown.oid.clone()]))
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer_der() == self.subject_der()
    }

    /// Whether the certificate's signature verifies with its own key.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued()
            && self
                .public_key()
                .is_ok_and(|key| self.verify_signature(&key).is_ok())
    }

    /// Checks the certificate's signature with its issuer's key.
    ///
    /// # Errors
    ///
    /// An algorithm that is not accepted, or another signer.
    pub fn verify_signature(&self, issuer: &PublicKey) -> Result<(), SignatureError> {
        issuer.verify(
            &self.der[self.parts.algorithm.clone()],
            &self.der[self.parts.tbs.clone()],
            &self.der[self.parts.signature.clone()],
        )
    }
}

impl Parts {
    fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let mut outer = Reader::new(der);
        let sequence = outer.expect(SEQUENCE, "expected a Certificate SEQUENCE")?;
        let mut fields = outer.inside(&sequence);
        outer.finish()?;
        let tbs = fields.expect(SEQUENCE, "expected a TBSCertificate SEQUENCE")?;
        let algorithm = fields.expect(SEQUENCE, "expected an AlgorithmIdentifier SEQUENCE")?;
        let signature = fields.octet_bits()?;
        fields.clone().finish()?;

        let mut fields = fields.inside(&tbs);
        let version = fields.expect(context(0), "expected the version; only version 3 is read")?;
        let mut version = fields.inside(&version);
        let found = version.small_integer(INTEGER)?;
        if found != 2 {
            return Err(CertificateError::Version { found });
        }
        let serial = fields.expect(INTEGER, "expected the serial number, an INTEGER")?;
        let inner = fields.expect(SEQUENCE, "expected an AlgorithmIdentifier SEQUENCE")?;
        if inner.content(der) != algorithm.content(der) {
            return Err(CertificateError::Algorithms);
        }
        let issuer = fields.expect(SEQUENCE, "expected the issuer, a SEQUENCE")?;
        name::check(&fields.inside(&issuer))?;
        let times = fields.expect(SEQUENCE, "expected a Validity SEQUENCE")?;
        let validity = Validity::read(fields.inside(&times))?;
        let subject = fields.expect(SEQUENCE, "expected the subject, a SEQUENCE")?;
        name::check(&fields.inside(&subject))?;
        let spki = fields.expect(SEQUENCE, "expected a SubjectPublicKeyInfo SEQUENCE")?;
        // issuerUniqueID and subjectUniqueID, long out of use.
        fields.optional(0x81)?;
        fields.optional(0x82)?;
        let mut extensions = Extensions::default();
        if let Some(wrapper) = fields.optional(context(3))? {
            let mut wrapper = fields.inside(&wrapper);
            let list = wrapper.expect(SEQUENCE, "expected an Extensions SEQUENCE")?;
            extensions = Extensions::read(wrapper.inside(&list))?;
            wrapper.finish()?;
        }
        fields.finish()?;
        Ok(Self {
            tbs: tbs.start..tbs.end,
            serial: serial.body..serial.end,
            algorithm: algorithm.body..algorithm.end,
            issuer: issuer.start..issuer.end,
            validity,
            subject: subject.start..subject.end,
            spki: spki.start..spki.end,
            signature: signature.body..signature.end,
            extensions,
        })
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .field("issuer", &name::display(self.issuer_der()))
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}

/// Why a certificate cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The two places that name the signature algorithm differ.
    #[error("the certificate names two different signature algorithms")]
    Algorithms,
    /// Not DER, not a certificate, or bytes behind it.
    #[error("the certificate is not a DER Certificate")]
    Der(#[from] DerError),
    /// An extension that is twice there or malformed.
    #[error("the certificate's extensions are not valid")]
    Extensions(#[from] ExtensionError),
    /// A PEM block of another kind.
    #[error("expected only CERTIFICATE blocks, found {found:?} at line {line}")]
    Label {
        /// The label found.
        found: String,
        /// The line of its `BEGIN`.
        line: usize,
    },
    /// The text has no PEM block.
    #[error("the text has no CERTIFICATE block")]
    NoCertificate,
    /// The text is not PEM.
    #[error("the certificates are not valid PEM")]
    Pem(#[from] PemError),
    /// The text is longer than any chain or bundle.
    #[error("the text has {found} bytes, more than the {max} allowed")]
    TooLong {
        /// The text's length.
        found: usize,
        /// The most allowed.
        max: usize,
    },
    /// Another version than 3 (written 2).
    #[error("the certificate has version {found}, not 2 (X.509 v3)")]
    Version {
        /// The number found.
        found: u64,
    },
}

impl From<pem_limit::TooLong> for CertificateError {
    fn from(error: pem_limit::TooLong) -> Self {
        Self::TooLong {
            found: error.found,
            max: error.max,
        }
    }
}
