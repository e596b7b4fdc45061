//! An OCSP response is stapled or refused; what is stapled is current, and goes when its time is over.
#![no_main]

use std::sync::{Arc, LazyLock};

use certwright_sni_store::{CertStore, Entry, self_signed};
use libfuzzer_sys::fuzz_target;
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

static STORE: LazyLock<CertStore<CertifiedKey>> = LazyLock::new(|| {
    let store = CertStore::default();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = self_signed(&provider, OffsetDateTime::UNIX_EPOCH).expect("a certificate");
    store.apply(Entry::new("one", ["a.test"], Arc::new(key)));
    store
});

fuzz_target!(|response: &[u8]| {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    if let Ok(stapled) = STORE.staple("one", response, now) {
        assert!(stapled.until >= now);
        let report = STORE.drop_expired_staples(stapled.until + Duration::SECOND);
        assert_eq!(report.replaced.len(), 1);
    }
});
