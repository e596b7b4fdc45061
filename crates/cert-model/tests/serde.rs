//! serde reads and writes specifications as the decoders do.

#![allow(clippy::unwrap_used, reason = "this file is a test")]

use certwright_cert_model::document::{Format, Node, Strictness, parse};
use certwright_cert_model::name::DnsPattern;
use certwright_cert_model::status::CertificateStatus;
use certwright_cert_model::{CertificateSpec, GoDuration};

const FULL: &str = "
secretName: web-tls
issuerRef: {name: ca, kind: ClusterIssuer, group: cert-manager.io}
commonName: web
subject:
  organizations: [a, b]
  countries: [GB]
  organizationalUnits: [c]
  localities: [d]
  provinces: [e]
  streetAddresses: [f]
  postalCodes: ['1']
  serialNumber: '7'
literalSubject: CN=x
dnsNames: [a.example.com]
ipAddresses: [10.0.0.1]
uris: ['spiffe://td/a']
emailAddresses: [a@example.com]
otherNames: [{oid: 1.2.3, utf8Value: x}]
duration: 2160h
renewBefore: 360h
renewBeforePercentage: 30
renewal: {policy: RenewBefore, windows: [{cron: '@daily', windowDuration: 1h, timezone: UTC}]}
isCA: true
usages: [server auth]
encodeUsagesInRequest: false
signatureAlgorithm: SHA256WithRSA
privateKey: {algorithm: RSA, encoding: PKCS8, size: 2048, rotationPolicy: Always}
nameConstraints:
  critical: true
  permitted: {dnsDomains: [a], ipRanges: [10.0.0.0/8], emailAddresses: [b], uriDomains: [c]}
  excluded: {dnsDomains: [d]}
secretTemplate: {annotations: {a: b}, labels: {c: d}}
additionalOutputFormats: [{type: DER}]
keystores:
  jks: {create: true, alias: x, passwordSecretRef: {name: s, key: k}}
  pkcs12: {create: false, profile: Modern2023, passwordSecretRef: {name: s}}
revisionHistoryLimit: 3
";

fn full() -> Node {
    parse(FULL, Format::Yaml).remove(0).unwrap().root
}

#[test]
fn nothing_is_lost() {
    let node = full();
    let decoded = CertificateSpec::decode(&node, Strictness::Strict)
        .into_result()
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(&node.to_json()).unwrap();
    let read: CertificateSpec = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read, decoded);
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
}

#[test]
fn unknown_fields_are_refused_and_passwords_not_written() {
    assert!(serde_json::from_str::<CertificateSpec>(r#"{"jks": {}}"#).is_err());
    let text = r#"{"keystores": {"jks": {"create": true, "password": "hunter2"}}}"#;
    let spec: CertificateSpec = serde_json::from_str(text).unwrap();
    let jks = spec.keystores.as_ref().unwrap().jks.as_ref().unwrap();
    assert_eq!(jks.password.as_ref().unwrap().as_str(), "hunter2");
    assert!(!serde_json::to_string(&spec).unwrap().contains("hunter2"));
    assert!(!format!("{spec:?}").contains("hunter2"));
}

#[test]
fn values_are_text() {
    let name: DnsPattern = serde_json::from_str("\"*.example.com\"").unwrap();
    assert_eq!(serde_json::to_string(&name).unwrap(), "\"*.example.com\"");
    assert!(
        serde_json::from_str::<GoDuration>("\"90d\"")
            .unwrap_err()
            .to_string()
            .contains("2160h")
    );
}

#[test]
fn status_has_kubernetes_times() {
    let text = r#"{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}],"notAfter":"2026-04-01T00:00:00Z"}"#;
    let status: CertificateStatus = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&status).unwrap(), text);
    let wrong = text.replace("2026-04-01T00:00:00Z", "tomorrow");
    assert!(serde_json::from_str::<CertificateStatus>(&wrong).is_err());
}
