//! Traefik's ServersTransport, as a custom resource or in a dynamic configuration.

mod deviation;

use std::time::Duration;

use certwright_cert_model::document::{Format, Strictness, parse as parse_document};
use certwright_cert_model::{GoDuration, Violations};
use certwright_transport::ServersTransport;
use certwright_transport::peer::PeerPolicy;
use certwright_transport::servers_transport::RootCa;
use certwright_transport::timeouts::Timeouts;
use certwright_transport::tls_parameters::TlsParameters;
use certwright_transport::upstream::{Settings, Upstream};
use serde_json::{Map, Value, json};

use super::super::{Case, Verdict};

pub(super) fn parse(case: &Case) -> Option<Verdict> {
    let (input, expect) = (&case.input, &case.expect);
    let (text, format) = [
        ("yaml", Format::Yaml),
        ("json", Format::Json),
        ("toml", Format::Toml),
    ]
    .into_iter()
    .find_map(|(name, format)| Some((input[name].as_str()?, format)))?;
    let Ok(document) = parse_document(text, format).into_iter().next()? else {
        // An error about a field would need a document.
        let error = expect["err"].as_str()?;
        return Some(match expect["field"].is_null() && about(error).is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed("there is no document".to_owned()),
        });
    };
    let decoded = match document.root.get("apiVersion") {
        Some(_) => ServersTransport::decode(&document.root, Strictness::Strict)
            .into_result()
            .map(|transport| vec![transport]),
        None => ServersTransport::decode_dynamic(&document.root, Strictness::Strict).into_result(),
    };
    if let Some(error) = expect["err"].as_str() {
        return Some(match decoded.and_then(ServersTransport::validate_all) {
            Err(violations) => refused(error, expect["field"].as_str(), &violations),
            Ok(upstreams) if upstreams.is_empty() => return None,
            Ok(_) => Verdict::Failed("accepted".to_owned()),
        });
    }
    let raw = match decoded {
        // Which one of several is meant, a case cannot say.
        Ok(transports) => <[_; 1]>::try_from(transports).ok()?.into_iter().next()?,
        Err(violations) => return Some(Verdict::Failed(format!("refused: {violations}"))),
    };
    let expect = expect.as_object()?;
    let found = raw.clone().validate();
    let difference = match &found {
        Ok(upstream) => unapplied(&raw, upstream).or_else(|| differs(expect, &raw, upstream)),
        Err(violations) => Some(format!("refused: {violations}")),
    };
    Some(match difference {
        None => Verdict::Passed,
        Some(difference) => match deviation::rule(expect, &raw, found.err().as_ref()) {
            Some(rule) => Verdict::Deliberate(rule),
            None => Verdict::Failed(difference),
        },
    })
}

/// An error is the expected one if it is about the same field.
fn refused(error: &str, field: Option<&str>, violations: &Violations) -> Verdict {
    let fields: Vec<_> = violations
        .iter()
        .map(|violation| violation.field.to_string())
        .collect();
    let fits = match field {
        Some(wanted) => fields.iter().any(|field| field == wanted),
        None => {
            let about = about(error);
            let named = |names: &Vec<&str>| {
                let is_one = |field: &String| names.iter().any(|name| field.contains(name));
                fields.iter().any(is_one)
            };
            !about.is_empty() && about.iter().all(named)
        }
    };
    match fits {
        true => Verdict::Passed,
        false => Verdict::Failed(format!("expected {error:?} {field:?}, found {violations}")),
    }
}

/// The fields an error is about: for each thing it names, those of which one must be wrong.
fn about(error: &str) -> Vec<Vec<&'static str>> {
    let error = error.to_lowercase();
    let messages = ERRORS.iter().filter(|(text, _)| error.contains(text));
    let fields = FIELDS
        .iter()
        .filter(|name| error.contains(&name.to_lowercase()));
    messages
        .map(|(_, names)| names.to_vec())
        .chain(fields.map(|name| vec![*name]))
        .collect()
}

/// The first expected field that is something else.
fn differs(
    expect: &Map<String, Value>,
    raw: &ServersTransport,
    upstream: &Upstream,
) -> Option<String> {
    let mut fields = expect.iter();
    fields.find_map(|(name, wanted)| difference(name, wanted, raw, upstream))
}

/// A root or name that is written and not used.
fn unapplied(raw: &ServersTransport, upstream: &Upstream) -> Option<String> {
    let Upstream::Verified(verified) = upstream else {
        return (!sans(raw).is_empty()).then(|| "names of peers are not verified".to_owned());
    };
    let used = match verified.policy() {
        PeerPolicy::PeerSans { sans, .. } => sans.len(),
        _ => 0,
    };
    let counts = (used, verified.root_sources().count());
    let written = (sans(raw).len(), roots(raw).len());
    (counts != written).then(|| format!("of {written:?} names and roots {counts:?} are used"))
}

fn difference(
    name: &str,
    wanted: &Value,
    raw: &ServersTransport,
    upstream: &Upstream,
) -> Option<String> {
    let settings = upstream.settings();
    let found = match name {
        "certificates" => certificates(raw),
        "certificatesSecrets" => json!(raw.certificates_secrets),
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
        "peerCertSANs" => json!(sans(raw)),
        "peerCertURI" => json!(raw.peer_cert_uri.as_deref().unwrap_or_default()),
        "rootCAs" if wanted[0].is_object() => raw.root_cas.iter().map(as_object).collect(),
        "rootCAs" | "rootCAs_order" => json!(roots(raw)),
        "rootCAsSecrets" => json!(raw.root_cas_secrets),
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
    let mut bare = ServersTransport::default();
    bare.name.clone_from(&raw.name);
    bare.namespace.clone_from(&raw.namespace);
    bare.path = raw.path.clone();
    bare.disable_http2 = raw.disable_http2;
    bare.max_idle_conns_per_host = raw.max_idle_conns_per_host;
    bare.forwarding_timeouts
        .clone_from(&raw.forwarding_timeouts);
    let is_platforms = match upstream {
        Upstream::Danger(_) => false,
        Upstream::Verified(verified) => {
            *verified.policy() == PeerPolicy::ServerName
                && verified.sources().next().is_none()
                && verified.settings().parameters == TlsParameters::default()
        }
    };
    *raw == bare && is_platforms
}

/// Names of peers in the order they are tried; the deprecated one is last.
fn sans(raw: &ServersTransport) -> Vec<Value> {
    let listed = raw.peer_cert_sans.iter();
    let listed = listed.map(|san| json!({"type": san.kind, "value": san.value}));
    let last = raw.peer_cert_uri.iter();
    let last = last.map(|uri| json!({"type": "URI", "value": uri}));
    listed.chain(last).collect()
}

/// Roots in the order they are read; the deprecated ones are first.
fn roots(raw: &ServersTransport) -> Vec<String> {
    let first = raw.root_cas_secrets.iter();
    let first = first.map(|name| format!("secret:{name}"));
    let listed = raw
        .root_cas
        .iter()
        .map(|root| match (&root.secret, &root.config_map) {
            (Some(name), _) => format!("secret:{name}"),
            (None, Some(name)) => format!("configMap:{name}"),
            (None, None) => root.file.clone().unwrap_or_default(),
        });
    first.chain(listed).collect()
}

fn as_object(root: &RootCa) -> Value {
    match (&root.secret, &root.config_map) {
        (Some(name), _) => json!({"secret": name}),
        (None, Some(name)) => json!({"configMap": name}),
        (None, None) => json!(root.file),
    }
}

/// Secrets of a custom resource, or files of a dynamic configuration.
fn certificates(raw: &ServersTransport) -> Value {
    let secrets = raw.certificates_secrets.iter();
    let secrets = secrets.map(|name| json!(format!("secret:{name}")));
    let files = raw.certificates.iter();
    let files = files.map(|it| json!({"certFile": it.cert_file, "keyFile": it.key_file}));
    secrets.chain(files).collect()
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

/// Fields that a message may call by their names.
const FIELDS: [&str; 17] = [
    "certificates",
    "certificatesSecrets",
    "cipherSuites",
    "dialTimeout",
    "disableHTTP2",
    "idleConnTimeout",
    "insecureSkipVerify",
    "maxIdleConnsPerHost",
    "maxVersion",
    "minVersion",
    "peerCertSANs",
    "peerCertURI",
    "pingTimeout",
    "readIdleTimeout",
    "responseHeaderTimeout",
    "rootCAs",
    "serverName",
];

#[cfg(test)]
mod tests {
    use super::super::super::ending;
    use super::*;

    fn judged(yaml: &str, expect: Value) -> Result<bool, &'static str> {
        ending("servers-transport-parse", json!({ "yaml": yaml }), expect)
    }

    fn resource(spec: &str, expect: Value) -> Result<bool, &'static str> {
        let head = "apiVersion: traefik.io/v1alpha1\nkind: ServersTransport\nmetadata: {name: t, namespace: ns}";
        judged(&format!("{head}\nspec: {{{spec}}}\n"), expect)
    }

    fn file(fields: &str, expect: Value) -> Result<bool, &'static str> {
        judged(
            &format!("http: {{serversTransports: {{t: {{{fields}}}}}}}\n"),
            expect,
        )
    }

    #[test]
    fn custom_resources() {
        for (spec, expect, ending) in [
            (
                "insecureSkipVerify: true, rootCAs: [{secret: a}]",
                json!({"insecureSkipVerify": true, "rootCAs_order": ["secret:a"], "peerCertSANs": []}),
                Ok(true),
            ),
            (
                "rootCAs: [{secret: a}, {configMap: b}]",
                json!({"rootCAs": [{"secret": "a"}, {"configMap": "b"}]}),
                Ok(true),
            ),
            (
                "rootCAs: [{secret: a}, {configMap: b}]",
                json!({"rootCAs": [{"configMap": "b"}, {"secret": "a"}]}),
                Ok(false),
            ),
            (
                "certificatesSecrets: [a]",
                json!({"certificatesSecrets": ["a"], "certificates": ["secret:a"]}),
                Ok(true),
            ),
            ("serverName: a.test", json!({"tls": "none"}), Ok(false)),
            (
                "minVersion: VersionTLS13, maxVersion: VersionTLS13, serverName: a.test",
                json!({"minVersion": "VersionTLS12", "maxVersion": "", "serverName": "a.test", "logged": "error"}),
                Err("one-tls-version"),
            ),
            (
                "minVersion: VersionTLS12, maxVersion: VersionTLS12, serverName: a.test",
                json!({"minVersion": "VersionTLS12", "maxVersion": "", "serverName": "b.test", "logged": "error"}),
                Ok(false),
            ),
            (
                "minVersion: VersionTLS12, maxVersion: VersionTLS12",
                json!({"minVersion": "VersionTLS12", "maxVersion": ""}),
                Ok(false),
            ),
            (
                "cipherSuites: [TLS_AES_128_GCM_SHA256, NOPE]",
                json!({"cipherSuites": [], "logged": "error"}),
                Err("transports-fail-closed"),
            ),
            (
                "serverName: a b, cipherSuites: [TLS_AES_128_GCM_SHA256]",
                json!({"cipherSuites": [], "logged": "error"}),
                Ok(false),
            ),
            (
                "forwardingTimeouts: {dialTimeout: 1h30, pingTimeout: 1s}",
                json!({"forwardingTimeouts": {"dialTimeout": "30s", "pingTimeout": "1s"}, "logged": "error"}),
                Err("transports-fail-closed"),
            ),
            (
                "forwardingTimeouts: {dialTimeout: 1h30}",
                json!({"forwardingTimeouts": {"dialTimeout": "1h30s"}, "logged": "error"}),
                Ok(false),
            ),
            (
                "forwardingTimeouts: {dialTimeout: 1.5s}",
                json!({"err": "schema", "field": "spec.forwardingTimeouts.dialTimeout"}),
                Ok(true),
            ),
            (
                "forwardingTimeouts: {dialTimeout: 1.5s}",
                json!({"err": "schema"}),
                Ok(false),
            ),
            (
                "rootCAs: [{}]",
                json!({"err": "rootCAs entry without secret or configMap"}),
                Ok(true),
            ),
            (
                "peerCertSANs: [{type: Email, value: a@b.test}]",
                json!({"peerCertSANs": [{"type": "Email", "value": "a@b.test"}]}),
                Ok(false),
            ),
        ] {
            let shown = expect.to_string();
            assert_eq!(resource(spec, expect), ending, "{spec} {shown}");
        }
    }

    #[test]
    fn dynamic_configuration() {
        let email = json!([{"type": "Email", "value": "a@b.test"}]);
        for (fields, expect, ending) in [
            (
                "peerCertSANs: [{type: DNSName, value: FOO.com.}], peerCertURI: 'a:b'",
                json!({"peerCertSANs": [{"type": "DNSName", "value": "FOO.com."}, {"type": "URI", "value": "a:b"}], "peerCertURI": "a:b"}),
                Ok(true),
            ),
            (
                "certificates: [{certFile: a, keyFile: b}], rootCAs: [c]",
                json!({"certificates": [{"certFile": "a", "keyFile": "b"}], "rootCAs": ["c"]}),
                Ok(true),
            ),
            (
                "minVersion: VersionTLS10, maxVersion: VersionTLS11",
                json!({"minVersion": "VersionTLS10", "maxVersion": "VersionTLS11"}),
                Err("tls-as-rustls-has-it"),
            ),
            (
                "maxVersion: VersionTLS11",
                json!({"maxVersion": "VersionTLS12"}),
                Ok(false),
            ),
            (
                "maxVersion: VersionTLS11",
                json!({"tls": "none"}),
                Ok(false),
            ),
            (
                "minVersion: VersionTLS12, maxVersion: VersionTLS11",
                json!({"maxVersion": "VersionTLS11"}),
                Ok(false),
            ),
            (
                "cipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA]",
                json!({"cipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}),
                Err("tls-as-rustls-has-it"),
            ),
            (
                "cipherSuites: [NOPE]",
                json!({"cipherSuites": ["NOPE"]}),
                Ok(false),
            ),
            (
                "cipherSuites: [TLS_AES_128_GCM_SHA256], maxVersion: VersionTLS12",
                json!({"cipherSuites": ["TLS_AES_128_GCM_SHA256"], "maxVersion": "VersionTLS12"}),
                Err("tls-as-rustls-has-it"),
            ),
            (
                "peerCertSANs: [{type: Email, value: a@b.test}]",
                json!({"peerCertSANs": email}),
                Err("peer-names-are-checked"),
            ),
            (
                "peerCertSANs: [{type: Email, value: a@b.test}], maxIdleConnsPerHost: 3",
                json!({"peerCertSANs": email, "maxIdleConnsPerHost": 4}),
                Ok(false),
            ),
            (
                "peerCertURI: ''",
                json!({"peerCertSANs": []}),
                Err("peer-names-are-checked"),
            ),
            (
                "serverName: '*.a.test'",
                json!({"serverName": "*.a.test"}),
                Err("server-names-are-checked"),
            ),
            ("serverName: a b", json!({"serverName": "a"}), Ok(false)),
            (
                "serverName: a b",
                json!({"err": "duplicate key"}),
                Ok(false),
            ),
            (
                "serverName: a b",
                json!({"err": "invalid serverName"}),
                Ok(true),
            ),
            ("serverName: [", json!({"err": "yaml: line 1"}), Ok(true)),
            (
                "serverName: [",
                json!({"err": "TLS and SPIFFE configuration cannot be defined at the same time"}),
                Ok(false),
            ),
            (
                "maxIdleConnsPerHost: -2",
                json!({"maxIdleConnsPerHost": -2}),
                Ok(true),
            ),
            // Two transports.
            (
                "serverName: a}, u: {",
                json!({"serverName": "a"}),
                Ok(false),
            ),
        ] {
            let shown = expect.to_string();
            assert_eq!(file(fields, expect), ending, "{fields} {shown}");
        }
    }
}
