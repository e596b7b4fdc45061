//! Whatever Secrets hold, records and annotations among it, a manager issues or leaves alone: what is ready has the key
//! of its certificate, and at the same instant nothing is issued twice.
#![no_main]

use certwright::{Documents, Manager, Outcome};
use certwright_cert_model::document::Format;
use certwright_issuance::{Certificate, KeyPair};
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

const WANTED: &str = "
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: self, namespace: ns}, spec: {selfSigned: {}}}
---
{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: root, namespace: ns},
 spec: {secretName: root, isCA: true, commonName: r, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}}
---
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: root, namespace: ns}, spec: {ca: {secretName: root}}}
---
{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web, namespace: ns},
 spec: {secretName: web, dnsNames: [a.test], privateKey: {algorithm: ECDSA}, issuerRef: {name: root}}}";

fuzz_target!(|text: &str| {
    let [mut wanted, mut stored] = [(); 2].map(|()| Documents::default());
    wanted.read("wanted", WANTED, Format::Yaml);
    stored.read("stored", text, Format::Yaml);
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let mut manager = Manager::new(wanted.inventory, stored.secrets);
    manager.reconcile(now);
    let again = manager.reconcile(now);
    assert!(
        !again
            .iter()
            .any(|(_, one)| matches!(one, Outcome::Issued { .. })),
        "{again:?}"
    );
    for name in manager.order() {
        let status = manager.status(name, now).expect("it is asked for");
        let Some(secret) = manager.secret_of(name).filter(|_| status.ready) else {
            continue;
        };
        let chain = secret.get("tls.crt").expect("it is ready");
        let leaf = Certificate::read_pem(chain).expect("it is ready").remove(0);
        let key = KeyPair::from_pem(secret.get("tls.key").expect("it is ready")).expect("a key");
        assert_eq!(leaf.spki_der(), key.public_key().spki_der());
    }
    manager.take_changes();
});
