//! A configuration's `tls` section is read or refused, and what is good when read strictly is the same when read
//! leniently.
#![no_main]

use certwright_cert_model::document::{Format, Strictness};
use certwright_sni_store::TlsConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Json, Format::Toml, Format::Yaml] {
        let lenient = TlsConfig::parse(text, format, Strictness::Lenient);
        if let Ok(strict) = TlsConfig::parse(text, format, Strictness::Strict) {
            assert_eq!(lenient.expect("less strict").len(), strict.len());
        }
    }
});
