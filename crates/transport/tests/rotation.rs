//! Changing material under connections, and sessions that must not outlive it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use certwright_cert_model::TlsSecret;
use certwright_transport::bundle::{Bundle, TrustBundles};
use certwright_transport::client_auth::{ClientAuth, ClientAuthError, ClientAuthType};
use certwright_transport::identity::Identity;
use certwright_transport::peer::SpiffePolicy;
use certwright_transport::revocation::Crls;
use certwright_transport::roots::Roots;
use certwright_transport::server::{ClientVerifier, never_resume};
use certwright_transport::servers_transport::Spiffe;
use certwright_transport::upstream::{Upstream, Verified};
use certwright_transport::verify::spiffe_id;
use certwright_transport::{Material, PeerVerifier, Rotating, ServersTransport};
use pki::{Authority, Pair, Spec, now};
use rustls::HandshakeKind;
use wire::{Clock, connect, provider, refusal, server, server_for};

const SERVER: &str = "spiffe://td.test/server";
const CLIENT: &str = "spiffe://td.test/client";

fn verified(transport: ServersTransport) -> Verified {
    match transport.validate().unwrap() {
        Upstream::Verified(upstream) => upstream,
        Upstream::Danger(_) => panic!("not verified"),
    }
}

fn spiffe() -> Verified {
    let mut transport = ServersTransport::default();
    let mut spiffe = Spiffe::default();
    spiffe.ids = vec![SERVER.to_owned()];
    transport.spiffe = Some(spiffe);
    verified(transport)
}

fn named(root: &str) -> Verified {
    let mut transport = ServersTransport::default();
    transport.namespace = Some("ns".to_owned());
    transport.root_cas_secrets = vec![root.to_owned()];
    verified(transport)
}

fn roots(cas: &[&Authority]) -> Roots {
    Roots::from_der(cas.iter().map(|ca| ca.certificate.clone())).unwrap()
}

fn bundles(cas: &[&Authority]) -> Material {
    let mut material = Material::default();
    material
        .bundles
        .insert(&"td.test".parse().unwrap(), roots(cas));
    material
}

fn secret(name: &str, ca: &Authority) -> Material {
    let mut material = Material::default();
    let mut secret = TlsSecret::new("ns", name);
    secret.insert("ca.crt", ca.pem());
    material.insert_secret(secret);
    material
}

fn rotating(upstream: Verified, material: &Material) -> Rotating {
    Rotating::new(upstream, Arc::new(provider()), Clock::fixed(), material).unwrap()
}

#[test]
fn a_removed_trust_domain_counts_from_the_next_connection_on() {
    let ca = Authority::root("ca");
    let server = server(&ca.issue(&Spec::svid(SERVER)));
    let rotating = rotating(spiffe(), &bundles(&[&ca]));
    let code = || {
        let verdict = connect(&rotating.current().config, "a.test", server.clone());
        verdict.err().map(|error| refusal(&error).code())
    };
    assert_eq!(code(), None);
    let mut revoked = Material::default();
    revoked
        .bundles
        .insert(&"td.test".parse().unwrap(), Bundle::default());
    assert_eq!(rotating.update(&revoked), Ok(2));
    assert_eq!(code(), Some("no-usable-anchors"));
    assert_eq!(rotating.update(&Material::default()), Ok(3));
    assert_eq!(code(), Some("no-bundle-for-trust-domain"));
    assert_eq!(rotating.update(&bundles(&[&ca])), Ok(4));
    assert_eq!(code(), None);
    assert_eq!(rotating.current().number, 4);
}

#[test]
fn a_start_without_anyone_to_accept_is_an_error() {
    let error = Rotating::new(
        spiffe(),
        Arc::new(provider()),
        Clock::fixed(),
        &Material::default(),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "accepted is spiffe://td.test/server, but there are roots for no trust domain at all"
    );
}

#[test]
fn a_bad_update_is_reported_and_leaves_the_last_good() {
    let ca = Authority::root("ca");
    let server = server(&ca.issue(&Spec::host("web.test")));
    let rotating = rotating(named("roots"), &secret("roots", &ca));
    let mut bad = Material::default();
    assert_eq!(
        rotating.update(&bad).unwrap_err().to_string(),
        "rootCAsSecrets[0] names Secret ns/roots, which is not there"
    );
    let mut secret = TlsSecret::new("ns", "roots");
    secret.insert("ca.crt", "TESTROOTCAS");
    bad.insert_secret(secret);
    assert_eq!(
        rotating.update(&bad).unwrap_err().to_string(),
        "rootCAsSecrets[0]: Secret ns/roots does not hold usable roots"
    );
    assert_eq!(rotating.current().number, 1);
    assert!(connect(&rotating.current().config, "web.test", server).is_ok());
}

#[test]
fn sessions_end_with_their_generation_and_stay_in_their_transport() {
    let ca = Authority::root("ca");
    let server = server(&ca.issue(&Spec::host("web.test")));
    let one = rotating(named("roots"), &secret("roots", &ca));
    let two = rotating(named("roots"), &secret("roots", &ca));
    let kind = |rotating: &Rotating| {
        let config = &rotating.current().config;
        connect(config, "web.test", server.clone()).unwrap().kind
    };
    assert_eq!(kind(&one), HandshakeKind::Full);
    assert_eq!(kind(&one), HandshakeKind::Resumed);
    assert_eq!(kind(&two), HandshakeKind::Full);
    one.update(&secret("roots", &ca)).unwrap();
    assert_eq!(kind(&one), HandshakeKind::Full);
}

#[test]
fn a_resumed_session_is_verified_again() {
    let ca = Authority::root("ca");
    let server = server(&ca.issue(&Spec::svid(SERVER)));
    let (config, reverify) = spiffe()
        .resumable_client_config(&provider(), Clock::fixed(), &bundles(&[&ca]))
        .unwrap();
    let config = Arc::new(config);
    let name = "a.test".try_into().unwrap();
    assert_eq!(
        connect(&config, "a.test", server.clone()).unwrap().kind,
        HandshakeKind::Full
    );
    let resumed = connect(&config, "a.test", server).unwrap();
    assert_eq!(resumed.kind, HandshakeKind::Resumed);
    assert_eq!(reverify.check(&resumed.client, &name, now()), Ok(()));
    let later = std::time::Duration::from_secs(now().as_secs() + 40 * 86400);
    let later = rustls_pki_types::UnixTime::since_unix_epoch(later);
    assert_eq!(
        reverify
            .check(&resumed.client, &name, later)
            .unwrap_err()
            .code(),
        "expired"
    );
}

#[test]
fn nothing_fails_while_everything_rotates() {
    let cas = [Authority::root("a"), Authority::root("b")];
    let cas: [&Authority; 2] = [&cas[0], &cas[1]];
    let policy = SpiffePolicy::Ids(vec![CLIENT.parse().unwrap()]);
    let peer = PeerVerifier::spiffe(
        policy,
        bundles(&cas).bundles,
        provider().signature_verification_algorithms.all,
    );
    let peer = Arc::new(ClientVerifier::new(peer, &provider()));
    let servers = cas.map(|ca| server_for(&ca.issue(&Spec::svid(SERVER)), peer.clone()));
    let material = |ca: &Authority| {
        let mut material = bundles(&cas);
        let Pair { chain, key } = ca.issue(&Spec::svid(CLIENT));
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        material.identities = vec![Identity::from_der(chain, key, &provider()).unwrap()];
        material
    };
    let rotating = rotating(spiffe(), &material(cas[0]));
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let made = connect(&rotating.current().config, "a.test", server.clone());
                    let made = made.expect("no handshake fails during a rotation");
                    assert_eq!(spiffe_id(&made.client_chain).unwrap().as_str(), CLIENT);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut rotations = 0;
        while rotations < 50 || done.load(Ordering::Relaxed) < 50 {
            rotating.update(&material(cas[rotations % 2])).unwrap();
            rotations += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn client_authentication_types() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let server_cert = ca.issue(&Spec::svid(SERVER));
    let roots = roots(&[&ca]);
    let client = |pair: Option<&Authority>| {
        let mut material = bundles(&[&ca]);
        if let Some(ca) = pair {
            let pair = ca.issue(&Spec::svid(CLIENT));
            material.identities = vec![
                Identity::from_pem(
                    pair.chain_pem().as_bytes(),
                    pair.key_pem().as_bytes(),
                    &provider(),
                )
                .unwrap(),
            ];
        }
        Arc::new(
            spiffe()
                .client_config(&provider(), Clock::fixed(), &material)
                .unwrap(),
        )
    };
    let (none, good, bad) = (client(None), client(Some(&ca)), client(Some(&other)));
    // Certificates the server gets from: no identity, one it trusts, one it does not. A client does not show
    // an identity that the server's hints rule out.
    for (kind, with_roots, seen) in [
        (Some("NoClientCert"), false, [Some(0), Some(0), Some(0)]),
        (
            Some("RequestClientCert"),
            false,
            [Some(0), Some(1), Some(1)],
        ),
        (
            Some("RequireAnyClientCert"),
            false,
            [None, Some(1), Some(1)],
        ),
        (
            Some("VerifyClientCertIfGiven"),
            true,
            [Some(0), Some(1), Some(0)],
        ),
        (
            Some("RequireAndVerifyClientCert"),
            true,
            [None, Some(1), None],
        ),
        (None, true, [None, Some(1), None]),
        (None, false, [Some(0), Some(0), Some(0)]),
    ] {
        let kind: Option<ClientAuthType> = kind.map(|kind| kind.parse().unwrap());
        let roots = with_roots.then_some(&roots);
        let auth = ClientAuth::new(kind, roots, None, &Arc::new(provider())).unwrap();
        let server = match auth {
            ClientAuth::Off => server(&server_cert),
            ClientAuth::Verified(verifier) => server_for(&server_cert, verifier),
            ClientAuth::Danger(any) => server_for(&server_cert, any.into_verifier()),
        };
        let found = [&none, &good, &bad].map(|client| {
            connect(client, "a.test", server.clone())
                .ok()
                .map(|done| done.client_chain.len())
        });
        assert_eq!(found, seen, "{kind:?}");
    }
    for (kind, with_roots, error) in [
        (
            ClientAuthType::RequireAndVerifyClientCert,
            false,
            "RequireAndVerifyClientCert needs roots",
        ),
        (
            ClientAuthType::VerifyClientCertIfGiven,
            false,
            "VerifyClientCertIfGiven needs roots",
        ),
        (
            ClientAuthType::RequireAnyClientCert,
            true,
            "RequireAnyClientCert verifies nothing",
        ),
        (
            ClientAuthType::NoClientCert,
            true,
            "NoClientCert verifies nothing",
        ),
    ] {
        let auth = ClientAuth::new(
            Some(kind),
            with_roots.then_some(&roots),
            None,
            &Arc::new(provider()),
        );
        assert!(auth.unwrap_err().to_string().starts_with(error));
    }
    assert!("RequireAndVerify".parse::<ClientAuthType>().is_err());
}

/// Written into one message, they would have a wrong length; rustls panics in debug builds.
#[test]
fn more_roots_than_a_message_holds_are_not_named() {
    let ca = Authority::root("ca");
    let mut material = bundles(&[&ca]);
    let others: Vec<_> = (0..1000)
        .map(|i| Authority::root(&format!("{i:060}")).certificate)
        .collect();
    let many = roots(&[&ca]).merged(&Roots::from_der(others).unwrap());
    let client = ca.issue(&Spec::svid(CLIENT));
    let identity = Identity::from_der(client.chain.clone(), client.key_der(), &provider());
    material.identities = vec![identity.unwrap()];
    let config = spiffe().client_config(&provider(), Clock::fixed(), &material);
    let config = Arc::new(config.unwrap());
    let mut trusted = TrustBundles::default();
    trusted.insert(&"td.test".parse().unwrap(), many.clone());
    let algorithms = provider().signature_verification_algorithms.all;
    let peer = PeerVerifier::spiffe(SpiffePolicy::Any, trusted, algorithms);
    let provider = Arc::new(provider());
    let by_name = ClientAuth::new(None, Some(&many), None, &provider).unwrap();
    let ClientAuth::Verified(by_name) = by_name else {
        panic!("{by_name:?}");
    };
    for verifier in [Arc::new(ClientVerifier::new(peer, &provider)), by_name] {
        let server = server_for(&ca.issue(&Spec::svid(SERVER)), verifier);
        let done = connect(&config, "a.test", server).unwrap();
        assert_eq!(done.client_chain.len(), 1);
    }
}

#[test]
fn roots_of_one_name_are_named_once() {
    let same = roots(&[&Authority::root("same"), &Authority::root("same")]);
    let auth = ClientAuth::new(None, Some(&same), None, &Arc::new(provider())).unwrap();
    let ClientAuth::Verified(verifier) = auth else {
        panic!("{auth:?}");
    };
    assert_eq!(verifier.root_hint_subjects().len(), 1);
}

#[test]
fn revocation_lists_nobody_would_look_at_are_an_error() {
    let ca = Authority::root("ca");
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 6, 1),
        next_update: rcgen::date_time_ymd(2026, 7, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&ca.issuer).unwrap().der().clone();
    let crls = Crls::from_der([list]).unwrap();
    for kind in [
        None,
        Some(ClientAuthType::NoClientCert),
        Some(ClientAuthType::RequestClientCert),
        Some(ClientAuthType::RequireAnyClientCert),
    ] {
        let auth = ClientAuth::new(kind, None, Some(&crls), &Arc::new(provider()));
        assert_eq!(auth.unwrap_err(), ClientAuthError::UnusedCrls, "{kind:?}");
    }
}

#[test]
fn a_server_that_never_resumes() {
    let ca = Authority::root("ca");
    let mut config = (*server(&ca.issue(&Spec::host("web.test")))).clone();
    never_resume(&mut config);
    let server = Arc::new(config);
    let client = rotating(named("roots"), &secret("roots", &ca)).current();
    for _ in 0..2 {
        let done = connect(&client.config, "web.test", server.clone()).unwrap();
        assert_eq!(done.kind, HandshakeKind::Full);
    }
}

#[test]
fn the_candidate_the_server_can_use_is_shown() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let server_cert = ca.issue(&Spec::svid(SERVER));
    let policy = SpiffePolicy::TrustDomain("td.test".parse().unwrap());
    let peer = PeerVerifier::spiffe(
        policy,
        bundles(&[&ca]).bundles,
        provider().signature_verification_algorithms.all,
    );
    let server = server_for(
        &server_cert,
        Arc::new(ClientVerifier::new(peer, &provider())),
    );
    let identity = |ca: &Authority, id: &str| {
        let pair = ca.issue(&Spec::svid(id));
        Identity::from_der(pair.chain.clone(), pair.key_der(), &provider()).unwrap()
    };
    let mut material = bundles(&[&ca]);
    material.identities = vec![
        identity(&other, "spiffe://td.test/first"),
        identity(&ca.sub(&Spec::ca("int")), "spiffe://td.test/second"),
        identity(&ca, "spiffe://td.test/third"),
    ];
    let config = spiffe()
        .client_config(&provider(), Clock::fixed(), &material)
        .unwrap();
    let done = connect(&Arc::new(config), "a.test", server).unwrap();
    assert_eq!(spiffe_id(&done.client_chain).unwrap().path(), "/second");
}
