//! Requests: what a specification encodes to, byte for byte.

use std::net::Ipv6Addr;

use certwright_cert_model::Defaults;
use certwright_cert_model::key::{KeyAlgorithm, RsaSize, SignatureAlgorithm};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_issuance::csr::Request;
use certwright_issuance::name_constraints::{
    NameConstraintsError, name_constraints_from_der, name_constraints_to_der,
};
use certwright_issuance::public_key::signature_algorithm_of;
use certwright_issuance::{CsrPolicy, NameStyle, VerifiedCsr, subject_alt_name_to_der};
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, ParsedCriAttribute};

use super::super::der::element;
use super::super::resource::{expanded, rule};
use super::super::{Case, Verdict, only};
use super::key::made;
use super::{
    documented, documented_or_unseen, encoded, expects_error, hex, refused, refused_key, unhex,
    validated, validated_key,
};

pub(super) fn generate(case: &Case) -> Option<Verdict> {
    let none = json!({});
    let options = match &case.input["options"] {
        Value::Null => &none,
        options => options,
    };
    only(&case.input, &["options", "spec"])?;
    only(
        options,
        &[
            "encodeBasicConstraints",
            "literalSubject",
            "nameConstraints",
            "otherNames",
        ],
    )?;
    let spec_given = &case.input["spec"];
    let on = |name: &str| options[name] == true;
    let mut defaults = Defaults::cert_manager_1_21();
    defaults.gates.literal_subject = on("literalSubject");
    defaults.gates.name_constraints = on("nameConstraints");
    defaults.gates.other_names = on("otherNames");
    let spec = match validated(spec_given, &defaults)? {
        Ok(spec) => spec,
        Err(violations) => {
            let given = expanded(spec_given);
            // What is a text and listed is encoded as it stands.
            let listed = encoded(case, spec_given, documented_or_unseen(spec_given));
            let unlisted = documented_or_unseen(spec_given);
            return Some(refused(case, &violations, |(path, kind)| {
                // Upstream leaves out what a gate is closed for; its webhook refuses it, and so do we.
                let gated = ["literalSubject", "nameConstraints", "otherNames"]
                    .iter()
                    .any(|gated| !on(gated) && path.eq_ignore_ascii_case(&format!("spec.{gated}")));
                if gated && kind == "Forbidden" {
                    return Some("gated-fields-refused");
                }
                if path.starts_with("spec.ipAddresses[") {
                    let (address, zone) = rule::text(&given, path).split_once('%')?;
                    let zoned = address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty();
                    return zoned.then_some("addresses-checked-first");
                }
                match ["dnsNames[", "emailAddresses[", "uris[", "Domains["]
                    .iter()
                    .any(|list| path.contains(list))
                {
                    true => listed((path, kind)),
                    false => unlisted((path, kind)),
                }
            }));
        }
    };
    let mut request = Request::for_spec(&spec);
    request.style = NameStyle::go_compatible();
    request.basic_constraints = on("encodeBasicConstraints").then(|| spec.is_ca());
    // What a request says does not depend on the size of its key.
    let key = made(spec.key().algorithm).or_else(|_| made(KeyAlgorithm::default()));
    let key = key.ok()?;
    let csr = match request.sign(&key) {
        Ok(csr) if expects_error(case) => {
            return Some(Verdict::Failed(format!("made {}", hex(csr.der()))));
        }
        Ok(csr) => csr,
        Err(_) if expects_error(case) => return Some(Verdict::Passed),
        Err(error) => return Some(Verdict::Failed(error.to_string())),
    };
    if let Err(error) = VerifiedCsr::from_der(csr.der(), &CsrPolicy::default()) {
        return Some(Verdict::Failed(format!("our own request: {error}")));
    }
    let found = said(csr.der())?;
    if found != case.expect && found == with_usages_once(&case.expect)? {
        return Some(Verdict::Deliberate("usages-once"));
    }
    Some(Verdict::equal(&found, &case.expect))
}

/// What is expected, with every extended usage once.
fn with_usages_once(expected: &Value) -> Option<Value> {
    let mut expected = expected.clone();
    for extension in expected["extensions"].as_array_mut()? {
        if extension["oid"] != "2.5.29.37" {
            continue;
        }
        let value = unhex(extension["valueHex"].as_str()?)?;
        // Lengths of one octet, or the list's own of two.
        let header = if *value.get(1)? < 0x80 { 2 } else { 3 };
        let mut rest = value.get(header..)?;
        let mut once: Vec<&[u8]> = Vec::new();
        while let [_, length, ..] = rest {
            let (usage, more) = rest.split_at_checked(2 + usize::from(*length))?;
            if !once.contains(&usage) {
                once.push(usage);
            }
            rest = more;
        }
        extension["valueHex"] = json!(hex(&element(0x30, &once.concat())));
    }
    Some(expected)
}

/// Subject and extensions of a request, read by another library.
fn said(der: &[u8]) -> Option<Value> {
    let (_, request) = X509CertificationRequest::from_der(der).ok()?;
    let info = &request.certification_request_info;
    let extensions = info.iter_attributes().flat_map(|attribute| {
        let requested = match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => requested.extensions.as_slice(),
            _ => &[],
        };
        requested.iter().map(|extension| {
            json!({
                "oid": extension.oid.to_id_string(),
                "critical": extension.critical,
                "valueHex": hex(extension.value),
            })
        })
    });
    Some(json!({
        "subjectHex": hex(info.subject.as_raw()),
        "extensions": extensions.collect::<Vec<_>>(),
    }))
}

pub(super) fn signature_algorithm(case: &Case) -> Option<Verdict> {
    let spec = match validated_key(&case.input)? {
        Ok(spec) => spec,
        Err(violations) => {
            return Some(refused(case, &violations, |(path, _)| {
                // Upstream's function knows no upper bound, and looks at no key when an algorithm is named.
                let (size, named) = (&case.input["size"], &case.input["signatureAlgorithm"]);
                let expected = &case.expect["signatureAlgorithm"];
                let unlimited = size
                    .as_i64()
                    .is_some_and(|bits| bits > i64::from(RsaSize::MAX.bits()));
                let unread = match named {
                    Value::Null => {
                        let largest = *expected == "SHA512WithRSA";
                        unlimited && largest && path == "spec.privateKey.size"
                    }
                    named => {
                        let known = named.as_str().and_then(SignatureAlgorithm::from_name);
                        known.is_some() && named == expected
                    }
                };
                unread
                    .then_some("key-checked-first")
                    .or_else(|| refused_key(&case.input, path))
            }));
        }
    };
    let chosen = spec
        .signature_algorithm()
        .unwrap_or_else(|| signature_algorithm_of(spec.key().algorithm));
    Some(Verdict::equal(
        &Some(chosen.name()),
        &case.expect["signatureAlgorithm"].as_str(),
    ))
}

/// Either subtrees to write, or a value to read.
pub(super) fn name_constraints(case: &Case) -> Option<Verdict> {
    if let Some(value) = case.input["valueHex"].as_str() {
        return Some(read_constraints(case, &unhex(value)?));
    }
    let given = json!({"commonName": "x", "isCA": true, "nameConstraints": case.input});
    let spec = match validated(&given, &Defaults::cert_manager_1_21())? {
        Ok(spec) => spec,
        Err(violations) => {
            let rule = encoded(case, &given, documented(&given));
            return Some(refused(case, &violations, rule));
        }
    };
    let constraints = spec.constraints()?;
    let der = name_constraints_to_der(constraints);
    let read_back = name_constraints_from_der(constraints.critical, &der);
    if read_back.as_ref() != Ok(constraints) {
        return Some(Verdict::Failed(format!("reads back as {read_back:?}")));
    }
    Some(Verdict::equal(
        &Some(hex(&der).as_str()),
        &case.expect["valueHex"].as_str(),
    ))
}

fn read_constraints(case: &Case, value: &[u8]) -> Verdict {
    match name_constraints_from_der(true, value) {
        Err(_) if expects_error(case) => Verdict::Passed,
        // The case lists the very value that we refuse.
        Err(NameConstraintsError::Grammar { found }) if lists(&case.expect, &found) => {
            Verdict::Deliberate("constraint-values-checked")
        }
        Err(error) => Verdict::Failed(error.to_string()),
        Ok(found) if expects_error(case) => Verdict::Failed(format!("read {found:?}")),
        Ok(NameConstraints {
            permitted,
            excluded,
            ..
        }) => {
            let found = [
                ("permitted", texts(&permitted)),
                ("excluded", texts(&excluded)),
            ];
            let wrong = found.iter().find(|(side, lists)| {
                lists
                    .iter()
                    .any(|(list, found)| !same(found, &case.expect[*side][*list]))
            });
            Verdict::equal(&wrong, &None)
        }
    }
}

fn lists(expect: &Value, text: &str) -> bool {
    let sides = expect.as_object().into_iter().flatten();
    let mut values = sides
        .filter_map(|(_, lists)| lists.as_object())
        .flatten()
        .filter_map(|(_, list)| list.as_array())
        .flatten();
    values.any(|value| value == text)
}

fn texts(subtrees: &Subtrees) -> [(&'static str, Vec<String>); 4] {
    fn all<T: ToString>(list: &[T]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }
    [
        ("dnsDomains", all(&subtrees.dns)),
        ("ipRanges", all(&subtrees.ip)),
        ("emailAddresses", all(&subtrees.email)),
        ("uriDomains", all(&subtrees.uri)),
    ]
}

/// Absent stands for empty.
fn same(found: &[String], wanted: &Value) -> bool {
    match wanted {
        Value::Null => found.is_empty(),
        wanted => json!(found) == *wanted,
    }
}

pub(super) fn subject_alt_name(case: &Case) -> Option<Verdict> {
    let mut spec = case.input.clone();
    // An identity beside the names, so that there may be none of those.
    spec.as_object_mut()?
        .entry("commonName")
        .or_insert(json!("x"));
    let spec = match validated(&spec, &Defaults::cert_manager_1_21())? {
        Ok(spec) => spec,
        Err(violations) => {
            let rule = encoded(case, &spec, documented(&spec));
            return Some(refused(case, &violations, rule));
        }
    };
    Some(Verdict::equal(
        &Some(hex(&subject_alt_name_to_der(spec.names())).as_str()),
        &case.expect["valueHex"].as_str(),
    ))
}
