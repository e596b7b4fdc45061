//! Kinds about when a certificate is issued again, and by whom, under cert-manager's present rules.

mod comparison;
mod trigger;

use certwright::ownership::{Claim, ownership};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{Case, Verdict, only};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "altnames-fuzzy-match" => comparison::names(case),
        "request-matches-spec" => comparison::request(case),
        "secret-ownership" => owner(case),
        "trigger" => trigger::trigger(case),
        _ => return Verdict::Unsupported,
    };
    verdict.unwrap_or_else(|| Verdict::Failed("the case's input cannot be read".to_owned()))
}

fn owner(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(
        input,
        &[
            "certificates",
            "secretCertificateNameAnnotation",
            "selected",
        ],
    )?;
    let selected = input["selected"].as_str()?;
    let claims: Option<Vec<_>> = input["certificates"]
        .as_array()?
        .iter()
        .map(|certificate| {
            only(certificate, &["createdOffsetSeconds", "name"])?;
            let after = certificate["createdOffsetSeconds"].as_i64()?;
            let created = OffsetDateTime::UNIX_EPOCH + Duration::seconds(after);
            Some(Claim::new(certificate["name"].as_str()?, Some(created)))
        })
        .collect();
    let annotated = input["secretCertificateNameAnnotation"].as_str();
    let found = match ownership(claims?, annotated) {
        None => json!({"owner": false, "others": []}),
        Some(ownership) => json!({
            "owner": ownership.is_owner(selected),
            "others": ownership.others(selected).collect::<Vec<_>>(),
        }),
    };
    Some(Verdict::equal(&found, &case.expect))
}

/// Both sides with one more name, if one of them has none: what is compared here has not been validated upstream.
fn named(sides: [&Value; 2]) -> Option<[Value; 2]> {
    const NAMES: [&str; 6] = [
        "commonName",
        "dnsNames",
        "emailAddresses",
        "ipAddresses",
        "otherNames",
        "uris",
    ];
    let has_name = |side: &Value| {
        let given = |name: &&str| match &side[*name] {
            Value::String(text) => !text.is_empty(),
            Value::Array(names) => !names.is_empty(),
            _ => false,
        };
        NAMES.iter().any(given)
    };
    let sides = sides.map(|side| match side {
        Value::Null => json!({}),
        side => side.clone(),
    });
    if sides.iter().all(has_name) {
        return Some(sides);
    }
    let mut named = sides;
    for side in &mut named {
        let uris = side.as_object_mut()?.entry("uris").or_insert(json!([]));
        if uris.is_null() {
            *uris = json!([]);
        }
        uris.as_array_mut()?.push(json!("urn:somebody"));
    }
    Some(named)
}

/// Gives an issuer of an unknown kind a group of its own: only there any kind is allowed, and upstream's tests do not
/// mind.
fn foreign(issuer: &mut Value) {
    let kind = issuer["kind"].as_str();
    if kind.is_some_and(|kind| !matches!(kind, "" | "Issuer" | "ClusterIssuer"))
        && issuer["group"].as_str().unwrap_or_default().is_empty()
    {
        issuer["group"] = json!("issuers.example.com");
    }
}
