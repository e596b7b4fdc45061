//! A Secret that is read is read the same from the manifest that we write of it: replicas share it as that text.
#![no_main]

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Json, Format::Toml, Format::Yaml] {
        let all = manifest::read(text, format, Strictness::Lenient);
        for secret in all.into_iter().flatten() {
            let Manifest::Secret(secret) = secret else {
                continue;
            };
            let written = secret.to_manifest();
            match manifest::read(&written, Format::Yaml, Strictness::Strict).pop() {
                Some(Ok(Manifest::Secret(again))) => assert_eq!(again, secret),
                other => panic!("{other:?}"),
            }
        }
    }
});
