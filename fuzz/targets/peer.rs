//! Certificates of a peer, split at a marker: without a signature algorithm nobody is ever accepted, and nothing
//! panics on the way.
#![no_main]

use certwright_transport::bundle::TrustBundles;
use certwright_transport::peer::{HostName, PeerSan, SpiffePolicy};
use certwright_transport::verify::{PeerRole, PeerVerifier, SvidProfile, spiffe_id};
use certwright_transport::{PeerError, Roots};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, UnixTime};

fuzz_target!(|data: &[u8]| {
    let mut certificates: Vec<&[u8]> = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(4).position(|window| window == b"NEXT") {
        certificates.push(&rest[..at]);
        rest = &rest[at + 4..];
    }
    certificates.push(rest);
    let chain: Vec<CertificateDer<'_>> = certificates.into_iter().map(Into::into).collect();
    let _ = spiffe_id(&chain);
    let Ok(roots) = Roots::from_der(chain.last().map(|last| last.clone().into_owned())) else {
        return;
    };
    let mut bundles = TrustBundles::default();
    for domain in ["td.test", "a"] {
        bundles.insert(&domain.parse().expect("a name"), roots.clone());
    }
    let san = PeerSan::Uri("spiffe://td.test/a".parse().expect("a URI"));
    for verifier in [
        PeerVerifier::spiffe(SpiffePolicy::Any, bundles, &[]).with_profile(SvidProfile::Strict),
        PeerVerifier::peer_sans(vec![san], HostName::Replaced, roots, &[]),
    ] {
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_781_481_600));
        let verdict = verifier.verify_chain(&chain, PeerRole::Client, now);
        let error: PeerError = verdict.expect_err("no signature can be verified");
        assert!(!error.code().is_empty() && !error.to_string().is_empty());
    }
});
