//! An acme.json is read or refused; what is read has the key of its certificate.
#![no_main]

use certwright_acme::import::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(imported) = read(text) else {
        return;
    };
    for account in &imported.accounts {
        assert!(!account.uri.is_empty());
        let _ = account.belongs_to("https://ca.test/directory");
    }
    for certificate in &imported.certificates {
        let leaf = certificate.chain.leaf().expect("a chain has a leaf");
        assert_eq!(leaf.spki_der(), certificate.key.public_key().spki_der());
    }
});
