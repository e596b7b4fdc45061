//! A public key is read or refused; what is read is the same octets, and x509-parser reads them too.
#![no_main]

use certwright_issuance::PublicKey;
use libfuzzer_sys::fuzz_target;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

fuzz_target!(|der: &[u8]| {
    let Ok(key) = PublicKey::from_spki_der(der) else {
        return;
    };
    assert_eq!(key.spki_der(), der);
    let (rest, other) = SubjectPublicKeyInfo::from_der(der).expect("another reader reads it");
    assert!(rest.is_empty() && other.parsed().is_ok());
});
