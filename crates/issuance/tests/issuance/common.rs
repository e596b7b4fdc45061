//! What the tests of issuing share.

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_cert_model::usage::Usages;
use certwright_issuance::csr::Request;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, SignedBundle, VerifiedCsr,
    self_signed,
};
use time::{Duration, OffsetDateTime};

/// 2026-01-01T00:00:00Z.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap()
}

pub(crate) fn p256() -> KeyPair {
    KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap()
}

pub(crate) fn usages(names: &[&str]) -> Usages {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn common_name(name: &str) -> Subject {
    let attribute = Attribute::new("2.5.4.3".parse().unwrap(), name);
    Subject::new(vec![Rdn::new(vec![attribute]).unwrap()])
}

pub(crate) fn request(name: &str, dns: &[&str]) -> Request {
    let mut request = Request::default();
    if !name.is_empty() {
        request.subject = common_name(name);
    }
    request.names.dns = dns.iter().map(|name| name.parse().unwrap()).collect();
    request
}

pub(crate) fn verified(request: &Request, key: &KeyPair) -> VerifiedCsr {
    request
        .sign(key)
        .unwrap()
        .verify(&CsrPolicy::default())
        .unwrap()
}

pub(crate) fn leaf_profile() -> Profile {
    Profile::leaf(
        usages(&["digital signature", "server auth"]),
        Duration::days(90),
    )
}

pub(crate) fn ca_profile(max_path_len: Option<u8>) -> Profile {
    Profile::ca(
        usages(&["digital signature", "cert sign", "crl sign"]),
        Duration::days(36_500),
        max_path_len,
    )
}

/// A root that signs itself.
pub(crate) fn root(request: &Request, max_path_len: Option<u8>) -> CertificateAuthority {
    let key = p256();
    let csr = verified(request, &key);
    let bundle = self_signed(&csr, &key, &ca_profile(max_path_len), now()).unwrap();
    authority(&bundle, &[], key)
}

/// A CA below another.
pub(crate) fn intermediate(
    above: &CertificateAuthority,
    request: &Request,
    max_path_len: Option<u8>,
) -> CertificateAuthority {
    let key = p256();
    let csr = verified(request, &key);
    let bundle = above.sign(&csr, &ca_profile(max_path_len), now()).unwrap();
    authority(&bundle, above.chain().certificates(), key)
}

pub(crate) fn authority(
    bundle: &SignedBundle,
    above: &[Certificate],
    key: KeyPair,
) -> CertificateAuthority {
    let mut chain = vec![bundle.certificate().unwrap()];
    chain.extend_from_slice(above);
    CertificateAuthority::new(chain, key, now()).unwrap()
}
