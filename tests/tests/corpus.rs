//! Documents of public projects, when a folder with some is at hand: `CERTWRIGHT_CORPUS` names a directory with
//! Certificate and Issuer manifests (`*.yaml`, each from cert-manager's documentation or tests).

use std::fs;
use std::path::PathBuf;

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, manifest};

/// What is wrong with decoding a text, as `kind: violations`, for Certificates and issuers.
fn violations(text: &str, strictness: Strictness) -> Vec<String> {
    let mut found = Vec::new();
    for manifest in manifest::read(text, Format::Yaml, strictness) {
        let violations = match manifest {
            Ok(Manifest::Certificate(certificate)) => certificate.into_spec().err(),
            Ok(Manifest::Issuer(issuer) | Manifest::ClusterIssuer(issuer)) => {
                issuer.into_spec().err()
            }
            Ok(_) => None,
            Err(error) => {
                found.push(error.to_string());
                None
            }
        };
        found.extend(violations.map(|v| v.to_string()));
    }
    found
}

#[test]
fn public_manifests_decode_and_unknown_fields_are_named() {
    let Some(corpus) = std::env::var_os("CERTWRIGHT_CORPUS").map(PathBuf::from) else {
        eprintln!("SKIPPED: CERTWRIGHT_CORPUS names no folder of public manifests");
        return;
    };
    // Fields that no released version has: a documented typo and two designs that were not adopted.
    let unknown = ["emailAddress", "jks", "deletionPolicy"];
    let mut seen = 0;
    for entry in fs::read_dir(&corpus).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let lenient = violations(&text, Strictness::Lenient);
        assert!(lenient.is_empty(), "{}: {lenient:?}", path.display());
        for violation in violations(&text, Strictness::Strict) {
            let named = unknown
                .iter()
                .any(|field| violation.contains(&format!(".{field}: unknown field")));
            let other_version = violation.contains("apiVersion");
            let left_out = text.contains("[...]") && violation.contains("found a list");
            assert!(
                named || other_version || left_out,
                "{}: {violation}",
                path.display()
            );
        }
        seen += 1;
    }
    assert!(seen > 0, "{} is empty", corpus.display());
}
