//! One certificate's life across the crates: issued in order, kept, re-issued for a reason, judged by OpenSSL.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use certwright::{Manager, OrderError, Outcome, ResourceName, SecretDir};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_issuance::Certificate;
use certwright_tests::manifests::{inventory, issued, manager, restarted, stored};
use certwright_tests::peer::openssl_verifies;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

const PKI: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: selfsigned, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: z-root, namespace: ns}
spec:
  secretName: root
  issuerRef: {name: selfsigned}
  isCA: true
  commonName: Root
  duration: 87600h
  privateKey: {algorithm: ECDSA}
  nameConstraints: {critical: true, permitted: {dnsDomains: [example.com]}}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: nobody-asks}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: ns}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: m-intermediate, namespace: ns}
spec:
  secretName: intermediate
  issuerRef: {name: root}
  isCA: true
  commonName: Intermediate
  duration: 43800h
  privateKey: {algorithm: Ed25519}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: intermediate, namespace: ns}
spec: {ca: {secretName: intermediate}}
---
";

fn leaf(spec: &str) -> String {
    format!(
        "{PKI}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: a-leaf, namespace: ns}}
spec:
  secretName: leaf
  issuerRef: {{name: intermediate}}
  {spec}
"
    )
}

const LEAF: &str = "dnsNames: [www.example.com]\n  privateKey: {algorithm: ECDSA}";

fn named(name: &str) -> ResourceName {
    ResourceName::new("ns", name)
}

fn serial(manager: &Manager, name: &str) -> Vec<u8> {
    let secret = manager.secret_of(&named(name)).unwrap();
    Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap()[0]
        .serial()
        .to_vec()
}

#[test]
fn cas_come_before_what_they_sign() {
    let mut manager = manager(&leaf(LEAF));
    let issued = issued(&mut manager, NOW);
    assert_eq!(
        issued,
        ["z-root", "m-intermediate", "a-leaf"]
            .map(|name| format!("{name}: there is no Secret yet"))
    );
    let secret = manager.secret_of(&named("a-leaf")).unwrap();
    let chain = Certificate::read_pem(secret.get(TLS_CRT).unwrap()).unwrap();
    let subjects: Vec<_> = chain.iter().map(Certificate::subject).collect();
    assert_eq!(
        subjects,
        ["", "CN=Intermediate"],
        "the root is not in tls.crt"
    );
    let ca = Certificate::read_pem(secret.get(CA_CRT).unwrap()).unwrap();
    assert_eq!(ca[0].subject(), "CN=Root");
}

#[test]
fn openssl_verifies_everything_that_is_issued() {
    // OpenSSL looks at today's date.
    let mut manager = manager(&leaf(LEAF));
    issued(&mut manager, OffsetDateTime::now_utc());
    let out = tempfile::tempdir().unwrap();
    let dir = SecretDir::new(out.path());
    let paths: Vec<_> = manager
        .secrets()
        .map(|secret| dir.write(secret).unwrap())
        .collect();
    let root = dir.path("ns", "root").unwrap().join(CA_CRT);
    for path in paths {
        openssl_verifies(&root, &path.join(TLS_CRT));
    }
}

#[test]
fn a_name_outside_the_constraints_is_refused_before_signing() {
    let mut manager = manager(&leaf("dnsNames: [www.example.com, www.example.org]"));
    let outcomes = manager.reconcile(NOW);
    let Some((_, Outcome::Failed { error, retry })) = outcomes.last() else {
        panic!("{outcomes:?}")
    };
    let text = format!("{}", std::error::Error::source(error).unwrap());
    assert!(
        text.contains("\"www.example.org\"") && text.contains("CN=Root"),
        "{text}"
    );
    assert_eq!(*retry, NOW + Duration::HOUR);
    assert!(
        manager.secret_of(&named("a-leaf")).is_none(),
        "nothing was issued"
    );
    let again = manager
        .step(&named("a-leaf"), NOW + Duration::minutes(59))
        .unwrap();
    assert!(matches!(again, Outcome::Waiting { .. }));
    let later = manager
        .step(&named("a-leaf"), NOW + Duration::HOUR)
        .unwrap();
    assert!(matches!(later, Outcome::Failed { retry, .. } if retry == NOW + Duration::hours(3)));
}

#[test]
fn what_is_right_is_kept_over_a_restart() {
    let mut first = manager(&leaf(LEAF));
    issued(&mut first, NOW);
    let mut second = restarted(&leaf(LEAF), stored(&first));
    assert_eq!(issued(&mut second, NOW + Duration::DAY), [""; 0]);
    assert_eq!(serial(&first, "a-leaf"), serial(&second, "a-leaf"));
}

#[test]
fn each_reason_to_issue_again_is_told() {
    type Edit = fn(&mut certwright_cert_model::TlsSecret);
    let always =
        "dnsNames: [www.example.com]\n  privateKey: {algorithm: ECDSA, rotationPolicy: Always}";
    let cases: &[(&str, &str, Edit, &str)] = &[
        (
            "no certificate",
            LEAF,
            |s| assert!(s.remove(TLS_CRT)),
            "the Secret has no tls.crt",
        ),
        (
            "no key",
            LEAF,
            |s| assert!(s.remove(TLS_KEY)),
            "the Secret has no tls.key",
        ),
        (
            "empty key",
            LEAF,
            |s| s.insert(TLS_KEY, ""),
            "the Secret has no tls.key",
        ),
        (
            "broken key",
            LEAF,
            |s| s.insert(TLS_KEY, "x"),
            "the stored key is unusable",
        ),
        (
            "broken certificate",
            LEAF,
            |s| s.insert(TLS_CRT, "x"),
            "the stored certificate is unusable",
        ),
        (
            "another issuer",
            LEAF,
            |s| {
                let issuer = "cert-manager.io/issuer-name".to_owned();
                s.annotations.insert(issuer, "other".to_owned());
            },
            "Issuer/other signed it, Issuer/intermediate is to",
        ),
        (
            "another name",
            "dnsNames: [api.example.com]\n  privateKey: {algorithm: ECDSA}",
            |_| {},
            "the specification has changed",
        ),
        (
            "another duration",
            &format!("{LEAF}\n  duration: 24h"),
            |_| {},
            "the specification has changed",
        ),
        (
            "another key",
            &always.replace("ECDSA", "Ed25519"),
            |_| {},
            "the stored key is ECDSA P-256",
        ),
    ];
    for (case, spec, edit, reason) in cases {
        let mut first = manager(&leaf(LEAF));
        issued(&mut first, NOW);
        let mut secrets = stored(&first);
        edit(
            secrets
                .iter_mut()
                .find(|secret| secret.name == "leaf")
                .unwrap(),
        );
        let mut second = restarted(&leaf(spec), secrets);
        let issued = issued(&mut second, NOW);
        assert_eq!(issued.len(), 1, "{case}: {issued:?}");
        assert!(
            issued[0].starts_with(&format!("a-leaf: {reason}")),
            "{case}: {issued:?}"
        );
    }
}

#[test]
fn what_does_not_change_the_certificate_issues_nothing() {
    let mut first = manager(&leaf(LEAF));
    issued(&mut first, NOW);
    for edit in [
        "\n  renewBefore: 24h",
        "\n  usages: []",
        "\n  secretTemplate: {labels: {a: b}}",
        "\n  additionalOutputFormats: [{type: DER}]",
    ] {
        let mut second = restarted(&leaf(&format!("{LEAF}{edit}")), stored(&first));
        assert_eq!(issued(&mut second, NOW), [""; 0], "{edit}");
    }
}

#[test]
fn a_key_is_kept_or_rotated_as_the_policy_says() {
    let key = |manager: &Manager| {
        manager
            .secret_of(&named("a-leaf"))
            .unwrap()
            .get(TLS_KEY)
            .unwrap()
            .to_vec()
    };
    for (policy, kept) in [("Never", true), ("Always", false)] {
        let spec = format!(
            "dnsNames: [www.example.com]\n  privateKey: {{algorithm: ECDSA, rotationPolicy: {policy}}}"
        );
        let mut manager = manager(&leaf(&spec));
        issued(&mut manager, NOW);
        let before = key(&manager);
        let due = manager.schedule(&named("a-leaf"), NOW).unwrap().due();
        assert_eq!(issued(&mut manager, due - Duration::SECOND), [""; 0]);
        assert_eq!(issued(&mut manager, due).len(), 1);
        assert_eq!(key(&manager) == before, kept, "{policy}");
    }
    // Never, and the stored key cannot be used: somebody has to decide, and nothing is lost.
    let mut first = manager(&leaf(LEAF));
    issued(&mut first, NOW);
    let before = key(&first);
    let other = "dnsNames: [www.example.com]\n  privateKey: {algorithm: Ed25519}";
    let mut second = restarted(&leaf(other), stored(&first));
    let outcome = second.step(&named("a-leaf"), NOW).unwrap();
    assert!(matches!(outcome, Outcome::Blocked(_)), "{outcome:?}");
    assert_eq!(key(&second), before);
}

#[test]
fn when_a_ca_is_renewed_everything_below_follows() {
    let mut manager = manager(&leaf(LEAF));
    issued(&mut manager, NOW);
    let due = manager
        .schedule(&named("m-intermediate"), NOW)
        .unwrap()
        .due();
    let mut all = Vec::new();
    while let Some(wake) = manager.next_wake().filter(|wake| *wake <= due) {
        all.extend(issued(&mut manager, wake));
    }
    let last = &all[all.len() - 2..];
    assert!(
        last[0].starts_with("m-intermediate: its renewal is due"),
        "{last:?}"
    );
    assert!(
        last[1].starts_with("a-leaf: the CA has a new certificate with serial number "),
        "{last:?}"
    );
}

#[test]
fn ten_years_pass_without_a_loop_or_a_gap() {
    let mut manager = manager(&leaf(LEAF));
    issued(&mut manager, NOW);
    let (mut wakes, mut last) = (0, NOW);
    while let Some(wake) = manager
        .next_wake()
        .filter(|wake| *wake < NOW + Duration::days(3640))
    {
        assert!(wake > last, "woken twice for the same instant");
        last = wake;
        wakes += 1;
        for name in manager.order().to_vec() {
            assert!(
                manager.status(&name, wake).unwrap().ready,
                "{name} has expired at {wake}"
            );
        }
        issued(&mut manager, wake);
    }
    // A 90 day certificate is renewed after 60 days; its CAs add a few.
    assert!((60..=70).contains(&wakes), "{wakes}");
}

#[test]
fn whatever_leaves_no_order_is_named() {
    let certificate = |name: &str, issuer: &str, ca: bool| {
        format!(
            "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: {name}, namespace: ns}}\nspec: {{secretName: {name}, issuerRef: {{name: {issuer}}}, commonName: x, isCA: {ca}}}\n"
        )
    };
    let issuer = |name: &str| {
        format!(
            "---\napiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{name: {name}, namespace: ns}}\nspec: {{ca: {{secretName: {name}}}}}\n"
        )
    };
    let text = [
        certificate("a", "b", true),
        certificate("b", "a", true),
        issuer("a"),
        issuer("b"),
        certificate("c", "nowhere", false),
        certificate("d", "c", false),
        issuer("c"),
        certificate("e", "f", false),
        issuer("f"),
    ]
    .concat();
    let errors = inventory(&text).order(|_| false).unwrap_err();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "no CA can be issued first: ns/a is signed by ns/b is signed by ns/a",
            "Certificate ns/c names Issuer/nowhere, which does not exist in namespace ns",
            "Certificate ns/d is signed by Issuer/c with the key of Certificate ns/c, which is no CA; set isCA: true there",
            "Certificate ns/e needs Secret ns/f of Issuer/f, which is not known, and no Certificate with isCA: true makes it",
        ]
    );
    assert!(matches!(errors[0], OrderError::Cycle { .. }));
    let stored = inventory(&[certificate("e", "f", false), issuer("f")].concat());
    assert!(stored.order(|secret| *secret == named("f")).is_ok());
}
