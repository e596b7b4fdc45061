//! Kinds about keys, requests and chains, under cert-manager's present rules.

mod chain;
mod key;
mod keystore;
mod output;
mod pki;
mod request;

use certwright_cert_model::document::Strictness;
use certwright_cert_model::{CertificateSpec, Defaults, ValidatedSpec, Violations};
use serde_json::{Value, json};

use super::resource::rule::{self, Difference};
use super::resource::{document, expanded};
use super::{Case, Verdict};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "ca-sign-chain" => chain::ca_sign(case),
        "chain-assemble" => chain::assemble(case),
        "csr-generate" => request::generate(case),
        "csr-signature-algorithm" => request::signature_algorithm(case),
        "encode-chain" => chain::encode(case),
        "issuer-signature-algorithm" => key::issuer_signature_algorithm(case),
        "key-pem-label" => key::pem_label(case),
        "keygen" => key::generate(case),
        "name-constraints-der" => request::name_constraints(case),
        "output-format" => output::format(case),
        "pem-size-limit" => output::size_limit(case),
        "pkcs12-profile" => keystore::profile(case),
        "private-key-matches-spec" => key::matches_spec(case),
        "san-der" => request::subject_alt_name(case),
        _ => return Verdict::Unsupported,
    };
    verdict.unwrap_or_else(|| Verdict::Failed("the case's input cannot be read".to_owned()))
}

/// A specification with these fields and whatever every specification must have.
pub(super) fn validated(
    fields: &Value,
    defaults: &Defaults,
) -> Option<Result<ValidatedSpec, Violations>> {
    let mut spec = fields.clone();
    let map = spec.as_object_mut()?;
    map.entry("issuerRef").or_insert(json!({"name": "x"}));
    map.entry("secretName").or_insert(json!("x"));
    let node = document(&spec)?;
    let decoded = CertificateSpec::decode(&node, Strictness::Strict);
    Some(decoded.and_then(|spec| spec.validate(defaults)))
}

/// A specification of which a case gives nothing but `privateKey` and perhaps `signatureAlgorithm`.
fn validated_key(input: &Value) -> Option<Result<ValidatedSpec, Violations>> {
    let mut key = serde_json::Map::new();
    for name in ["algorithm", "encoding", "size"] {
        if !input[name].is_null() {
            key.insert(name.to_owned(), input[name].clone());
        }
    }
    let mut spec = json!({"commonName": "x", "privateKey": key});
    if !input["signatureAlgorithm"].is_null() {
        spec["signatureAlgorithm"] = input["signatureAlgorithm"].clone();
    }
    validated(&spec, &Defaults::cert_manager_1_21())
}

/// The verdict on a specification that we refuse. Upstream's functions behind these kinds take what validation
/// has not seen; `rule` names our reason to refuse a field, by its path and the violation's kind.
pub(super) fn refused(
    case: &Case,
    violations: &Violations,
    rule: impl Fn((&str, &str)) -> Option<&'static str>,
) -> Verdict {
    if expects_error(case) {
        return Verdict::Passed;
    }
    let rules: Option<Vec<_>> = violations
        .iter()
        .map(|v| rule((&v.field.to_string(), &format!("{:?}", v.kind))))
        .collect();
    match rules.and_then(|rules| rules.first().copied()) {
        Some(rule) => Verdict::Deliberate(rule),
        None => Verdict::Failed(format!("refused: {violations}")),
    }
}

/// The rule by which validation refuses a field of a specification and upstream's does not.
pub(super) fn documented(spec: &Value) -> impl Fn((&str, &str)) -> Option<&'static str> {
    let spec = expanded(spec);
    move |key| rule::gap(&spec, key, Difference::Extra)
}

/// The same, or the rule by which we refuse what upstream's functions take and its webhook does not.
pub(super) fn documented_or_unseen(spec: &Value) -> impl Fn((&str, &str)) -> Option<&'static str> {
    let (documented, spec) = (documented(spec), expanded(spec));
    move |key| documented(key).or_else(|| rule::webhook(&spec, key))
}

/// A rule for texts that we refuse and upstream encodes, if the case expects their very bytes.
fn encoded<'a>(
    case: &'a Case,
    spec: &'a Value,
    rule: impl Fn((&str, &str)) -> Option<&'static str> + 'a,
) -> impl Fn((&str, &str)) -> Option<&'static str> + 'a {
    let (spec, expected) = (expanded(spec), case.expect.to_string());
    move |key| rule(key).filter(|_| expected.contains(&hex(rule::text(&spec, key.0).as_bytes())))
}

/// The rule by which we refuse the key of a case.
fn refused_key(input: &Value, path: &str) -> Option<&'static str> {
    match (path, input["size"].as_i64()) {
        ("spec.privateKey.size", Some(..0)) => Some("key-size-positive"),
        _ => None,
    }
}

fn expects_error(case: &Case) -> bool {
    case.expect["error"] == true || case.expect["error"].is_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect()
}
