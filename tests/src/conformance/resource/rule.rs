//! By which rule our validation of a document differs from upstream's, each decided by what the field holds.

use certwright_cert_model::GoDuration;
use certwright_cert_model::key::SignatureAlgorithm;
use certwright_cert_model::oid::Oid;
use certwright_cert_model::subject::LiteralSubject;
use certwright_cert_model::usage::Usage;
use certwright_renewal::window::{Cron, Zone};
use serde_json::Value;

use super::super::renewal::zone_of_the_machine;

/// How our violations differ from the expected ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Difference {
    /// We report one that is not expected.
    Extra,
    /// We do not report one that is expected.
    Missing,
}

/// The rule by which we differ from upstream about a field of a Certificate with this `spec`.
pub(in super::super) fn gap(
    spec: &Value,
    (path, kind): (&str, &str),
    difference: Difference,
) -> Option<&'static str> {
    // The corrected rule accepts some percentages that this release refuses, and the reverse.
    if path == "spec.renewBeforePercentage" {
        return percentage(spec, difference).then_some("percentage-as-corrected");
    }
    if difference == Difference::Missing {
        return None;
    }
    let below = |parent: &str| {
        path.strip_prefix(parent)
            .is_some_and(|rest| rest.starts_with(['[', '.']))
    };
    let text = text(spec, path);
    let (applies, rule) = match path {
        "spec.keystores.jks.alias" => (text.eq_ignore_ascii_case("ca"), "alias-of-its-own"),
        "spec.keystores.pkcs12.profile"
        | "spec.privateKey.encoding"
        | "spec.privateKey.rotationPolicy" => (kind == "NotSupported", "enumerations-checked"),
        "spec.literalSubject" => (types_not_in_der(text), "oid-in-der"),
        "spec.nameConstraints.excluded" | "spec.nameConstraints.permitted" => {
            (lists_nothing(spec, path), "constraint-values-checked")
        }
        "spec.privateKey.size" => {
            let size = at(spec, path).and_then(Value::as_i64);
            (size.is_some_and(|size| size < 0), "key-size-positive")
        }
        "spec.secretTemplate.labels" => {
            let labels = at(spec, path).and_then(Value::as_object);
            let reserved = |key: &String| key.starts_with("controller.cert-manager.io/");
            let applies = labels.is_some_and(|labels| labels.keys().any(reserved));
            (applies, "labels-reserved")
        }
        "spec.signatureAlgorithm" => {
            // Upstream looks no further than at an algorithm of the key that does not exist.
            let key = spec["privateKey"]["algorithm"].as_str().unwrap_or_default();
            let known = ["", "RSA", "ECDSA", "Ed25519"].contains(&key);
            let unknown = SignatureAlgorithm::from_name(text).is_none();
            (unknown && !known, "enumerations-checked")
        }
        _ if below("spec.additionalOutputFormats") => {
            (kind == "NotSupported", "enumerations-checked")
        }
        _ if below("spec.dnsNames") => (!plain_name(text), "names-are-checked"),
        _ if below("spec.emailAddresses") => (odd_mailbox(text), "names-are-checked"),
        _ if below("spec.uris") => (!plain_url(text), "names-are-checked"),
        _ if below("spec.keystores") && path.ends_with("passwordSecretRef.key") => {
            (text.is_empty(), "keystore-reference-whole")
        }
        _ if below("spec.nameConstraints") => {
            let checked = ["dnsDomains[", "emailAddresses[", "uriDomains["];
            let applies = checked.iter().any(|list| path.contains(list));
            let plain = plain_host(text.strip_prefix('.').unwrap_or(text));
            (applies && !plain, "constraint-values-checked")
        }
        _ if below("spec.otherNames") && path.ends_with(".oid") => {
            (kind == "Invalid" && not_in_der(text), "oid-in-der")
        }
        _ if below("spec.renewal.windows") => return window(spec, path),
        _ if below("spec.subject") => {
            (kind == "Invalid" && text.is_empty(), "subject-values-whole")
        }
        _ => return None,
    };
    applies.then_some(rule)
}

/// The rule by which we refuse what upstream's functions take and only its webhook refuses.
pub(in super::super) fn webhook(spec: &Value, (path, kind): (&str, &str)) -> Option<&'static str> {
    let literal = spec["literalSubject"].as_str().unwrap_or_default();
    let text = text(spec, path);
    let applies = match (path, kind) {
        ("spec.commonName", "TooLong") => text.len() > 64 || literal.len() > 64,
        ("spec.commonName" | "spec.subject", "Invalid") => !literal.is_empty(),
        ("spec.nameConstraints", "Invalid") => spec["isCA"] != true,
        (_, "Invalid") if path.starts_with("spec.emailAddresses[") => {
            !text.contains('@') || text.contains(['<', '>'])
        }
        (_, "Invalid") if path.starts_with("spec.usages[") => {
            spec["encodeUsagesInRequest"] == false && text.parse::<Usage>().is_err()
        }
        _ => false,
    };
    applies.then_some("webhook-checked-first")
}

/// The rule by which we differ from upstream about a field of an Issuer with this `spec`.
pub(super) fn issuer(
    spec: &Value,
    (path, kind): (&str, &str),
    difference: Difference,
) -> Option<&'static str> {
    let unsupported = ["vault", "venafi"].iter().any(|name| {
        let rest = path.strip_prefix(&format!("spec.{name}"));
        rest.is_some_and(|rest| match difference {
            Difference::Extra => rest.is_empty() && kind == "NotSupported",
            // What we do not support we do not read.
            Difference::Missing => rest.starts_with('.') && spec[*name].is_object(),
        })
    });
    if unsupported {
        return Some("issuer-types");
    }
    if difference == Difference::Missing {
        return None;
    }
    // Upstream misspells one path, refuses only empty texts in two lists, and does not read the third.
    let text = text(spec, &path.replace("ocspServer[", "ocspServers["));
    let (applies, rule) = match path {
        "spec.acme.server" => (!text.is_empty() && !plain_url(text), "issuer-urls"),
        "spec.acme.skipTLSVerify" => (kind == "Forbidden", "acme-servers-verified"),
        _ if path.contains("crlDistributionPoints[") => (!plain_url(text), "issuer-urls"),
        _ if path.starts_with("spec.ca.ocspServer[")
            || path.starts_with("spec.ca.issuingCertificateURLs[") =>
        {
            (!text.is_empty() && !plain_url(text), "issuer-urls")
        }
        _ => return None,
    };
    applies.then_some(rule)
}

/// The value of a field.
pub(in super::super) fn at<'v>(spec: &'v Value, path: &str) -> Option<&'v Value> {
    let below = path.strip_prefix("spec")?;
    spec.pointer(&below.replace(['.', '['], "/").replace(']', ""))
}

/// The text of a field; an empty one if there is none.
pub(in super::super) fn text<'v>(spec: &'v Value, path: &str) -> &'v str {
    let value = at(spec, path).and_then(Value::as_str);
    value.unwrap_or_default()
}

/// The numbers of a text that upstream reads as an object identifier: dotted integers of any kind.
pub(in super::super) fn dotted_integers(text: &str) -> Option<Vec<i64>> {
    text.split('.').map(|arc| arc.parse().ok()).collect()
}

/// Whether upstream reads an object identifier that DER, or our 32 bits, cannot hold.
pub(in super::super) fn not_in_der(text: &str) -> bool {
    dotted_integers(text).is_some() && text.parse::<Oid>().is_err()
}

fn types_not_in_der(subject: &str) -> bool {
    let subject = subject.parse::<LiteralSubject>();
    subject.is_ok_and(|subject| subject.unknown_types().any(not_in_der))
}

/// Whether upstream's rule for percentages and the corrected one disagree about this one, in this direction.
fn percentage(spec: &Value, difference: Difference) -> bool {
    const LEAST: i128 = 5 * 60 * 1_000_000_000;
    let Some(percent) = spec["renewBeforePercentage"].as_i64().map(i128::from) else {
        return false;
    };
    let duration = match &spec["duration"] {
        Value::Null => Ok(GoDuration::from_hours(2160)),
        text => text.as_str().unwrap_or_default().parse(),
    };
    let Ok(duration) = duration.map(|duration| i128::from(duration.as_nanos())) else {
        return false;
    };
    let looked_at = !spec["duration"].is_null() || !spec["renewBefore"].is_null();
    let complement = duration * (100 - percent) / 100;
    let upstream = looked_at && (complement < LEAST || complement >= duration);
    let here = !(1..=99).contains(&percent) || duration * percent / 100 < LEAST;
    match difference {
        Difference::Extra => here && !upstream,
        Difference::Missing => upstream && !here,
    }
}

/// The rule by which we refuse a part of a renewal window that can be read.
fn window(spec: &Value, path: &str) -> Option<&'static str> {
    let (parent, field) = path.rsplit_once('.')?;
    let part = |name: &str| text(spec, &format!("{parent}.{name}"));
    let (cron, zone) = (part("cron"), part("timezone"));
    let fires = cron.parse::<Cron>().ok().map(|cron| cron.ever_fires());
    let (applies, rule) = match field {
        "timezone" => (zone == "Local", "zones-by-name"),
        "cron" if zone == "Local" => (fires.is_some(), "zones-by-name"),
        "cron" if zone_of_the_machine(cron) => (zone.is_empty(), "zones-by-name"),
        "cron" => {
            let zoned = zone.is_empty() || zone.parse::<Zone>().is_ok();
            (zoned && fires == Some(false), "windows-open-some-day")
        }
        "windowDuration" => {
            let duration = part("windowDuration").parse::<GoDuration>();
            let short = duration.is_ok_and(|duration| duration.as_nanos() < 1_000_000_000);
            (short, "windows-open-some-day")
        }
        _ => return None,
    };
    applies.then_some(rule)
}

/// Whether subtrees of name constraints are there, without a value that anybody reads.
fn lists_nothing(spec: &Value, path: &str) -> bool {
    let lists = ["dnsDomains", "emailAddresses", "ipRanges", "uriDomains"];
    let subtrees = at(spec, path).and_then(Value::as_object);
    subtrees.is_some_and(|subtrees| {
        let values = lists
            .iter()
            .filter_map(|list| subtrees.get(*list)?.as_array());
        values.flatten().next().is_none()
    })
}

// What nobody could refuse: a rule that excuses us for being strict does not excuse us for being wrong.

/// A host's name of letters, digits and hyphens, without A-labels.
fn plain_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let ends = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && inner && !ends && label.get(2..4) != Some("--")
    };
    let numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !numeric(last)
}

/// Such a name, or a wildcard over two labels of one.
fn plain_name(text: &str) -> bool {
    let wildcard = text.strip_prefix("*.");
    plain_host(text) || wildcard.is_some_and(|rest| rest.contains('.') && plain_host(rest))
}

/// `scheme://host/path` of unreserved characters.
fn plain_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_lowercase())
        && plain_host(host)
        && path.bytes().all(unreserved)
}

/// Whether a text is a mailbox for upstream's parser of messages, and not one that everybody would take.
fn odd_mailbox(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |local: &str| {
        local
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(&b))
    };
    let whole = !local.is_empty() && !host.is_empty() && !text.contains(['<', '>']);
    whole && !(local.split('.').all(|part| !part.is_empty() && plain(part)) && plain_host(host))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use Difference::{Extra, Missing};

    #[test]
    fn a_rule_looks_at_the_value() {
        for (spec, path, kind, rule) in [
            (
                json!({"privateKey": {"size": -1}}),
                "privateKey.size",
                "Invalid",
                Some("key-size-positive"),
            ),
            (
                json!({"privateKey": {"size": 1024}}),
                "privateKey.size",
                "Invalid",
                None,
            ),
            (
                json!({"privateKey": {"encoding": "DER"}}),
                "privateKey.encoding",
                "NotSupported",
                Some("enumerations-checked"),
            ),
            (
                json!({"literalSubject": "CN=a,5=x"}),
                "literalSubject",
                "Invalid",
                Some("oid-in-der"),
            ),
            (
                json!({"literalSubject": "CN=a,foo=x"}),
                "literalSubject",
                "Invalid",
                None,
            ),
            (
                json!({"otherNames": [{"oid": "5"}]}),
                "otherNames[0].oid",
                "Invalid",
                Some("oid-in-der"),
            ),
            (
                json!({"otherNames": [{"oid": "1.2.x"}]}),
                "otherNames[0].oid",
                "Invalid",
                None,
            ),
            (
                json!({"otherNames": [{"oid": ""}]}),
                "otherNames[0].oid",
                "Required",
                None,
            ),
            (
                json!({"dnsNames": ["a..b"]}),
                "dnsNames[0]",
                "Invalid",
                Some("names-are-checked"),
            ),
            (
                json!({"dnsNames": ["*.a.b"]}),
                "dnsNames[0]",
                "Invalid",
                None,
            ),
            (
                json!({"uris": ["foo.bar"]}),
                "uris[0]",
                "Invalid",
                Some("names-are-checked"),
            ),
            (
                json!({"uris": ["spiffe://td/a"]}),
                "uris[0]",
                "Invalid",
                None,
            ),
            (
                json!({"emailAddresses": ["a@[10.0.0.1]"]}),
                "emailAddresses[0]",
                "Invalid",
                Some("names-are-checked"),
            ),
            (
                json!({"emailAddresses": ["x"]}),
                "emailAddresses[0]",
                "Invalid",
                None,
            ),
            (
                json!({"emailAddresses": ["a.b@c.d"]}),
                "emailAddresses[0]",
                "Invalid",
                None,
            ),
            (
                json!({"nameConstraints": {"permitted": {"ipRanges": ["x"]}}}),
                "nameConstraints.permitted.ipRanges[0]",
                "Invalid",
                None,
            ),
            (
                json!({"nameConstraints": {"permitted": {"dnsDomains": ["*.a"]}}}),
                "nameConstraints.permitted.dnsDomains[0]",
                "Invalid",
                Some("constraint-values-checked"),
            ),
            (
                json!({"nameConstraints": {"permitted": {"x": ["a"]}}}),
                "nameConstraints.permitted",
                "Invalid",
                Some("constraint-values-checked"),
            ),
            (
                json!({"secretTemplate": {"labels": {"a": "b c"}}}),
                "secretTemplate.labels",
                "Invalid",
                None,
            ),
            (
                json!({"renewal": {"windows": [{"cron": "0 0 31 2 *"}]}}),
                "renewal.windows[0].cron",
                "Invalid",
                Some("windows-open-some-day"),
            ),
            (
                json!({"renewal": {"windows": [{"cron": "x"}]}}),
                "renewal.windows[0].cron",
                "Invalid",
                None,
            ),
            (
                json!({"renewal": {"windows": [{"cron": "@daily", "timezone": "Local"}]}}),
                "renewal.windows[0].timezone",
                "Invalid",
                Some("zones-by-name"),
            ),
            (
                json!({"renewal": {"windows": [{"cron": "@daily"}]}}),
                "renewal.windows[0].windowDuration",
                "Required",
                None,
            ),
            (
                json!({"additionalOutputFormats": [{"type": "DER"}]}),
                "additionalOutputFormats[type]",
                "Duplicate",
                None,
            ),
            (
                json!({"subject": {"organizations": ["", "x"]}}),
                "subject.organizations[0]",
                "Invalid",
                Some("subject-values-whole"),
            ),
            (
                json!({"signatureAlgorithm": "x", "privateKey": {"algorithm": "y"}}),
                "signatureAlgorithm",
                "Invalid",
                Some("enumerations-checked"),
            ),
            (
                json!({"signatureAlgorithm": "x"}),
                "signatureAlgorithm",
                "Invalid",
                None,
            ),
        ] {
            let path = format!("spec.{path}");
            assert_eq!(gap(&spec, (&path, kind), Extra), rule, "{spec} {path}");
            assert_eq!(gap(&spec, (&path, kind), Missing), None, "{spec} {path}");
        }
    }

    #[test]
    fn percentages_differ_where_the_two_rules_do() {
        for (spec, extra, missing) in [
            (
                json!({"renewBeforePercentage": 50, "duration": "2160h"}),
                false,
                false,
            ),
            (
                json!({"renewBeforePercentage": 95, "duration": "1h"}),
                false,
                true,
            ),
            (
                json!({"renewBeforePercentage": 5, "duration": "1h"}),
                true,
                false,
            ),
            (json!({"renewBeforePercentage": 0}), true, false),
            (
                json!({"renewBeforePercentage": 0, "duration": "2160h"}),
                false,
                false,
            ),
            (
                json!({"renewBeforePercentage": 100, "renewBefore": "1h"}),
                false,
                false,
            ),
        ] {
            let found = [Extra, Missing].map(|difference| percentage(&spec, difference));
            assert_eq!(found, [extra, missing], "{spec}");
        }
    }

    #[test]
    fn an_issuer_may_be_strict_but_not_wrong() {
        for (spec, path, kind, extra, missing) in [
            (
                json!({"ca": {"ocspServers": ["x"]}}),
                "ca.ocspServer[0]",
                "Invalid",
                Some("issuer-urls"),
                None,
            ),
            (
                json!({"ca": {"ocspServers": [""]}}),
                "ca.ocspServer[0]",
                "Invalid",
                None,
                None,
            ),
            (
                json!({"ca": {"issuingCertificateURLs": ["http://a.b"]}}),
                "ca.issuingCertificateURLs[0]",
                "Invalid",
                None,
                None,
            ),
            (
                json!({"selfSigned": {"crlDistributionPoints": [""]}}),
                "selfSigned.crlDistributionPoints[0]",
                "Invalid",
                Some("issuer-urls"),
                None,
            ),
            (
                json!({"vault": {}}),
                "vault",
                "NotSupported",
                Some("issuer-types"),
                None,
            ),
            (
                json!({"vault": {}}),
                "vault.server",
                "Required",
                None,
                Some("issuer-types"),
            ),
            (
                json!({"acme": {"server": "valid-server"}}),
                "acme.server",
                "Invalid",
                Some("issuer-urls"),
                None,
            ),
        ] {
            let path = format!("spec.{path}");
            assert_eq!(issuer(&spec, (&path, kind), Extra), extra, "{spec} {path}");
            assert_eq!(
                issuer(&spec, (&path, kind), Missing),
                missing,
                "{spec} {path}"
            );
        }
    }
}
