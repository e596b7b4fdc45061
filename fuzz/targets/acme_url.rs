//! A URL that a CA names is HTTPS or of this machine, or refused; what is read writes itself and is read the same.
#![no_main]

use std::net::IpAddr;

use certwright_acme::fuzzing::url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(found) = url(text) else { return };
    assert_eq!(url(&found).as_ref(), Some(&found));
    assert!(found.bytes().all(|byte| byte.is_ascii_graphic()), "{found}");
    if let Some(rest) = found.strip_prefix("http://") {
        let host = match rest.strip_prefix('[') {
            Some(rest) => rest.split(']').next().expect("a host"),
            None => rest.split(['/', ':']).next().expect("a host"),
        };
        let here = host.parse::<IpAddr>().map(|address| address.is_loopback());
        assert!(here.unwrap_or(host == "localhost"), "{found}");
    }
});
