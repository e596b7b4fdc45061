//! What a specification says once defaults stand in for what it does not.

use certwright_cert_model::document::Strictness;
use certwright_cert_model::key::{KeyAlgorithm, KeyEncoding, RotationPolicy};
use certwright_cert_model::{CertificateSpec, Defaults, GoDuration, ValidatedSpec};
use serde_json::{Map, Value, json};

use super::super::issuance::{documented, refused};
use super::super::{Case, Verdict};
use super::document;

pub(super) fn defaults(case: &Case) -> Option<Verdict> {
    let mut spec = case.input["spec"].clone();
    let fields = spec.as_object_mut()?;
    let issuer = fields.entry("issuerRef").or_insert_with(|| json!({}));
    issuer.as_object_mut()?.entry("name").or_insert(json!("x"));
    fields.entry("secretName").or_insert(json!("x"));
    fields.entry("commonName").or_insert(json!("x"));
    let node = document(&spec)?;
    let decoded = CertificateSpec::decode(&node, Strictness::Strict);
    let found = match decoded.and_then(|spec| spec.validate(&Defaults::cert_manager_1_21())) {
        Ok(spec) => written(&spec),
        Err(violations) => {
            // Upstream's function leaves what is written as it is.
            let kept = case.expect.as_object()?;
            let kept = kept.iter().all(|(key, value)| holds(&spec[key], value));
            return Some(match kept {
                true => refused(case, &violations, documented(&spec)),
                false => Verdict::Failed(format!("refused: {violations}")),
            });
        }
    };
    Some(match holds(&found, &case.expect) {
        true => Verdict::Passed,
        false => Verdict::Failed(format!("expected {}, found {found}", case.expect)),
    })
}

fn written(spec: &ValidatedSpec) -> Value {
    let issuer = spec.issuer_ref();
    let key = spec.key();
    let (algorithm, size) = match key.algorithm {
        KeyAlgorithm::Ecdsa(curve) => ("ECDSA", Some(curve.bits())),
        KeyAlgorithm::Ed25519 => ("Ed25519", None),
        KeyAlgorithm::Rsa(size) => ("RSA", Some(size.bits())),
    };
    let mut keystores = Map::new();
    if let Some(jks) = &spec.keystores().jks {
        keystores.insert("jks".to_owned(), json!({"alias": jks.alias}));
    }
    if let Some(pkcs12) = &spec.keystores().pkcs12 {
        let profile = pkcs12.profile.name();
        keystores.insert("pkcs12".to_owned(), json!({"profile": profile}));
    }
    json!({
        "issuerRef": {"name": issuer.name, "kind": issuer.kind(), "group": issuer.group()},
        "privateKey": {
            "algorithm": algorithm,
            "size": size,
            "encoding": match key.encoding {
                KeyEncoding::Pkcs1 => "PKCS1",
                KeyEncoding::Pkcs8 => "PKCS8",
            },
            "rotationPolicy": match key.rotation {
                RotationPolicy::Always => "Always",
                RotationPolicy::Never => "Never",
            },
        },
        "revisionHistoryLimit": spec.revision_history_limit(),
        "duration": spec.duration().to_string(),
        "usages": spec.usages().iter().map(|usage| usage.to_string()).collect::<Vec<_>>(),
        "encodeUsagesInRequest": spec.encode_usages_in_request(),
        "isCA": spec.is_ca(),
        "keystores": keystores,
    })
}

/// Whether all that a case expects is there; it names only some fields, and writes durations as it likes.
fn holds(found: &Value, expected: &Value) -> bool {
    let duration = |value: &Value| value.as_str()?.parse::<GoDuration>().ok();
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| holds(found, value))),
        _ => found == expected || duration(found).is_some_and(|d| duration(expected) == Some(d)),
    }
}
