//! Tables, descriptions and trees, compared letter by letter.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use certwright::view::{
    CertificateView, IssuerTree, IssuerType, IssuerView, SecretView, certificates, issuers, list,
};
use certwright::{Documents, Manager};
use certwright_cert_model::document::Format;
use certwright_cert_model::status::{Condition, ConditionStatus, IssuerStatus};
use certwright_cert_model::{IssuerKind, IssuerRef, TlsSecret};
use serde_json::json;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const SINCE: OffsetDateTime = datetime!(2025-11-25 12:00 UTC);

fn condition(kind: &str, status: ConditionStatus, reason: &str, message: &str) -> Condition {
    Condition::new(kind, status, SINCE).because(reason, message)
}

fn ready() -> Condition {
    let message = "the certificate is up to date and has not expired";
    condition("Ready", ConditionStatus::True, "Ready", message)
}

/// The issuers of the API Connect documentation.
fn apic_issuers() -> Vec<IssuerView> {
    let ca = IssuerType::Ca {
        namespace: "default".into(),
        secret: "abc-management-ca".into(),
    };
    [
        ("abc-management-ca", ca),
        ("selfsigning-issuer", IssuerType::SelfSigned),
    ]
    .into_iter()
    .map(|(name, issues)| {
        let mut view = IssuerView::new(IssuerKind::Issuer, "default", name, issues);
        view.created = Some(SINCE);
        view.status.conditions = vec![ready()];
        view
    })
    .collect()
}

/// Its Certificates.
fn apic_certificates() -> Vec<CertificateView> {
    [
        ("abc-management-ca", "selfsigning-issuer"),
        ("abc-management-client", "abc-management-ca"),
        ("abc-management-natscluster-mgmt", "abc-management-ca"),
        ("abc-management-server", "abc-management-ca"),
    ]
    .into_iter()
    .map(|(name, issuer)| {
        let issuer = IssuerRef::new(issuer, IssuerKind::Issuer);
        let mut view = CertificateView::new("default", name, name, issuer);
        view.is_ca = name.ends_with("-ca");
        view.created = Some(SINCE);
        view.status.conditions = vec![ready()];
        view.status.not_before = Some(SINCE);
        view.status.not_after = Some(SINCE + Duration::days(730));
        view.status.renewal_time = Some(SINCE + Duration::days(486));
        view.status.revision = Some(1);
        view
    })
    .collect()
}

#[test]
fn issuers_as_kubectl_shows_them() {
    assert_eq!(
        issuers(&apic_issuers(), NOW).to_string(),
        "\
NAME                 READY   AGE
abc-management-ca    True    96d
selfsigning-issuer   True    96d
"
    );
    let mut mixed = apic_issuers();
    let cluster = IssuerType::Acme {
        server: "https://acme.example/directory".into(),
    };
    mixed.push(IssuerView::new(
        IssuerKind::ClusterIssuer,
        "",
        "letsencrypt",
        cluster,
    ));
    assert_eq!(
        issuers(&mixed, NOW).to_string(),
        "\
NAMESPACE   NAME                 READY     AGE
default     abc-management-ca    True      96d
default     selfsigning-issuer   True      96d
            letsencrypt          Unknown   <unknown>
"
    );
}

#[test]
fn certificates_as_kubectl_shows_them_and_when_they_renew() {
    let mut all = apic_certificates();
    all[1].status.conditions = vec![condition("Ready", ConditionStatus::False, "Expired", "")];
    all[1].status.renewal_time = Some(NOW - Duration::DAY);
    all[2].status.renewal_time = None;
    all[3].next_attempt = Some(NOW + Duration::minutes(90));
    let table = certificates(&all, NOW);
    assert_eq!(
        table.to_string(),
        "\
NAME                              READY   SECRET                            ISSUER               AGE   RENEWS
abc-management-ca                 True    abc-management-ca                 selfsigning-issuer   96d   in 390d
abc-management-client             False   abc-management-client             abc-management-ca    96d   now
abc-management-natscluster-mgmt   True    abc-management-natscluster-mgmt   abc-management-ca    96d   never
abc-management-server             True    abc-management-server             abc-management-ca    96d   in 90m
"
    );
    assert_eq!(
        table.to_json()[1],
        json!({
            "name": "abc-management-client",
            "ready": "False",
            "secret": "abc-management-client",
            "issuer": "abc-management-ca",
            "age": "96d",
            "renews": "now",
        })
    );
}

#[test]
fn a_certificate_described() {
    let mut view = apic_certificates().remove(1);
    view.common_name = Some("client".into());
    view.names.dns = vec!["a.example.com".into(), "b.example.com".into()];
    view.names.ip = vec!["10.0.0.1".parse().unwrap()];
    let message = "not signed:\nthe CA has expired";
    let failed = condition("Issuing", ConditionStatus::False, "Failed", message);
    view.status.conditions.push(failed);
    view.status.last_failure_time = Some(NOW - Duration::HOUR);
    view.status.failed_issuance_attempts = Some(2);
    view.next_attempt = Some(NOW + Duration::HOUR);
    assert_eq!(
        view.describe(NOW),
        "\
Name:         abc-management-client
Namespace:    default
API Version:  cert-manager.io/v1
Kind:         Certificate
Created:      2025-11-25T12:00:00Z (96d ago)
Spec:
  Common Name:  client
  Dns Names:
    a.example.com
    b.example.com
  Ip Addresses:
    10.0.0.1
  Issuer Ref:
    Group:  cert-manager.io
    Kind:   Issuer
    Name:   abc-management-ca
  Secret Name:  abc-management-client
Status:
  Conditions:
    Ready: True, Ready, for 96d
      the certificate is up to date and has not expired
    Issuing: False, Failed, for 96d
      not signed:\\nthe CA has expired
  Not Before:         2025-11-25T12:00:00Z (96d ago)
  Not After:          2027-11-25T12:00:00Z (in 634d)
  Renewal Time:       2027-03-26T12:00:00Z (in 390d)
  Last Failure Time:  2026-03-01T11:00:00Z (60m ago)
  Next Attempt:       2026-03-01T13:00:00Z (in 60m)
  Failed Attempts:    2
  Revision:           1
"
    );
}

#[test]
fn a_secret_described_has_sizes_and_never_values() {
    let mut secret = TlsSecret::new("default", "abc-management-client");
    secret.insert("ca.crt", vec![b'c'; 1107]);
    secret.insert("tls.crt", vec![b'l'; 1139]);
    secret.insert("tls.key", b"hunter2".to_vec());
    let annotations = [("a/one", "1"), ("a/two", "2\n3")];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    secret.annotations.extend(annotations);
    // As kubectl apply leaves it: the whole document, in one annotation.
    secret.annotations.insert(
        "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
        r#"{"kind":"Secret","stringData":{"tls.key":"hunter2"}}"#.to_owned(),
    );
    let view = SecretView::of(&secret);
    assert_eq!(
        view.to_string(),
        "\
Name:         abc-management-client
Namespace:    default
Labels:       <none>
Annotations:  a/one=1
              a/two=2\\n3

Type:  kubernetes.io/tls

Data
====
ca.crt:   1107 bytes
tls.crt:  1139 bytes
tls.key:  7 bytes
"
    );
    assert_eq!(
        view.to_json()["sizes"],
        json!({"ca.crt": 1107, "tls.crt": 1139, "tls.key": 7})
    );
    for shown in [
        format!("{view:?}"),
        view.to_string(),
        view.to_json().to_string(),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_tree_of_issuers() {
    let tree = IssuerTree::new(&apic_issuers(), &apic_certificates());
    assert_eq!(
        tree.to_string(),
        "\
default/selfsigning-issuer (Issuer, selfSigned)
└─ default/abc-management-ca (Certificate, CA)
   └─ default/abc-management-ca (Issuer, ca)
      ├─ default/abc-management-client (Certificate)
      ├─ default/abc-management-natscluster-mgmt (Certificate)
      └─ default/abc-management-server (Certificate)
"
    );
    assert_eq!(
        tree.to_json()[2],
        json!({"depth": 2, "kind": "Issuer, ca", "name": "default/abc-management-ca", "ready": "True"})
    );
}

#[test]
fn scopes_circles_and_what_does_not_exist() {
    let ca = |namespace: &str, secret: &str| IssuerType::Ca {
        namespace: namespace.into(),
        secret: secret.into(),
    };
    let mut issuers = vec![
        IssuerView::new(IssuerKind::ClusterIssuer, "", "corp", ca("pki", "corp-ca")),
        IssuerView::new(IssuerKind::Issuer, "a", "round", ca("a", "round-ca")),
    ];
    issuers[0].status = IssuerStatus::default();
    issuers[0].status.conditions = vec![condition(
        "Ready",
        ConditionStatus::False,
        "ErrGetKeyPair",
        "",
    )];
    let certificate = |namespace: &str, name: &str, issuer: &str, kind: IssuerKind| {
        CertificateView::new(
            namespace,
            name,
            format!("{name}-ca"),
            IssuerRef::new(issuer, kind),
        )
    };
    let mut all = vec![
        certificate("b", "web", "corp", IssuerKind::ClusterIssuer),
        certificate("a", "web", "corp", IssuerKind::ClusterIssuer),
        certificate("a", "round", "round", IssuerKind::Issuer),
        certificate("b", "lost", "round", IssuerKind::Issuer),
    ];
    all[2].is_ca = true;
    assert_eq!(
        IssuerTree::new(&issuers, &all).to_string(),
        "\
corp (ClusterIssuer, ca) not ready
├─ a/web (Certificate)
└─ b/web (Certificate)
b/round (Issuer, does not exist) not ready
└─ b/lost (Certificate)
a/round (Issuer, ca)
└─ a/round (Certificate, CA)
   └─ a/round (signed by itself, see above)
"
    );
}

#[test]
fn a_deep_hierarchy_is_no_recursion() {
    let (mut issuers, mut all) = (Vec::new(), Vec::new());
    for level in 0..20_000 {
        let issues = match level {
            0 => IssuerType::SelfSigned,
            level => IssuerType::Ca {
                namespace: "n".into(),
                secret: format!("s{}", level - 1),
            },
        };
        issuers.push(IssuerView::new(
            IssuerKind::Issuer,
            "n",
            format!("i{level}"),
            issues,
        ));
        let issuer = IssuerRef::new(format!("i{level}"), IssuerKind::Issuer);
        let mut ca = CertificateView::new("n", format!("c{level}"), format!("s{level}"), issuer);
        ca.is_ca = true;
        all.push(ca);
    }
    let tree = IssuerTree::new(&issuers, &all);
    assert_eq!(tree.nodes.len(), 40_000);
    assert_eq!(tree.nodes.last().unwrap().depth, 39_999);
}

#[test]
fn documents_as_kubernetes_has_them() {
    let certificate = &apic_certificates()[0];
    let documents = list([certificate.to_document(), apic_issuers()[0].to_document()]);
    assert_eq!(
        documents,
        json!({
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "Certificate",
                    "metadata": {
                        "name": "abc-management-ca",
                        "namespace": "default",
                        "creationTimestamp": "2025-11-25T12:00:00Z",
                    },
                    "spec": {
                        "secretName": "abc-management-ca",
                        "issuerRef": {
                            "name": "selfsigning-issuer",
                            "kind": "Issuer",
                            "group": "cert-manager.io",
                        },
                        "isCA": true,
                    },
                    "status": {
                        "conditions": [{
                            "type": "Ready",
                            "status": "True",
                            "reason": "Ready",
                            "message": "the certificate is up to date and has not expired",
                            "lastTransitionTime": "2025-11-25T12:00:00Z",
                        }],
                        "notBefore": "2025-11-25T12:00:00Z",
                        "notAfter": "2027-11-25T12:00:00Z",
                        "renewalTime": "2027-03-26T12:00:00Z",
                        "revision": 1,
                    },
                },
                {
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "Issuer",
                    "metadata": {
                        "name": "abc-management-ca",
                        "namespace": "default",
                        "creationTimestamp": "2025-11-25T12:00:00Z",
                    },
                    "spec": {"ca": {"secretName": "abc-management-ca"}},
                    "status": {
                        "conditions": [{
                            "type": "Ready",
                            "status": "True",
                            "reason": "Ready",
                            "message": "the certificate is up to date and has not expired",
                            "lastTransitionTime": "2025-11-25T12:00:00Z",
                        }],
                    },
                },
            ],
        })
    );
    // The family reads its own documents.
    use certwright_cert_model::document::{Format, Strictness};
    use certwright_cert_model::status::CertificateStatus;
    let text = certificate.to_document().to_string();
    let read = certwright_cert_model::manifest::read(&text, Format::Json, Strictness::Strict);
    assert!(read[0].is_ok(), "{read:?}");
    let status = certificate.to_document()["status"].to_string();
    let node = certwright_cert_model::document::parse(&status, Format::Json)
        .remove(0)
        .unwrap();
    let status = CertificateStatus::decode(&node.root, Strictness::Strict);
    assert_eq!(status.into_result().unwrap(), certificate.status);
}

#[test]
fn issuers_of_a_manager_their_conditions_and_ages() {
    let issuer = |name: &str, made: &str, spec: &str| {
        format!(
            "---\napiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {{name: {name}, namespace: ns{made}}}\nspec: {spec}\n"
        )
    };
    let secret = |name: &str, data: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: ns}}\nstringData: {data}\n"
        )
    };
    let text = issuer(
        "1-self",
        ", creationTimestamp: '2025-11-25T12:00:00Z'",
        "{selfSigned: {}}",
    ) + &issuer("2-missing", "", "{ca: {secretName: none}}")
        + &issuer("3-broken", "", "{ca: {secretName: broken}}")
        + &issuer(
            "4-acme",
            "",
            "{acme: {server: 'https://acme.test/', privateKeySecretRef: {name: k}}}",
        )
        + &issuer("5-root", "", "{ca: {secretName: root}}")
        + &secret("broken", "{tls.crt: x, tls.key: x}")
        + "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: root, namespace: ns}\nspec: {secretName: root, isCA: true, commonName: Root, privateKey: {algorithm: ECDSA}, issuerRef: {name: 1-self}}\n";
    let mut documents = Documents::default();
    documents.read("test", &text, Format::Yaml);
    assert!(documents.problems.is_empty(), "{:?}", documents.problems);
    let mut manager = Manager::new(documents.inventory, documents.secrets);
    manager.reconcile(NOW);
    let later = NOW + Duration::minutes(5);
    manager.reconcile(later);
    let views = manager.issuer_views(later);
    // cert-manager's words: its reference's conditions of issuers.
    let expected = [
        ("True", "IsReady", "it can sign"),
        (
            "False",
            "ErrGetKeyPair",
            "Secret ns/none of its issuer does not exist",
        ),
        (
            "False",
            "ErrInvalidKeyPair",
            "Secret ns/broken is no usable CA",
        ),
        (
            "False",
            "Unsupported",
            "nobody signs for issuers of this type here",
        ),
        (
            "True",
            "KeyPairVerified",
            "the CA's certificate and key are usable",
        ),
    ];
    for (view, (status, reason, message)) in views.iter().zip(expected) {
        let [ready] = view.status.conditions.as_slice() else {
            panic!("{view:?}");
        };
        assert_eq!(
            (ready.kind.as_str(), ready.reason.as_deref()),
            ("Ready", Some(reason)),
            "{view:?}"
        );
        assert_eq!(
            ready.status == ConditionStatus::True,
            status == "True",
            "{view:?}"
        );
        let found = ready.message.as_deref().unwrap_or_default();
        assert!(found.starts_with(message), "{found}");
    }
    assert_eq!(
        issuers(&views, later).to_string(),
        "\
NAME        READY   AGE
1-self      True    96d
2-missing   False   5m
3-broken    False   5m
4-acme      False   5m
5-root      True    5m
"
    );
    let table = certificates(&manager.certificate_views(later), later);
    assert_eq!(table.to_json()[0]["age"], json!("5m"));
}
