//! Options of a resolver, as flags or YAML, are read or refused; what is read has a CA, time limits and a challenge.
#![no_main]

use certwright_acme::config::{StaticConfig, flags};
use certwright_cert_model::document::{self, Format, Node, Strictness};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let by_flags = flags(text.lines()).into_iter();
    let documents = document::parse(text, Format::Yaml).into_iter().flatten();
    let nodes: Vec<Node> = by_flags
        .chain(documents.map(|document| document.root))
        .collect();
    for node in &nodes {
        let strict = StaticConfig::decode(node, Strictness::Strict).into_result();
        let lenient = StaticConfig::decode(node, Strictness::Lenient).into_result();
        assert!(strict.is_err() || lenient.is_ok());
        for resolver in lenient.iter().flat_map(|config| &config.resolvers) {
            assert!(!resolver.issuers.is_empty() && !resolver.client_timeout.is_zero());
            let challenges = [
                resolver.dns_challenge.is_some(),
                resolver.http_challenge.is_some(),
                resolver.tls_challenge.is_some(),
            ];
            assert!(challenges.contains(&true));
            let _ = (resolver.data_directory(), resolver.renewal_policy());
        }
    }
});
