//! From a Certificate resource to its Secret.

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Defaults, Manifest, TlsSecret, ValidatedSpec, manifest};
use certwright_issuance::rotation::{KeyOrigin, next_key};
use certwright_issuance::{Certificate, Csr, CsrPolicy, Profile};

use crate::common::*;

pub(crate) fn specification(fields: &str) -> ValidatedSpec {
    let text = format!(
        "{{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {{name: n, namespace: n}}, \
         spec: {{secretName: s, issuerRef: {{name: i}}, {fields}}}}}"
    );
    let manifest = manifest::read(&text, Format::Yaml, Strictness::Strict).remove(0);
    let Manifest::Certificate(certificate) = manifest.unwrap() else {
        panic!("no Certificate: {text}");
    };
    certificate.validate(&Defaults::documented()).unwrap().spec
}

#[test]
fn a_resource_becomes_a_secret() {
    let ca = root(&request("root", &[]), None);
    let server = [
        "digital signature, key encipherment, server auth",
        "digital signature, server auth",
    ];
    for (fields, label, usages, keys) in [
        (
            "dnsNames: [example.com]",
            "RSA PRIVATE KEY",
            server[0],
            &["ca.crt", "tls.crt", "tls.key"][..],
        ),
        (
            "commonName: x, privateKey: {algorithm: ECDSA}, additionalOutputFormats: [{type: DER}]",
            "EC PRIVATE KEY",
            server[1],
            &["ca.crt", "key.der", "tls.crt", "tls.key"],
        ),
        (
            "uris: ['spiffe://td/x'], usages: [client auth], privateKey: {algorithm: Ed25519}, \
             additionalOutputFormats: [{type: CombinedPEM}]",
            "PRIVATE KEY",
            "client auth",
            &["ca.crt", "tls-combined.pem", "tls.crt", "tls.key"],
        ),
        (
            "commonName: sub, isCA: true, usages: [crl sign], encodeUsagesInRequest: false, \
             nameConstraints: {critical: true, permitted: {dnsDomains: [example.com]}}, \
             privateKey: {algorithm: ECDSA, size: 384, encoding: PKCS8}",
            "PRIVATE KEY",
            "cert sign, crl sign",
            &["ca.crt", "tls.crt", "tls.key"],
        ),
    ] {
        let spec = specification(fields);
        let next = next_key(spec.key().algorithm, spec.key().rotation, None).unwrap();
        assert_eq!(next.origin, KeyOrigin::First);
        let csr = Csr::for_spec(&spec, &next.key).unwrap();
        let csr = csr.verify(&CsrPolicy::default()).unwrap();
        let profile = Profile::for_spec(&spec);
        let bundle = ca.sign(&csr, &profile, now()).unwrap();
        let issued = bundle.certificate().unwrap();
        assert_eq!(issued.is_ca(), spec.is_ca());
        assert_eq!(issued.not_after() - issued.not_before(), profile.duration);
        assert_eq!(spec.usages().to_string(), usages);
        assert_eq!(issued.key_usage().unwrap_or_default(), spec.usages().key);
        assert_eq!(
            issued.name_constraints().is_some(),
            spec.constraints().is_some()
        );

        let secret = TlsSecret::new("n", spec.secret_name());
        let encoding = spec.key().encoding;
        let secret = bundle
            .into_secret(secret, &next.key, encoding, spec.outputs())
            .unwrap();
        let found: Vec<_> = secret.data().map(|(name, _)| name).collect();
        assert_eq!(found, keys, "{fields}");
        let stored = secret.get("tls.key").unwrap();
        assert!(stored.starts_with(format!("-----BEGIN {label}-----\n").as_bytes()));
        // The documented default keeps the key at the next issue.
        let again = next_key(spec.key().algorithm, spec.key().rotation, Some(stored)).unwrap();
        assert_eq!(again.origin, KeyOrigin::Reused);
        let served = Certificate::read_pem(secret.get("tls.crt").unwrap()).unwrap();
        assert_eq!(served[0].spki_der(), again.key.public_key().spki_der());
    }
}
