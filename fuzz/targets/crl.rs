//! Revocation lists are read or refused; what is read from DER is read the same from PEM.
#![no_main]

use certwright_transport::revocation::Crls;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    let _ = Crls::from_pem(der);
    let Ok(lists) = Crls::from_der([der.to_vec().into()]) else {
        return;
    };
    let text = certwright_cert_model::pem::write("X509 CRL", der);
    let again = Crls::from_pem(text.as_bytes()).expect("the same list");
    assert_eq!(again.der(), lists.der());
});
