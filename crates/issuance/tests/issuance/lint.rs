//! pkilint on random certificates: no ERROR, no FATAL, but for the exceptions below.
//!
//! 100 certificates, 500 where `CI` is `true`; `CERTWRIGHT_LINT` sets another number.

use certwright_cert_model::key::{KeyAlgorithm, RsaSize};
use certwright_issuance::KeyPair;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::arbitrary::tidy_wish;
use crate::common::*;
use crate::judge::Judge;

/// Findings that a specification asks for, and why they are right.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "pkix.certificate_name_constraints_extension_not_critical",
        "nameConstraints.critical is false by default in cert-manager; we warn",
    ),
    (
        "pkix.invalid_domain_name_syntax",
        "wildcards are RFC 6125's, not RFC 5280's",
    ),
    (
        "pkix.invalid_uri_syntax",
        "pkilint knows web schemes only, not spiffe",
    ),
];

#[test]
fn pkilint_finds_nothing() {
    let Some(linter) = Judge::find("LINT_PKIX_CERT", "lint_pkix_cert") else {
        return;
    };
    let python = linter.sibling("python3");
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let count = std::env::var("CERTWRIGHT_LINT");
    let count: usize = count.map_or(if ci { 500 } else { 100 }, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::deterministic();
    let keys = [
        p256(),
        KeyPair::generate(KeyAlgorithm::Ed25519).unwrap(),
        KeyPair::generate(KeyAlgorithm::Rsa(RsaSize::MIN)).unwrap(),
    ];
    let ca = root(&request("ca", &[]), None);
    let write = |name: String, der: &[u8]| std::fs::write(folder.path().join(name), der).unwrap();
    write("root.der".to_owned(), ca.chain().certificate().der());
    let mut wishes = Vec::new();
    for number in 0..count {
        let wish = tidy_wish().new_tree(&mut runner).unwrap().current();
        let csr = verified(&wish.request, &keys[number % keys.len()]);
        let bundle = ca.sign(&csr, &wish.profile, now()).unwrap();
        write(format!("{number}.der"), bundle.leaf());
        wishes.push(wish);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/issuance/lint.py");
    let found = python.accept(&[script, "."], folder.path());
    let unexpected: Vec<_> = found
        .lines()
        .filter(|line| {
            !EXCEPTIONS
                .iter()
                .any(|(code, _)| line.split_whitespace().nth(2) == Some(code))
        })
        .map(|line| {
            let number = line
                .split('.')
                .next()
                .and_then(|number| number.parse::<usize>().ok());
            format!(
                "{line}: {:#?}",
                number.map(|number| &wishes[number].request)
            )
        })
        .collect();
    assert!(
        unexpected.is_empty(),
        "{} findings: {}",
        unexpected.len(),
        unexpected
            .iter()
            .map(|l| l.split(": Some").next().unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    );
}
