//! The whole policy chain, over a Secret that is made as a case describes it.

use std::sync::OnceLock;

use certwright::plan::{CurrentRequest, Observed, Plan, plan};
use certwright_cert_model::key::RotationPolicy;
use certwright_cert_model::secret::annotation::{
    CERTIFICATE_NAME, ISSUER_GROUP, ISSUER_KIND, ISSUER_NAME,
};
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_cert_model::validated::RenewalRequest;
use certwright_cert_model::{Defaults, GoDuration, Requested, TlsSecret, ValidatedSpec, pem};
use certwright_issuance::KeyPair;
use certwright_issuance::name_constraints::name_constraints_to_der;
use certwright_renewal::{AriWindow, Basis};
use rcgen::{CertificateParams, CustomExtension, DnType, OtherNameValue, SanType};
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::super::issuance::{documented_or_unseen, refused, validated};
use super::super::{Case, Verdict, only};
use super::comparison::certificate_request;
use super::foreign;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const CERTIFICATE: &str = "test";

pub(super) fn trigger(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    // `status.renewalTime` decides nothing: it is computed from what is stored.
    only(
        input,
        &[
            "ari",
            "currentRequest",
            "renewIn",
            "secret",
            "spec",
            "statusRenewalIn",
        ],
    )?;
    let fields = spec_fields(&input["spec"])?;
    let spec = match validated(&fields, &Defaults::cert_manager_1_21())? {
        Ok(spec) => spec,
        Err(violations) => {
            return Some(refused(case, &violations, documented_or_unseen(&fields)));
        }
    };
    let secret = secret(input, &spec)?;
    let request = current_request(&input["currentRequest"], &fields)?;
    let mut began_empty = false;
    let window = match &input["ari"] {
        Value::Null => None,
        ari => {
            only(ari, &["endIn", "startIn", "startsBeforeNotBefore"])?;
            let at = |name: &str| Some(NOW.saturating_add(duration(&ari[name])?));
            let window = AriWindow::new(at("startIn")?, at("endIn")?).ok();
            began_empty =
                window.is_none() && at("startIn")? <= NOW && ari["startsBeforeNotBefore"] != true;
            window
        }
    };
    let mut seen = Observed::default();
    seen.certificate = CERTIFICATE;
    seen.secret = secret.as_ref();
    seen.ari = window;
    seen.request = match &request {
        Request::None => CurrentRequest::Unknown,
        Request::Read(request) => CurrentRequest::Known(request),
        Request::Garbage => CurrentRequest::Unreadable("it is garbage"),
    };
    let plan = plan(&spec, &seen, NOW);
    let found = match &plan {
        Plan::Issue { reason, .. } | Plan::Wait { reason, .. } => (true, Some(reason.word())),
        Plan::Blocked(block) => (false, Some(block.word())),
        _ => (false, None),
    };
    let expected = (
        case.expect["reissue"].as_bool()?,
        case.expect["reason"].as_str(),
    );
    if let Plan::Idle(Some(schedule))
    | Plan::Reapply {
        schedule: Some(schedule),
        ..
    } = &plan
        && let Basis::Ari(window) | Basis::AriFloor(window) = schedule.basis()
        && expected == (true, Some("Renewing"))
        && window.start() <= NOW
        && NOW < schedule.due()
    {
        return Some(Verdict::Deliberate("ari-instant-drawn"));
    }
    if began_empty && (found, expected) == ((false, None), (true, Some("Renewing"))) {
        return Some(Verdict::Deliberate("ari-window-not-empty"));
    }
    // Upstream gives the order, and then stops before the key.
    let pinned = spec.key().rotation == RotationPolicy::Never;
    let stopped = (false, Some("CannotRegenerateKey"));
    if pinned && (found, expected) == (stopped, (true, Some("SecretMismatch"))) {
        return Some(Verdict::Deliberate("pinned-keys-block"));
    }
    Some(Verdict::equal(&found, &expected))
}

/// A case's fields, with the name of upstream's tests where there is none.
fn spec_fields(given: &Value) -> Option<Value> {
    let mut fields = match given {
        Value::Null => json!({}),
        given => given.clone(),
    };
    let map = fields.as_object_mut()?;
    map.retain(|_, value| !value.is_null());
    map.entry("issuerRef").and_modify(foreign);
    let names = [
        "dnsNames",
        "emailAddresses",
        "ipAddresses",
        "otherNames",
        "uris",
    ];
    if !map.contains_key("literalSubject") && !names.iter().any(|name| map.contains_key(*name)) {
        map.entry("commonName").or_insert(json!("example.com"));
    }
    Some(fields)
}

enum Request {
    None,
    Read(Box<Requested>),
    Garbage,
}

/// The request that a case describes: the specification's, but for the fields that it names.
fn current_request(given: &Value, spec: &Value) -> Option<Request> {
    let Some(given) = given.as_object() else {
        return Some(Request::None);
    };
    if given.get("csr").is_some_and(|csr| csr == "garbage") {
        return Some(Request::Garbage);
    }
    let mut fields = spec.clone();
    for (name, value) in given.iter().filter(|(name, _)| *name != "publicKey") {
        fields[name] = value.clone();
    }
    let key = match given.get("publicKey").and_then(Value::as_str) {
        None | Some("match") => &keys().matching,
        Some("other") => &keys().other,
        Some(_) => return None,
    };
    let old = validated(&fields, &Defaults::cert_manager_1_21())?.ok()?;
    let request = certificate_request(&fields, &old, &key.ours)?;
    Some(Request::Read(Box::new(Requested::read(&request).ok()?)))
}

fn secret(input: &Value, spec: &ValidatedSpec) -> Option<Option<TlsSecret>> {
    let given = &input["secret"];
    if given.is_null() {
        return Some(None);
    }
    only(
        given,
        &[
            "cert",
            "certCommonName",
            "certDnsNames",
            "certificateName",
            "certificateNameAnnotation",
            "issuerAnnotations",
            "key",
        ],
    )?;
    let mut secret = TlsSecret::new("ns", spec.secret_name());
    match given["key"].as_str() {
        None => {}
        Some("match") => secret.insert(TLS_KEY, keys().matching.pem.as_bytes()),
        Some("other") => secret.insert(TLS_KEY, keys().other.pem.as_bytes()),
        Some(text) => secret.insert(TLS_KEY, text),
    }
    match given["cert"].as_str() {
        None => {}
        Some("match") => secret.insert(TLS_CRT, certificate(input, spec, &keys().matching)?),
        Some("other") => secret.insert(TLS_CRT, certificate(input, spec, &keys().other)?),
        Some(text) => secret.insert(TLS_CRT, text),
    }
    let mut issuer = given["issuerAnnotations"].clone();
    if issuer.is_object() {
        foreign(&mut issuer);
    }
    for (field, key) in [
        ("group", ISSUER_GROUP),
        ("kind", ISSUER_KIND),
        ("name", ISSUER_NAME),
    ] {
        let value = issuer[field].as_str();
        let value = value.map(|value| (key.to_owned(), value.to_owned()));
        secret.annotations.extend(value);
    }
    for field in ["certificateName", "certificateNameAnnotation"] {
        let value = given[field].as_str();
        let value = value.map(|value| (CERTIFICATE_NAME.to_owned(), value.to_owned()));
        secret.annotations.extend(value);
    }
    Some(Some(secret))
}

/// A certificate of which the renewal is due when the case says so.
fn certificate(input: &Value, spec: &ValidatedSpec, key: &TestKey) -> Option<String> {
    let given = &input["secret"];
    let due = NOW.saturating_add(match &input["renewIn"] {
        Value::Null => Duration::days(30),
        due => duration(due)?,
    });
    // A window that is to lie before the certificate needs a young one.
    let young = input["ari"]["startsBeforeNotBefore"] == true;
    let least = (due - NOW).max(Duration::ZERO)
        + if young {
            Duration::HOUR
        } else {
            Duration::days(60)
        };
    // Of so many parts as leave whole seconds to either side.
    let parts = |used: i64, left: i64| {
        let part = least.whole_seconds() / used + 1;
        let seconds = |parts: i64| Duration::seconds(part * parts);
        (seconds(used), seconds(left))
    };
    let (before_due, after_due) = match spec.renewal() {
        RenewalRequest::Before(before) => (least, before.into()),
        RenewalRequest::Percentage(percent) => {
            let left = i64::from(percent.get());
            parts(100 - left, left)
        }
        _ => parts(2, 1),
    };
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (due - before_due, due + after_due);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common_name = match &given["certCommonName"] {
        Value::Null => spec.common_name(),
        name => name.as_str(),
    };
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let names = spec.names();
    let mut dns: Vec<_> = names.dns.iter().map(ToString::to_string).collect();
    if let Some(given) = given["certDnsNames"].as_array() {
        let given = given.iter().filter_map(Value::as_str);
        dns = given.map(str::to_owned).collect();
    }
    let mut all = Vec::new();
    for name in dns {
        all.push(SanType::DnsName(name.try_into().ok()?));
    }
    for name in &names.email {
        all.push(SanType::Rfc822Name(name.to_string().try_into().ok()?));
    }
    for name in &names.uri {
        all.push(SanType::URI(name.to_string().try_into().ok()?));
    }
    all.extend(names.ip.iter().copied().map(SanType::IpAddress));
    for name in &names.other {
        let value = OtherNameValue::Utf8String(name.value.clone());
        let oid = name.oid.arcs().map(u64::from).collect();
        all.push(SanType::OtherName((oid, value)));
    }
    params.subject_alt_names = all;
    if spec.is_ca() {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    if let Some(constraints) = spec.constraints() {
        let value = name_constraints_to_der(constraints);
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], value);
        extension.set_criticality(constraints.critical);
        params.custom_extensions.push(extension);
    }
    let issued = params.self_signed(&key.theirs).ok()?;
    Some(pem::write("CERTIFICATE", issued.der()).to_string())
}

struct TestKey {
    ours: KeyPair,
    theirs: rcgen::KeyPair,
    pem: String,
}

struct TestKeys {
    matching: TestKey,
    other: TestKey,
}

/// Two keys of the kind that a specification asks for by default.
fn keys() -> &'static TestKeys {
    static KEYS: OnceLock<TestKeys> = OnceLock::new();
    fn made() -> TestKey {
        let algorithm = certwright_cert_model::key::KeyAlgorithm::default();
        let ours = KeyPair::generate(algorithm).expect("a key");
        let encoding = certwright_cert_model::key::KeyEncoding::Pkcs8;
        let pem = ours.to_pem(encoding).expect("a key").to_string();
        let theirs = rcgen::KeyPair::from_pem(&pem).expect("a key");
        TestKey { ours, theirs, pem }
    }
    KEYS.get_or_init(|| TestKeys {
        matching: made(),
        other: made(),
    })
}

fn duration(value: &Value) -> Option<Duration> {
    Some(value.as_str()?.parse::<GoDuration>().ok()?.into())
}
