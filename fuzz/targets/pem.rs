//! What is read from a PEM text can be written and read again.
#![no_main]

use certwright_cert_model::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for block in pem::read(text).unwrap_or_default() {
        let written = pem::write(block.label(), block.der());
        let again = pem::read(written.as_bytes()).expect("its own text");
        assert_eq!(
            (again[0].label(), again[0].der()),
            (block.label(), block.der())
        );
    }
});
