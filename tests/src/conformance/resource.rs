//! Kinds about Certificate, Issuer and CertificateRequest resources and the Secrets they lead to.

mod defaults;
pub(super) mod rule;

use std::collections::{BTreeMap, BTreeSet};

use certwright_cert_model::document::{Format, Node, Strictness, parse};
use certwright_cert_model::inspect::NameTexts;
use certwright_cert_model::key::KeyAlgorithm;
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
use rule::{Difference, not_in_der};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "certificate-validate" => certificate(case),
        "certificaterequest-usages" => request_usages(case),
        "defaults" => defaults::defaults(case),
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
    let text = expanded(value).to_string();
    Some(parse(&text, Format::Json).into_iter().next()?.ok()?.root)
}

/// A value with a case file's markers written out.
pub(super) fn expanded(value: &Value) -> Value {
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
                .map(|(key, value)| (key.clone(), expanded(value)))
                .collect(),
        },
        Value::Array(list) => list.iter().map(expanded).collect(),
        other => other.clone(),
    }
}

fn certificate(case: &Case) -> Option<Verdict> {
    let node = document(&case.input["spec"])?;
    let defaults = upstream(&case.input["gates"]);
    let decoded = CertificateSpec::decode(&node, Strictness::Lenient);
    let found = decoded.and_then(|spec| spec.validate(&defaults).map(drop));
    let spec = expanded(&case.input["spec"]);
    Some(compare(case, found, |key, difference| {
        rule::gap(&spec, key, difference)
    }))
}

fn issuer(case: &Case) -> Option<Verdict> {
    let node = document(&case.input["spec"])?;
    let decoded = RawIssuerSpec::decode(&node, Strictness::Lenient);
    let found = decoded.and_then(|spec| spec.validate().map(drop));
    let spec = expanded(&case.input["spec"]);
    Some(compare(case, found, |key, difference| {
        rule::issuer(&spec, key, difference)
    }))
}

/// Compares paths and kinds; a difference is deliberate if every single one of them is by a rule.
fn compare(
    case: &Case,
    found: Result<(), Violations>,
    rule: impl Fn((&str, &str), Difference) -> Option<&'static str>,
) -> Verdict {
    let found: Vec<Violation> = found.err().map(Violations::into_vec).unwrap_or_default();
    let key = |v: &Violation| (v.field.to_string(), format!("{:?}", v.kind));
    let mut extra: Vec<_> = found.iter().map(key).collect();
    let mut missing = Vec::new();
    let expected = case.expect["errors"].as_array().map(Vec::as_slice);
    let expected = expected.unwrap_or_default();
    let valid = case.expect["valid"].as_bool();
    if valid.is_some_and(|valid| valid != expected.is_empty()) {
        return Verdict::Failed("the case is both valid and not".to_owned());
    }
    for error in expected {
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
    let each = |list: &[(String, String)], difference| -> Vec<_> {
        let keys = list
            .iter()
            .map(|(path, kind)| (path.as_str(), kind.as_str()));
        keys.map(|key| rule(key, difference)).collect()
    };
    let mut rules = each(&extra, Difference::Extra);
    rules.extend(each(&missing, Difference::Missing));
    let rules: Option<BTreeSet<_>> = rules.into_iter().collect();
    match rules.and_then(|rules| rules.first().copied()) {
        Some(rule) => Verdict::Deliberate(rule),
        None => Verdict::Failed(format!("missing {missing:?}, not expected {extra:?}")),
    }
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
    // Upstream compares lists, in which a usage may stand twice.
    let list = |list: &Value| {
        let usages = parsed(list)?.into_iter();
        let extended = usages.filter(|usage| matches!(usage, Usage::Extended(_)));
        Some(extended.collect::<Vec<_>>())
    };
    let repeated = list(asked) != list(&input["usages"]);
    Some(compare(case, found, |key, difference| {
        let listed = difference == Difference::Missing && key == ("spec.request", "Invalid");
        (listed && repeated && asked.is_array()).then_some("usages-once")
    }))
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
    let mut known = expected.clone();
    let attributes = known.iter_mut().filter_map(Value::as_array_mut).flatten();
    let mut refused = false;
    for attribute in attributes {
        if attribute["oid"].as_str().is_some_and(not_in_der) {
            attribute["oid"] = Value::Null;
            refused = true;
        }
    }
    if refused && json!(rdns) == json!(known) {
        return Some(Verdict::Deliberate("oid-in-der"));
    }
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
