//! What holds for every input, also for bytes nobody would send.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/wire.rs"]
mod wire;

use std::sync::LazyLock;

use certwright_cert_model::document::{self, Format, Strictness};
use certwright_transport::bundle::{Bundle, TrustBundles};
use certwright_transport::peer::{HostName, PeerSan, SpiffePolicy};
use certwright_transport::verify::{PeerRole, PeerVerifier, spiffe_id};
use certwright_transport::{Roots, ServersTransport, Upstream};
use pki::{Authority, Pair, Spec, now};
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

const ID: &str = "spiffe://td.test/server";

struct World {
    pair: Pair,
    spiffe: PeerVerifier,
    names: PeerVerifier,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ca = Authority::root("ca");
    let algorithms = wire::provider().signature_verification_algorithms.all;
    let roots = Roots::from_der([ca.certificate.clone()]).unwrap();
    let mut bundles = TrustBundles::default();
    bundles.insert(&"td.test".parse().unwrap(), roots.clone());
    let san = PeerSan::Uri(ID.parse().unwrap());
    World {
        pair: ca.sub(&Spec::ca("int")).issue(&Spec::svid(ID)),
        spiffe: PeerVerifier::spiffe(SpiffePolicy::Any, bundles, algorithms),
        names: PeerVerifier::peer_sans(vec![san], HostName::Replaced, roots, algorithms),
    }
});

fn refused(chain: &[CertificateDer<'_>]) -> bool {
    [&WORLD.spiffe, &WORLD.names].iter().all(|verifier| {
        verifier
            .verify_chain(chain, PeerRole::Client, now())
            .is_err()
    })
}

/// A reference written as plainly as possible: label by label.
fn naive(wanted: &str, presented: &str) -> bool {
    let (wanted, presented) = (wanted.to_lowercase(), presented.to_lowercase());
    let wanted: Vec<_> = wanted.split('.').collect();
    let presented: Vec<_> = presented.split('.').collect();
    wanted.len() == presented.len()
        && wanted
            .iter()
            .zip(&presented)
            .enumerate()
            .all(|(i, (a, b))| a == b || i == 0 && *b == "*" && presented.len() > 2)
}

proptest! {
    #[test]
    fn one_changed_byte_is_never_accepted(certificate in 0..2_usize, at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut chain = WORLD.pair.chain.clone();
        prop_assert!(!refused(&chain));
        let mut der = chain[certificate].to_vec();
        let at = at.index(der.len());
        der[at] ^= flip;
        chain[certificate] = der.into();
        prop_assert!(refused(&chain));
    }

    #[test]
    fn arbitrary_bytes_are_refused(chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        prop_assert!(refused(&chain));
        prop_assert!(spiffe_id(&chain).is_err());
    }

    #[test]
    fn the_order_of_the_rest_does_not_matter(junk in prop::collection::vec(any::<u8>(), 0..50), front in any::<bool>()) {
        let mut chain = WORLD.pair.chain.clone();
        chain.insert(if front { 1 } else { 2 }, junk.into());
        prop_assert!(WORLD.spiffe.verify_chain(&chain, PeerRole::Client, now()).is_ok());
    }

    #[test]
    fn dns_names_match_as_a_naive_reference_does(wanted in "[a-cA-C]{1,2}(\\.[a-b]){0,3}", presented in "(\\*\\.)?[a-bA-B](\\.[a-b]){0,3}") {
        let ca = Authority::root("ca");
        let algorithms = wire::provider().signature_verification_algorithms.all;
        let roots = Roots::from_der([ca.certificate.clone()]).unwrap();
        let san = PeerSan::Dns(wanted.parse().unwrap());
        let verifier = PeerVerifier::peer_sans(vec![san], HostName::Replaced, roots, algorithms);
        let pair = ca.issue(&Spec::host(&presented));
        let accepted = verifier.verify_chain(&pair.chain, PeerRole::Client, now()).is_ok();
        prop_assert_eq!(accepted, naive(&wanted, &presented));
    }

    #[test]
    fn a_policy_is_membership(ids in prop::collection::vec("spiffe://[ab]\\.test/[ab]", 0..4), id in "spiffe://[ab]\\.test/[ab]", domain in "[ab]\\.test") {
        let of_ids = SpiffePolicy::Ids(ids.iter().map(|id| id.parse().unwrap()).collect());
        let of_domain = SpiffePolicy::TrustDomain(domain.parse().unwrap());
        let peer = id.parse().unwrap();
        prop_assert_eq!(of_ids.authorize(&peer).is_ok(), ids.contains(&id));
        prop_assert_eq!(of_domain.authorize(&peer).is_ok(), id.starts_with(&format!("spiffe://{domain}/")));
        prop_assert!(SpiffePolicy::Any.authorize(&peer).is_ok());
    }

    #[test]
    fn bundles_are_read_or_refused(text in "[{}\\[\\]\":,a-z0-9-]{0,60}", member in "[a-z_]{1,8}") {
        let _ = Bundle::from_json(&text);
        let _ = TrustBundles::from_json(&text);
        let twice = format!("{{\"keys\":[],\"{member}\":1,\"{member}\":1}}");
        prop_assert!(Bundle::from_json(&twice).is_err());
    }

    #[test]
    fn skipping_verification_is_always_danger(name in prop::option::of("[a-z]{1,5}\\.test"), skip in any::<bool>(), peer in prop::option::of("[a-z]{2,5}:[a-z]{1,5}"), spiffe in any::<bool>()) {
        let mut transport = ServersTransport::default();
        transport.server_name = name.clone();
        transport.insecure_skip_verify = skip;
        transport.peer_cert_uri = peer.clone();
        transport.spiffe = spiffe.then(Default::default);
        match transport.validate() {
            Err(_) => prop_assert!(spiffe && (name.is_some() || skip || peer.is_some())),
            Ok(Upstream::Danger(_)) => prop_assert!(skip && peer.is_none() && !spiffe),
            Ok(Upstream::Verified(_)) => prop_assert!(!skip || peer.is_some()),
        }
    }

    #[test]
    fn every_document_is_read_or_refused(text in "(serverName|rootCAs|spiffe|ids|minVersion|forwardingTimeouts|dialTimeout|certificates|[:\\[\\]{} ,\n-]|[0-9]){0,30}") {
        let resource = format!("apiVersion: traefik.io/v1alpha1\nkind: ServersTransport\nmetadata: {{name: a}}\nspec: {{{text}}}\n");
        for text in [&text, &resource] {
            for document in document::parse(text, Format::Yaml).into_iter().flatten() {
                for strictness in [Strictness::Strict, Strictness::Lenient] {
                    let _ = ServersTransport::decode(&document.root, strictness).and_then(ServersTransport::validate);
                    let _ = ServersTransport::decode_dynamic(&document.root, strictness).and_then(ServersTransport::validate_all);
                }
            }
        }
    }
}
