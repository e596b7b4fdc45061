//! A ServersTransport is read or refused; one that is read verifies servers unless it says insecureSkipVerify.
#![no_main]

use certwright_cert_model::document::{self, Format, Strictness};
use certwright_transport::client_auth::ClientAuthType;
use certwright_transport::{ServersTransport, Upstream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(kind) = text.parse::<ClientAuthType>() {
        assert_eq!(format!("{kind:?}"), text);
    }
    for document in document::parse(text, Format::Yaml).into_iter().flatten() {
        let root = &document.root;
        let _ = ServersTransport::decode_dynamic(root, Strictness::Lenient)
            .and_then(ServersTransport::validate_all);
        let upstream = ServersTransport::decode(root, Strictness::Lenient)
            .and_then(ServersTransport::validate);
        if let Ok(Upstream::Danger(_)) = upstream {
            assert!(text.contains("insecureSkipVerify"));
        }
    }
});
