//! Kinds about Certificate, Issuer and CertificateRequest resources and the Secrets they lead to.

use std::collections::{BTreeMap, BTreeSet};

use certwright_cert_model::document::{Format, Node, Strictness, parse};
use certwright_cert_model::inspect::NameTexts;
use certwright_cert_model::key::{KeyAlgorithm, RotationPolicy};
use certwright_cert_model::output::SecretTemplate;
use certwright_cert_model::request::CsrUsages;
use certwright_cert_model::secret::annotation::details;
use certwright_cert_model::subject::{Attribute, LiteralSubject, Rdn, Subject, attribute};
use certwright_cert_model::usage::{KeyUsage, Usage, Usages};
use certwright_cert_model::{
    CertificateSpec, Defaults, RawIssuerSpec, TlsSecret, Violation, Violations,
};
use serde_json::{Value, json};

use super::{Case, Verdict};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "certificate-validate" => certificate(case),
        "certificaterequest-usages" => request_usages(case),
        "defaults" => defaults(case),
        "issuer-validate" => issuer(case),
        "literal-subject" => literal_subject(case),
        "secret-annotations" => secret_annotations(case),
        "secret-template-values" => secret_template(case),
        "usages" => usages(case),
        _ => return Verdict::Unsupported,
    };
    verdict.unwrap_or_else(|| Verdict::Failed("the case's input cannot be read".to_owned()))
}

/// Upstream's present rules, with the gates a case switches.
fn upstream(gates: &Value) -> Defaults {
    let mut defaults = Defaults::cert_manager_1_21();
    let on = |name: &str| gates[name].as_bool().unwrap_or(true);
    defaults.gates.literal_subject = on("LiteralCertificateSubject");
    defaults.gates.name_constraints = on("NameConstraints");
    defaults.gates.other_names = on("OtherNames");
    defaults
}

/// A JSON value as a document, with a case file's markers written out.
pub(super) fn document(value: &Value) -> Option<Node> {
    fn expand(value: &Value) -> Value {
        match value {
            Value::Object(map) => match map
                .get("$repeat")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
            {
                Some([text, count]) => {
                    let count = count
                        .as_u64()
                        .and_then(|n| usize::try_from(n).ok())
                        .unwrap_or_default();
                    Value::String(text.as_str().unwrap_or_default().repeat(count))
                }
                _ => map
                    .iter()
                    .map(|(key, value)| (key.clone(), expand(value)))
                    .collect(),
            },
            Value::Array(list) => list.iter().map(expand).collect(),
            other => other.clone(),
        }
    }
    let text = expand(value).to_string();
    Some(parse(&text, Format::Json).into_iter().next()?.ok()?.root)
}

fn certificate(case: &Case) -> Option<Verdict> {
    let node = document(&case.input["spec"])?;
    let defaults = upstream(&case.input["gates"]);
    let decoded = CertificateSpec::decode(&node, Strictness::Lenient);
    let found = decoded.and_then(|spec| spec.validate(&defaults).map(drop));
    Some(compare(case, found, gap))
}

fn issuer(case: &Case) -> Option<Verdict> {
    let node = document(&case.input["spec"])?;
    let decoded = RawIssuerSpec::decode(&node, Strictness::Lenient);
    let found = decoded.and_then(|spec| spec.validate().map(drop));
    Some(compare(case, found, |path, _| match path {
        // Upstream misspells one path and leaves these lists unread.
        _ if path.starts_with("spec.ca.ocspServer") => Some("issuer-urls"),
        _ if path.contains("crlDistributionPoints[")
            || path.contains("issuingCertificateURLs[") =>
        {
            Some("issuer-urls")
        }
        "spec.vault" | "spec.venafi" => Some("issuer-types"),
        _ => None,
    }))
}

/// How our violations differ from the expected ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// We report one that is not expected.
    Extra,
    /// We do not report one that is expected.
    Missing,
}

/// Compares paths and kinds; a difference is deliberate if every single one of them is by a rule.
fn compare(
    case: &Case,
    found: Result<(), Violations>,
    rule: impl Fn(&str, Difference) -> Option<&'static str>,
) -> Verdict {
    let found: Vec<Violation> = found.err().map(Violations::into_vec).unwrap_or_default();
    let key = |v: &Violation| (v.field.to_string(), format!("{:?}", v.kind));
    let mut extra: Vec<_> = found.iter().map(key).collect();
    let mut missing = Vec::new();
    for error in case.expect["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let wanted = (text("path"), text("kind"));
        match extra.iter().position(|found| *found == wanted) {
            Some(position) => drop(extra.remove(position)),
            None => missing.push(wanted),
        }
    }
    if extra.is_empty() && missing.is_empty() {
        return Verdict::Passed;
    }
    let extra_rules = extra.iter().map(|(path, _)| rule(path, Difference::Extra));
    let missing_rules = missing
        .iter()
        .map(|(path, _)| rule(path, Difference::Missing));
    let rules: Option<BTreeSet<_>> = extra_rules.chain(missing_rules).collect();
    match rules.and_then(|rules| rules.first().copied()) {
        Some(rule) => Verdict::Deliberate(rule),
        None => Verdict::Failed(format!("missing {missing:?}, not expected {extra:?}")),
    }
}

/// The rule by which we differ from upstream about a Certificate's field.
pub(super) fn gap(path: &str, kind: Difference) -> Option<&'static str> {
    let below = |parent: &str| {
        path.strip_prefix(parent)
            .is_some_and(|rest| rest.starts_with(['[', '.']))
    };
    // The corrected rule accepts some percentages that this release refuses, and the reverse.
    if path == "spec.renewBeforePercentage" {
        return Some("percentage-as-corrected");
    }
    if kind == Difference::Missing {
        return None;
    }
    Some(match path {
        _ if below("spec.otherNames") && path.ends_with(".oid") => "oid-in-der",
        _ if ["dnsNames", "uris", "emailAddresses"]
            .iter()
            .any(|list| below(&format!("spec.{list}"))) =>
        {
            "names-are-checked"
        }
        _ if below("spec.nameConstraints") => "constraint-values-checked",
        _ if below("spec.keystores") && path.ends_with("passwordSecretRef.key") => {
            "keystore-reference-whole"
        }
        _ if below("spec.additionalOutputFormats") => "enumerations-checked",
        "spec.privateKey.size" => "key-size-positive",
        "spec.secretTemplate.labels" => "labels-reserved",
        _ if below("spec.renewal.windows") => "windows-open-some-day",
        _ => return None,
    })
}

fn parsed(list: &Value) -> Option<Vec<Usage>> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|name| name.as_str()?.parse().ok())
        .collect()
}

fn request_usages(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    let defaults = Defaults::cert_manager_1_21();
    let (asked, is_ca) = (&input["csrUsages"], input["csrIsCA"] == true);
    let csr = match asked {
        Value::Null => CsrUsages::new(None, None),
        Value::Object(_) => CsrUsages::new(Some(Usages::default()), None),
        list => {
            let usages = defaults.usages_for(&parsed(list)?, is_ca, KeyAlgorithm::default());
            CsrUsages::new(Some(usages), None)
        }
    };
    let spec = json!({
        "issuerRef": {"name": "x"},
        "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUFBPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K",
        "usages": input["usages"],
        "isCA": input["isCA"],
    });
    let node = document(&spec)?;
    let decoded =
        certwright_cert_model::request::CertificateRequestSpec::decode(&node, Strictness::Strict);
    let found = decoded.and_then(|spec| spec.validate(&defaults)?.check_csr(&csr));
    Some(compare(case, found, |_, _| None))
}

fn defaults(case: &Case) -> Option<Verdict> {
    let mut spec = case.input["spec"].clone();
    let fields = spec.as_object_mut()?;
    fields.entry("issuerRef").or_insert(json!({"name": "x"}));
    fields.entry("secretName").or_insert(json!("x"));
    fields.entry("commonName").or_insert(json!("x"));
    let node = document(&spec)?;
    let spec = CertificateSpec::decode(&node, Strictness::Strict)
        .into_result()
        .ok()?;
    let spec = spec.validate(&Defaults::cert_manager_1_21()).ok()?;
    let issuer = spec.issuer_ref();
    let found = json!({
        "issuerRef": {"name": issuer.name, "kind": issuer.kind(), "group": issuer.group()},
        "privateKey": {"rotationPolicy": match spec.key().rotation {
            RotationPolicy::Always => "Always",
            RotationPolicy::Never => "Never",
        }},
        "revisionHistoryLimit": spec.revision_history_limit(),
        "duration": spec.duration().to_string(),
    });
    let differs = case
        .expect
        .as_object()?
        .iter()
        .find(|(key, value)| found.get(*key) != Some(*value));
    Some(Verdict::equal(&differs, &None))
}

fn literal_subject(case: &Case) -> Option<Verdict> {
    let text = case.input.as_str()?;
    let found = text.parse::<LiteralSubject>();
    let Some(expected) = case.expect["rdns"].as_array() else {
        // An attribute type that is unknown is refused by validation, not by the grammar.
        let refused = found
            .as_ref()
            .map_or(true, |subject| subject.unknown_types().next().is_some());
        return Some(Verdict::equal(&refused, &true));
    };
    let subject = match found {
        Ok(subject) => subject,
        Err(error) => return Some(Verdict::Failed(error.to_string())),
    };
    let rdns: Vec<Vec<_>> = subject
        .rdns()
        .map(|rdn| rdn.iter().map(|one| json!({"oid": one.oid.as_ref().map(ToString::to_string), "value": one.value})).collect())
        .collect();
    Some(Verdict::equal(&json!(rdns), &json!(expected)))
}

fn secret_annotations(case: &Case) -> Option<Verdict> {
    if case.input.is_null() {
        // Without a certificate there is nothing to annotate.
        return Some(Verdict::equal(&json!({}), &case.expect));
    }
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let given = &case.input["subject"];
    let mut rdns = Vec::new();
    for (field, oid) in [
        ("countries", attribute::COUNTRY),
        ("organizations", attribute::ORGANIZATION),
        ("organizationalUnits", attribute::ORGANIZATIONAL_UNIT),
        ("localities", attribute::LOCALITY),
        ("provinces", attribute::PROVINCE),
        ("streetAddresses", attribute::STREET_ADDRESS),
        ("postalCodes", attribute::POSTAL_CODE),
        ("commonName", attribute::COMMON_NAME),
        ("serialNumber", attribute::SERIAL_NUMBER),
    ] {
        let mut values = texts(&given[field]);
        values.extend(given[field].as_str().map(str::to_owned));
        let attributes = values
            .into_iter()
            .map(|value| Some(Attribute::new(oid.parse().ok()?, value)));
        rdns.extend(Rdn::new(attributes.collect::<Option<_>>()?));
    }
    let mut names = NameTexts::default();
    names.dns = texts(&case.input["dnsNames"]);
    names.email = texts(&case.input["emailAddresses"]);
    names.uri = texts(&case.input["uris"]);
    names.ip = texts(&case.input["ipAddresses"])
        .iter()
        .filter_map(|ip| ip.parse().ok())
        .collect();
    Some(Verdict::equal(
        &json!(details(&Subject::new(rdns), &names)),
        &case.expect,
    ))
}

fn secret_template(case: &Case) -> Option<Verdict> {
    let map = |value: &Value| -> BTreeMap<String, String> {
        let entries = value.as_object().into_iter().flatten();
        entries
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    };
    let mut template = SecretTemplate::default();
    template.annotations = map(&case.input["secretTemplate"]["annotations"]);
    template.labels = map(&case.input["secretTemplate"]["labels"]);
    let mut secret = TlsSecret::new("ns", "name");
    secret.annotations = map(&case.input["secret"]["annotations"]);
    secret.labels = map(&case.input["secret"]["labels"]);
    let found = template
        .conflicts_with(&secret)
        .then_some("SecretTemplateMismatch");
    Some(Verdict::equal(&found, &case.expect["reason"].as_str()))
}

fn usages(case: &Case) -> Option<Verdict> {
    let Some(asked) = parsed(&case.input["usages"]) else {
        return Some(Verdict::equal(&case.expect["error"].as_bool(), &Some(true)));
    };
    let usages = Defaults::cert_manager_1_21().usages_for(
        &asked,
        case.input["isCA"] == true,
        KeyAlgorithm::default(),
    );
    let bits: Vec<_> = usages.key.iter().map(bit_name).collect();
    let oids: Vec<_> = usages.extended.iter().map(|usage| usage.oid()).collect();
    let wanted: Vec<_> = case.expect["eku"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut once = Vec::new();
    for oid in &wanted {
        if !once.contains(oid) {
            once.push(*oid);
        }
    }
    if oids == once && once.len() < wanted.len() && json!(bits) == case.expect["ku"] {
        return Some(Verdict::Deliberate("usages-once"));
    }
    Some(Verdict::equal(
        &json!({"ku": bits, "eku": oids}),
        &case.expect,
    ))
}

fn bit_name(usage: KeyUsage) -> &'static str {
    match usage {
        KeyUsage::DigitalSignature => "digitalSignature",
        KeyUsage::ContentCommitment => "contentCommitment",
        KeyUsage::KeyEncipherment => "keyEncipherment",
        KeyUsage::DataEncipherment => "dataEncipherment",
        KeyUsage::KeyAgreement => "keyAgreement",
        KeyUsage::CertSign => "keyCertSign",
        KeyUsage::CrlSign => "cRLSign",
        KeyUsage::EncipherOnly => "encipherOnly",
        KeyUsage::DecipherOnly => "decipherOnly",
    }
}
