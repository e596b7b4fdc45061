//! CustomResourceDefinitions, made from the decoders: what they describe is what is read.
//!
//! ```
//! use certwright_cert_model::schema;
//!
//! let crd = schema::certificate().to_yaml();
//! assert!(crd.starts_with("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"));
//! ```

use crate::certificate::CertificateSpec;
use crate::document::shape::Shape;
use crate::document::{Entry, Kind, Node, shape_of};
use crate::issuer::RawIssuerSpec;
use crate::key::SignatureAlgorithm;
use crate::request::CertificateRequestSpec;
use crate::status::{CertificateRequestStatus, CertificateStatus, IssuerStatus};
use crate::usage::Usage;
use crate::violation::Span;

/// The definition of Certificates.
pub fn certificate() -> Node {
    let status = shape_of(CertificateStatus::read);
    definition(
        "Certificate",
        "certificates",
        true,
        &shape_of(CertificateSpec::read),
        &status,
    )
}

/// The definition of CertificateRequests.
pub fn certificate_request() -> Node {
    let spec = shape_of(CertificateRequestSpec::read);
    let status = shape_of(CertificateRequestStatus::read);
    definition(
        "CertificateRequest",
        "certificaterequests",
        true,
        &spec,
        &status,
    )
}

/// The definition of ClusterIssuers.
pub fn cluster_issuer() -> Node {
    let status = shape_of(IssuerStatus::read);
    definition(
        "ClusterIssuer",
        "clusterissuers",
        false,
        &shape_of(RawIssuerSpec::read),
        &status,
    )
}

/// The definition of Issuers.
pub fn issuer() -> Node {
    let status = shape_of(IssuerStatus::read);
    definition(
        "Issuer",
        "issuers",
        true,
        &shape_of(RawIssuerSpec::read),
        &status,
    )
}

/// Fields that must be there, by the path of the object they are in.
const REQUIRED: [(&str, &[&str]); 14] = [
    ("spec.additionalOutputFormats[]", &["type"]),
    ("spec.ca", &["secretName"]),
    ("spec.acme", &["privateKeySecretRef", "server"]),
    (
        "spec.acme.externalAccountBinding",
        &["keyID", "keySecretRef"],
    ),
    ("spec.acme.externalAccountBinding.keySecretRef", &["name"]),
    ("spec.acme.privateKeySecretRef", &["name"]),
    ("spec.issuerRef", &["name"]),
    ("spec.keystores.jks", &["create"]),
    ("spec.keystores.jks.passwordSecretRef", &["name"]),
    ("spec.keystores.pkcs12", &["create"]),
    ("spec.keystores.pkcs12.passwordSecretRef", &["name"]),
    ("spec.renewal.windows[]", &["cron", "windowDuration"]),
    ("status.acme.ari.suggestedWindow", &["end", "start"]),
    ("status.conditions[]", &["status", "type"]),
];

fn required(kind: &str, path: &str) -> Vec<&'static str> {
    match (kind, path) {
        ("Certificate", "spec") => vec!["issuerRef", "secretName"],
        ("CertificateRequest", "spec") => vec!["issuerRef", "request"],
        _ => {
            let found = REQUIRED.iter().find(|(object, _)| *object == path);
            found.map_or_else(Vec::new, |(_, names)| names.to_vec())
        }
    }
}

/// The only values a text may have, by its path; empty if it is free.
fn choices(path: &str) -> Vec<&'static str> {
    match path {
        "spec.acme.externalAccountBinding.keyAlgorithm" => vec!["HS256", "HS384", "HS512"],
        "spec.acme.renewalInformationSource" => vec!["None", "ARI"],
        "spec.additionalOutputFormats[].type" => vec!["DER", "CombinedPEM"],
        "spec.keystores.pkcs12.profile" => {
            vec!["LegacyRC2", "LegacyDES", "Modern2023", "Modern2026"]
        }
        "spec.privateKey.algorithm" => vec!["RSA", "ECDSA", "Ed25519"],
        "spec.privateKey.encoding" => vec!["PKCS1", "PKCS8"],
        "spec.privateKey.rotationPolicy" => vec!["Never", "Always"],
        "spec.renewal.policy" => vec!["RenewBefore", "Disabled"],
        "spec.signatureAlgorithm" => SignatureAlgorithm::ALL
            .map(SignatureAlgorithm::name)
            .to_vec(),
        "spec.usages[]" => Usage::names().collect(),
        "status.conditions[].status" => vec!["True", "False", "Unknown"],
        _ => Vec::new(),
    }
}

fn definition(kind: &str, plural: &str, namespaced: bool, spec: &Shape, status: &Shape) -> Node {
    let described = |name: &str, shape| schema(kind, name, shape);
    let properties = map([
        ("apiVersion", typed("string")),
        ("kind", typed("string")),
        ("metadata", typed("object")),
        ("spec", described("spec", spec)),
        ("status", described("status", status)),
    ]);
    let mut object = vec![("type", text("object"))];
    // Upstream demands it of issuers only; a Certificate without one is refused by what it lacks.
    if kind.ends_with("Issuer") {
        object.push(("required", list([text("spec")])));
    }
    object.push(("properties", properties));
    let version = map([
        ("name", text("v1")),
        ("served", node(Kind::Bool(true))),
        ("storage", node(Kind::Bool(true))),
        ("subresources", map([("status", map([]))])),
        ("schema", map([("openAPIV3Schema", map(object))])),
    ]);
    let names = map([
        ("kind", text(kind)),
        ("listKind", text(&format!("{kind}List"))),
        ("plural", text(plural)),
        ("singular", text(&kind.to_ascii_lowercase())),
    ]);
    let scope = if namespaced { "Namespaced" } else { "Cluster" };
    map([
        ("apiVersion", text("apiextensions.k8s.io/v1")),
        ("kind", text("CustomResourceDefinition")),
        (
            "metadata",
            map([("name", text(&format!("{plural}.cert-manager.io")))]),
        ),
        (
            "spec",
            map([
                ("group", text("cert-manager.io")),
                ("names", names),
                ("scope", text(scope)),
                ("versions", list([version])),
            ]),
        ),
    ])
}

fn schema(kind: &str, path: &str, shape: &Shape) -> Node {
    match shape {
        Shape::Any => map([
            ("type", text("object")),
            (
                "x-kubernetes-preserve-unknown-fields",
                node(Kind::Bool(true)),
            ),
        ]),
        Shape::Bool => typed("boolean"),
        Shape::Int => typed("integer"),
        Shape::List(element) => map([
            ("type", text("array")),
            ("items", schema(kind, &format!("{path}[]"), element)),
        ]),
        Shape::Map(values) => map([
            ("type", text("object")),
            (
                "additionalProperties",
                schema(kind, &format!("{path}{{}}"), values),
            ),
        ]),
        Shape::Object(fields) => {
            let required = required(kind, path).into_iter().map(text);
            let required: Vec<_> = required.collect();
            let properties = fields.iter().map(|(name, shape)| {
                let path = format!("{path}.{name}");
                (*name, schema(kind, &path, shape))
            });
            let mut entries = vec![("type", text("object"))];
            if !required.is_empty() {
                entries.push(("required", list(required)));
            }
            entries.push(("properties", map(properties)));
            map(entries)
        }
        Shape::Text => {
            let choices: Vec<_> = choices(path).into_iter().map(text).collect();
            let mut entries = vec![("type", text("string"))];
            if !choices.is_empty() {
                entries.push(("enum", list(choices)));
            }
            map(entries)
        }
    }
}

const NOWHERE: Span = Span { line: 1, column: 1 };

fn node(kind: Kind) -> Node {
    Node::new(kind, NOWHERE)
}

fn text(text: &str) -> Node {
    node(Kind::Text(text.to_owned()))
}

fn typed(name: &str) -> Node {
    map([("type", text(name))])
}

fn list(elements: impl IntoIterator<Item = Node>) -> Node {
    node(Kind::List(elements.into_iter().collect()))
}

fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Node)>) -> Node {
    let entries = entries.into_iter();
    node(Kind::Map(
        entries
            .map(|(key, value)| Entry::new(key, NOWHERE, value))
            .collect(),
    ))
}
