//! One text as chain, key and roots: what is loaded to be served or shown has the key of its certificate.
#![no_main]

use std::sync::{Arc, LazyLock};

use certwright_sni_store::{PairLoader, PemPair};
use certwright_transport::{Identity, Roots};
use libfuzzer_sys::fuzz_target;
use rustls::InconsistentKeys::KeyMismatch;
use rustls::crypto::aws_lc_rs::default_provider;

static LOADER: LazyLock<PairLoader> =
    LazyLock::new(|| PairLoader::new(Arc::new(default_provider())));

fuzz_target!(|pem: &[u8]| {
    if let Ok(pair) = LOADER.certified_key(PemPair {
        chain: pem,
        key: pem,
    }) {
        // (rustls reads the certificate once more, and is stricter.)
        assert_ne!(pair.keys_match(), Err(KeyMismatch.into()));
        let _ = LOADER.load(
            "one",
            PemPair {
                chain: pem,
                key: pem,
            },
        );
    }
    if let Ok(identity) = Identity::from_pem(pem, pem, &default_provider()) {
        assert_eq!(identity.certified_key().keys_match(), Ok(()));
    }
    let _ = Roots::from_pem(pem);
});
