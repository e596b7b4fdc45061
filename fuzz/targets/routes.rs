//! No manifests, Ingresses and routes among them, make the facade's reader panic, and it says why it leaves one out.
#![no_main]

use certwright::Documents;
use certwright_cert_model::document::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Json, Format::Toml, Format::Yaml] {
        let mut documents = Documents::default();
        documents.read("fuzz", text, format);
        for problem in &documents.problems {
            assert!(problem.to_string().contains("fuzz"), "{problem}");
        }
        let served = documents.served();
        assert!(served.windows(2).all(|pair| pair[0] < pair[1]));
    }
});
