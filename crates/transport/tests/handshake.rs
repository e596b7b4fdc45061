//! Whole handshakes in memory: a transport, its client configuration, a server.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_transport::material::Material;
use certwright_transport::peer::SpiffePolicy;
use certwright_transport::roots::Roots;
use certwright_transport::server::ClientVerifier;
use certwright_transport::servers_transport::{San, Spiffe};
use certwright_transport::upstream::{Upstream, Verified};
use certwright_transport::{PeerVerifier, ServersTransport};
use pki::{Authority, Pair, Spec};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use wire::{Clock, connect, provider, refusal, server, server_for};

fn transport() -> ServersTransport {
    let mut transport = ServersTransport::default();
    transport.name = "demo".to_owned();
    transport.namespace = Some("apps".to_owned());
    transport.path = certwright_cert_model::FieldPath::root("spec");
    transport
}

fn verified(transport: ServersTransport) -> Verified {
    match transport.validate().unwrap() {
        Upstream::Verified(upstream) => upstream,
        Upstream::Danger(_) => panic!("not verified"),
    }
}

fn config(transport: ServersTransport, material: &Material) -> ClientConfig {
    verified(transport)
        .client_config(&provider(), Clock::fixed(), material)
        .unwrap()
}

fn roots_secret(ca: &Authority) -> TlsSecret {
    let mut secret = TlsSecret::new("apps", "roots");
    secret.insert("ca.crt", ca.pem());
    secret
}

fn spiffe(ids: &[&str], trust_domain: Option<&str>) -> ServersTransport {
    let mut spiffe = Spiffe::default();
    spiffe.ids = ids.iter().map(|id| (*id).to_owned()).collect();
    spiffe.trust_domain = trust_domain.map(str::to_owned);
    let mut transport = transport();
    transport.spiffe = Some(spiffe);
    transport
}

fn bundle(ca: &Authority, domain: &str) -> Material {
    let mut material = Material::default();
    let roots = Roots::from_der([ca.certificate.clone()]).unwrap();
    material.bundles.insert(&domain.parse().unwrap(), roots);
    material
}

#[test]
fn server_name() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let mut transport = transport();
    let mut material = Material::default();
    let mut root = certwright_transport::servers_transport::RootCa::default();
    root.secret = Some("roots".to_owned());
    transport.root_cas = vec![root];
    material.insert_secret(roots_secret(&ca));
    let config = Arc::new(config(transport, &material));
    let host = Spec::host("web.test");
    assert!(connect(&config, "web.test", server(&ca.issue(&host))).is_ok());
    for (pair, name, code) in [
        (ca.issue(&host), "other.test", "name-mismatch"),
        (other.issue(&host), "web.test", "unknown-issuer"),
        (
            ca.issue(&Spec {
                uris: vec![b"https://web.test".to_vec()],
                dns: vec![],
                ..host.clone()
            }),
            "web.test",
            "name-mismatch",
        ),
        (
            ca.issue(&Spec {
                days: (-9, -8),
                ..host.clone()
            }),
            "web.test",
            "expired",
        ),
    ] {
        let error = connect(&config, name, server(&pair)).unwrap_err();
        assert_eq!(refusal(&error).code(), code, "{error}");
    }
}

#[test]
fn spiffe_identities() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let id = "spiffe://td.test/server";
    let server_cert = ca.issue(&Spec::svid(id));
    let material = bundle(&ca, "td.test");
    for (transport, pair, code) in [
        (spiffe(&[id], None), &server_cert, "ok"),
        (spiffe(&[], Some("td.test")), &server_cert, "ok"),
        (spiffe(&[], None), &server_cert, "ok"),
        (
            spiffe(&["spiffe://td.test/x"], Some("td.test")),
            &server_cert,
            "unauthorized",
        ),
        (
            spiffe(&[id], None),
            &other.issue(&Spec::svid(id)),
            "unknown-issuer",
        ),
        (
            spiffe(&[id], None),
            &ca.issue(&Spec::svid("spiffe://other.test/server")),
            "no-bundle-for-trust-domain",
        ),
        (
            spiffe(&[id], None),
            &ca.issue(&Spec::host("web.test")),
            "no-uri-san",
        ),
    ] {
        let config = Arc::new(config(transport, &material));
        let verdict = connect(&config, "10.0.0.1", server(pair));
        assert_eq!(
            verdict.err().map_or("ok", |error| refusal(&error).code()),
            code
        );
    }
}

#[test]
fn a_stolen_certificate_without_its_key_is_refused() {
    let ca = Authority::root("ca");
    let id = "spiffe://td.test/server";
    let stolen = Pair {
        chain: ca.issue(&Spec::svid(id)).chain,
        key: rcgen::KeyPair::generate().unwrap(),
    };
    let mut danger = transport();
    danger.insecure_skip_verify = true;
    let Upstream::Danger(danger) = danger.validate().unwrap() else {
        panic!("verified");
    };
    let danger = danger
        .client_config(&provider(), Clock::fixed(), &Material::default())
        .unwrap();
    for config in [config(spiffe(&[id], None), &bundle(&ca, "td.test")), danger] {
        let error = connect(&Arc::new(config), "web.test", server(&stolen)).unwrap_err();
        assert_eq!(refusal(&error).code(), "bad-signature", "{error}");
    }
}

#[test]
fn peer_names_replace_the_host_name_only_with_insecure_skip_verify() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let mut san = San::default();
    san.kind = "URI".to_owned();
    san.value = "spiffe://td.test/server".to_owned();
    let mut material = Material::default();
    material.insert_secret(roots_secret(&ca));
    let spec = Spec::svid("spiffe://td.test/server");
    for (skip, pair, code) in [
        (true, ca.issue(&spec), "ok"),
        (false, ca.issue(&spec), "name-mismatch"),
        (
            false,
            ca.issue(&Spec {
                dns: vec!["web.test".to_owned()],
                ..spec.clone()
            }),
            "ok",
        ),
        (true, other.issue(&spec), "unknown-issuer"),
        (true, ca.issue(&Spec::host("web.test")), "no-matching-san"),
    ] {
        let mut transport = transport();
        transport.insecure_skip_verify = skip;
        transport.peer_cert_sans = vec![san.clone()];
        transport.root_cas_secrets = vec!["roots".to_owned()];
        let config = Arc::new(config(transport, &material));
        let verdict = connect(&config, "web.test", server(&pair));
        assert_eq!(
            verdict.err().map_or("ok", |error| refusal(&error).code()),
            code
        );
    }
}

#[test]
fn nothing_is_resumed_where_identities_count() {
    let ca = Authority::root("ca");
    let pair = ca.issue(&Spec {
        dns: vec!["web.test".to_owned()],
        ..Spec::svid("spiffe://td.test/server")
    });
    let mut material = bundle(&ca, "td.test");
    material.insert_secret(roots_secret(&ca));
    let mut plain = transport();
    plain.root_cas_secrets = vec!["roots".to_owned()];
    let mut peer = plain.clone();
    peer.peer_cert_uri = Some("spiffe://td.test/server".to_owned());
    for (transport, second) in [
        (plain, HandshakeKind::Resumed),
        (peer, HandshakeKind::Full),
        (spiffe(&[], None), HandshakeKind::Full),
    ] {
        let config = Arc::new(config(transport, &material));
        let server = server(&pair);
        let kinds = [(); 2].map(|()| connect(&config, "web.test", server.clone()).unwrap().kind);
        assert_eq!(kinds, [HandshakeKind::Full, second]);
    }
}

#[test]
fn a_client_is_verified_the_same_way() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let server_cert = ca.issue(&Spec::svid("spiffe://td.test/server"));
    let policy = SpiffePolicy::Ids(vec!["spiffe://td.test/client".parse().unwrap()]);
    let bundles = bundle(&ca, "td.test").bundles;
    let peer = PeerVerifier::spiffe(
        policy,
        bundles,
        provider().signature_verification_algorithms.all,
    );
    let verifier = Arc::new(ClientVerifier::new(peer, &provider()));
    let server = server_for(&server_cert, verifier);
    let client = |pair: Option<Pair>| {
        let mut material = bundle(&ca, "td.test");
        material.identities = pair
            .into_iter()
            .map(|pair| {
                certwright_transport::identity::Identity::from_der(
                    pair.chain.clone(),
                    pair.key_der(),
                    &provider(),
                )
                .unwrap()
            })
            .collect();
        Arc::new(config(
            spiffe(&["spiffe://td.test/server"], None),
            &material,
        ))
    };
    let ok = client(Some(ca.issue(&Spec::svid("spiffe://td.test/client"))));
    let done = connect(&ok, "web.test", server.clone()).unwrap();
    assert_eq!(done.client_chain.len(), 1);
    for (pair, expected) in [
        (
            Some(ca.issue(&Spec::svid("spiffe://td.test/other"))),
            Some("unauthorized"),
        ),
        (
            Some(other.issue(&Spec::svid("spiffe://td.test/client"))),
            None,
        ),
        (None, None),
    ] {
        let error = connect(&client(pair), "web.test", server.clone()).unwrap_err();
        match expected {
            Some(code) => assert_eq!(refusal(&error).code(), code),
            // An identity that no hint of the server names is not shown at all.
            None => assert!(
                matches!(error, rustls::Error::NoCertificatesPresented),
                "{error}"
            ),
        }
    }
}

#[test]
fn versions_suites_and_protocols_are_those_that_may_be_offered() {
    let ca = Authority::root("ca");
    let mut offer = (*server(&ca.issue(&Spec::host("web.test")))).clone();
    offer.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let offer = Arc::new(offer);
    let mut material = Material::default();
    material.system_roots = Some(Roots::from_der([ca.certificate.clone()]).unwrap());
    let spoken = |change: fn(&mut ServersTransport)| {
        let mut transport = transport();
        change(&mut transport);
        let config = Arc::new(config(transport, &material));
        let done = connect(&config, "web.test", offer.clone()).unwrap().client;
        let protocol = done.alpn_protocol().unwrap().escape_ascii().to_string();
        let suite = done.negotiated_cipher_suite().unwrap().suite();
        (done.protocol_version().unwrap(), suite, protocol)
    };
    let (old, new) = (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3);
    let (version, _, protocol) = spoken(|_| {});
    assert_eq!((version, protocol.as_str()), (new, "h2"));
    let (version, _, protocol) = spoken(|it| {
        it.disable_http2 = true;
        it.max_version = Some("VersionTLS12".to_owned());
    });
    assert_eq!((version, protocol.as_str()), (old, "http/1.1"));
    let name = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305";
    let (version, suite, _) = spoken(|it| {
        it.cipher_suites = vec!["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305".to_owned()];
        it.max_version = Some("VersionTLS12".to_owned());
    });
    assert_eq!(
        (version, format!("{suite:?}")),
        (old, format!("{name}_SHA256"))
    );
    let (version, ..) = spoken(|it| {
        // As in Go, a list of TLS 1.2 suites says nothing about TLS 1.3.
        it.cipher_suites = vec!["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305".to_owned()];
    });
    assert_eq!(version, new);
    let (_, suite, _) = spoken(|it| {
        it.cipher_suites = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
    });
    assert_eq!(format!("{suite:?}"), "TLS13_AES_128_GCM_SHA256");
}

#[test]
fn the_name_that_is_asked_for_is_the_transports_own() {
    let ca = Authority::root("ca");
    let server = server(&ca.issue(&Spec::host("web.test")));
    let mut material = Material::default();
    material.system_roots = Some(Roots::from_der([ca.certificate.clone()]).unwrap());
    for (name, asked) in [(Some("web.test"), "web.test"), (None, "10.0.0.1")] {
        let mut transport = transport();
        transport.server_name = name.map(str::to_owned);
        let upstream = verified(transport);
        let config = upstream
            .client_config(&provider(), Clock::fixed(), &material)
            .unwrap();
        let found = upstream.server_name("10.0.0.1").unwrap();
        assert_eq!(found.to_str(), asked);
        let verdict = connect(&Arc::new(config), &found.to_str(), server.clone());
        match name {
            Some(_) => assert_eq!(verdict.unwrap().server.server_name(), name),
            None => assert_eq!(refusal(&verdict.unwrap_err()).code(), "name-mismatch"),
        }
    }
}
