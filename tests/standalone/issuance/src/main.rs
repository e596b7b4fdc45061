//! A private CA: a root and a server certificate, and a name it must not sign.

use certwright_cert_model::certificate::{NameConstraintsSpec, SubtreesSpec};
use certwright_cert_model::key::KeyAlgorithm;
use certwright_cert_model::{CertificateSpec, Defaults, TlsSecret, ValidatedSpec};
use certwright_issuance::{CertificateAuthority, Csr, CsrPolicy, KeyPair, Profile, self_signed};
use time::macros::datetime;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn spec(change: impl FnOnce(&mut CertificateSpec)) -> Result<ValidatedSpec> {
    let mut spec = CertificateSpec::default();
    spec.secret_name = "tls".to_owned();
    spec.issuer_ref.name = "ca".to_owned();
    change(&mut spec);
    Ok(spec.validate(&Defaults::documented())?)
}

fn main() -> Result<()> {
    let now = datetime!(2026-01-01 00:00 UTC);
    let root = spec(|spec| {
        spec.common_name = Some("Root".to_owned());
        spec.is_ca = true;
        let mut permitted = SubtreesSpec::default();
        permitted.dns_domains = vec!["example.com".to_owned()];
        let mut constraints = NameConstraintsSpec::default();
        constraints.critical = true;
        constraints.permitted = Some(permitted);
        spec.name_constraints = Some(constraints);
    })?;
    let root_key = KeyPair::generate(KeyAlgorithm::Ed25519)?;
    let csr = Csr::for_spec(&root, &root_key)?.verify(&CsrPolicy::default())?;
    let bundle = self_signed(&csr, &root_key, &Profile::for_spec(&root), now)?;
    let ca = CertificateAuthority::new(vec![bundle.certificate()?], root_key, now)?;

    let key = KeyPair::generate(KeyAlgorithm::Ed25519)?;
    let sign = |name: &str| -> Result<TlsSecret> {
        let leaf = spec(|spec| spec.dns_names = vec![name.to_owned()])?;
        let csr = Csr::for_spec(&leaf, &key)?.verify(&CsrPolicy::default())?;
        let bundle = ca.sign(&csr, &Profile::for_spec(&leaf), now)?;
        let secret = TlsSecret::new("default", leaf.secret_name());
        Ok(bundle.into_secret(secret, &key, leaf.key().encoding, leaf.outputs())?)
    };
    let secret = sign("www.example.com")?;
    assert_eq!(
        secret.data().map(|(key, _)| key).collect::<Vec<_>>(),
        ["ca.crt", "tls.crt", "tls.key"]
    );
    let refused = sign("www.example.org")
        .expect_err("outside the constraints")
        .to_string();
    assert!(
        refused.contains("www.example.org") && refused.contains("CN=Root"),
        "{refused}"
    );
    println!("{refused}");
    Ok(())
}
