//! A bundle is read or refused; what is read counts no root twice, and one member twice is never read.
#![no_main]

use certwright_transport::bundle::{Bundle, TrustBundles};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = TrustBundles::from_json(text);
    let Ok(bundle) = Bundle::from_json(text) else {
        return;
    };
    let roots = bundle.roots.iter().flat_map(|roots| roots.certificates());
    let mut seen = std::collections::HashSet::new();
    assert!(roots.into_iter().all(|root| seen.insert(root.to_vec())));
    let twice = text
        .trim_end()
        .strip_suffix('}')
        .expect("a bundle is an object");
    assert!(Bundle::from_json(&format!("{twice},\"keys\":[]}}")).is_err());
});
