//! Whatever a Link header says, alternates are few, different and HTTPS, and read the same when they are written again.
#![no_main]

use certwright_acme::chain::{MAX_ALTERNATES, alternates, links};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    let base = "https://ca.test/acme/cert/1";
    let found = alternates(base, value.lines());
    assert!(found.len() <= MAX_ALTERNATES);
    for url in &found {
        assert!(url.starts_with("https://") && url.is_ascii());
    }
    let written: Vec<String> = found
        .iter()
        .map(|url| format!("<{url}>;rel=\"alternate\""))
        .collect();
    assert_eq!(alternates(base, [written.join(", ").as_str()]), found);
    let _ = links(value);
});
