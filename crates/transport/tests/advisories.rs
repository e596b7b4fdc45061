//! What has gone wrong elsewhere, each as a test: advisories first, then Traefik's own defects.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_transport::bundle::TrustBundles;
use certwright_transport::client_auth::ClientAuth;
use certwright_transport::peer::{HostName, PeerPolicy, PeerSan, SpiffePolicy};
use certwright_transport::revocation::Crls;
use certwright_transport::roots::Roots;
use certwright_transport::servers_transport::{RootCa, San, Spiffe};
use certwright_transport::upstream::Upstream;
use certwright_transport::verify::{PeerRole, PeerVerifier};
use certwright_transport::{Material, ServersTransport};
use pki::{Authority, NOW, Pair, Spec, name_constraint, now};
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint,
    ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams, SerialNumber,
};
use rustls::HandshakeKind;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use time::{Duration as Days, OffsetDateTime};
use wire::{Clock, connect, provider, refusal, server, server_for};

const ID: &str = "spiffe://td.test/server";

fn roots(ca: &Authority) -> Roots {
    Roots::from_der([ca.certificate.clone()]).unwrap()
}

fn bundles(ca: &Authority) -> TrustBundles {
    let mut bundles = TrustBundles::default();
    bundles.insert(&"td.test".parse().unwrap(), roots(ca));
    bundles
}

fn spiffe(ca: &Authority) -> PeerVerifier {
    let algorithms = provider().signature_verification_algorithms.all;
    PeerVerifier::spiffe(SpiffePolicy::Any, bundles(ca), algorithms)
}

fn names(ca: &Authority, san: PeerSan) -> PeerVerifier {
    let algorithms = provider().signature_verification_algorithms.all;
    PeerVerifier::peer_sans(vec![san], HostName::Replaced, roots(ca), algorithms)
}

fn dns(name: &str) -> PeerSan {
    PeerSan::Dns(name.parse().unwrap())
}

fn uri(text: &str) -> PeerSan {
    PeerSan::Uri(text.parse().unwrap())
}

fn code(verifier: &PeerVerifier, chain: &[CertificateDer<'_>]) -> &'static str {
    let name = ServerName::try_from("web.test").unwrap();
    let verdict = verifier.verify_chain(chain, PeerRole::Server(&name), now());
    verdict.map_or_else(|error| error.code(), |_| "ok")
}

fn code_of(verifier: &PeerVerifier, pair: &Pair) -> &'static str {
    code(verifier, &pair.chain)
}

/// RUSTSEC-2026-0098 (GHSA-965h-392x-2mh5): webpki ignored name constraints on URIs.
#[test]
fn uri_constraints_fail_closed() {
    let ca = Authority::root("ca");
    for (part, base) in [
        (0, "td.test"),
        (0, "other.test"),
        (1, "td.test"),
        (1, ".td.test"),
    ] {
        let mut int = Spec::ca("int");
        int.extensions = vec![name_constraint(part, 0x86, base)];
        let pair = ca.sub(&int).issue(&Spec::svid(ID));
        assert_eq!(
            code_of(&spiffe(&ca), &pair),
            "name-constraint",
            "{part} {base}"
        );
        assert_eq!(code_of(&names(&ca, uri(ID)), &pair), "name-constraint");
    }
}

/// RUSTSEC-2026-0099, CVE-2025-61727: a wildcard name slipped past DNS constraints.
#[test]
fn a_wildcard_does_not_escape_a_constraint() {
    let ca = Authority::root("ca");
    for (part, base, name, verdict) in [
        (0, "good.test", "*.good.test", "ok"),
        (0, "a.good.test", "*.good.test", "name-constraint"),
        (1, "a.good.test", "*.good.test", "name-constraint"),
        (1, "good.test", "*.good.test", "name-constraint"),
    ] {
        let mut int = Spec::ca("int");
        int.extensions = vec![name_constraint(part, 0x82, base)];
        let pair = ca.sub(&int).issue(&Spec::host(name));
        assert_eq!(
            code_of(&names(&ca, dns("b.good.test")), &pair),
            verdict,
            "{part} {base}"
        );
    }
}

fn crl(
    ca: &Authority,
    revoked: &[u64],
    days: (i64, i64),
    place: Option<&str>,
) -> CertificateRevocationListDer<'static> {
    numbered_crl(ca, revoked, days, place, 1)
}

fn numbered_crl(
    ca: &Authority,
    revoked: &[u64],
    days: (i64, i64),
    place: Option<&str>,
    number: u64,
) -> CertificateRevocationListDer<'static> {
    let at = |days| OffsetDateTime::from_unix_timestamp(NOW).unwrap() + Days::days(days);
    let params = CertificateRevocationListParams {
        this_update: at(days.0),
        next_update: at(days.1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: place.map(|place| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![place.to_owned()],
            },
            scope: None,
        }),
        revoked_certs: revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: at(days.0),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().der().clone()
}

fn with_crls(ca: &Authority, lists: &[CertificateRevocationListDer<'static>]) -> PeerVerifier {
    let crls = Crls::from_der(lists.iter().cloned()).unwrap();
    spiffe(ca).with_crls(Arc::new(crls))
}

#[test]
fn revocation_covers_the_chain_denies_the_unknown_and_expires() {
    let ca = Authority::root("ca");
    let int = ca.sub(&Spec {
        serial: Some(5),
        ..Spec::ca("int")
    });
    let leaf = |serial| Spec {
        serial: Some(serial),
        ..Spec::svid(ID)
    };
    let (good, bad) = (int.issue(&leaf(8)), int.issue(&leaf(7)));
    let fresh = (-1, 1);
    let (clean, issued) = (crl(&ca, &[], fresh, None), crl(&int, &[7], fresh, None));
    for (lists, pair, verdict) in [
        (vec![clean.clone(), issued.clone()], &good, "ok"),
        (vec![clean.clone(), issued.clone()], &bad, "revoked"),
        (
            vec![crl(&ca, &[5], fresh, None), issued.clone()],
            &good,
            "revoked",
        ),
        (vec![issued.clone()], &good, "unknown-revocation-status"),
        (vec![clean.clone()], &good, "unknown-revocation-status"),
        (
            vec![clean.clone(), crl(&int, &[], (-9, -2), None)],
            &good,
            "crl-expired",
        ),
        (
            vec![clean, crl(&Authority::root("int"), &[7], fresh, None)],
            &bad,
            "crl-unusable",
        ),
    ] {
        assert_eq!(code_of(&with_crls(&ca, &lists), pair), verdict);
    }
}

/// webpki asks the first list that speaks for a certificate, so an older one could hide a newer one.
#[test]
fn the_newest_list_counts_in_whatever_order() {
    let ca = Authority::root("ca");
    let pair = ca.issue(&Spec {
        serial: Some(7),
        ..Spec::svid(ID)
    });
    let many: Vec<u64> = (1000..4000).collect();
    let revoked: Vec<u64> = many.iter().copied().chain([7]).collect();
    for (older, newer) in [
        // By date, also across the two spellings of time (RFC 5280, 5.1.2.4).
        (
            numbered_crl(&ca, &many, (-3, 90), None, 9),
            numbered_crl(&ca, &[7], (-2, 1), None, 1),
        ),
        (
            crl(&ca, &[], (-365 * 30, 1), None),
            crl(&ca, &revoked, (-2, 1), None),
        ),
        (
            crl(&ca, &[], (-2, 365 * 40), None),
            crl(&ca, &[7], (365 * 30, 365 * 40), None),
        ),
        // By number if they are of the same second.
        (
            numbered_crl(&ca, &[], (-2, 1), None, 255),
            numbered_crl(&ca, &[7], (-2, 1), None, 256),
        ),
    ] {
        for lists in [[older.clone(), newer.clone()], [newer, older]] {
            assert_eq!(code_of(&with_crls(&ca, &lists), &pair), "revoked");
            let crls = Crls::from_der(lists).unwrap();
            let auth = ClientAuth::new(None, Some(&roots(&ca)), Some(&crls), &Arc::new(provider()));
            let Ok(ClientAuth::Verified(verifier)) = auth else {
                panic!("{auth:?}");
            };
            let refused = verifier.verify_client_cert(pair.leaf(), &[], now());
            assert_eq!(refusal(&refused.unwrap_err()).code(), "revoked");
        }
    }
}

/// RUSTSEC-2026: of several distribution points only the first was compared with the list's.
#[test]
fn a_list_for_the_second_distribution_point_counts() {
    let ca = Authority::root("ca");
    let points = ["http://a.test/1", "http://a.test/2"];
    let mut spec = Spec {
        serial: Some(7),
        ..Spec::svid(ID)
    };
    spec.crl_points = points
        .map(|uri| CrlDistributionPoint {
            uris: vec![uri.to_owned()],
        })
        .to_vec();
    let pair = ca.issue(&spec);
    for place in points {
        let verifier = with_crls(&ca, &[crl(&ca, &[7], (-1, 1), Some(place))]);
        assert_eq!(code_of(&verifier, &pair), "revoked", "{place}");
    }
    let elsewhere = with_crls(&ca, &[crl(&ca, &[7], (-1, 1), Some("http://a.test/3"))]);
    assert_eq!(code_of(&elsewhere, &pair), "unknown-revocation-status");
}

/// GHSA-82j2-j2ch-gfr8: a revocation list that panicked its reader.
#[test]
fn broken_revocation_lists_are_errors() {
    let ca = Authority::root("ca");
    let pair = ca.issue(&Spec {
        serial: Some(7),
        ..Spec::svid(ID)
    });
    let good = crl(&ca, &[7, 8, 9], (-1, 1), Some("http://a.test/1"));
    for end in 0..good.len() {
        let cut = CertificateRevocationListDer::from(good[..end].to_vec());
        assert!(Crls::from_der([cut]).is_err(), "{end}");
    }
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = good.to_vec();
            bytes[at] ^= flip;
            if let Ok(crls) = Crls::from_der([bytes.into()]) {
                let verifier = spiffe(&ca).with_crls(Arc::new(crls));
                assert_ne!(code_of(&verifier, &pair), "ok", "{at} {flip}");
            }
        }
    }
}

/// CVE-2018-16875, RUSTSEC-2023-0053: chains that keep a verifier busy.
#[test]
fn a_maze_of_issuers_is_left_in_time() {
    let ca = Authority::root("ca");
    let start = Instant::now();
    // All of one name, so that each may have signed each.
    let mut maze = Authority::root("maze").sub(&Spec::ca("maze"));
    let mut chain = Vec::new();
    for _ in 0..15 {
        maze = maze.sub(&Spec::ca("maze"));
        chain.push(maze.certificate.clone());
    }
    chain.insert(0, maze.issue(&Spec::svid(ID)).leaf().clone());
    let code = code(&spiffe(&ca), &chain);
    // webpki gives up after 100 signatures or 200 000 steps; the limit is for an unoptimised build on a
    // busy machine, where without these budgets the search would go on for days.
    assert_eq!(code, "too-much-work");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(120), "{took:?}");
}

/// Envoy CVE-2022-21656: the text of one kind of name taken for another.
#[test]
fn kinds_of_names_are_not_mixed_up() {
    let ca = Authority::root("ca");
    let text = || vec![ID.to_owned()];
    for spec in [
        Spec {
            dns: text(),
            ..Spec::leaf()
        },
        Spec {
            emails: text(),
            ..Spec::leaf()
        },
        Spec {
            common_name: ID.to_owned(),
            ..Spec::leaf()
        },
    ] {
        let pair = ca.issue(&spec);
        assert_eq!(code_of(&spiffe(&ca), &pair), "no-uri-san");
        assert_eq!(code_of(&names(&ca, uri(ID)), &pair), "no-matching-san");
    }
    let pair = ca.issue(&Spec {
        uris: vec![b"web.test".to_vec()],
        common_name: "web.test".to_owned(),
        ..Spec::leaf()
    });
    assert_eq!(
        code_of(&names(&ca, dns("web.test")), &pair),
        "no-matching-san"
    );
}

/// Envoy CVE-2022-21657: any extended key usage would do.
#[test]
fn the_purpose_counts_on_every_level() {
    let ca = Authority::root("ca");
    let for_mail = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let leaf = ca.issue(&Spec {
        purposes: for_mail.clone(),
        ..Spec::svid(ID)
    });
    let int = ca.sub(&Spec {
        purposes: for_mail,
        ..Spec::ca("int")
    });
    for pair in [leaf, int.issue(&Spec::svid(ID))] {
        assert_eq!(code_of(&spiffe(&ca), &pair), "wrong-purpose");
        assert_eq!(code_of(&names(&ca, uri(ID)), &pair), "wrong-purpose");
    }
}

/// nginx CVE-2025-23419, Traefik GHSA-gv8r-9rw9-9697, Go issue 77217, Envoy CVE-2022-21654: a session made under
/// one configuration resumed under another. Here clients and servers share everything that can be shared.
#[test]
fn sessions_do_not_cross_configurations() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let pair = ca.issue(&Spec::host("web.test"));
    let config = |ca: &Authority| {
        let mut root = RootCa::default();
        root.file = Some("ca.pem".to_owned());
        let mut transport = ServersTransport::default();
        transport.root_cas = vec![root];
        let mut material = Material::default();
        material.insert_file("ca.pem", ca.pem());
        match transport.validate().unwrap() {
            Upstream::Verified(upstream) => Arc::new(
                upstream
                    .client_config(&provider(), Clock::fixed(), &material)
                    .unwrap(),
            ),
            Upstream::Danger(_) => panic!("not verified"),
        }
    };
    let (one, two) = (config(&ca), config(&other));
    let server = server(&pair);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        assert_eq!(
            connect(&one, "web.test", server.clone()).unwrap().kind,
            kind
        );
    }
    let error = connect(&two, "web.test", server).unwrap_err();
    assert_eq!(refusal(&error).code(), "unknown-issuer");

    // The server's side: the same session store under two sets of client CAs.
    let client = |ca: &Authority| {
        let pair = ca.issue(&Spec::svid("spiffe://td.test/client"));
        let key = certwright_transport::Identity::from_der(
            pair.chain.clone(),
            pair.key_der(),
            &provider(),
        )
        .unwrap();
        let mut config = (*one).clone();
        config.client_auth_cert_resolver =
            Arc::new(certwright_transport::identity::Candidates::new(vec![key]));
        Arc::new(config)
    };
    let verifying =
        |ca: &Authority| match ClientAuth::new(None, Some(&roots(ca)), None, &Arc::new(provider()))
            .unwrap()
        {
            ClientAuth::Verified(verifier) => verifier,
            other => panic!("{other:?}"),
        };
    let first = server_for(&pair, verifying(&ca));
    let mut second = (*server_for(&pair, verifying(&other))).clone();
    certwright_transport::server::never_resume(&mut second);
    let client = client(&ca);
    assert!(connect(&client, "web.test", first).is_ok());
    assert!(connect(&client, "web.test", Arc::new(second)).is_err());
}

/// Go CVE-2024-45341, CVE-2009-2408, and every other spelling that some parser somewhere normalises.
#[test]
fn odd_spellings_are_no_spiffe_ids() {
    let ca = Authority::root("ca");
    for text in [
        "spiffe://[fe80::1%25eth0]/x",
        "spiffe://td.test/server\0.evil",
        "spiffe://td.test\0.evil/server",
        "spiffe://td.test/%73erver",
        "spiffe://td.test./server#",
        "spiffe://td.test/server?",
        "spiffe://TD.test/server",
        "spiffe://user@td.test/server",
        "spiffe:/td.test/server",
        " spiffe://td.test/server",
    ] {
        let pair = ca.issue(&Spec::svid(text));
        assert_eq!(code_of(&spiffe(&ca), &pair), "bad-spiffe-id", "{text:?}");
        assert_eq!(
            code_of(&names(&ca, uri(ID)), &pair),
            "no-matching-san",
            "{text:?}"
        );
    }
    for (text, verdict) in [
        ("spiffe://td.test./server", "no-bundle-for-trust-domain"),
        (
            "spiffe://xn--td-8ia.test/server",
            "no-bundle-for-trust-domain",
        ),
        ("spiffe://td.test/Server", "ok"),
    ] {
        assert_eq!(
            code_of(&spiffe(&ca), &ca.issue(&Spec::svid(text))),
            verdict,
            "{text}"
        );
    }
    let id = SpiffePolicy::Ids(vec![ID.parse().unwrap()]);
    assert!(
        id.authorize(&"spiffe://td.test/Server".parse().unwrap())
            .is_err()
    );
}

/// Envoy CVE-2020-15104: a wildcard over several labels.
#[test]
fn a_wildcard_is_one_label() {
    let ca = Authority::root("ca");
    let pair = ca.issue(&Spec::host("*.web.test"));
    for (name, verdict) in [
        ("a.web.test", "ok"),
        ("b.a.web.test", "no-matching-san"),
        ("web.test", "no-matching-san"),
    ] {
        assert_eq!(code_of(&names(&ca, dns(name)), &pair), verdict, "{name}");
    }
}

/// Node CVE-2021-44531: a URI name accepted for the host. spiffe/spiffe 375: roots of all domains in one pool.
#[test]
fn identity_is_proven_by_its_own_kind_and_domain() {
    let (one, two) = (Authority::root("one"), Authority::root("two"));
    let pair = one.issue(&Spec {
        uris: vec![b"https://web.test".to_vec()],
        ..Spec::leaf()
    });
    assert_eq!(
        code_of(&names(&one, dns("web.test")), &pair),
        "no-matching-san"
    );
    let mut both = bundles(&one);
    both.insert(&"two.test".parse().unwrap(), roots(&two));
    let algorithms = provider().signature_verification_algorithms.all;
    let verifier = PeerVerifier::spiffe(SpiffePolicy::Any, both, algorithms);
    for (ca, id, verdict) in [
        (&one, "spiffe://td.test/a", "ok"),
        (&two, "spiffe://two.test/a", "ok"),
        (&one, "spiffe://two.test/a", "unknown-issuer"),
        (&two, "spiffe://td.test/a", "unknown-issuer"),
    ] {
        assert_eq!(
            code_of(&verifier, &ca.issue(&Spec::svid(id))),
            verdict,
            "{id}"
        );
        let presented = ca.sub(&Spec::ca("int")).issue(&Spec::svid(id));
        assert_eq!(code_of(&verifier, &presented), verdict, "{id}");
    }
}

/// Traefik: a transport that cannot be built ran with the platform's defaults: no pin, no client certificate.
#[test]
fn nothing_falls_back() {
    let transport = |change: fn(&mut ServersTransport)| {
        let mut transport = ServersTransport::default();
        change(&mut transport);
        transport.validate()
    };
    assert!(
        transport(|it| {
            let mut spiffe = Spiffe::default();
            spiffe.ids = vec!["x".to_owned()];
            it.spiffe = Some(spiffe);
        })
        .is_err()
    );
    assert!(transport(|it| it.cipher_suites = vec!["NOPE".to_owned()]).is_err());
    assert!(
        transport(|it| {
            it.spiffe = Some(Spiffe::default());
            it.server_name = Some("web.test".to_owned());
        })
        .is_err()
    );
    // An unknown kind of name matched nothing there, and only in the handshake.
    assert!(
        transport(|it| {
            let mut san = San::default();
            san.kind = "Email".to_owned();
            it.peer_cert_sans = vec![san];
        })
        .is_err()
    );
}

/// Traefik: roots that cannot be read were skipped; with none left the system's took their place.
#[test]
fn unreadable_roots_are_not_skipped() {
    let system = Authority::root("system");
    let mut root = RootCa::default();
    root.file = Some("ca.pem".to_owned());
    let mut transport = ServersTransport::default();
    transport.root_cas = vec![root];
    let Upstream::Verified(upstream) = transport.validate().unwrap() else {
        panic!("not verified");
    };
    for (text, error) in [
        (None, "rootCAs[0] names file ca.pem, which is not there"),
        (
            Some("TESTROOTCAS".to_owned()),
            "rootCAs[0]: file ca.pem does not hold usable roots",
        ),
        (
            Some(format!("{}{}", system.pem(), pki::pem("CERTIFICATE", b"x"))),
            "rootCAs[0]: file ca.pem does not hold usable roots",
        ),
    ] {
        let mut material = Material::default();
        material.system_roots = Some(roots(&system));
        if let Some(text) = text {
            material.insert_file("ca.pem", text);
        }
        let config = upstream.client_config(&provider(), Clock::fixed(), &material);
        assert_eq!(config.unwrap_err().to_string(), error);
    }
    let nothing = ServersTransport::default().validate().unwrap();
    let Upstream::Verified(nothing) = nothing else {
        panic!("not verified");
    };
    let config = nothing.client_config(&provider(), Clock::fixed(), &Material::default());
    assert!(
        config
            .unwrap_err()
            .to_string()
            .starts_with("there are no roots")
    );
}

/// Traefik: a client certificate that fails to load was skipped at debug level.
#[test]
fn unreadable_client_certificates_are_not_skipped() {
    let ca = Authority::root("ca");
    let (one, two) = (ca.issue(&Spec::leaf()), ca.issue(&Spec::leaf()));
    let mut transport = ServersTransport::default();
    transport.namespace = Some("ns".to_owned());
    transport.certificates_secrets = vec!["client".to_owned()];
    let Upstream::Verified(upstream) = transport.validate().unwrap() else {
        panic!("not verified");
    };
    for (chain, key, error) in [
        (
            one.chain_pem(),
            two.key_pem(),
            "the private key does not fit the first certificate",
        ),
        (one.key_pem(), one.key_pem(), "there is no certificate"),
        (
            one.chain_pem(),
            one.chain_pem(),
            "there must be exactly one private key",
        ),
    ] {
        let mut secret = certwright_cert_model::TlsSecret::new("ns", "client");
        secret.insert("tls.crt", chain);
        secret.insert("tls.key", key);
        let mut material = Material::default();
        material.system_roots = Some(roots(&ca));
        material.insert_secret(secret);
        let found = upstream
            .client_config(&provider(), Clock::fixed(), &material)
            .unwrap_err();
        assert_eq!(
            found.to_string(),
            "certificatesSecrets[0]: Secret ns/client cannot be shown to the server"
        );
        let cause = std::error::Error::source(&found).unwrap();
        assert_eq!(cause.to_string(), error);
    }
}

/// Traefik: `minVersion` alone was always refused, and so dropped all of the transport's TLS settings.
#[test]
fn a_minimum_alone_is_fine() {
    let mut transport = ServersTransport::default();
    transport.min_version = Some("VersionTLS12".to_owned());
    assert!(matches!(
        transport.validate(),
        Ok(Upstream::Verified(upstream)) if *upstream.policy() == PeerPolicy::ServerName
    ));
}
