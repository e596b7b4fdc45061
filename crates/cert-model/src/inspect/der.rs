use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use x509_parser::extensions::{ExtendedKeyUsage as ParsedUsages, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, SubjectPublicKeyInfo, X509Name};

use super::*;
use crate::key::{Curve, RsaSize};
use crate::oid::Oid;
use crate::subject::{Attribute, Rdn};
use crate::usage::{ExtendedKeyUsage, KeyUsage};

impl CertificateFacts {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`FactsError`] for anything but exactly one certificate that can be read to its end.
    pub fn from_der(der: &[u8]) -> Result<Self, FactsError> {
        let (rest, cert) = X509Certificate::from_der(der).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(FactsError::Trailing { count: rest.len() });
        }
        // The parser passes over what follows the two fields of this structure.
        let key = cert.public_key().raw;
        if declared_length(key) != Some(key.len()) {
            return Err(FactsError::Malformed {
                reason: "bytes follow the public key inside its structure".to_owned(),
            });
        }
        let extension = |oid: &'static str| {
            move |error: x509_parser::error::X509Error| FactsError::Extension {
                oid,
                reason: error.to_string(),
            }
        };
        // One of two equal extensions would be what is looked at by chance.
        cert.extensions_map().map_err(malformed)?;
        for found in cert.extensions() {
            if let ParsedExtension::ParseError { error } = found.parsed_extension() {
                return Err(FactsError::Malformed {
                    reason: format!("extension {}: {error}", found.oid),
                });
            }
        }
        let constraints = cert.basic_constraints().map_err(extension("2.5.29.19"))?;
        let usage = cert.key_usage().map_err(extension("2.5.29.15"))?;
        let extended = cert.extended_key_usage().map_err(extension("2.5.29.37"))?;
        let names = cert
            .subject_alternative_name()
            .map_err(extension("2.5.29.17"))?;
        let names = names.map(|names| name_texts(&names.value.general_names));
        let mut facts = Self {
            subject: subject(cert.subject())?,
            issuer: subject(cert.issuer())?,
            serial: cert.raw_serial().to_vec(),
            not_before: instant(cert.validity().not_before.timestamp())?,
            not_after: instant(cert.validity().not_after.timestamp())?,
            names: names.transpose()?.unwrap_or_default(),
            key: key_algorithm(cert.public_key()),
            public_key: cert.public_key().raw.to_vec(),
            is_ca: constraints.as_ref().is_some_and(|found| found.value.ca),
            max_path_len: constraints.and_then(|found| found.value.path_len_constraint),
            key_usages: usage.map(|found| key_usages(found.value.flags)),
            extended_key_usages: extended.map(|found| oids(found.value)),
            subject_key_id: None,
            authority_key_id: None,
        };
        for found in cert.extensions() {
            match found.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    facts.subject_key_id = Some(id.0.to_vec());
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    facts.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape of map_err")]
pub(crate) fn malformed(error: impl ToString) -> FactsError {
    FactsError::Malformed {
        reason: error.to_string(),
    }
}

/// The whole length of a DER element by its header; `None` beyond 64 KiB or if there is no header.
fn declared_length(element: &[u8]) -> Option<usize> {
    match *element {
        [_, short @ 0..=0x7f, ..] => Some(2 + usize::from(short)),
        [_, 0x81, length, ..] => Some(3 + usize::from(length)),
        [_, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

fn instant(seconds: i64) -> Result<OffsetDateTime, FactsError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| FactsError::Time)
}

pub(crate) fn subject(name: &X509Name<'_>) -> Result<Subject, FactsError> {
    let mut rdns = Vec::new();
    for rdn in name.iter_rdn() {
        let attributes: Result<Vec<_>, _> = rdn.iter().map(attribute).collect();
        rdns.extend(Rdn::new(attributes?));
    }
    Ok(Subject::new(rdns))
}

fn attribute(found: &AttributeTypeAndValue<'_>) -> Result<Attribute, FactsError> {
    /// BMPString, in which old Windows CAs write names.
    const BMP_STRING: u32 = 30;
    let oid = Oid::from_str(&found.attr_type().to_id_string()).map_err(malformed)?;
    let value = found.attr_value();
    let text = match core::str::from_utf8(value.data) {
        _ if value.tag().0 == BMP_STRING => {
            let units = value.data.chunks(2).map(|pair| match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0xd800,
            });
            String::from_utf16(&units.collect::<Vec<_>>()).map_err(malformed)?
        }
        Ok(text) => text.to_owned(),
        // T61String has no certain meaning; Latin-1 is what everyone writes there.
        Err(_) => value.data.iter().copied().map(char::from).collect(),
    };
    Ok(Attribute::new(oid, text))
}

pub(crate) fn name_texts(found: &[GeneralName<'_>]) -> Result<NameTexts, FactsError> {
    let mut names = NameTexts::default();
    for (index, name) in found.iter().enumerate() {
        match name {
            GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => names.email.push((*name).to_owned()),
            GeneralName::URI(name) => names.uri.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => {
                names.ip.push(ip(octets).ok_or(FactsError::Name { index })?);
            }
            GeneralName::OtherName(oid, value) => match utf8(value) {
                Some(value) => {
                    let oid = Oid::from_str(&oid.to_id_string()).map_err(malformed)?;
                    names.other.push(OtherName::new(oid, value));
                }
                None => names.unread += 1,
            },
            GeneralName::Invalid(..) => return Err(FactsError::Name { index }),
            _ => names.unread += 1,
        }
    }
    Ok(names)
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}

/// The text of an otherName's value: `[0] EXPLICIT UTF8String`, with short or long length.
fn utf8(value: &[u8]) -> Option<&str> {
    let text = element(element(value, 0xa0)?, 0x0c)?;
    core::str::from_utf8(text).ok()
}

fn element(octets: &[u8], tag: u8) -> Option<&[u8]> {
    let octets = octets.strip_prefix(&[tag])?;
    let (content, length) = match octets {
        [length @ ..=0x7f, content @ ..] => (content, usize::from(*length)),
        [0x81, length, content @ ..] => (content, usize::from(*length)),
        [0x82, high, low, content @ ..] => {
            (content, usize::from(u16::from_be_bytes([*high, *low])))
        }
        _ => return None,
    };
    (content.len() == length).then_some(content)
}

fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.3.101.112" => Some(KeyAlgorithm::Ed25519),
        "1.2.840.10045.2.1" => {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let curve = match curve.to_id_string().as_str() {
                "1.2.840.10045.3.1.7" => Curve::P256,
                "1.3.132.0.34" => Curve::P384,
                "1.3.132.0.35" => Curve::P521,
                _ => return None,
            };
            Some(KeyAlgorithm::Ecdsa(curve))
        }
        "1.2.840.113549.1.1.1" => match key.parsed().ok()? {
            PublicKey::RSA(key) => {
                let modulus = key.modulus.iter().skip_while(|b| **b == 0);
                let (mut octets, mut first) = (0_i64, 0_u8);
                for byte in modulus {
                    if octets == 0 {
                        first = *byte;
                    }
                    octets += 1;
                }
                let bits = octets * 8 - i64::from(first.leading_zeros());
                RsaSize::from_bits(bits).map(KeyAlgorithm::Rsa)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The parser keeps bit 0 of RFC 5280 in the lowest bit.
fn key_usages(flags: u16) -> KeyUsages {
    let set = |usage: &KeyUsage| flags & (1 << usage.bit()) != 0;
    KeyUsage::ALL.into_iter().filter(set).collect()
}

fn oids(found: &ParsedUsages<'_>) -> Vec<String> {
    let named = [
        (found.any, ExtendedKeyUsage::Any),
        (found.server_auth, ExtendedKeyUsage::ServerAuth),
        (found.client_auth, ExtendedKeyUsage::ClientAuth),
        (found.code_signing, ExtendedKeyUsage::CodeSigning),
        (found.email_protection, ExtendedKeyUsage::EmailProtection),
        (found.time_stamping, ExtendedKeyUsage::Timestamping),
        (found.ocsp_signing, ExtendedKeyUsage::OcspSigning),
    ];
    let named = named.into_iter().filter(|(present, _)| *present);
    let named = named.map(|(_, usage)| usage.oid().to_owned());
    named
        .chain(
            found
                .other
                .iter()
                .map(x509_parser::der_parser::oid::Oid::to_id_string),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authority() -> Vec<u8> {
        let text = include_bytes!("../../tests/data/authority.pem");
        crate::pem::read(text).unwrap()[0].der().to_vec()
    }

    #[test]
    fn everything_a_certificate_says() {
        let facts = CertificateFacts::from_der(&authority()).unwrap();
        assert_eq!(facts.subject.to_string(), "CN=web,OU=a+OU=b,O=Example,C=GB");
        assert!(facts.is_self_issued());
        assert_eq!(facts.serial_text(), "00:80:a1:b2");
        assert_eq!(facts.not_after.year() - facts.not_before.year(), 100);
        assert_eq!(facts.names.dns, ["web.example.com", "*.example.org"]);
        assert_eq!(facts.names.email, ["ops@example.com"]);
        let ip: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(facts.names.ip, ip);
        assert_eq!(facts.names.other[0].value, "upn@example.com");
        assert_eq!(facts.names.unread, 1);
        assert_eq!(facts.spiffe_id().unwrap().path(), "/web");
        assert_eq!(facts.key, Some(KeyAlgorithm::Ecdsa(Curve::P384)));
        assert_eq!((facts.is_ca, facts.max_path_len), (true, Some(2)));
        let usages: Vec<_> = facts.key_usages.unwrap().iter().collect();
        assert_eq!(usages, [KeyUsage::DigitalSignature, KeyUsage::CertSign]);
        assert_eq!(
            facts.extended_key_usages.unwrap(),
            [
                "1.3.6.1.5.5.7.3.1",
                "1.3.6.1.5.5.7.3.2",
                "1.3.6.1.5.5.7.3.17"
            ]
        );
        assert_eq!(facts.subject_key_id.unwrap()[..2], [0x9a, 0xb2]);
        assert_eq!(facts.authority_key_id.unwrap().len(), 20);
    }

    #[test]
    fn only_one_whole_certificate_is_read() {
        let mut der = authority();
        der.push(0);
        assert_eq!(
            CertificateFacts::from_der(&der),
            Err(FactsError::Trailing { count: 1 })
        );
        assert!(CertificateFacts::from_der(&der[..der.len() - 2]).is_err());
        assert!(CertificateFacts::from_der(&[]).is_err());
    }

    #[test]
    fn no_extension_stands_twice() {
        let mut der = authority();
        // Both key identifiers become one extension that nobody knows.
        for id in [0x0e, 0x23] {
            let oid = [0x06, 0x03, 0x55, 0x1d, id];
            let at = der.windows(5).position(|found| found == oid).unwrap();
            der[at + 4] = 0x7f;
        }
        assert!(matches!(
            CertificateFacts::from_der(&der),
            Err(FactsError::Malformed { .. })
        ));
    }

    #[test]
    fn bytes_inside_the_key_are_refused() {
        let der = include_bytes!("../../tests/data/trailing_in_key.der");
        let error = CertificateFacts::from_der(der).unwrap_err().to_string();
        assert!(error.contains("bytes follow the public key"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_certificates_do_not_panic(at in 0..900_usize, byte: u8, cut in 0..900_usize) {
            let mut der = authority();
            if let Some(target) = der.get_mut(at) {
                *target = byte;
            }
            let _ = CertificateFacts::from_der(&der);
            let _ = CertificateFacts::from_der(&der[..cut.min(der.len())]);
        }
    }
}
