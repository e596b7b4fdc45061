//! A CA's chain is read or refused, and begins with a CA; name constraints that are read are written and read the same.
#![no_main]

use certwright_issuance::CaChain;
use certwright_issuance::name_constraints::{name_constraints_from_der, name_constraints_to_der};
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(constraints) = name_constraints_from_der(true, bytes) {
        let der = name_constraints_to_der(&constraints);
        assert_eq!(name_constraints_from_der(true, &der), Ok(constraints));
    }
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_800);
    if let Ok(chain) = CaChain::from_pem(bytes, now) {
        assert!(chain.certificate().is_ca());
    }
});
