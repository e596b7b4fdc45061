//! What was requested or issued, against what is asked for.

use std::collections::BTreeSet;

use certwright_cert_model::document::Strictness;
use certwright_cert_model::key::KeyAlgorithm;
use certwright_cert_model::request::{CertificateRequest, CertificateRequestSpec};
use certwright_cert_model::subject::LiteralSubject;
use certwright_cert_model::{
    CertificateFacts, Defaults, Difference, Requested, ValidatedSpec, pem,
};
use certwright_issuance::csr::Request;
use certwright_issuance::{KeyPair, NameStyle};
use rcgen::{CertificateParams, DnType, SanType};
use serde_json::{Value, json};

use super::super::issuance::{documented_or_unseen, refused, validated};
use super::super::resource::document;
use super::super::{Case, Verdict, only};
use super::{foreign, named};

pub(super) fn request(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(input, &["requestFrom", "spec"])?;
    let mut sides = named([&input["requestFrom"], &input["spec"]])?;
    for side in &mut sides {
        if side["issuerRef"].is_object() {
            foreign(&mut side["issuerRef"]);
        }
    }
    let [from, spec] = sides;
    let mut specs = Vec::new();
    for fields in [&from, &spec] {
        let fields = present(fields)?;
        match validated(&fields, &Defaults::cert_manager_1_21())? {
            Ok(spec) => specs.push(spec),
            Err(violations) => {
                return Some(refused(case, &violations, documented_or_unseen(&fields)));
            }
        }
    }
    let [old, new] = specs.as_slice() else {
        return None;
    };
    let key = KeyPair::generate(old.key().algorithm).ok()?;
    let request = certificate_request(&from, old, &key)?;
    let requested = match Requested::read(&request) {
        Ok(requested) => requested,
        Err(error) => return Some(Verdict::Failed(error.to_string())),
    };
    Some(fields_differ(
        case,
        [&from, &spec],
        &requested.differences(new),
    ))
}

/// Fields that are given; `null` stands for an absent one.
fn present(fields: &Value) -> Option<Value> {
    let fields = fields
        .as_object()?
        .iter()
        .filter(|(_, value)| !value.is_null());
    Some(
        fields
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// A CertificateRequest with the fields and the names of a specification, signed with this key.
pub(super) fn certificate_request(
    fields: &Value,
    spec: &ValidatedSpec,
    key: &KeyPair,
) -> Option<CertificateRequest> {
    let mut request = Request::for_spec(spec);
    request.style = NameStyle::go_compatible();
    let csr = request.sign(key).ok()?.to_pem();
    let mut resource = json!({
        "issuerRef": {"name": "x"},
        "request": base64(csr.as_bytes()),
    });
    for name in ["duration", "isCA", "issuerRef", "usages"] {
        if !fields[name].is_null() {
            resource[name] = fields[name].clone();
        }
    }
    let node = document(&resource)?;
    let decoded = CertificateRequestSpec::decode(&node, Strictness::Strict);
    let valid = decoded.and_then(|spec| spec.validate(&Defaults::cert_manager_1_21()));
    valid.ok()
}

/// The base64 of bytes, by way of a PEM text.
fn base64(bytes: &[u8]) -> String {
    let text = pem::write("X", bytes);
    let lines = text.lines().filter(|line| !line.starts_with('-'));
    lines.collect()
}

pub(super) fn names(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(input, &["certificate", "spec"])?;
    let [certificate, spec] = named([&input["certificate"], &input["spec"]])?;
    let spec_fields = present(&spec)?;
    let spec = match validated(&spec_fields, &Defaults::cert_manager_1_21())? {
        Ok(spec) => spec,
        Err(violations) => {
            let rule = documented_or_unseen(&spec_fields);
            return Some(refused(case, &violations, rule));
        }
    };
    only(
        &certificate,
        &[
            "commonName",
            "dnsNames",
            "emailAddresses",
            "ipAddresses",
            "uris",
        ],
    )?;
    let facts = CertificateFacts::from_der(&issued(&certificate)?).ok()?;
    Some(fields_differ(
        case,
        [&certificate, &spec_fields],
        &facts.name_differences(&spec),
    ))
}

/// A certificate with these names, made by rcgen: upstream's tests know names that we would refuse.
fn issued(names: &Value) -> Option<Vec<u8>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names["commonName"].as_str().filter(|name| !name.is_empty()) {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let texts = |list: &str| -> Vec<String> {
        let list = names[list]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let texts = list.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    for name in texts("dnsNames") {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.try_into().ok()?));
    }
    for name in texts("emailAddresses") {
        params
            .subject_alt_names
            .push(SanType::Rfc822Name(name.try_into().ok()?));
    }
    for name in texts("ipAddresses") {
        params
            .subject_alt_names
            .push(SanType::IpAddress(name.parse().ok()?));
    }
    for name in texts("uris") {
        params
            .subject_alt_names
            .push(SanType::URI(name.try_into().ok()?));
    }
    let key = rcgen::KeyPair::generate().ok()?;
    Some(params.self_signed(&key).ok()?.der().to_vec())
}

/// Compares fields; every difference from upstream must be by a rule.
fn fields_differ(case: &Case, sides: [&Value; 2], found: &[Difference]) -> Verdict {
    let found: Vec<_> = found.iter().map(|difference| difference.field).collect();
    let expected = case
        .expect
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let expected: Vec<_> = expected.iter().filter_map(Value::as_str).collect();
    if found == expected {
        return Verdict::Passed;
    }
    // Upstream's word is no field's name.
    let renamed = expected.into_iter().map(|field| match field {
        "spec.subject.postCodes" => "spec.subject.postalCodes",
        field => field,
    });
    let expected: Vec<_> = renamed.collect();
    if found == expected {
        return Verdict::Deliberate("fields-by-their-names");
    }
    let missing = expected.iter().filter(|field| !found.contains(field));
    let extra = found.iter().filter(|field| !expected.contains(field));
    let rules: Option<Vec<_>> = missing
        .map(|field| rule(field, sides))
        .chain(extra.map(|field| looser(case, field, sides[1])))
        .collect();
    match rules.and_then(|rules| rules.first().copied()) {
        Some(rule) => Verdict::Deliberate(rule),
        None => Verdict::Failed(format!("expected {expected:?}, found {found:?}")),
    }
}

/// The rule by which we see a change where upstream's loose comparison does not look; the certificates of its cases
/// are no CA's, and have no other names.
fn looser(case: &Case, field: &str, spec: &Value) -> Option<&'static str> {
    let asked = match field {
        "spec.isCA" => spec["isCA"] == true,
        "spec.otherNames" => spec["otherNames"].is_array(),
        _ => false,
    };
    (case.kind == "altnames-fuzzy-match" && asked).then_some("loose-comparison-wider")
}

/// The rule by which we see no change where upstream does.
fn rule(field: &str, [old, new]: [&Value; 2]) -> Option<&'static str> {
    let name = field.strip_prefix("spec.")?;
    let texts = |side: &Value, fold: fn(&str) -> String| -> Vec<String> {
        let list = side[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let one = side[name].as_str();
        let texts = list.iter().filter_map(Value::as_str).chain(one);
        let mut texts: Vec<_> = texts.map(fold).collect();
        texts.sort_unstable();
        texts
    };
    match name {
        "commonName" | "dnsNames" | "emailAddresses" => {
            let same = texts(old, str::to_lowercase) == texts(new, str::to_lowercase);
            same.then_some("names-in-any-case")
        }
        // Listed twice, under two names, or left to the defaults.
        "usages" => {
            let spelled = texts(old, str::to_owned) != texts(new, str::to_owned);
            // What isCA adds is told with isCA.
            let meant = |side: &Value| {
                let list = side[name].as_array().map(Vec::as_slice);
                let usages = list.unwrap_or_default().iter();
                let usages = usages.map(|usage| usage.as_str()?.parse().ok());
                let usages: Vec<_> = usages.collect::<Option<_>>()?;
                let defaults = Defaults::cert_manager_1_21();
                let usages = defaults.usages_for(&usages, true, KeyAlgorithm::default());
                Some(usages.iter().collect::<BTreeSet<_>>())
            };
            (spelled && meant(old)? == meant(new)?).then_some("usages-by-meaning")
        }
        "literalSubject" => {
            let sorted = |side: &Value| {
                let subject: LiteralSubject = side[name].as_str()?.parse().ok()?;
                let rdns = subject.rdns().map(|rdn| {
                    let attributes = rdn.iter().map(|one| format!("{:?} {}", one.oid, one.value));
                    attributes.collect::<BTreeSet<_>>()
                });
                Some(rdns.collect::<Vec<_>>())
            };
            (sorted(old)? == sorted(new)?).then_some("subjects-as-encoded")
        }
        _ => None,
    }
}
