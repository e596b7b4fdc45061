//! The certificate extensions of RFC 5280, 4.2, that certificates and requests carry.

use core::net::IpAddr;

use certwright_cert_model::name::Cidr;
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::usage::{ExtendedKeyUsage, KeyUsages};

use super::Writer;
use crate::decode::{
    BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE, context, context_primitive,
};

/// The contents of the object identifiers of extensions.
pub(crate) mod id {
    pub(crate) const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
    pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
    pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
    pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    pub(crate) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub(crate) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
    pub(crate) const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
    pub(crate) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
    pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
    pub(crate) const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
    pub(crate) const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];
    pub(crate) const CA_ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 2];
}

/// One extension around the value that `write` writes.
pub(crate) fn extension(
    writer: &mut Writer,
    oid: &[u8],
    critical: bool,
    write: impl FnOnce(&mut Writer),
) {
    writer.nest(SEQUENCE, |w| {
        w.nest(OCTET_STRING, write);
        if critical {
            w.element(BOOLEAN, &[0xff]);
        }
        w.element(OID, oid);
    });
}

/// keyUsage's value: a BIT STRING without trailing zero bits (X.690, 11.2.2).
pub(crate) fn key_usage(writer: &mut Writer, usages: KeyUsages) {
    let mut octets = [0_u8; 2];
    let mut last = 0;
    for usage in usages.iter() {
        last = usage.bit();
        octets[usize::from(last / 8)] |= 0x80 >> (last % 8);
    }
    let used = &octets[..=usize::from(last / 8)];
    writer.nest(BIT_STRING, |w| {
        w.bytes(used);
        w.bytes(&[7 - last % 8]);
    });
}

/// extendedKeyUsage's value, in the order given.
pub(crate) fn extended_key_usage(writer: &mut Writer, usages: &[ExtendedKeyUsage]) {
    writer.nest(SEQUENCE, |w| {
        for usage in usages.iter().rev() {
            w.element(OID, extended_key_usage_oid(*usage));
        }
    });
}

/// The content of a usage's object identifier.
pub(crate) fn extended_key_usage_oid(usage: ExtendedKeyUsage) -> &'static [u8] {
    match usage {
        ExtendedKeyUsage::Any => &[0x55, 0x1d, 37, 0],
        ExtendedKeyUsage::ServerAuth => &[0x2b, 6, 1, 5, 5, 7, 3, 1],
        ExtendedKeyUsage::ClientAuth => &[0x2b, 6, 1, 5, 5, 7, 3, 2],
        ExtendedKeyUsage::CodeSigning => &[0x2b, 6, 1, 5, 5, 7, 3, 3],
        ExtendedKeyUsage::EmailProtection => &[0x2b, 6, 1, 5, 5, 7, 3, 4],
        ExtendedKeyUsage::IpsecEndSystem => &[0x2b, 6, 1, 5, 5, 7, 3, 5],
        ExtendedKeyUsage::IpsecTunnel => &[0x2b, 6, 1, 5, 5, 7, 3, 6],
        ExtendedKeyUsage::IpsecUser => &[0x2b, 6, 1, 5, 5, 7, 3, 7],
        ExtendedKeyUsage::Timestamping => &[0x2b, 6, 1, 5, 5, 7, 3, 8],
        ExtendedKeyUsage::OcspSigning => &[0x2b, 6, 1, 5, 5, 7, 3, 9],
        ExtendedKeyUsage::MicrosoftSgc => &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3],
        ExtendedKeyUsage::NetscapeSgc => &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1],
    }
}

/// basicConstraints' value; a path length is written for CAs only (RFC 5280, 4.2.1.9).
pub(crate) fn basic_constraints(writer: &mut Writer, ca: bool, max_path_len: Option<u8>) {
    writer.nest(SEQUENCE, |w| {
        if ca {
            if let Some(length) = max_path_len {
                w.unsigned(&[length]);
            }
            w.element(BOOLEAN, &[0xff]);
        }
    });
}

/// authorityKeyIdentifier's value: the key identifier only.
pub(crate) fn authority_key_identifier(writer: &mut Writer, key_id: &[u8]) {
    writer.nest(SEQUENCE, |w| w.element(context_primitive(0), key_id));
}

/// cRLDistributionPoints' value: one point per URL, as cert-manager writes it.
pub(crate) fn crl_distribution_points(writer: &mut Writer, urls: &[String]) {
    writer.nest(SEQUENCE, |w| {
        for url in urls.iter().rev() {
            w.nest(SEQUENCE, |w| {
                w.nest(context(0), |w| {
                    w.nest(context(0), |w| {
                        w.element(context_primitive(6), url.as_bytes());
                    });
                });
            });
        }
    });
}

/// authorityInfoAccess' value: OCSP responders, then the issuer's certificates.
pub(crate) fn authority_info_access(writer: &mut Writer, ocsp: &[String], issuers: &[String]) {
    writer.nest(SEQUENCE, |w| {
        for (urls, method) in [(issuers, id::CA_ISSUERS), (ocsp, id::OCSP)] {
            for url in urls.iter().rev() {
                w.nest(SEQUENCE, |w| {
                    w.element(context_primitive(6), url.as_bytes());
                    w.element(OID, method);
                });
            }
        }
    });
}

/// The value of a nameConstraints extension: DNS names, IP ranges, e-mail addresses and URI hosts,
/// permitted before excluded (RFC 5280, 4.2.1.10; the order is cert-manager's).
pub fn name_constraints_to_der(constraints: &NameConstraints) -> Vec<u8> {
    let mut writer = Writer::with_capacity(256);
    writer.nest(SEQUENCE, |w| {
        for (tag, subtrees) in [(1, &constraints.excluded), (0, &constraints.permitted)] {
            if !subtrees.is_empty() {
                w.nest(context(tag), |w| write_subtrees(w, subtrees));
            }
        }
    });
    writer.into_vec()
}

fn write_subtrees(writer: &mut Writer, subtrees: &Subtrees) {
    let mut subtree = |form: u8, base: &[u8]| {
        writer.nest(SEQUENCE, |w| w.element(context_primitive(form), base));
    };
    for uri in subtrees.uri.iter().rev() {
        subtree(6, uri.to_string().as_bytes());
    }
    for email in subtrees.email.iter().rev() {
        subtree(1, email.to_string().as_bytes());
    }
    for range in subtrees.ip.iter().rev() {
        subtree(7, &range_octets(range));
    }
    for dns in subtrees.dns.iter().rev() {
        subtree(2, dns.to_string().as_bytes());
    }
}

/// Address and mask, 8 or 32 octets.
fn range_octets(range: &Cidr) -> Vec<u8> {
    let mut octets = Vec::with_capacity(32);
    for half in [range.address(), range.mask()] {
        match half {
            IpAddr::V4(v4) => octets.extend(v4.octets()),
            IpAddr::V6(v6) => octets.extend(v6.octets()),
        }
    }
    octets
}

/// An INTEGER of one octet.
pub(crate) fn version(writer: &mut Writer, number: u8) {
    writer.element(INTEGER, &[number]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use certwright_cert_model::usage::KeyUsage;

    fn written(write: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::with_capacity(8);
        write(&mut writer);
        let bytes = writer.into_vec();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn key_usage_bits_are_trimmed() {
        use KeyUsage::*;
        for (usages, der) in [
            (&[DigitalSignature, KeyEncipherment][..], "030205a0"),
            (&[CertSign], "03020204"),
            (&[DigitalSignature, KeyEncipherment, CertSign], "030202a4"),
            (&[KeyAgreement, DecipherOnly], "0303070880"),
            (&[EncipherOnly], "03020001"),
        ] {
            let usages = usages.iter().copied().collect();
            assert_eq!(written(|w| key_usage(w, usages)), der);
        }
    }

    #[test]
    fn every_extended_usage_has_its_oid() {
        for usage in ExtendedKeyUsage::ALL {
            assert_eq!(
                crate::decode::dotted(extended_key_usage_oid(usage)),
                usage.oid()
            );
        }
    }

    #[test]
    fn basic_constraints_as_go_writes_them() {
        for (ca, length, der) in [
            (false, None, "3000"),
            (true, None, "30030101ff"),
            (true, Some(0), "30060101ff020100"),
            (false, Some(0), "3000"),
        ] {
            assert_eq!(written(|w| basic_constraints(w, ca, length)), der);
        }
    }

    #[test]
    fn name_constraints_as_cert_manager_writes_them() {
        let mut permitted = Subtrees::default();
        permitted.dns.push("example.org".parse().unwrap());
        permitted.ip.push("10.10.0.0/16".parse().unwrap());
        permitted.email.push("email@email.org".parse().unwrap());
        let mut excluded = Subtrees::default();
        excluded.ip.push("10.10.0.0/24".parse().unwrap());
        let constraints = NameConstraints::new(true, permitted, excluded).unwrap();
        let der = name_constraints_to_der(&constraints);
        assert_eq!(
            written(|w| w.bytes(&der)),
            "303ea02e300d820b6578616d706c652e6f7267300a87080a0a0000ffff00003011810f656d61696c40656d61696c2e6f7267a10c300a87080a0a0000ffffff00"
        );
    }
}
