//! A SPIFFE ID that parses is its own text, within its limits, and a member of its trust domain.
#![no_main]

use certwright_cert_model::name::{SpiffeId, TrustDomain, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(id) = text.parse::<SpiffeId>() else {
        return;
    };
    assert_eq!(id.as_str(), text);
    assert!(text.len() <= 2048 && text.is_ascii());
    let domain: TrustDomain = text.parse().expect("an ID names its trust domain");
    assert!(id.is_member_of(&domain));
    assert!(text.parse::<Uri>().is_ok(), "every SPIFFE ID is a URI");
});
