//! Certificates for tests.

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_issuance::csr::Request;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, SignedBundle, VerifiedCsr,
    self_signed,
};
use time::{Duration, OffsetDateTime};

pub(crate) const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

pub(crate) struct Authorities {
    pub(crate) root: CertificateAuthority,
    pub(crate) issuing: CertificateAuthority,
}

fn ask(request: &Request) -> (VerifiedCsr, KeyPair) {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let csr = request.sign(&key).unwrap().verify(&CsrPolicy::default());
    (csr.unwrap(), key)
}

fn ca(below: u8) -> Profile {
    let usages = ["cert sign".parse().unwrap()].into_iter().collect();
    Profile::ca(usages, Duration::days(900), Some(below))
}

fn leaf() -> Profile {
    let usages = ["server auth".parse().unwrap()].into_iter().collect();
    Profile::leaf(usages, Duration::days(90))
}

pub(crate) fn authorities() -> Authorities {
    let (csr, key) = ask(&Request::new("Test Root", &[]).unwrap());
    let bundle = self_signed(&csr, &key, &ca(1), NOW).unwrap();
    let root = CertificateAuthority::new(certificates(&bundle), key, NOW).unwrap();
    let (csr, key) = ask(&Request::new("Test Issuing", &[]).unwrap());
    let bundle = root.sign(&csr, &ca(0), NOW).unwrap();
    let issuing = CertificateAuthority::new(certificates(&bundle), key, NOW).unwrap();
    Authorities { root, issuing }
}

pub(crate) fn certificates(bundle: &SignedBundle) -> Vec<Certificate> {
    Certificate::read_pem(bundle.chain_pem().as_bytes()).unwrap()
}

pub(crate) fn issue(issuing: &CertificateAuthority) -> (SignedBundle, KeyPair) {
    let mut request = Request::new("a.test", &["a.test", "*.a.test"]).unwrap();
    request.names.ip.push("192.0.2.7".parse().unwrap());
    let (csr, key) = ask(&request);
    (issuing.sign(&csr, &leaf(), NOW).unwrap(), key)
}
