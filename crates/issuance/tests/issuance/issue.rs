//! Issuing from end to end: root, intermediate, leaf, Secret.

use crate::common::*;
use certwright_cert_model::TlsSecret;
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding, RsaSize};
use certwright_cert_model::output::OutputFormat;
use certwright_issuance::{Certificate, CertificateAuthority, KeyPair, self_signed};

#[test]
fn a_leaf_below_an_intermediate() {
    let root = root(&request("root", &[]), None);
    let ca = intermediate(&root, &request("ca", &[]), Some(0));
    let key = p256();
    let csr = verified(&request("", &["example.com", "*.example.com"]), &key);
    let bundle = ca.sign(&csr, &leaf_profile(), now()).unwrap();
    let chain: Vec<_> = bundle.chain().cloned().collect();
    assert_eq!(chain.len(), 2);
    assert_eq!(&chain[1], ca.chain().certificate().der());
    assert_eq!(bundle.authority(), Some(root.chain().certificate().der()));
    assert_eq!(bundle.warnings(), []);

    let outputs = [OutputFormat::CombinedPem, OutputFormat::Der];
    let secret = TlsSecret::new("default", "web-tls");
    let secret = bundle
        .into_secret(secret, &key, KeyEncoding::Pkcs1, &outputs)
        .unwrap();
    let text = |name| String::from_utf8(secret.get(name).unwrap().to_vec()).unwrap();
    assert_eq!(
        text("tls-combined.pem"),
        format!("{}\n{}", text("tls.key"), text("tls.crt"))
    );
    assert!(text("tls.key").starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
    assert_eq!(
        KeyPair::from_der(secret.get("key.der").unwrap())
            .unwrap()
            .public_key(),
        key.public_key()
    );
    assert_eq!(text("ca.crt"), root.chain().certificate().to_pem());
    assert_eq!(
        Certificate::read_pem(text("tls.crt").as_bytes())
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_ca_is_read_back_from_its_secret() {
    let key = KeyPair::generate(KeyAlgorithm::Rsa(RsaSize::MIN)).unwrap();
    let csr = verified(&request("root", &[]), &key);
    let bundle = self_signed(&csr, &key, &ca_profile(None), now()).unwrap();
    let secret = TlsSecret::new("default", "root");
    let secret = bundle
        .into_secret(secret, &key, KeyEncoding::Pkcs8, &[])
        .unwrap();
    assert_eq!(secret.get("tls.crt"), secret.get("ca.crt"));
    let (chain, key) = (
        secret.get("tls.crt").unwrap(),
        secret.get("tls.key").unwrap(),
    );
    let ca = CertificateAuthority::from_pem(chain, key, now()).unwrap();
    for algorithm in [
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Ecdsa(Curve::P521),
        KeyAlgorithm::Ed25519,
    ] {
        let key = KeyPair::generate(algorithm).unwrap();
        let csr = verified(&request("", &["example.com"]), &key);
        ca.sign(&csr, &leaf_profile(), now()).unwrap();
    }
}
