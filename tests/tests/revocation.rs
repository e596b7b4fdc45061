//! What our CA revokes, every transport of ours refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration as StdDuration;

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::usage::Usages;
use certwright_issuance::crl::{Crl, RevocationList, RevocationReason, Revoked};
use certwright_issuance::csr::Request;
use certwright_issuance::{
    CertificateAuthority, CsrPolicy, KeyPair, Profile, SignedBundle, VerifiedCsr, self_signed,
};
use certwright_transport::bundle::TrustBundles;
use certwright_transport::client_auth::{ClientAuth, ClientAuthType};
use certwright_transport::revocation::Crls;
use certwright_transport::servers_transport::{San, Spiffe};
use certwright_transport::{Material, PeerError, Roots, ServersTransport, Upstream};
use rustls::Error;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const DAY: Duration = Duration::DAY;

fn usages(names: &[&str]) -> Usages {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn request(name: &str, uri: Option<&str>) -> (KeyPair, VerifiedCsr) {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let mut request = Request::new(name, uri.map(|_| "example.org").as_slice()).unwrap();
    request.names.uri = uri.iter().map(|uri| uri.parse().unwrap()).collect();
    let csr = request.sign(&key).unwrap();
    let csr = csr.verify(&CsrPolicy::default()).unwrap();
    (key, csr)
}

/// A root, a CA below it, and what they have revoked.
struct Pki {
    root: CertificateAuthority,
    ca: CertificateAuthority,
}

impl Pki {
    fn new() -> Self {
        let profile = Profile::ca(usages(&["cert sign", "crl sign"]), 3650 * DAY, None);
        let (key, csr) = request("root", None);
        let root = self_signed(&csr, &key, &profile, NOW - 9 * DAY).unwrap();
        let chain = vec![root.certificate().unwrap()];
        let root = CertificateAuthority::new(chain.clone(), key, NOW).unwrap();
        let (key, csr) = request("ca", None);
        let ca = root.sign(&csr, &profile, NOW - 9 * DAY).unwrap();
        let chain = [vec![ca.certificate().unwrap()], chain].concat();
        let ca = CertificateAuthority::new(chain, key, NOW).unwrap();
        Self { root, ca }
    }

    fn leaf(&self) -> SignedBundle {
        let (_, csr) = request("", Some("spiffe://example.org/web"));
        let usages = usages(&["digital signature", "server auth", "client auth"]);
        let mut profile = Profile::leaf(usages, 30 * DAY);
        profile.crl_distribution_points = vec!["http://crl.example.org/ca".to_owned()];
        self.ca.sign(&csr, &profile, NOW - DAY).unwrap()
    }
}

/// The list of this CA with this number, made at `at` for three days.
fn list(
    ca: &CertificateAuthority,
    number: u64,
    revoked: &[&SignedBundle],
    at: OffsetDateTime,
) -> Crl {
    let mut list = RevocationList::new(number, at + 3 * DAY);
    for bundle in revoked {
        let mut revoked = Revoked::certificate(&bundle.certificate().unwrap(), at).unwrap();
        revoked.reason = Some(RevocationReason::Superseded);
        list.revoked.push(revoked);
    }
    ca.sign_crl(&list, at).unwrap()
}

/// What each way to verify a peer says at `NOW`: a server by its name, by a peer name and by SPIFFE, and a
/// client; they agree.
fn verdict(pki: &Pki, peer: &SignedBundle, lists: &[&Crl]) -> &'static str {
    let provider = Arc::new(aws_lc_rs::default_provider());
    // Through PEM, as a file or a ConfigMap has them.
    let text: String = lists.iter().map(|list| list.to_pem()).collect();
    let crls = Arc::new(Crls::from_pem(text.as_bytes()).unwrap());
    let root = pki.root.chain().certificate().der().clone();
    let roots = Roots::from_der([root]).unwrap();
    let mut material = Material::default();
    material.bundles = TrustBundles::default();
    let domain = "example.org".parse().unwrap();
    material.bundles.insert(&domain, roots.clone());
    material.system_roots = Some(roots.clone());
    material.crls = Some(Arc::clone(&crls));

    let by_name = ServersTransport::default();
    let mut by_peer_name = ServersTransport::default();
    let mut san = San::default();
    (san.kind, san.value) = ("DNSName".to_owned(), "example.org".to_owned());
    by_peer_name.peer_cert_sans = vec![san];
    let mut by_spiffe = ServersTransport::default();
    by_spiffe.spiffe = Some(Spiffe::default());

    let chain: Vec<CertificateDer<'_>> = peer.chain().cloned().collect();
    let now =
        UnixTime::since_unix_epoch(StdDuration::from_secs(NOW.unix_timestamp().unsigned_abs()));
    let mut verdicts = Vec::new();
    for transport in [by_name, by_peer_name, by_spiffe] {
        let Ok(Upstream::Verified(upstream)) = transport.validate() else {
            panic!("a transport that does not verify");
        };
        let verifier = upstream.server_verifier(&provider, &material).unwrap();
        let name = ServerName::try_from("example.org").unwrap();
        let result = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
        verdicts.push(code(result.map(|_| ())));
    }
    let kind = Some(ClientAuthType::RequireAndVerifyClientCert);
    let Ok(ClientAuth::Verified(verifier)) =
        ClientAuth::new(kind, Some(&roots), Some(&crls), &provider)
    else {
        panic!("a server that does not verify");
    };
    let result = verifier.verify_client_cert(&chain[0], &chain[1..], now);
    verdicts.push(code(result.map(|_| ())));
    verdicts.dedup();
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    verdicts[0]
}

fn code(result: Result<(), Error>) -> &'static str {
    match result {
        Ok(()) => "accepted",
        Err(error) => PeerError::from_rustls(&error).unwrap().code(),
    }
}

#[test]
fn a_revoked_leaf_is_refused() {
    let pki = Pki::new();
    let (good, bad) = (pki.leaf(), pki.leaf());
    let roots = list(&pki.root, 1, &[], NOW);
    let leaves = list(&pki.ca, 1, &[&bad], NOW);
    assert_eq!(verdict(&pki, &good, &[&roots, &leaves]), "accepted");
    assert_eq!(verdict(&pki, &bad, &[&roots, &leaves]), "revoked");
}

#[test]
fn a_revoked_ca_takes_its_leaves_along() {
    let pki = Pki::new();
    let good = pki.leaf();
    let mut roots = RevocationList::new(1, NOW + DAY);
    let ca = pki.ca.chain().certificate();
    roots.revoked.push(Revoked::certificate(ca, NOW).unwrap());
    let roots = pki.root.sign_crl(&roots, NOW).unwrap();
    let leaves = list(&pki.ca, 1, &[], NOW);
    assert_eq!(verdict(&pki, &good, &[&roots, &leaves]), "revoked");
}

#[test]
fn the_newest_list_counts_in_any_order() {
    let pki = Pki::new();
    let leaf = pki.leaf();
    let roots = list(&pki.root, 1, &[], NOW);
    let (before, after) = (list(&pki.ca, 9, &[], NOW), list(&pki.ca, 10, &[&leaf], NOW));
    let lifted = list(&pki.ca, 11, &[], NOW);
    for (lists, expected) in [
        ([&roots, &before, &before], "accepted"),
        ([&roots, &before, &after], "revoked"),
        ([&after, &before, &roots], "revoked"),
        ([&roots, &after, &lifted], "accepted"),
        ([&lifted, &after, &roots], "accepted"),
    ] {
        assert_eq!(verdict(&pki, &leaf, &lists), expected);
    }
}

#[test]
fn a_list_that_says_nothing_clears_nobody() {
    let pki = Pki::new();
    let leaf = pki.leaf();
    let roots = list(&pki.root, 1, &[], NOW);
    let old = list(&pki.ca, 1, &[], NOW - 4 * DAY);
    let current = list(&pki.ca, 1, &[], NOW);
    assert_eq!(verdict(&pki, &leaf, &[&roots]), "unknown-revocation-status");
    assert_eq!(
        verdict(&pki, &leaf, &[&current]),
        "unknown-revocation-status"
    );
    assert_eq!(verdict(&pki, &leaf, &[&roots, &old]), "crl-expired");
    // A namesake with another key cannot speak for the CA.
    let other = list(&Pki::new().ca, 2, &[&leaf], NOW);
    assert_eq!(verdict(&pki, &leaf, &[&roots, &other]), "crl-unusable");
}
