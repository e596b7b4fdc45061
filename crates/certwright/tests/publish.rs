//! An upstream transport follows the Secrets it refers to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use certwright::{Documents, Manager, Publisher, ResourceName, TransportPublisher};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::document::Format;
use certwright_cert_model::secret::CA_CRT;
use certwright_transport::upstream::{Upstream, Verified};
use certwright_transport::{Material, Rotating, ServersTransport};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::DefaultTimeProvider;
use time::macros::datetime;

const CA: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: ns}
spec: {secretName: root, isCA: true, commonName: Root, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
";

/// The Secret of a new CA, each time of another one.
fn root() -> TlsSecret {
    let mut documents = Documents::default();
    documents.read("test", CA, Format::Yaml);
    let mut manager = Manager::new(documents.inventory, []);
    manager.reconcile(datetime!(2026-03-01 12:00 UTC));
    let secret = manager.secret(&ResourceName::new("ns", "root"));
    secret.unwrap().clone_with_keys()
}

fn upstream() -> Verified {
    let mut transport = ServersTransport::default();
    transport.namespace = Some("ns".to_owned());
    transport.root_cas_secrets = vec!["root".to_owned()];
    match transport.validate().unwrap() {
        Upstream::Verified(upstream) => upstream,
        Upstream::Danger(_) => panic!("not verified"),
    }
}

#[test]
fn a_transport_follows_its_roots_and_keeps_the_last_good_ones() {
    let mut material = Material::default();
    material.insert_secret(root());
    let (provider, clock) = (Arc::new(default_provider()), Arc::new(DefaultTimeProvider));
    let transport = Rotating::new(upstream(), provider, clock, &material).unwrap();
    let transport = Arc::new(transport);
    let number = || transport.current().number;
    assert_eq!(number(), 1);

    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let prepared = Arc::clone(&seen);
    let mut publisher =
        TransportPublisher::new(transport.clone(), material, move |_, secret: &TlsSecret| {
            prepared.lock().unwrap().push(secret.name.clone());
        });
    publisher.put(&root());
    assert_eq!(number(), 2);
    let (first, second) = (root(), root());
    publisher.replace(&[&first, &second]);
    assert_eq!(number(), 3, "all of them are one change");
    assert_eq!(*seen.lock().unwrap(), ["root", "root", "root"]);

    // What cannot be used, and what is gone, takes nothing away.
    let mut broken = TlsSecret::new("ns", "root");
    broken.insert(CA_CRT, "no certificate");
    publisher.put(&broken);
    publisher.remove(&ResourceName::new("ns", "root"));
    assert_eq!(number(), 3);
    publisher.put(&root());
    assert_eq!(number(), 4);
}
