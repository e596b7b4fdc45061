//! Records of the store, whoever wrote them, are read or refused, and what is read can be asked.
#![no_main]

use certwright_acme::IssuedCertificate;
use certwright_acme::journal::Journal;
use certwright_acme::limits::{Limits, Quotas, Scope};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(journal) = Journal::decode(bytes) {
        let early = ["waiting", "ordering"].contains(&journal.stage());
        assert_eq!(journal.order_url().is_none(), early);
    }
    if let Ok(certificate) = IssuedCertificate::decode(bytes) {
        let _ = (certificate.lifetime(), certificate.leaf_der());
    }
    if let Ok(mut limits) = Limits::from_record(bytes) {
        let again = Limits::from_record(limits.to_record().expect("numbers").encode().as_bytes());
        assert_eq!(again.as_ref(), Ok(&limits));
        let (quotas, now) = (Quotas::default(), OffsetDateTime::UNIX_EPOCH);
        let scopes = Scope::of_order(&["a.test".to_owned()]);
        if let Err(limited) = limits.take(&quotas, &scopes, now) {
            assert!(limited.until > now);
        }
        limits.prune(now);
    }
});
