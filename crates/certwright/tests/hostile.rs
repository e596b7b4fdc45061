//! Secrets from elsewhere and clocks that are wrong: what a manager makes of them.

use certwright::{Inventory, Manager, Outcome, ResourceName};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT};
use certwright_cert_model::{Defaults, Manifest, TlsSecret, manifest};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn name(name: &str) -> ResourceName {
    ResourceName::new("ns", name)
}

/// A CA `root` and a leaf `web` for `dns`, both in Secrets of their own names.
fn inventory(dns: &str) -> Inventory {
    let text = format!(
        "\
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {{name: self, namespace: ns}}
spec: {{selfSigned: {{}}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: root, namespace: ns}}
spec: {{secretName: root, issuerRef: {{name: self}}, isCA: true, commonName: Root, duration: 87600h}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {{name: root, namespace: ns}}
spec: {{ca: {{secretName: root}}}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: web, namespace: ns}}
spec: {{secretName: web, issuerRef: {{name: root}}, dnsNames: [{dns}], privateKey: {{algorithm: ECDSA}}}}
"
    );
    let mut inventory = Inventory::default();
    for manifest in manifest::read(&text, Format::Yaml, Strictness::Strict) {
        match manifest.unwrap() {
            Manifest::Certificate(found) => {
                let valid = found.validate(&Defaults::documented()).unwrap();
                inventory
                    .add_certificate(name(&valid.metadata.name), valid.spec)
                    .unwrap();
            }
            Manifest::Issuer(found) => {
                let valid = found.validate().unwrap();
                inventory
                    .add_issuer(name(&valid.metadata.name), valid.spec)
                    .unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    inventory
}

/// The Secrets of a PKI that is fresh at `now`, `root` and `web`.
fn secrets(dns: &str, now: OffsetDateTime) -> [TlsSecret; 2] {
    let mut manager = Manager::new(inventory(dns), []).unwrap();
    manager.reconcile(now);
    ["root", "web"].map(|secret| manager.secret(&name(secret)).unwrap().clone_with_keys())
}

/// What a manager that finds these Secrets does: why each certificate is issued, or that it is not.
fn found(stored: [TlsSecret; 2], now: OffsetDateTime) -> Vec<String> {
    let mut manager = Manager::new(inventory("www.example.com"), stored).unwrap();
    let outcomes = manager.reconcile(now);
    let again = manager.reconcile(now);
    assert!(
        !again
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Issued { .. })),
        "a loop: {again:?}"
    );
    let told = |(_, outcome): (_, Outcome)| match outcome {
        Outcome::Issued { reason, .. } => reason.to_string(),
        Outcome::Kept(_) => "kept".to_owned(),
        other => format!("{other:?}"),
    };
    outcomes.into_iter().map(told).collect()
}

#[test]
fn a_certificate_from_elsewhere_is_kept_only_if_it_is_what_is_asked_for() {
    let bare = |mut secret: TlsSecret| {
        secret.annotations.clear();
        secret
    };
    let [root, web] = secrets("www.example.com", NOW).map(bare);
    assert_eq!(found([root, web], NOW), ["kept", "kept"]);

    let [root, other] = secrets("other.example.com", NOW).map(bare);
    assert_eq!(
        found([root, other], NOW),
        [
            "kept",
            "the stored certificate has other names than the specification, or another role"
        ]
    );
}

#[test]
fn a_chain_of_strangers_is_not_kept_for_carrying_our_ca() {
    let [root, _] = secrets("www.example.com", NOW);
    let [_, mut stranger] = secrets("www.example.com", NOW);
    let ca = root.get(TLS_CRT).unwrap().to_vec();
    stranger.insert(CA_CRT, ca);
    assert_eq!(
        found([root, stranger], NOW),
        [
            "kept",
            "the stored certificate is unusable: its CA did not sign it"
        ]
    );
}
