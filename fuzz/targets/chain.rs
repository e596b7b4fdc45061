//! Certificates in any order become one chain or an error, and a chain stays the same when it is ordered again.
#![no_main]

use certwright_issuance::Certificate;
use certwright_issuance::chain::assemble;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pem: &[u8]| {
    let Ok(certificates) = Certificate::read_pem(pem) else {
        return;
    };
    let Ok(once) = assemble(certificates) else {
        return;
    };
    let mut all = once.chain.clone();
    all.extend(once.authority.clone());
    all.reverse();
    assert_eq!(assemble(all).expect("the same certificates"), once);
});
