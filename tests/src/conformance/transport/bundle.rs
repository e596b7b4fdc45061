//! SPIFFE bundles.

use std::collections::HashMap;

use certwright_transport::bundle::{Bundle, BundleError};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::super::{Case, Verdict};

/// A document in which `x5c` may be a number of certificates to be made, of which those of elements with the
/// same `same` are the same; or any text after `<raw>`.
pub(super) fn parse(case: &Case) -> Option<Verdict> {
    let text = match &case.input {
        Value::String(text) => text.strip_prefix("<raw>").unwrap_or(text).to_owned(),
        document => filled(document)?.to_string(),
    };
    let expect = &case.expect;
    Some(match Bundle::from_json(&text) {
        Ok(_) if expect["ok"] == false => Verdict::Failed("accepted".to_owned()),
        Ok(bundle) => {
            let roots = bundle.roots.map_or(0, |roots| roots.anchors().len());
            let hint = bundle.refresh_hint.map(|hint| hint.as_secs());
            let found = [
                ("x509", json!(roots)),
                ("sequence", json!(bundle.sequence)),
                ("refresh_hint_s", json!(hint)),
            ];
            let differs = found
                .iter()
                .find(|(name, found)| !expect[*name].is_null() && expect[*name] != *found);
            Verdict::equal(&differs, &None)
        }
        Err(error) => Verdict::equal(
            &(false, code(&error, expect["error"].as_str())),
            &(expect["ok"].as_bool()?, expect["error"].as_str()),
        ),
    })
}

/// The word for an error. Certificates that cannot be used have several, by who finds out: a JOSE decoder, or
/// a reader of base64 or of certificates.
fn code<'a>(error: &BundleError, expected: Option<&'a str>) -> Option<&'a str> {
    match error {
        BundleError::Json { .. } | BundleError::Member { .. } => Some("json"),
        BundleError::NoKeys => Some("no-keys"),
        BundleError::Authority(_) | BundleError::Base64 { .. } => expected.filter(|word| {
            let about = ["json", "x5c", "cert", "base64", "authority", "der", "x509"];
            about.iter().any(|it| word.contains(it))
        }),
        _ => None,
    }
}

fn filled(document: &Value) -> Option<Value> {
    let mut document = document.clone();
    let mut labelled = HashMap::<String, Vec<String>>::new();
    let keys = document.get_mut("keys").and_then(Value::as_array_mut);
    for key in keys.into_iter().flatten() {
        let Some(members) = key.as_object_mut() else {
            continue;
        };
        let label = members.remove("same");
        let Some(count) = members.get("x5c").and_then(Value::as_u64) else {
            continue;
        };
        let made = |_| {
            let key = KeyPair::generate().ok()?;
            let root = CertificateParams::default().self_signed(&key).ok()?;
            Some(base64(root.der()))
        };
        let certificates = match label.as_ref().and_then(Value::as_str) {
            Some(label) if labelled.contains_key(label) => labelled[label].clone(),
            _ => (0..count).map(made).collect::<Option<_>>()?,
        };
        members.insert("x5c".to_owned(), json!(certificates));
        if let Some(Value::String(label)) = label {
            labelled.insert(label, certificates);
        }
    }
    Some(document)
}

/// PEM without its first and last line is base64 with padding (RFC 7468, 3).
fn base64(der: &[u8]) -> String {
    let text = certwright_cert_model::pem::write("CERTIFICATE", der);
    text.lines()
        .filter(|line| !line.starts_with("-----"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::ending;
    use super::*;

    #[test]
    fn words_for_certificates_that_cannot_be_used() {
        for (word, passes) in [
            ("bad-x5c", true),
            ("json", true),
            ("no-keys", false),
            ("kumquat", false),
        ] {
            let key = json!({"use": "x509-svid", "kty": "EC", "x5c": ["AAAA"]});
            let expect = json!({"ok": false, "error": word});
            let found = ending("bundle-parse", json!({ "keys": [key] }), expect);
            assert_eq!(found, Ok(passes), "{word}");
        }
    }
}
