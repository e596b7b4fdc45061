//! No text makes the readers of documents panic, and every document's places lie inside the text.
#![no_main]

use certwright_cert_model::document::{Format, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // YAML ends a line at a carriage return, too.
    let lines = text.matches(['\n', '\r']).count() + 1;
    for format in [Format::Json, Format::Toml, Format::Yaml] {
        for document in parse(text, format) {
            let line = match document {
                Ok(document) => document.root.span.line,
                Err(error) => error.span.line,
            };
            assert!((1..=lines).contains(&line), "line {line} of {lines}");
        }
    }
});
