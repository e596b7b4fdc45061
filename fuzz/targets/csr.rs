//! A request that is accepted is one that x509-parser reads, for the same key.
#![no_main]

use certwright_issuance::{CsrPolicy, VerifiedCsr};
use libfuzzer_sys::fuzz_target;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

fuzz_target!(|der: &[u8]| {
    let Ok(csr) = VerifiedCsr::from_der(der, &CsrPolicy::default()) else {
        return;
    };
    let (rest, read) = X509CertificationRequest::from_der(der).expect("another reader reads it");
    assert!(rest.is_empty());
    assert_eq!(
        read.certification_request_info.subject_pki.raw,
        csr.public_key().spki_der()
    );
});
