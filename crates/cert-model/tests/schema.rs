//! Our CustomResourceDefinitions against those of cert-manager 1.21: the same fields, types, required
//! fields and enumerations. `data/shape` holds theirs, a field to a line.

#![allow(clippy::unwrap_used, reason = "this file is a test")]

use std::collections::BTreeSet;

use certwright_cert_model::document::{Format, Node, parse};
use certwright_cert_model::schema;

/// What may differ: a line of ours, or of theirs, with the reason.
const ONLY_OURS: [(&str, &str); 1] = [(
    "status.conditions[].observedGeneration integer",
    "one condition type for all kinds; upstream's requests lack the field",
)];
/// What the data does not go into.
const BELOW: &str = "spec.acme.solvers[]";

#[test]
fn the_same_fields_as_upstream() {
    let issuer = include_str!("data/shape/Issuer.txt");
    for (crd, theirs) in [
        (
            schema::certificate(),
            include_str!("data/shape/Certificate.txt"),
        ),
        (
            schema::certificate_request(),
            include_str!("data/shape/CertificateRequest.txt"),
        ),
        (schema::issuer(), issuer),
        (schema::cluster_issuer(), issuer),
    ] {
        let kind = crd.get("metadata").unwrap().get("name").unwrap();
        let ours = lines(&crd);
        let theirs: BTreeSet<_> = theirs.lines().map(str::to_owned).collect();
        let unexpected: Vec<_> = ours
            .difference(&theirs)
            .filter(|line| !ONLY_OURS.iter().any(|(known, _)| known == line))
            .filter(|line| !line.starts_with(BELOW))
            .collect();
        let missing: Vec<_> = theirs.difference(&ours).collect();
        assert!(
            unexpected.is_empty() && missing.is_empty(),
            "{kind:?}: {unexpected:?} {missing:?}"
        );
        assert!(ours.len() > 25);
    }
}

#[test]
fn definitions_are_documents() {
    for crd in [schema::certificate(), schema::cluster_issuer()] {
        let read = parse(&crd.to_yaml(), Format::Yaml).remove(0).unwrap();
        assert_eq!(read.root.to_json(), crd.to_json());
    }
}

/// `path type [required] [choice|choice]`, a line to a field.
fn lines(crd: &Node) -> BTreeSet<String> {
    let version = &crd.get("spec").unwrap().get("versions").unwrap().elements()[0];
    let schema = version
        .get("schema")
        .unwrap()
        .get("openAPIV3Schema")
        .unwrap();
    let mut lines = BTreeSet::new();
    for name in ["spec", "status"] {
        let required = requires(schema, name);
        let part = schema.get("properties").unwrap().get(name).unwrap();
        walk(part, name, required, &mut lines);
    }
    lines
}

fn walk(schema: &Node, path: &str, required: bool, lines: &mut BTreeSet<String>) {
    let kind = schema.get("type").and_then(Node::as_text).unwrap_or("?");
    let mut line = format!("{path} {kind}");
    if required {
        line.push_str(" required");
    }
    if let Some(choices) = schema.get("enum") {
        let mut choices: Vec<_> = choices
            .elements()
            .iter()
            .filter_map(Node::as_text)
            .collect();
        choices.sort_unstable();
        line.push(' ');
        line.push_str(&choices.join("|"));
    }
    lines.insert(line);
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), false, lines);
    }
    if let Some(values) = schema.get("additionalProperties") {
        walk(values, &format!("{path}{{}}"), false, lines);
    }
    let properties = schema.get("properties").map(Node::entries);
    for field in properties.unwrap_or_default() {
        let path = format!("{path}.{}", field.key);
        walk(&field.value, &path, requires(schema, &field.key), lines);
    }
}

fn requires(schema: &Node, name: &str) -> bool {
    let required = schema.get("required").map(Node::elements);
    required
        .unwrap_or_default()
        .iter()
        .any(|field| field.as_text() == Some(name))
}
