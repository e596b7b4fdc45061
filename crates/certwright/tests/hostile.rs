//! Secrets from elsewhere and clocks that are wrong: what a manager makes of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use certwright::{Inventory, Manager, Outcome, ResourceName, TRUST_BUNDLE};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT};
use certwright_cert_model::{Defaults, Manifest, TlsSecret, manifest};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn name(name: &str) -> ResourceName {
    ResourceName::new("ns", name)
}

/// A CA `root` and a leaf `web` for `dns`, both in Secrets of their own names.
fn pki(dns: &str) -> String {
    format!(
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
    )
}

fn inventory(text: &str) -> Inventory {
    let mut inventory = Inventory::default();
    for manifest in manifest::read(text, Format::Yaml, Strictness::Strict) {
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
    let mut manager = Manager::new(inventory(&pki(dns)), []);
    manager.reconcile(now);
    ["root", "web"].map(|secret| manager.secret(&name(secret)).unwrap().clone_with_keys())
}

/// What a manager that finds these Secrets does: why each certificate is issued, or that it is not.
fn found(stored: [TlsSecret; 2], now: OffsetDateTime) -> Vec<String> {
    let mut manager = Manager::new(inventory(&pki("www.example.com")), stored);
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
        Outcome::Reapplied { .. } => "reapplied".to_owned(),
        other => format!("{other:?}"),
    };
    // A new CA is trusted by all before anything else happens.
    let trust = |outcome: &Outcome| matches!(outcome, Outcome::Reapplied { what } if what == &[TRUST_BUNDLE]);
    let outcomes = outcomes.into_iter().filter(|(_, outcome)| !trust(outcome));
    outcomes.map(told).collect()
}

#[test]
fn a_certificate_from_elsewhere_is_kept_only_if_it_is_what_is_asked_for() {
    let bare = |mut secret: TlsSecret| {
        secret.annotations.clear();
        secret
    };
    let [root, web] = secrets("www.example.com", NOW).map(bare);
    assert_eq!(found([root, web], NOW), ["reapplied", "reapplied"]);

    let [root, other] = secrets("other.example.com", NOW).map(bare);
    assert_eq!(
        found([root, other], NOW),
        [
            "reapplied",
            "the stored certificate is not what the specification asks for: spec.dnsNames asks for www.example.com, but there is other.example.com"
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

#[test]
fn what_a_clock_far_ahead_issued_is_issued_again_once_it_is_right() {
    let ahead = |hours| secrets("www.example.com", NOW + Duration::hours(hours));
    assert_eq!(found(ahead(1), NOW)[0], "kept", "no CA for a correction");
    let found = found(ahead(24 * 3650), NOW);
    assert_eq!(found[0], "it is not valid before 2036-02-27T12:00:00Z");
    assert!(
        found[1].starts_with("the CA has a new certificate with serial number "),
        "{found:?}"
    );
}

#[test]
fn a_pause_ends_with_the_clock_that_was_ahead() {
    let [root, _] = secrets("www.example.com", NOW);
    let pki = pki("www.example.com");
    let without_root: Vec<_> = pki.split("---").filter(|d| !d.contains("isCA")).collect();
    let mut manager = Manager::new(inventory(&without_root.join("---")), [root]);
    let mut only = |now| manager.step(&name("web"), now).unwrap();

    let outcome = only(NOW + Duration::days(36_500));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let outcome = only(NOW + Duration::days(36_500) - Duration::MINUTE);
    assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
    let outcome = only(NOW);
    assert!(matches!(outcome, Outcome::Issued { .. }), "{outcome:?}");
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_hides_no_document() {
    let home = tempfile::tempdir().unwrap();
    // As an editor leaves beside a file that is open.
    std::os::unix::fs::symlink("nowhere", home.path().join(".#pki.yaml")).unwrap();
    std::fs::write(home.path().join("pki.yaml"), pki("web.example")).unwrap();
    let mut documents = certwright::Documents::default();
    documents.read_paths([home.path()]);
    assert_eq!(documents.problems.len(), 1, "{:?}", documents.problems);
    assert_eq!(documents.inventory.certificates().len(), 2);
}

#[test]
fn annotations_cannot_write_lines_into_a_log() {
    let [root, mut web] = secrets("www.example.com", NOW);
    let issuer = "cert-manager.io/issuer-name".to_owned();
    web.annotations
        .insert(issuer, "x\n2026 INFO all is well".to_owned());
    assert_eq!(
        found([root, web], NOW)[1],
        "Issuer/x\\n2026 INFO all is well signed it, Issuer/root is to"
    );
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_are_followed_once() {
    use std::os::unix::fs::symlink;
    let home = tempfile::tempdir().unwrap();
    let read = || {
        let mut documents = certwright::Documents::default();
        let files = documents.read_paths([home.path()]);
        assert!(documents.problems.is_empty(), "{:?}", documents.problems);
        assert_eq!(documents.inventory.certificates().len(), 2);
        files
    };
    std::fs::write(home.path().join("pki.yaml"), pki("web.example")).unwrap();
    std::fs::create_dir_all(home.path().join("a/b")).unwrap();
    symlink("../..", home.path().join("a/b/back")).unwrap();
    symlink(".", home.path().join("a/self")).unwrap();
    symlink("pki.yaml", home.path().join("again.yaml")).unwrap();
    assert_eq!(read(), 1);

    // As a kubelet mounts a ConfigMap.
    std::fs::create_dir(home.path().join("..2026_03_01")).unwrap();
    let file = home.path().join("..2026_03_01/pki.yaml");
    std::fs::rename(home.path().join("pki.yaml"), &file).unwrap();
    std::fs::remove_file(home.path().join("again.yaml")).unwrap();
    symlink("..2026_03_01", home.path().join("..data")).unwrap();
    symlink("..data/pki.yaml", home.path().join("pki.yaml")).unwrap();
    assert_eq!(read(), 1);
}
