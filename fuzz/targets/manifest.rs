//! No manifest makes decoding and validation panic, and every violation of a document has a place.
#![no_main]

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::request::CertificateRequest;
use certwright_cert_model::requested::Requested;
use certwright_cert_model::{Defaults, Manifest, Violations, manifest};
use certwright_issuance::{CsrPolicy, VerifiedCsr};
use libfuzzer_sys::fuzz_target;

fn placed(result: Result<impl Sized, Violations>) {
    let Err(violations) = result else { return };
    assert!(
        violations.iter().all(|violation| violation.span.is_some()),
        "{violations}"
    );
}

fuzz_target!(|text: &str| {
    for format in [Format::Json, Format::Toml, Format::Yaml] {
        for strictness in [Strictness::Lenient, Strictness::Strict] {
            let all = manifest::read(text, format, strictness).into_iter();
            all.flatten().for_each(validate);
        }
    }
});

fn validate(manifest: Manifest) {
    match manifest {
        Manifest::Certificate(one) => placed(one.validate(&Defaults::documented())),
        Manifest::Issuer(one) | Manifest::ClusterIssuer(one) => placed(one.validate()),
        Manifest::CertificateRequest(one) => match one.validate(&Defaults::documented()) {
            Ok(request) => same_key(&request.spec),
            refused => placed(refused),
        },
        _ => {}
    }
}

/// Two readers, one of which verifies, find the same key in a CSR.
fn same_key(request: &CertificateRequest) {
    let verified = VerifiedCsr::from_pem(&request.csr, &CsrPolicy::default());
    if let (Ok(verified), Ok(requested)) = (verified, Requested::read(request)) {
        assert_eq!(requested.public_key, verified.public_key().spki_der());
    }
}
