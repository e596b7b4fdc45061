//! Documents to transports: what is read, what is refused and where, what is warned of.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use certwright_cert_model::Violations;
use certwright_cert_model::document::{self, Format, Node, Strictness};
use certwright_transport::peer::{HostName, PeerPolicy, PeerSan, SpiffePolicy};
use certwright_transport::upstream::{IdleConnections, Upstream};
use certwright_transport::{Material, Roots, ServersTransport, tls_parameters::TlsVersion};

fn node(text: &str, format: Format) -> Node {
    document::parse(text, format).remove(0).unwrap().root
}

fn resource(spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: traefik.io/v1alpha1\nkind: ServersTransport\nmetadata: {{name: test, namespace: ns}}\nspec:\n{spec}"
    )
}

fn load(spec: &str) -> Result<Upstream, Violations> {
    let node = node(&resource(spec), Format::Yaml);
    ServersTransport::decode(&node, Strictness::Strict).and_then(ServersTransport::validate)
}

fn dynamic(text: &str, format: Format) -> Result<Vec<(String, Upstream)>, Violations> {
    let node = node(text, format);
    ServersTransport::decode_dynamic(&node, Strictness::Strict)
        .and_then(ServersTransport::validate_all)
}

fn policy(spec: &str) -> PeerPolicy {
    match load(spec).unwrap() {
        Upstream::Verified(upstream) => upstream.policy().clone(),
        Upstream::Danger(_) => panic!("{spec} verifies nothing"),
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (spec, errors) in [
        (
            "serverName: a b",
            "5:15: spec.serverName: \"a b\" is neither a DNS name nor an IP address",
        ),
        (
            "serverNam: a.test",
            "5:3: spec.serverNam: unknown field; did you mean serverName?",
        ),
        (
            "rootCAs:\n- secret: a\n  configMap: b",
            "6:5: spec.rootCAs[0]: names both a secret and a configMap; give one of them per entry",
        ),
        (
            "rootCAs: [{}]",
            "5:13: spec.rootCAs[0]: names nothing; give secret or configMap",
        ),
        (
            "certificatesSecrets: [\"\"]",
            "5:25: spec.certificatesSecrets[0]: is empty",
        ),
        (
            "maxIdleConnsPerHost: -2",
            "5:24: spec.maxIdleConnsPerHost: -2 is below -1; write -1 for no idle connections, 0 for 2",
        ),
        (
            "forwardingTimeouts:\n  dialTimeout: -1s",
            "6:18: spec.forwardingTimeouts.dialTimeout: -1s is negative; write 0 for no limit",
        ),
        (
            "forwardingTimeouts:\n  pingTimeout: 1d",
            "6:18: spec.forwardingTimeouts.pingTimeout: \"1d\": unit \"d\" at byte 1 is not one of h, m, s, ms, us, ns; write 24h",
        ),
        (
            "forwardingTimeouts: {dialTimeout: 1.5s, pingTimeout: +1s}",
            "5:37: spec.forwardingTimeouts.dialTimeout: \"1.5s\" is no duration of a custom resource; write whole numbers with h, m, s, ms, us or ns, without a sign\n\
             5:56: spec.forwardingTimeouts.pingTimeout: \"+1s\" is no duration of a custom resource; write whole numbers with h, m, s, ms, us or ns, without a sign",
        ),
        (
            "minVersion: VersionTLS09",
            "5:15: spec.minVersion: \"VersionTLS09\" is not a TLS version; use VersionTLS12 or VersionTLS13",
        ),
        (
            "maxVersion: VersionTLS11",
            "5:15: spec.maxVersion: VersionTLS11 is older than rustls speaks; use VersionTLS12 or VersionTLS13",
        ),
        (
            "minVersion: VersionTLS13\nmaxVersion: VersionTLS12",
            "5:15: spec.minVersion: VersionTLS13 is above maxVersion VersionTLS12",
        ),
        (
            "cipherSuites: [NOPE]",
            "5:18: spec.cipherSuites[0]: \"NOPE\" is not a cipher suite",
        ),
        (
            "cipherSuites: [TLS_AES_128_GCM_SHA256]\nmaxVersion: VersionTLS12",
            "5:17: spec.cipherSuites: none of these suites belongs to a version that may be offered",
        ),
        (
            "peerCertURI: \"\"",
            "5:16: spec.peerCertURI: \"\": a URI starts with a scheme, like spiffe: or https:",
        ),
        (
            "peerCertSANs: [{type: Email, value: a@b.test}]",
            "5:25: spec.peerCertSANs[0].type: \"Email\" is not a type of name; use URI or DNSName",
        ),
        (
            "peerCertSANs: [{type: DNSName, value: ''}]",
            "5:41: spec.peerCertSANs[0].value: \"\": a DNS name cannot be empty",
        ),
        (
            "spiffe: {ids: [spiffe://td/a, x]}",
            "5:33: spec.spiffe.ids[1]: \"x\" is not a SPIFFE ID: a SPIFFE ID starts with spiffe:// in lower case",
        ),
        (
            "spiffe: {trustDomain: A B}",
            "5:25: spec.spiffe.trustDomain: \"A B\" is not a trust domain: 'A' at byte 0: a trust domain has only lower-case letters, digits, '.', '_' and '-'",
        ),
        (
            "serverName: a.test\nspiffe: {}\ninsecureSkipVerify: true",
            "5:15: spec.serverName: cannot be set together with spiffe, which decides what is trusted; remove one\n7:23: spec.insecureSkipVerify: cannot be set together with spiffe, which decides what is trusted; remove one",
        ),
    ] {
        assert_eq!(load(spec).unwrap_err().to_string(), errors, "{spec}");
    }
}

#[test]
fn the_envelope() {
    let error = |text: &str| {
        ServersTransport::decode(&node(text, Format::Yaml), Strictness::Strict)
            .into_result()
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("apiVersion: v1\nkind: Service\nmetadata: {}\n"),
        "1:1: spec: must be set\n\
         1:13: apiVersion: \"v1\" is not known; use traefik.io/v1alpha1\n\
         2:7: kind: \"Service\" is another resource than ServersTransport\n\
         3:11: metadata.name: must be set"
    );
    let text = resource("serverName: a.test").replace(", namespace: ns", "");
    let node = node(&text, Format::Yaml);
    let transport = ServersTransport::decode(&node, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(
        (transport.id().as_str(), transport.path.to_string()),
        ("default-test", "spec".to_owned())
    );
}

#[test]
fn every_setting() {
    let upstream = load(
        "serverName: test\ninsecureSkipVerify: true\nmaxIdleConnsPerHost: 42\ndisableHTTP2: true\n\
         forwardingTimeouts:\n  dialTimeout: 42\n  responseHeaderTimeout: 42s\n  idleConnTimeout: 42ms\n  readIdleTimeout: 0\n  pingTimeout: 0s\n\
         minVersion: VersionTLS11\nmaxVersion: VersionTLS12\n",
    )
    .unwrap();
    let settings = upstream.settings();
    assert!(matches!(upstream, Upstream::Danger(_)));
    assert!(!settings.offers_http2);
    assert_eq!(settings.idle_per_host, IdleConnections::AtMost(42));
    let timeouts = settings.timeouts;
    assert_eq!(
        [
            timeouts.dial,
            timeouts.response_header,
            timeouts.idle_conn,
            timeouts.read_idle,
            timeouts.ping
        ],
        [
            Some(Duration::from_secs(42)),
            Some(Duration::from_secs(42)),
            Some(Duration::from_millis(42)),
            None,
            None
        ]
    );
    assert!(settings.parameters.allows(TlsVersion::V1_2));
    assert!(
        !settings.parameters.allows(TlsVersion::V1_1)
            && !settings.parameters.allows(TlsVersion::V1_3)
    );
    assert_eq!(
        settings.warnings[0].to_string(),
        "spec.minVersion: VersionTLS11 is older than rustls speaks; TLS 1.2 is the lowest that will be offered"
    );
}

#[test]
fn defaults() {
    for spec in [
        "{}",
        "forwardingTimeouts: {}",
        "serverName: ''\nminVersion: ''",
    ] {
        let upstream = load(spec).unwrap();
        let settings = upstream.settings();
        assert_eq!(settings.idle_per_host, IdleConnections::AtMost(2));
        assert_eq!(settings.timeouts.dial, Some(Duration::from_secs(30)));
        assert_eq!(settings.timeouts.response_header, None);
        assert_eq!(settings.timeouts.idle_conn, Some(Duration::from_secs(90)));
        assert_eq!(settings.timeouts.read_idle, None);
        assert_eq!(settings.timeouts.ping, Some(Duration::from_secs(15)));
        assert!(settings.offers_http2 && settings.server_name.is_none());
        assert!(
            settings.parameters.allows(TlsVersion::V1_2)
                && settings.parameters.allows(TlsVersion::V1_3)
        );
        assert_eq!(policy(spec), PeerPolicy::ServerName);
    }
    assert_eq!(
        load("maxIdleConnsPerHost: -1")
            .unwrap()
            .settings()
            .idle_per_host,
        IdleConnections::None
    );
}

#[test]
fn modes() {
    let san = |text: &str| PeerSan::Uri(text.parse().unwrap());
    assert_eq!(
        policy("peerCertURI: foo://bar\npeerCertSANs:\n- {type: DNSName, value: foo.com.}\n"),
        PeerPolicy::PeerSans {
            sans: vec![PeerSan::Dns("foo.com".parse().unwrap()), san("foo://bar")],
            host_name: HostName::Checked
        }
    );
    assert_eq!(
        policy("peerCertURI: foo://bar\ninsecureSkipVerify: true"),
        PeerPolicy::PeerSans {
            sans: vec![san("foo://bar")],
            host_name: HostName::Replaced
        }
    );
    for (spec, wanted) in [
        ("spiffe: {}", SpiffePolicy::Any),
        ("spiffe: {ids: []}", SpiffePolicy::Any),
        (
            "spiffe: {trustDomain: td}",
            SpiffePolicy::TrustDomain("td".parse().unwrap()),
        ),
        (
            "spiffe: {trustDomain: 'spiffe://td/x'}",
            SpiffePolicy::TrustDomain("td".parse().unwrap()),
        ),
        (
            "spiffe: {ids: ['spiffe://td/x'], trustDomain: NOT READ}",
            SpiffePolicy::Ids(vec!["spiffe://td/x".parse().unwrap()]),
        ),
    ] {
        assert_eq!(policy(spec), PeerPolicy::Spiffe(wanted), "{spec}");
    }
}

#[test]
fn warnings() {
    for (spec, wanted) in [
        (
            "rootCAsSecrets: [a]",
            "spec.rootCAsSecrets: is deprecated; write each as an entry of rootCAs with secret",
        ),
        (
            "peerCertURI: a:b",
            "spec.peerCertURI: is deprecated; write it as an entry of peerCertSANs with type URI",
        ),
        (
            "spiffe: {ids: ['spiffe://td/x'], trustDomain: x}",
            "spec.spiffe.trustDomain: is not read, because spiffe.ids says who is accepted",
        ),
        (
            "cipherSuites: [TLS_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256]",
            "spec.cipherSuites[0]: rustls does not have TLS_RSA_WITH_AES_128_CBC_SHA; it will not be offered",
        ),
        (
            "insecureSkipVerify: true\nrootCAs: [{secret: a}]",
            "spec.insecureSkipVerify: true verifies nothing, so the roots are never looked at",
        ),
    ] {
        let upstream = load(spec).unwrap();
        let warnings: Vec<_> = upstream
            .settings()
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(warnings, [wanted], "{spec}");
    }
}

#[test]
fn sources_in_the_order_they_are_read() {
    let Upstream::Verified(upstream) = load(
        "rootCAsSecrets: [a]\nrootCAs: [{configMap: b}, {secret: c}]\ncertificatesSecrets: [d]\n",
    )
    .unwrap() else {
        panic!("not verified");
    };
    let sources: Vec<_> = upstream.sources().map(ToString::to_string).collect();
    assert_eq!(
        sources,
        [
            "Secret ns/a",
            "ConfigMap ns/b",
            "Secret ns/c",
            "Secret ns/d"
        ]
    );
}

#[test]
fn dynamic_configuration() {
    let yaml = "http:\n  routers: {}\n  serversTransports:\n    one:\n      rootCAs: [/ca.pem, '-----BEGIN CERTIFICATE-----']\n      certificates:\n      - /both.pem\n      - {certFile: /c.pem, keyFile: /k.pem}\n    two: {serverName: a.test}\n";
    let toml = "[http.serversTransports.one]\nrootCAs = ['/ca.pem', '-----BEGIN CERTIFICATE-----']\ncertificates = ['/both.pem', {certFile = '/c.pem', keyFile = '/k.pem'}]\n[http.serversTransports.two]\nserverName = 'a.test'\n";
    for (text, format) in [(yaml, Format::Yaml), (toml, Format::Toml)] {
        let upstreams = dynamic(text, format).unwrap();
        let [(_, Upstream::Verified(one)), (_, Upstream::Verified(two))] = upstreams.as_slice()
        else {
            panic!("not verified");
        };
        let sources: Vec<_> = one.sources().map(ToString::to_string).collect();
        assert_eq!(
            sources,
            [
                "file /ca.pem",
                "PEM text",
                "file /both.pem",
                "file /c.pem",
                "file /k.pem"
            ]
        );
        assert_eq!(two.server_name("x.test").unwrap().to_str(), "a.test");
    }
    let two_bad =
        "http:\n  serversTransports:\n    a: {minVersion: x}\n    b: {spiffe: {ids: [y]}}\n";
    assert_eq!(
        dynamic(two_bad, Format::Yaml).unwrap_err().iter().count(),
        2
    );
    // What the custom resource's schema refuses is none of this configuration's rules.
    let free = "http:\n  serversTransports:\n    t: {maxIdleConnsPerHost: -2, forwardingTimeouts: {dialTimeout: 1.5s}}\n";
    let upstreams = dynamic(free, Format::Yaml).unwrap();
    let settings = upstreams[0].1.settings();
    assert_eq!(settings.idle_per_host, IdleConnections::None);
    assert_eq!(settings.timeouts.dial, Some(Duration::from_millis(1500)));
    let secrets = "http:\n  serversTransports:\n    t: {rootCAsSecrets: [a]}\n";
    assert_eq!(
        dynamic(secrets, Format::Yaml).unwrap_err().to_string(),
        "3:9: http.serversTransports[t].rootCAsSecrets: unknown field; did you mean rootCAs?"
    );
}

/// A key whose first line is mistyped is still a key, not the path of a file.
#[test]
fn a_broken_key_is_not_shown() {
    let key = "----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let text = format!(
        "http: {{serversTransports: {{t: {{certificates: [{{certFile: c.pem, keyFile: {key:?}}}]}}}}}}"
    );
    let node = node(&text, Format::Yaml);
    let raw = ServersTransport::decode_dynamic(&node, Strictness::Strict)
        .into_result()
        .unwrap();
    let shown = format!("{raw:?}");
    let upstreams = ServersTransport::validate_all(raw).unwrap();
    let Upstream::Verified(upstream) = &upstreams[0].1 else {
        panic!("{upstreams:?}");
    };
    let mut material = Material::default();
    let root = rcgen::generate_simple_self_signed([]).unwrap().cert.pem();
    material.system_roots = Some(Roots::from_pem(root.as_bytes()).unwrap());
    material.insert_file("c.pem", root);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let clock = std::sync::Arc::new(rustls::time_provider::DefaultTimeProvider);
    let error = upstream
        .client_config(&provider, clock, &material)
        .unwrap_err();
    for shown in [
        shown,
        format!("{upstreams:?}"),
        format!("{error:?} {error}"),
    ] {
        assert!(!shown.contains("c2VjcmV0"), "{shown}");
    }
}

#[test]
fn host_names() {
    let Upstream::Verified(upstream) = load("{}").unwrap() else {
        panic!("not verified");
    };
    for (host, good) in [
        ("web.test", true),
        ("10.0.0.1", true),
        ("::1", true),
        ("a_b.test", true),
        ("", false),
        ("a b", false),
        ("web.test:443", false),
    ] {
        assert_eq!(upstream.server_name(host).is_ok(), good, "{host}");
    }
}

/// The example of the Traefik Hub documentation.
#[test]
fn the_documentations_example_loads_as_written() {
    let text = "apiVersion: traefik.io/v1alpha1\nkind: ServersTransport\nmetadata:\n  name: demo-api-transport\n  namespace: apps\nspec:\n  serverName: gateway.domain.tld\n  insecureSkipVerify: true\n";
    let node = node(text, Format::Yaml);
    let transport = ServersTransport::decode(&node, Strictness::Strict)
        .into_result()
        .unwrap();
    assert_eq!(transport.id(), "apps-demo-api-transport");
    let Upstream::Danger(upstream) = transport.validate().unwrap() else {
        panic!("insecureSkipVerify is nothing but danger");
    };
    let name = upstream.server_name("10.0.0.1").unwrap();
    assert_eq!(name.to_str(), "gateway.domain.tld");
}
