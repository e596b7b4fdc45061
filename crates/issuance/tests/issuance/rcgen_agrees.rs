//! What rcgen can say, we say in the same bytes.

use std::net::IpAddr;

use certwright_cert_model::key::KeyAlgorithm;
use certwright_cert_model::name_constraints::Subtrees;
use certwright_cert_model::subject::Rdn;
use certwright_cert_model::usage::{ExtendedKeyUsage, KeyUsage};
use certwright_issuance::profile::{Role, UsageRule};
use certwright_issuance::{CertificateAuthority, KeyPair, Serial, self_signed};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CrlDistributionPoint, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    OtherNameValue, SanType,
};

use crate::arbitrary::{Wish, common_wish};
use crate::common::*;

fn arcs(oid: &str) -> Vec<u64> {
    oid.split('.').map(|arc| arc.parse().unwrap()).collect()
}

fn params(wish: &Wish, serial: &[u8]) -> CertificateParams {
    let (request, profile) = (&wish.request, &wish.profile);
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial.to_vec().into());
    params.not_before = now();
    params.not_after = now() + profile.duration;
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for attribute in request.subject.rdns().iter().flat_map(Rdn::attributes) {
        let oid = attribute.oid.as_str();
        let value = &attribute.value;
        let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c);
        let value = match oid {
            "0.9.2342.19200300.100.1.25" | "1.2.840.113549.1.9.1" => {
                DnValue::Ia5String(value.as_str().try_into().unwrap())
            }
            _ if value.chars().all(printable) => {
                DnValue::PrintableString(value.as_str().try_into().unwrap())
            }
            _ => DnValue::Utf8String(value.clone()),
        };
        params
            .distinguished_name
            .push(DnType::from_oid(&arcs(oid)), value);
    }
    let names = &request.names;
    let ia5 = |text: String| rcgen::string::Ia5String::try_from(text).unwrap();
    params.subject_alt_names.extend(
        names
            .dns
            .iter()
            .map(|name| SanType::DnsName(ia5(name.to_string()))),
    );
    params.subject_alt_names.extend(
        names
            .email
            .iter()
            .map(|name| SanType::Rfc822Name(ia5(name.to_string()))),
    );
    params
        .subject_alt_names
        .extend(names.ip.iter().map(|ip| SanType::IpAddress(*ip)));
    params.subject_alt_names.extend(
        names
            .uri
            .iter()
            .map(|name| SanType::URI(ia5(name.to_string()))),
    );
    params
        .subject_alt_names
        .extend(names.other.iter().map(|other| {
            let value = OtherNameValue::Utf8String(other.value.clone());
            SanType::OtherName((arcs(other.oid.as_str()), value))
        }));
    let UsageRule::Exactly(usages) = &profile.usages else {
        panic!("the strategy makes exact usages only");
    };
    params.key_usages = usages
        .key
        .iter()
        .map(|usage| match usage {
            KeyUsage::DigitalSignature => KeyUsagePurpose::DigitalSignature,
            KeyUsage::ContentCommitment => KeyUsagePurpose::ContentCommitment,
            KeyUsage::KeyEncipherment => KeyUsagePurpose::KeyEncipherment,
            KeyUsage::DataEncipherment => KeyUsagePurpose::DataEncipherment,
            KeyUsage::KeyAgreement => KeyUsagePurpose::KeyAgreement,
            KeyUsage::CertSign => KeyUsagePurpose::KeyCertSign,
            KeyUsage::CrlSign => KeyUsagePurpose::CrlSign,
            KeyUsage::EncipherOnly => KeyUsagePurpose::EncipherOnly,
            KeyUsage::DecipherOnly => KeyUsagePurpose::DecipherOnly,
        })
        .collect();
    params.extended_key_usages = usages
        .extended
        .iter()
        .map(|usage| match usage {
            ExtendedKeyUsage::Any => ExtendedKeyUsagePurpose::Any,
            ExtendedKeyUsage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
            other => ExtendedKeyUsagePurpose::Other(arcs(other.oid())),
        })
        .collect();
    params.is_ca = match profile.role {
        Role::Leaf => IsCa::ExplicitNoCa,
        Role::Ca { max_path_len } => IsCa::Ca(match max_path_len {
            None => BasicConstraints::Unconstrained,
            Some(length) => BasicConstraints::Constrained(length),
        }),
    };
    params.name_constraints =
        request
            .constraints
            .as_ref()
            .map(|constraints| rcgen::NameConstraints {
                permitted_subtrees: subtrees(&constraints.permitted),
                excluded_subtrees: subtrees(&constraints.excluded),
            });
    params.crl_distribution_points = profile
        .crl_distribution_points
        .iter()
        .map(|url| CrlDistributionPoint {
            uris: vec![url.clone()],
        })
        .collect();
    params
}

fn subtrees(subtrees: &Subtrees) -> Vec<GeneralSubtree> {
    let mut list: Vec<_> = subtrees
        .dns
        .iter()
        .map(|dns| GeneralSubtree::DnsName(dns.to_string()))
        .collect();
    list.extend(subtrees.ip.iter().map(|range| {
        GeneralSubtree::IpAddress(match (range.address(), range.mask()) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                CidrSubnet::V4(address.octets(), mask.octets())
            }
            (IpAddr::V6(address), IpAddr::V6(mask)) => {
                CidrSubnet::V6(address.octets(), mask.octets())
            }
            _ => panic!("a range has one family"),
        })
    }));
    list.extend(
        subtrees
            .email
            .iter()
            .map(|email| GeneralSubtree::Rfc822Name(email.to_string())),
    );
    list
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn certificates_are_equal_byte_for_byte(wish in common_wish(), serial in 1..u64::MAX) {
        let ca_key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let csr = verified(&request("ca", &[]), &ca_key);
        let ca = self_signed(&csr, &ca_key, &ca_profile(None), now()).unwrap();
        let ca = CertificateAuthority::new(vec![ca.certificate().unwrap()], ca_key, now()).unwrap();
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let csr = verified(&wish.request, &key);
        let serial = serial.to_be_bytes();
        let ours = ca.prepare(&csr, &wish.profile, now(), Serial::from_be_bytes(&serial).unwrap());
        let ours = ours.unwrap();

        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = rcgen::DistinguishedName::new();
        issuer.distinguished_name.push(DnType::CommonName, DnValue::PrintableString("ca".try_into().unwrap()));
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(ca.chain().certificate().subject_key_id().unwrap().to_vec());
        let issuer = Issuer::from_params(&issuer, SilentKey(&ca));
        let mut params = params(&wish, &serial);
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.public_key().key_id().to_vec());
        let theirs = params.signed_by(&key, &issuer).unwrap();
        // What is signed stands in the certificate as it is.
        prop_assert!(
            theirs.der().windows(ours.bytes().len()).any(|bytes| bytes == ours.bytes()),
            "ours: {:02x?}\ntheirs: {:02x?}", ours.bytes(), theirs.der()
        );
    }
}

/// Stands in for the CA's key: the signature is not compared, what is signed is.
struct SilentKey<'a>(&'a CertificateAuthority);

impl rcgen::PublicKeyData for SilentKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        let spki = self.0.chain().certificate().spki_der();
        &spki[spki.len() - 32..]
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for SilentKey<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0; 64])
    }
}
