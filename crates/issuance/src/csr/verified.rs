//! Reading requests of strangers.

use core::ops::Range;
use std::sync::Arc;

use certwright_cert_model::pem;
use certwright_cert_model::usage::{ExtendedKeyUsage, KeyUsages};

use super::{CsrError, CsrPolicy, UnknownExtensions};
use crate::decode::{INTEGER, OID, Reader, SEQUENCE, SET, context, dotted};
use crate::encode::oid_content;
use crate::encode::tbs::{EMPTY_NAME, EXTENSION_REQUEST};
use crate::extensions::{Extensions, usage_oids};
use crate::general_name::{GeneralName, GeneralNames};
use crate::name;
use crate::pem_limit;
use crate::public_key::PublicKey;

/// A request whose sender has proven to hold the private key; the only thing that can be signed.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct VerifiedCsr(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    der: Vec<u8>,
    subject: Range<usize>,
    public_key: PublicKey,
    key_id: [u8; 20],
    extensions: Extensions,
}

impl VerifiedCsr {
    /// Reads a request, checks its signature and holds it against a policy. The key's type comes
    /// from the key itself, never from the signature's algorithm.
    ///
    /// # Errors
    ///
    /// Anything that is wrong with the request; [`CsrError`] says what.
    pub fn from_der(der: &[u8], policy: &CsrPolicy) -> Result<Self, CsrError> {
        if der.len() > policy.max_size {
            return Err(CsrError::TooLarge {
                found: der.len(),
                max: policy.max_size,
            });
        }
        let mut outer = Reader::new(der);
        let sequence = outer.expect(SEQUENCE, "expected a CertificationRequest SEQUENCE")?;
        let mut fields = outer.inside(&sequence);
        outer.finish()?;
        let info = fields.expect(SEQUENCE, "expected a CertificationRequestInfo SEQUENCE")?;
        let algorithm = fields.expect(SEQUENCE, "expected an AlgorithmIdentifier SEQUENCE")?;
        let signature = fields.octet_bits()?;
        fields.clone().finish()?;

        let mut fields = fields.inside(&info);
        let version = fields.small_integer(INTEGER)?;
        if version != 0 {
            return Err(CsrError::Version { found: version });
        }
        let subject = fields.expect(SEQUENCE, "expected the subject, a SEQUENCE")?;
        name::check(&fields.inside(&subject))?;
        let spki = fields.expect(SEQUENCE, "expected a SubjectPublicKeyInfo SEQUENCE")?;
        let public_key = PublicKey::from_spki_der(spki.whole(der)).map_err(CsrError::PublicKey)?;
        if public_key.has_small_exponent() {
            return Err(CsrError::SmallExponent);
        }
        let extensions = read_attributes(&mut fields)?;
        fields.finish()?;
        public_key
            .verify(
                algorithm.content(der),
                info.whole(der),
                signature.content(der),
            )
            .map_err(CsrError::Signature)?;

        let mut request = Parts {
            der: der.to_vec(),
            subject: subject.start..subject.end,
            key_id: public_key.key_id(),
            public_key,
            extensions,
        };
        request.check_unknown(&policy.unknown_extensions)?;
        if policy.unknown_extensions == UnknownExtensions::Drop {
            request.extensions.others.clear();
        }
        let request = Self(Arc::new(request));
        request.check_names()?;
        Ok(request)
    }

    /// Reads a request in PEM: the first block, labelled `CERTIFICATE REQUEST` or, as keytool does,
    /// `NEW CERTIFICATE REQUEST`.
    ///
    /// # Errors
    ///
    /// As [`VerifiedCsr::from_der`], and no such block.
    pub fn from_pem(text: &[u8], policy: &CsrPolicy) -> Result<Self, CsrError> {
        let max = pem_limit::CERTIFICATE.max(policy.max_size.saturating_mul(2));
        pem_limit::check(text, max).map_err(|error| CsrError::TooLarge {
            found: error.found,
            max: error.max,
        })?;
        let blocks = pem::read(text).map_err(CsrError::Pem)?;
        match blocks.first() {
            Some(block)
                if ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&block.label()) =>
            {
                Self::from_der(block.der(), policy)
            }
            other => Err(CsrError::NotARequest {
                found: other.map_or_else(String::new, |block| block.label().to_owned()),
            }),
        }
    }

    /// The DER that was read.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The key whose possession the sender has proven.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// The identifier of the key, [`PublicKey::key_id`].
    pub fn key_id(&self) -> &[u8; 20] {
        &self.0.key_id
    }

    /// The DER of the subject.
    pub fn subject_der(&self) -> &[u8] {
        &self.0.der[self.0.subject.clone()]
    }

    /// The value of the subjectAltName extension.
    pub fn subject_alt_name(&self) -> Option<&[u8]> {
        let value = self.0.extensions.subject_alt_name.as_ref()?;
        Some(&self.0.der[value.range.clone()])
    }

    /// The subject alternative names; `from_der` has read them all once.
    pub fn names(&self) -> impl Iterator<Item = GeneralName<'_>> {
        let names = self.subject_alt_name().map(GeneralNames::of_extension);
        let names = names.and_then(Result::ok);
        names.unwrap_or_else(GeneralNames::none).flatten()
    }

    /// The key usages asked for, if the request names any.
    pub fn key_usage(&self) -> Option<KeyUsages> {
        self.0.extensions.key_usage
    }

    /// The extended key usages asked for, in order, if the request names any; the dotted object
    /// identifier where cert-manager has no name for it.
    pub fn extended_key_usage(&self) -> Option<Vec<Result<ExtendedKeyUsage, String>>> {
        let value = self.0.extensions.extended_key_usage.clone()?;
        let usages = usage_oids(&self.0.der[value]).map(|oid| {
            let dotted = dotted(oid);
            ExtendedKeyUsage::from_oid(&dotted).ok_or(dotted)
        });
        Some(usages.collect())
    }

    /// The contents of the object identifiers of the extended key usages.
    pub(crate) fn usage_oids(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let value = self.0.extensions.extended_key_usage.clone()?;
        Some(usage_oids(&self.0.der[value]))
    }

    /// Whether the request asks for a CA certificate, if it says anything about it.
    pub fn asks_for_ca(&self) -> Option<bool> {
        Some(self.0.extensions.basic_constraints?.ca)
    }

    /// The name constraints asked for: whether critical, and the extension's value.
    pub fn name_constraints(&self) -> Option<(bool, &[u8])> {
        let value = self.0.extensions.name_constraints.as_ref()?;
        Some((value.critical, &self.0.der[value.range.clone()]))
    }

    /// The extensions that the policy lets into the certificate as they are: the content of the
    /// object identifier, and the whole.
    pub(crate) fn copied_extensions(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let others = self.0.extensions.others.iter();
        others.map(|other| {
            let der = &self.0.der;
            (&der[other.oid.clone()], &der[other.whole.clone()])
        })
    }

    fn check_names(&self) -> Result<(), CsrError> {
        let subject = self.subject_der();
        if subject == EMPTY_NAME && self.subject_alt_name().is_none() {
            return Err(CsrError::NoIdentity);
        }
        check_text(subject)?;
        for name in self.names() {
            let (form, text, good) = match name {
                GeneralName::Dns(text) => ("DNS name", text, is_visible(text)),
                GeneralName::Email(text) => ("e-mail address", text, is_visible(text)),
                GeneralName::Uri(text) => ("URI", text, is_visible(text)),
                GeneralName::Ip(octets) => (
                    "IP address of 4 or 16 octets",
                    "",
                    matches!(octets.len(), 4 | 16),
                ),
                GeneralName::Directory(name) => {
                    check_text(name)?;
                    continue;
                }
                _ => continue,
            };
            if !good {
                return Err(CsrError::Name {
                    form,
                    name: text.to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Parts {
    fn check_unknown(&self, rule: &UnknownExtensions) -> Result<(), CsrError> {
        for other in &self.extensions.others {
            let oid = &self.der[other.oid.clone()];
            let refused = match rule {
                UnknownExtensions::Allow(list) => !list.iter().any(|good| oid_content(good) == oid),
                UnknownExtensions::Drop => other.critical,
                UnknownExtensions::Reject => true,
            };
            if refused {
                return Err(CsrError::UnknownExtension {
                    oid: dotted(oid),
                    critical: other.critical,
                });
            }
        }
        Ok(())
    }
}

/// No attribute of a name may mean different things to different programs.
fn check_text(name: &[u8]) -> Result<(), CsrError> {
    let mut attributes = name::rdns(name).flat_map(name::Rdn::attributes);
    match attributes.find(|attribute| attribute.is_broken_text()) {
        Some(attribute) => Err(CsrError::Text {
            oid: dotted(attribute.oid),
            name: name::display(name),
        }),
        None => Ok(()),
    }
}

/// No spaces, no control characters, something at all: a NUL in a name has fooled verifiers before.
fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The extensions of the one extensionRequest attribute; other attributes are ignored.
fn read_attributes(fields: &mut Reader<'_>) -> Result<Extensions, CsrError> {
    let input = fields.input();
    // RFC 2986 demands the field, some tools leave it out when it is empty.
    let Some(attributes) = fields.optional(context(0))? else {
        return Ok(Extensions::default());
    };
    let mut attributes = fields.inside(&attributes);
    let mut seen: Vec<&[u8]> = Vec::with_capacity(4);
    let mut extensions = Extensions::default();
    while !attributes.is_empty() {
        let attribute = attributes.expect(SEQUENCE, "expected an Attribute SEQUENCE")?;
        let mut attribute = attributes.inside(&attribute);
        let oid = attribute.expect(OID, "expected an attribute's object identifier")?;
        let values = attribute.expect(SET, "expected the SET of an attribute's values")?;
        attribute.clone().finish()?;
        let oid = oid.content(input);
        if seen.contains(&oid) {
            return Err(CsrError::DuplicateAttribute { oid: dotted(oid) });
        }
        seen.push(oid);
        if oid == EXTENSION_REQUEST {
            let mut values = attribute.inside(&values);
            let list = values.expect(SEQUENCE, "expected an Extensions SEQUENCE")?;
            extensions = Extensions::read(values.inside(&list))?;
            values.finish()?;
        }
    }
    Ok(extensions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{BIT_STRING, OCTET_STRING, PRINTABLE_STRING, UTF8_STRING};
    use crate::encode::element;
    use crate::encode::extension::id;
    use crate::key_pair::KeyPair;
    use crate::profile::{Preflight, Profile};
    use crate::public_key::signature_identifier;
    use crate::self_signed::prepare_self_signed;
    use crate::serial::Serial;
    use crate::signing::SignError;
    use certwright_cert_model::key::KeyAlgorithm;

    fn name(tag: u8, value: &[u8]) -> Vec<u8> {
        let attribute = [element(OID, name::COMMON_NAME), element(tag, value)].concat();
        element(SEQUENCE, &element(SET, &element(SEQUENCE, &attribute)))
    }

    fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
        let fields = [element(OID, oid), element(OCTET_STRING, value)].concat();
        element(SEQUENCE, &fields)
    }

    /// A request of this subject and these extensions, well signed.
    fn request(subject: &[u8], extensions: &[u8]) -> Vec<u8> {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let values = element(SET, &element(SEQUENCE, extensions));
        let attribute = [element(OID, EXTENSION_REQUEST), values].concat();
        let info = [
            element(INTEGER, &[0]),
            subject.to_vec(),
            key.public_key().spki_der().to_vec(),
            element(context(0), &element(SEQUENCE, &attribute)),
        ];
        let info = element(SEQUENCE, &info.concat());
        let algorithm = key.public_key().signature_algorithm();
        let signature = [&[0][..], &key.sign(algorithm, &info).unwrap()].concat();
        let identifier = element(SEQUENCE, &signature_identifier(algorithm));
        let whole = [info, identifier, element(BIT_STRING, &signature)];
        element(SEQUENCE, &whole.concat())
    }

    fn read(der: &[u8]) -> Result<VerifiedCsr, CsrError> {
        VerifiedCsr::from_der(der, &CsrPolicy::default())
    }

    #[test]
    fn no_extension_gets_into_a_certificate_twice() {
        let subject = name(UTF8_STRING, b"leaf");
        let extensions = extension(id::CRL_DISTRIBUTION_POINTS, &[SEQUENCE, 0]);
        let policy = CsrPolicy {
            unknown_extensions: UnknownExtensions::Allow(vec!["2.5.29.31".parse().unwrap()]),
            ..CsrPolicy::default()
        };
        let csr = VerifiedCsr::from_der(&request(&subject, &extensions), &policy).unwrap();
        let usages = ["server auth".parse().unwrap()].into_iter().collect();
        let mut profile = Profile::leaf(usages, time::Duration::days(1));
        profile.preflight = Preflight::Off;
        let prepare = |profile: &Profile| {
            let serial = Serial::random().unwrap();
            prepare_self_signed(&csr, profile, time::OffsetDateTime::UNIX_EPOCH, serial)
        };
        prepare(&profile).unwrap();
        profile.crl_distribution_points = vec!["http://crl.example.com".to_owned()];
        let oid = "2.5.29.31".to_owned();
        assert_eq!(
            prepare(&profile).unwrap_err(),
            SignError::ExtensionOfProfile { oid }
        );
    }

    #[test]
    fn a_policy_may_have_no_limit() {
        let pem = pem::write(
            "CERTIFICATE REQUEST",
            &request(&name(UTF8_STRING, b"leaf"), &[]),
        );
        let policy = CsrPolicy {
            max_size: usize::MAX,
            ..CsrPolicy::default()
        };
        VerifiedCsr::from_pem(pem.as_bytes(), &policy).unwrap();
    }

    #[test]
    fn directory_names_are_names() {
        let good = name(UTF8_STRING, b"leaf");
        // An RDN that is a SEQUENCE, one without attributes, an attribute without value.
        let bad = [
            element(SEQUENCE, &element(SEQUENCE, &good[6..])),
            element(SEQUENCE, &element(SET, &[])),
            element(SEQUENCE, &element(SET, &element(SEQUENCE, &[OID, 1, 0x55]))),
        ];
        for (name, fine) in bad.iter().map(|bad| (bad, false)).chain([(&good, true)]) {
            let names = element(SEQUENCE, &element(0xa4, name));
            let der = request(EMPTY_NAME, &extension(id::SUBJECT_ALT_NAME, &names));
            assert_eq!(read(&der).is_ok(), fine, "{name:02x?}");
        }
    }

    #[test]
    fn names_mean_one_thing() {
        for (tag, value, good) in [
            (UTF8_STRING, &b"www.example.com"[..], true),
            (UTF8_STRING, b"www.example.org\0.example.com", false),
            (UTF8_STRING, b"www.example.org\xff", false),
            (PRINTABLE_STRING, b"www.example.org\0", false),
            (0x1e, b"\0a\0b", true),
            (0x1e, b"\0a\0b\0", false),
            (0x1e, b"\0a\0\0", false),
            (0x14, b"a\xfc", true),
            (0x14, b"a\0", false),
        ] {
            let name = name(tag, value);
            let names = element(SEQUENCE, &element(0xa4, &name));
            let names = extension(id::SUBJECT_ALT_NAME, &names);
            for der in [request(&name, &[]), request(EMPTY_NAME, &names)] {
                match read(&der) {
                    Ok(_) => assert!(good, "{value:02x?}"),
                    Err(CsrError::Text { oid, .. }) => assert!(!good && oid == "2.5.4.3"),
                    Err(error) => panic!("{value:02x?}: {error}"),
                }
            }
        }
    }
}
