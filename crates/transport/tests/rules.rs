//! The rules of the core, certificate by certificate.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;

use certwright_transport::PeerError;
use certwright_transport::bundle::{Bundle, TrustBundles};
use certwright_transport::peer::{HostName, PeerIdentity, PeerSan, SpiffePolicy};
use certwright_transport::roots::Roots;
use certwright_transport::verify::{PeerRole, PeerVerifier, SvidProfile};
use pki::{Authority, Pair, Spec, name_constraint, now};
use rcgen::{ExtendedKeyUsagePurpose as Purpose, KeyUsagePurpose as Usage};
use rustls_pki_types::{ServerName, SignatureVerificationAlgorithm};

const ID: &str = "spiffe://domain1.test/workload";

fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    rustls::crypto::aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all
}

struct World {
    one: Authority,
    two: Authority,
    server: ServerName<'static>,
}

impl World {
    fn new() -> Self {
        Self {
            one: Authority::root("one"),
            two: Authority::root("two"),
            server: "web.test".try_into().unwrap(),
        }
    }

    fn bundles(&self) -> TrustBundles {
        let mut bundles = TrustBundles::default();
        for (domain, ca) in [("domain1.test", &self.one), ("domain2.test", &self.two)] {
            let roots = Roots::from_der([ca.certificate.clone()]).unwrap();
            bundles.insert(&domain.parse().unwrap(), roots);
        }
        bundles
    }

    fn verify(&self, pair: &Pair) -> Result<PeerIdentity, PeerError> {
        PeerVerifier::spiffe(SpiffePolicy::Any, self.bundles(), algorithms()).verify_chain(
            &pair.chain,
            PeerRole::Server(&self.server),
            now(),
        )
    }

    fn code(&self, pair: &Pair) -> &'static str {
        self.verify(pair)
            .map_or_else(|error| error.code(), |_| "ok")
    }
}

#[test]
fn rules_of_the_leaf() {
    let world = World::new();
    let svid = || Spec::svid(ID);
    let uris = |uris: &[&str]| Spec {
        uris: uris.iter().map(|uri| uri.as_bytes().to_vec()).collect(),
        ..Spec::leaf()
    };
    let usage = |usage: &[Usage]| Spec {
        key_usage: Some(usage.to_vec()),
        ..svid()
    };
    let critical = || {
        let mut extension =
            rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        extension.set_criticality(true);
        vec![extension]
    };
    for (spec, code) in [
        (svid(), "ok"),
        (Spec { ca: None, ..svid() }, "ok"),
        (
            Spec {
                ca: Some(true),
                ..svid()
            },
            "leaf-is-ca",
        ),
        (
            Spec {
                dns: vec!["a.test".to_owned()],
                ..svid()
            },
            "ok",
        ),
        (
            Spec {
                uris: vec![],
                dns: vec![ID.to_owned()],
                ..svid()
            },
            "no-uri-san",
        ),
        (
            Spec {
                uris: vec![],
                emails: vec![ID.to_owned()],
                ..svid()
            },
            "no-uri-san",
        ),
        (
            Spec {
                uris: vec![],
                common_name: ID.to_owned(),
                ..svid()
            },
            "no-uri-san",
        ),
        (uris(&["https://example.org/x", ID]), "multiple-uri-sans"),
        (uris(&[ID, "spiffe://%"]), "multiple-uri-sans"),
        (uris(&["https://domain1.test/workload"]), "bad-spiffe-id"),
        (uris(&["SPIFFE://domain1.test/workload"]), "bad-spiffe-id"),
        (uris(&["spiffe://domain1.test/work\0load"]), "bad-spiffe-id"),
        (uris(&["spiffe://domain1.test/w\u{f6}rk"]), "bad-spiffe-id"),
        (uris(&["spiffe://domain1.test/workload#"]), "bad-spiffe-id"),
        (uris(&["spiffe://domain1.test:1/workload"]), "bad-spiffe-id"),
        (uris(&["spiffe://domain1.test"]), "leaf-id-without-path"),
        (
            Spec {
                uris: vec![b"spiffe://domain1.test/\xff".to_vec()],
                ..svid()
            },
            "bad-spiffe-id",
        ),
        (
            uris(&["spiffe://domain3.test/w"]),
            "no-bundle-for-trust-domain",
        ),
        (
            usage(&[Usage::DigitalSignature, Usage::KeyEncipherment]),
            "ok",
        ),
        (
            usage(&[Usage::DigitalSignature, Usage::KeyCertSign]),
            "leaf-key-usage",
        ),
        (
            usage(&[Usage::DigitalSignature, Usage::CrlSign]),
            "leaf-key-usage",
        ),
        (usage(&[Usage::KeyEncipherment]), "leaf-key-usage"),
        (
            Spec {
                key_usage: None,
                ..svid()
            },
            "leaf-key-usage",
        ),
        (
            Spec {
                purposes: vec![],
                ..svid()
            },
            "ok",
        ),
        (
            Spec {
                purposes: vec![Purpose::ServerAuth],
                ..svid()
            },
            "ok",
        ),
        (
            Spec {
                purposes: vec![Purpose::ClientAuth],
                ..svid()
            },
            "wrong-purpose",
        ),
        (
            Spec {
                purposes: vec![Purpose::Any],
                ..svid()
            },
            "wrong-purpose",
        ),
        (
            Spec {
                purposes: vec![Purpose::EmailProtection],
                ..svid()
            },
            "wrong-purpose",
        ),
        (
            Spec {
                days: (-20, -10),
                ..svid()
            },
            "expired",
        ),
        (
            Spec {
                days: (10, 20),
                ..svid()
            },
            "not-yet-valid",
        ),
        (
            Spec {
                extensions: critical(),
                ..svid()
            },
            "unknown-critical-extension",
        ),
        (
            Spec {
                dns: (0..255).map(|i| format!("a{i}.test")).collect(),
                ..svid()
            },
            "ok",
        ),
        (
            Spec {
                dns: (0..256).map(|i| format!("a{i}.test")).collect(),
                ..svid()
            },
            "too-many-names",
        ),
    ] {
        let pair = world.one.issue(&spec);
        assert_eq!(
            world.code(&pair),
            code,
            "{:?} {:?}",
            spec.uris,
            spec.key_usage
        );
    }
}

#[test]
fn a_client_needs_the_purpose_of_clients() {
    let world = World::new();
    let verifier = PeerVerifier::spiffe(SpiffePolicy::Any, world.bundles(), algorithms());
    for (purposes, code) in [
        (vec![Purpose::ClientAuth], None),
        (vec![Purpose::ServerAuth], Some("wrong-purpose")),
    ] {
        let pair = world.one.issue(&Spec {
            purposes,
            ..Spec::svid(ID)
        });
        let verdict = verifier.verify_chain(&pair.chain, PeerRole::Client, now());
        assert_eq!(verdict.err().map(|error| error.code()), code);
    }
}

#[test]
fn rules_of_the_chain() {
    let world = World::new();
    let ca = || Spec::ca("int");
    let svid = Spec::svid(ID);
    let signed = |spec: &Spec| world.one.sub(spec).issue(&svid);
    for (name, pair, code) in [
        ("intermediate", signed(&ca()), "ok"),
        (
            "no CA",
            signed(&Spec {
                ca: Some(false),
                ..ca()
            }),
            "issuer-not-ca",
        ),
        (
            "no signing",
            signed(&Spec {
                key_usage: Some(vec![Usage::DigitalSignature]),
                ..ca()
            }),
            "issuer-key-usage",
        ),
        (
            "no key usage",
            signed(&Spec {
                key_usage: None,
                ..ca()
            }),
            "ok",
        ),
        (
            "expired",
            signed(&Spec {
                days: (-20, -10),
                ..ca()
            }),
            "expired",
        ),
        (
            "permitted",
            signed(&Spec {
                extensions: vec![name_constraint(0, 0x86, "domain1.test")],
                ..ca()
            }),
            "name-constraint",
        ),
        (
            "excluded",
            signed(&Spec {
                extensions: vec![name_constraint(1, 0x86, "domain1.test")],
                ..ca()
            }),
            "name-constraint",
        ),
        (
            "DNS only",
            signed(&Spec {
                extensions: vec![name_constraint(0, 0x82, "example.org")],
                ..ca()
            }),
            "ok",
        ),
        (
            "other domain's root",
            world.two.issue(&svid),
            "unknown-issuer",
        ),
        (
            "federated",
            world.two.issue(&Spec::svid("spiffe://domain2.test/w")),
            "ok",
        ),
        (
            "impersonation",
            world.one.issue(&Spec::svid("spiffe://domain2.test/w")),
            "unknown-issuer",
        ),
        (
            "path length",
            world
                .one
                .sub(&Spec {
                    path_length: Some(0),
                    ..ca()
                })
                .sub(&Spec::ca("int2"))
                .issue(&svid),
            "path-length",
        ),
        (
            "issuer ID",
            signed(&Spec {
                uris: vec![b"spiffe://domain1.test/ca".to_vec()],
                ..ca()
            }),
            "ok",
        ),
    ] {
        assert_eq!(world.code(&pair), code, "{name}");
    }
    let mut missing = signed(&ca());
    missing.chain.truncate(1);
    assert_eq!(world.code(&missing), "unknown-issuer");
    let mut extra = world.one.issue(&svid);
    extra.chain.push(world.two.sub(&ca()).certificate);
    assert_eq!(world.code(&extra), "ok");
    extra.chain.resize(17, world.two.certificate.clone());
    assert_eq!(world.code(&extra), "chain-too-long");
    extra.chain.clear();
    assert_eq!(world.code(&extra), "no-certificate");
}

#[test]
fn another_path_is_tried_when_an_issuer_may_not_sign() {
    let world = World::new();
    let mut bad = Spec::ca("int");
    bad.key_usage = Some(vec![Usage::DigitalSignature]);
    let key = rcgen::KeyPair::generate().unwrap();
    let copy = rcgen::KeyPair::from_pem(&key.serialize_pem()).unwrap();
    let bad = world.one.sub_for(&bad, key);
    let good = world.one.sub_for(&Spec::ca("int"), copy);
    let mut pair = bad.issue(&Spec::svid(ID));
    assert_eq!(world.code(&pair), "issuer-key-usage");
    pair.chain.push(good.certificate);
    assert_eq!(world.code(&pair), "ok");
}

#[test]
fn a_removed_root_revokes_the_domain() {
    let world = World::new();
    let pair = world.one.issue(&Spec::svid(ID));
    let mut bundles = world.bundles();
    bundles.insert(&"domain1.test".parse().unwrap(), Bundle::default());
    let code = |bundles: &TrustBundles| {
        PeerVerifier::spiffe(SpiffePolicy::Any, bundles.clone(), algorithms())
            .verify_chain(&pair.chain, PeerRole::Client, now())
            .unwrap_err()
            .code()
    };
    assert_eq!(code(&bundles), "no-usable-anchors");
    bundles.remove(&"domain1.test".parse().unwrap());
    assert_eq!(code(&bundles), "no-bundle-for-trust-domain");
}

#[test]
fn the_strict_profile() {
    let world = World::new();
    let verifier = PeerVerifier::spiffe(SpiffePolicy::Any, world.bundles(), algorithms())
        .with_profile(SvidProfile::Strict);
    let issuer = |id: &str| Spec {
        uris: vec![id.as_bytes().to_vec()],
        ..Spec::ca("int")
    };
    let svid = Spec::svid(ID);
    for (pair, code) in [
        (world.one.issue(&svid), None),
        (
            world.one.issue(&Spec {
                ca: None,
                ..svid.clone()
            }),
            Some("leaf-without-basic-constraints"),
        ),
        (
            world.one.sub(&issuer("spiffe://domain1.test")).issue(&svid),
            None,
        ),
        (
            world
                .one
                .sub(&issuer("spiffe://domain1.test/ca"))
                .issue(&svid),
            Some("issuer-id-has-path"),
        ),
    ] {
        let verdict = verifier.verify_chain(&pair.chain, PeerRole::Client, now());
        assert_eq!(verdict.err().map(|error| error.code()), code);
    }
}

#[test]
fn peer_names() {
    let world = World::new();
    let spec = Spec {
        uris: vec![
            b"https://example.org".to_vec(),
            b"spiffe://foo.com".to_vec(),
        ],
        dns: vec!["web.test".to_owned()],
        ..Spec::leaf()
    };
    let uri = |text: &str| PeerSan::Uri(text.parse().unwrap());
    let other: ServerName<'_> = "other.test".try_into().unwrap();
    for (sans, host_name, name, ca, code) in [
        (
            vec![uri("spiffe://foo.com")],
            HostName::Checked,
            &world.server,
            &world.one,
            "ok",
        ),
        (
            vec![uri("a:b"), uri("spiffe://foo.com")],
            HostName::Checked,
            &world.server,
            &world.one,
            "ok",
        ),
        (
            vec![uri("spiffe://foo.com")],
            HostName::Checked,
            &other,
            &world.one,
            "name-mismatch",
        ),
        (
            vec![uri("spiffe://foo.com")],
            HostName::Replaced,
            &other,
            &world.one,
            "ok",
        ),
        (
            vec![uri("spiffe://foo.com")],
            HostName::Replaced,
            &other,
            &world.two,
            "unknown-issuer",
        ),
        (
            vec![uri("spiffe://foo.com/a")],
            HostName::Replaced,
            &other,
            &world.one,
            "no-matching-san",
        ),
        (
            vec![],
            HostName::Replaced,
            &other,
            &world.one,
            "no-matching-san",
        ),
    ] {
        let roots = Roots::from_der([ca.certificate.clone()]).unwrap();
        let pair = world.one.issue(&spec);
        let verdict = PeerVerifier::peer_sans(sans, host_name, roots, algorithms()).verify_chain(
            &pair.chain,
            PeerRole::Server(name),
            now(),
        );
        assert_eq!(verdict.map_or_else(|error| error.code(), |_| "ok"), code);
    }
}

#[test]
fn a_wrong_host_never_hides_an_unknown_root() {
    let world = World::new();
    let other: ServerName<'_> = "other.test".try_into().unwrap();
    let roots = Roots::from_der([world.two.certificate.clone()]).unwrap();
    let pair = world.one.issue(&Spec::host("web.test"));
    let san = PeerSan::Dns("web.test".parse().unwrap());
    let verdict = PeerVerifier::peer_sans(vec![san], HostName::Checked, roots, algorithms())
        .verify_chain(&pair.chain, PeerRole::Server(&other), now());
    assert_eq!(verdict.unwrap_err().code(), "unknown-issuer");
}
