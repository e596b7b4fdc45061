//! Traefik's ServersTransport, as a custom resource or in a dynamic configuration.

use std::time::Duration;

use certwright_cert_model::document::{Format, Strictness, parse as parse_document};
use certwright_cert_model::{GoDuration, Violations};
use certwright_transport::ServersTransport;
use certwright_transport::material::Source;
use certwright_transport::peer::{PeerPolicy, PeerSan};
use certwright_transport::timeouts::Timeouts;
use certwright_transport::tls_parameters::TlsParameters;
use certwright_transport::upstream::{Settings, Upstream};
use serde_json::{Value, json};

use super::super::{Case, Verdict};

pub(super) fn parse(case: &Case) -> Option<Verdict> {
    let (raw, found) = read(&case.input)?;
    let expect = &case.expect;
    let upstream = match (found, expect["err"].as_str()) {
        (Err(violations), Some(error)) => return Some(refused(case, error, &violations)),
        (Err(_), None) if expect["logged"] == "error" => {
            return Some(Verdict::Deliberate("transports-fail-closed"));
        }
        (Err(violations), None) => return Some(Verdict::Failed(format!("refused: {violations}"))),
        (Ok(_), Some(_)) => return Some(Verdict::Failed("accepted".to_owned())),
        (Ok(upstream), None) => upstream,
    };
    let differs = expect
        .as_object()?
        .iter()
        .find_map(|(name, wanted)| difference(name, wanted, &raw, &upstream));
    let versions = (&raw.min_version, &raw.max_version);
    Some(match differs {
        Some(_)
            if expect["logged"] == "error" && versions.0.is_some() && versions.0 == versions.1 =>
        {
            Verdict::Deliberate("one-tls-version")
        }
        Some(difference) => Verdict::Failed(difference),
        None => Verdict::Passed,
    })
}

/// The one transport of a document: as it is written, and what it comes to.
fn read(input: &Value) -> Option<(ServersTransport, Result<Upstream, Violations>)> {
    let (text, format) = [
        ("yaml", Format::Yaml),
        ("json", Format::Json),
        ("toml", Format::Toml),
    ]
    .into_iter()
    .find_map(|(name, format)| Some((input[name].as_str()?, format)))?;
    let root = parse_document(text, format).into_iter().next()?.ok()?.root;
    let mut raw = ServersTransport::default();
    let found = if root.get("apiVersion").is_some() {
        ServersTransport::decode(&root, Strictness::Strict).and_then(|transport| {
            raw = transport.clone();
            transport.validate()
        })
    } else {
        let decoded = ServersTransport::decode_dynamic(&root, Strictness::Strict);
        decoded
            .and_then(|transports| {
                raw = transports.first().cloned().unwrap_or_default();
                ServersTransport::validate_all(transports)
            })
            .map(|mut upstreams| upstreams.pop().map(|(_, upstream)| upstream))
            .transpose()?
    };
    Some((raw, found))
}

/// An error is the expected one if it is about the same field.
fn refused(case: &Case, error: &str, violations: &Violations) -> Verdict {
    let fields: Vec<_> = violations
        .iter()
        .map(|violation| violation.field.to_string())
        .collect();
    if let Some(wanted) = case.expect["field"].as_str() {
        return Verdict::equal(&fields.iter().any(|field| field == wanted), &true);
    }
    let about = ERRORS
        .iter()
        .filter(|(text, _)| error.to_lowercase().contains(text))
        .map(|(_, fields)| *fields);
    for names in about {
        let fits = |field: &String| names.iter().any(|name| field.contains(name));
        if !fields.iter().any(fits) {
            return Verdict::Failed(format!("expected {error:?}, found {violations}"));
        }
    }
    Verdict::Passed
}

fn difference(
    name: &str,
    wanted: &Value,
    raw: &ServersTransport,
    upstream: &Upstream,
) -> Option<String> {
    let settings = upstream.settings();
    let found = match name {
        "cipherSuites" => json!(raw.cipher_suites),
        "disableHTTP2" => json!(raw.disable_http2 && !settings.offers_http2),
        "forwardingTimeouts" if wanted.is_null() => json!(raw.forwarding_timeouts.is_none()),
        "effective" | "forwardingTimeouts" => return timeouts(wanted, &settings.timeouts),
        "id" => json!(raw.id()),
        // With names of peers the chain is verified nevertheless.
        "insecureSkipVerify" => json!(raw.insecure_skip_verify),
        "maxIdleConnsPerHost" => json!(raw.max_idle_conns_per_host.unwrap_or_default()),
        "maxVersion" => json!(raw.max_version.as_deref().unwrap_or_default()),
        "minVersion" => json!(raw.min_version.as_deref().unwrap_or_default()),
        "peerCertSANs" => sans(upstream),
        "rootCAs" | "rootCAs_order" => roots(upstream),
        "serverName" => json!(raw.server_name.as_deref().unwrap_or_default()),
        "spiffe" => match &raw.spiffe {
            None => Value::Null,
            Some(spiffe) => {
                let domain = spiffe.trust_domain.as_deref().unwrap_or_default();
                return spiffe_difference(wanted, &spiffe.ids, domain);
            }
        },
        "tls" => json!(has_no_tls(raw, upstream).then_some("none")),
        "warnings" => return warnings(wanted, settings),
        // About what upstream does with it.
        "logged" | "skipped_if_admitted" | "upstream_effect" => return None,
        _ => return Some(format!("nobody judges {name}")),
    };
    let wanted = match (name, wanted) {
        ("forwardingTimeouts", Value::Null) => &Value::Bool(true),
        (_, wanted) => wanted,
    };
    (found != *wanted).then(|| format!("{name}: expected {wanted}, found {found}"))
}

fn spiffe_difference(wanted: &Value, ids: &[String], domain: &str) -> Option<String> {
    let absent = json!([]);
    let listed = match &wanted["ids"] {
        Value::Null => &absent,
        listed => listed,
    };
    let same =
        *listed == json!(ids) && wanted["trustDomain"].as_str().unwrap_or_default() == domain;
    (!same).then(|| format!("spiffe: expected {wanted}, found {ids:?} and {domain:?}"))
}

/// What upstream calls no TLS configuration: everything as the platform has it.
fn has_no_tls(raw: &ServersTransport, upstream: &Upstream) -> bool {
    match upstream {
        Upstream::Danger(_) => false,
        Upstream::Verified(verified) => {
            *verified.policy() == PeerPolicy::ServerName
                && raw.server_name.is_none()
                && verified.sources().next().is_none()
                && verified.settings().parameters == TlsParameters::default()
        }
    }
}

fn sans(upstream: &Upstream) -> Value {
    let Upstream::Verified(verified) = upstream else {
        return Value::Null;
    };
    let PeerPolicy::PeerSans { sans, .. } = verified.policy() else {
        return json!([]);
    };
    sans.iter()
        .map(|san| match san {
            PeerSan::Dns(name) => json!({"type": "DNSName", "value": name.to_string()}),
            PeerSan::Uri(uri) => json!({"type": "URI", "value": uri.as_str()}),
            other => json!({"type": "unknown", "value": other.to_string()}),
        })
        .collect()
}

fn roots(upstream: &Upstream) -> Value {
    let Upstream::Verified(verified) = upstream else {
        return Value::Null;
    };
    verified
        .root_sources()
        .map(|source| match source {
            Source::ConfigMap { name, .. } => format!("configMap:{name}"),
            Source::Secret { name, .. } => format!("secret:{name}"),
            Source::File(path) => path.clone(),
            Source::Text(text) => text.clone(),
            other => format!("{other:?}"),
        })
        .collect()
}

/// A warning is there if it is about the field its first word names.
fn warnings(wanted: &Value, settings: &Settings) -> Option<String> {
    let found: Vec<_> = settings
        .warnings
        .iter()
        .map(|warning| warning.field.to_string())
        .collect();
    let words = wanted.as_array().into_iter().flatten();
    let mut missing = words.filter(|text| {
        let field = text.as_str().and_then(|text| text.split(' ').next());
        field.is_none_or(|field| !found.iter().any(|path| path.contains(field)))
    });
    missing
        .next()
        .map(|text| format!("no warning that {text}, but of {found:?}"))
}

/// Zero and no limit are the same.
fn timeouts(wanted: &Value, found: &Timeouts) -> Option<String> {
    wanted
        .as_object()
        .into_iter()
        .flatten()
        .find_map(|(name, text)| {
            let found = match name.as_str() {
                "dialTimeout" => found.dial,
                "expectContinueTimeout" => found.expect_continue,
                "http2SendPing" | "readIdleTimeout" => found.read_idle,
                "idleConnTimeout" => found.idle_conn,
                "pingTimeout" => found.ping,
                "responseHeaderTimeout" => found.response_header,
                "tcpKeepAlive" => found.tcp_keep_alive,
                "tlsHandshakeTimeout" => found.tls_handshake,
                _ => return Some(format!("nobody judges {name}")),
            };
            let found = found.unwrap_or_default();
            (Some(found) != duration(text))
                .then(|| format!("{name}: expected {text}, found {found:?}"))
        })
}

fn duration(text: &Value) -> Option<Duration> {
    let nanos = text.as_str()?.parse::<GoDuration>().ok()?.as_nanos();
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// What upstream's messages are about.
const ERRORS: [(&str, &[&str]); 8] = [
    (
        "tls and spiffe",
        &[
            "serverName",
            "insecureSkipVerify",
            "rootCAs",
            "certificates",
            "cipherSuites",
            "minVersion",
            "maxVersion",
            "peerCert",
        ],
    ),
    ("invalid spiffe id", &["spiffe.ids"]),
    ("invalid spiffe trust domain", &["spiffe.trustDomain"]),
    ("ciphersuite", &["cipherSuites"]),
    ("invalid tls minimum version", &["minVersion"]),
    ("invalid tls maximum version", &["maxVersion"]),
    ("above the maximum", &["minVersion", "maxVersion"]),
    ("timeout", &["forwardingTimeouts"]),
];
