//! A chain a CA sends is read or refused; what is read reads again the same, and is preferred by its own issuer's name.
#![no_main]

use certwright_acme::chain::{Chain, ChainPreference, Selected};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pem: &[u8]| {
    let Ok(chain) = Chain::read(pem) else {
        return;
    };
    assert_eq!(Chain::read(chain.to_pem().as_bytes()).as_ref(), Ok(&chain));
    if let Some(name) = chain.top_issuer().filter(|name| !name.is_empty()) {
        let preference = ChainPreference::named(name);
        let chosen = preference.select(std::slice::from_ref(&chain));
        assert!(matches!(chosen, Some(Selected::Named { index: 0, .. })));
    }
});
