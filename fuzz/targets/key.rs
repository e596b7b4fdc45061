//! A private key that is read can be written and read again, in both encodings.
#![no_main]

use certwright_cert_model::key::KeyEncoding;
use certwright_issuance::KeyPair;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for key in [KeyPair::from_pem(input), KeyPair::from_der(input)]
        .into_iter()
        .flatten()
    {
        for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
            let pem = key
                .to_pem(encoding)
                .expect("a key that was read can be written");
            let again = KeyPair::from_pem(pem.as_bytes()).expect("its own text");
            assert_eq!(again.public_key(), key.public_key());
        }
    }
});
