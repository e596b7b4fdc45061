//! The vocabulary's facts and issuance's certificate agree about what both read.
#![no_main]

use certwright_cert_model::CertificateFacts;
use certwright_issuance::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    let facts = CertificateFacts::from_der(der);
    let certificate = Certificate::from_der(der.to_vec());
    if let (Ok(facts), Ok(certificate)) = (facts, certificate) {
        assert_eq!(facts.is_ca, certificate.is_ca());
        assert_eq!(facts.public_key, certificate.spki_der());
        assert_eq!(facts.not_before, certificate.not_before());
        assert_eq!(facts.not_after, certificate.not_after());
    }
});
