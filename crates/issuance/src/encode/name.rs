//! Distinguished names and subject alternative names (RFC 5280, 4.1.2.4 and 4.2.1.6).

use core::net::IpAddr;

use certwright_cert_model::name::Names;
use certwright_cert_model::subject::{Attribute, Subject};

use super::{Writer, oid_content};
use crate::decode::{
    IA5_STRING, OID, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING, context, context_primitive,
};

/// How a subject is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameStyle {
    /// What becomes of several values of one attribute.
    pub rdns: RdnStyle,
    /// Which string types carry the values.
    pub strings: StringStyle,
}

impl NameStyle {
    /// Byte for byte what cert-manager writes.
    pub fn go_compatible() -> Self {
        Self {
            rdns: RdnStyle::GoCompatible,
            strings: StringStyle::GoCompatible,
        }
    }
}

/// What becomes of several values of one attribute, as in `organizations: [a, b]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RdnStyle {
    /// One RDN with several values, sorted by DER, as Go's `pkix.Name` does.
    #[default]
    GoCompatible,
    /// One RDN per value, in the order given, as the CA/Browser Forum's Baseline Requirements
    /// (7.1.4.1) demand. RDNs of different attributes (`CN=a+UID=b`) stay together.
    OnePerRdn,
}

/// Which ASN.1 string types carry the values of a subject, and how long they may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringStyle {
    /// PrintableString where the characters allow it, UTF8String elsewhere, any length, as Go does.
    GoCompatible,
    /// As RFC 5280 (appendix A) and RFC 4519 define each attribute: PrintableString for country,
    /// serial number and DN qualifier, IA5String for domain components and e-mail addresses, and
    /// their upper bounds. Everything else as Go does.
    #[default]
    Rfc5280,
}

/// The DER of a subject.
///
/// # Errors
///
/// A value that its attribute's string type cannot carry, or that is too long; only under
/// [`StringStyle::Rfc5280`].
pub fn subject_to_der(subject: &Subject, style: NameStyle) -> Result<Vec<u8>, SubjectError> {
    let mut writer = Writer::with_capacity(256);
    let mark = writer.len();
    for rdn in subject.rdns().iter().rev() {
        let attributes = rdn.attributes();
        let alike = attributes.iter().all(|a| a.oid == attributes[0].oid);
        if style.rdns == RdnStyle::OnePerRdn && alike {
            for attribute in attributes.iter().rev() {
                writer.nest(SET, |w| write_attribute(w, attribute, style.strings))?;
            }
            continue;
        }
        let mut encoded = Vec::with_capacity(attributes.len());
        for attribute in attributes {
            let mut one = Writer::with_capacity(64);
            write_attribute(&mut one, attribute, style.strings)?;
            encoded.push(one.into_vec());
        }
        // DER: the members of a SET OF ascend (X.690, 11.6).
        encoded.sort();
        writer.nest(SET, |w| encoded.iter().rev().for_each(|der| w.bytes(der)));
    }
    writer.close(SEQUENCE, mark);
    Ok(writer.into_vec())
}

fn write_attribute(
    writer: &mut Writer,
    attribute: &Attribute,
    style: StringStyle,
) -> Result<(), SubjectError> {
    let (oid, value) = (attribute.oid.as_str(), attribute.value.as_str());
    let printable = value.bytes().all(is_printable);
    let mut tag = if printable {
        PRINTABLE_STRING
    } else {
        UTF8_STRING
    };
    if let (StringStyle::Rfc5280, Some(rule)) = (style, Rule::of(oid)) {
        let length = value.chars().count();
        let fits = match rule.only {
            Some(PRINTABLE_STRING) => printable,
            Some(IA5_STRING) => value.is_ascii(),
            _ => true,
        };
        if !fits {
            return Err(SubjectError::Characters {
                attribute: rule.name,
                found: value.to_owned(),
            });
        }
        if !(rule.min..=rule.max).contains(&length) {
            return Err(SubjectError::Length {
                attribute: rule.name,
                found: length,
                min: rule.min,
                max: rule.max,
            });
        }
        tag = rule.only.unwrap_or(tag);
    }
    writer.nest(SEQUENCE, |w| {
        w.element(tag, value.as_bytes());
        w.element(OID, &oid_content(&attribute.oid));
    });
    Ok(())
}

/// What RFC 5280's appendix A.1 says about an attribute.
struct Rule {
    name: &'static str,
    only: Option<u8>,
    min: usize,
    max: usize,
}

impl Rule {
    fn of(oid: &str) -> Option<Self> {
        let (name, only, min, max) = match oid {
            "2.5.4.3" => ("common name", None, 1, 64),
            "2.5.4.5" => ("serial number", Some(PRINTABLE_STRING), 1, 64),
            "2.5.4.6" => ("country", Some(PRINTABLE_STRING), 2, 2),
            "2.5.4.7" => ("locality", None, 1, 128),
            "2.5.4.8" => ("province", None, 1, 128),
            "2.5.4.9" => ("street address", None, 1, 128),
            "2.5.4.10" => ("organization", None, 1, 64),
            "2.5.4.11" => ("organizational unit", None, 1, 64),
            "2.5.4.17" => ("postal code", None, 1, 40),
            "2.5.4.46" => ("DN qualifier", Some(PRINTABLE_STRING), 1, 64),
            "0.9.2342.19200300.100.1.1" => ("user id", None, 1, 256),
            "0.9.2342.19200300.100.1.25" => ("domain component", Some(IA5_STRING), 1, 63),
            "1.2.840.113549.1.9.1" => ("e-mail address", Some(IA5_STRING), 1, 255),
            _ => return None,
        };
        Some(Self {
            name,
            only,
            min,
            max,
        })
    }
}

/// X.680's PrintableString, which has no `*`, `@` or `&`.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

/// A subject that cannot be written as RFC 5280 defines its attributes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// A character that the attribute's string type does not have.
    #[error(
        "{attribute} {found:?} has characters that this attribute cannot carry (RFC 5280, appendix A)"
    )]
    Characters {
        /// The attribute.
        attribute: &'static str,
        /// The value.
        found: String,
    },
    /// Too short or too long.
    #[error("{attribute} has {found} characters, not {min} to {max} (RFC 5280, appendix A)")]
    Length {
        /// The attribute.
        attribute: &'static str,
        /// The value's length in characters.
        found: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
}

/// The value of a subjectAltName extension: DNS names, e-mail addresses, IP addresses, URIs and
/// other names, in this order whatever the order of the specification, as cert-manager writes them.
/// IPv4-mapped IPv6 addresses are written as IPv4.
pub fn subject_alt_name_to_der(names: &Names) -> Vec<u8> {
    let mut writer = Writer::with_capacity(256);
    let mark = writer.len();
    for other in names.other.iter().rev() {
        writer.nest(context(0), |w| {
            w.nest(context(0), |w| {
                w.element(UTF8_STRING, other.value.as_bytes());
            });
            w.oid(&other.oid);
        });
    }
    for uri in names.uri.iter().rev() {
        writer.element(context_primitive(6), uri.as_str().as_bytes());
    }
    for ip in names.ip.iter().rev() {
        match ip.to_canonical() {
            IpAddr::V4(v4) => writer.element(context_primitive(7), &v4.octets()),
            IpAddr::V6(v6) => writer.element(context_primitive(7), &v6.octets()),
        }
    }
    for email in names.email.iter().rev() {
        writer.element(context_primitive(1), email.to_string().as_bytes());
    }
    for dns in names.dns.iter().rev() {
        writer.element(context_primitive(2), dns.to_string().as_bytes());
    }
    writer.close(SEQUENCE, mark);
    writer.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use certwright_cert_model::name::OtherName;
    use certwright_cert_model::subject::Rdn;

    fn subject(rdns: &[&[(&str, &str)]]) -> Subject {
        let rdn = |attributes: &&[(&str, &str)]| {
            let attributes = attributes
                .iter()
                .map(|(oid, value)| Attribute::new(oid.parse().unwrap(), *value));
            Rdn::new(attributes.collect()).unwrap()
        };
        Subject::new(rdns.iter().map(rdn).collect())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn subjects_are_written_as_go_does() {
        const O: &str = "2.5.4.10";
        const OU: &str = "2.5.4.11";
        let cases: &[(Subject, &str)] = &[
            (Subject::default(), "3000"),
            (
                subject(&[&[("2.5.4.3", "example.org")]]),
                "3016311430120603550403130b6578616d706c652e6f7267",
            ),
            (
                subject(&[&[(O, "o2"), (O, "o1")], &[(OU, "ou")]]),
                "302531163009060355040a13026f313009060355040a13026f32310b3009060355040b13026f75",
            ),
            (
                subject(&[&[(O, "\u{e9}")]]),
                "300d310b3009060355040a0c02c3a9",
            ),
        ];
        for (subject, der) in cases {
            let written = subject_to_der(subject, NameStyle::go_compatible()).unwrap();
            assert_eq!(hex(&written), *der);
        }
    }

    #[test]
    fn one_value_per_rdn_keeps_the_order() {
        let style = NameStyle {
            rdns: RdnStyle::OnePerRdn,
            ..NameStyle::default()
        };
        let several = subject(&[&[("2.5.4.10", "b"), ("2.5.4.10", "a")]]);
        let apart = subject(&[&[("2.5.4.10", "b")], &[("2.5.4.10", "a")]]);
        assert_eq!(
            subject_to_der(&several, style),
            subject_to_der(&apart, NameStyle::default())
        );
        let mixed = subject(&[&[("2.5.4.10", "b"), ("2.5.4.3", "a")]]);
        assert_eq!(
            subject_to_der(&mixed, style),
            subject_to_der(&mixed, NameStyle::default())
        );
    }

    #[test]
    fn attributes_have_their_own_string_types() {
        let style = NameStyle::default();
        let dc = subject_to_der(&subject(&[&[("0.9.2342.19200300.100.1.25", "com")]]), style);
        assert_eq!(
            hex(&dc.unwrap()),
            "301531133011060a0992268993f22c6401191603636f6d"
        );
        for (oid, value) in [
            ("2.5.4.6", "\u{dc}S"),
            ("2.5.4.6", "USA"),
            ("2.5.4.10", &"o".repeat(65)),
            ("1.2.840.113549.1.9.1", "\u{fc}@example.com"),
        ] {
            let name = subject(&[&[(oid, value)]]);
            assert!(subject_to_der(&name, style).is_err(), "{value}");
            assert!(subject_to_der(&name, NameStyle::go_compatible()).is_ok());
        }
    }

    #[test]
    fn alternative_names_have_one_order() {
        let mut names = Names::default();
        names.uri.push("spiffe://x/y".parse().unwrap());
        names.ip.push("::ffff:10.0.0.1".parse().unwrap());
        names.ip.push("2001:db8::1".parse().unwrap());
        names.email.push("a@b".parse().unwrap());
        names.dns.push("example.org".parse().unwrap());
        assert_eq!(
            hex(&subject_alt_name_to_der(&names)),
            "3038820b6578616d706c652e6f7267810361406287040a000001871020010db8000000000000000000000001860c7370696666653a2f2f782f79"
        );
        let mut names = Names::default();
        let upn = "1.3.6.1.4.1.311.20.2.3".parse().unwrap();
        names.other.push(OtherName::new(upn, "3goats@acme.com"));
        assert_eq!(
            hex(&subject_alt_name_to_der(&names)),
            "3021a01f060a2b060104018237140203a0110c0f33676f6174734061636d652e636f6d"
        );
    }
}
