//! No manifest makes decoding and validation panic, and every violation of a document has a place.
#![no_main]

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Defaults, Manifest, Violations, manifest};
use libfuzzer_sys::fuzz_target;

fn placed(result: Result<impl Sized, Violations>) {
    let Err(violations) = result else { return };
    assert!(
        violations.iter().all(|violation| violation.span.is_some()),
        "{violations}"
    );
}

fuzz_target!(|text: &str| {
    for manifest in manifest::read(text, Format::Yaml, Strictness::Strict)
        .into_iter()
        .flatten()
    {
        match manifest {
            Manifest::Certificate(one) => {
                placed(one.validate(&Defaults::documented()));
            }
            Manifest::Issuer(one) | Manifest::ClusterIssuer(one) => {
                placed(one.validate());
            }
            Manifest::CertificateRequest(one) => {
                placed(one.validate(&Defaults::documented()));
            }
            _ => {}
        }
    }
});
