//! Whatever files are in a directory of certmagic's, each certificate and account is used or left out with a reason;
//! what is used is a Secret each, which is read the same. The files are parts of the text.
#![no_main]

use std::fs;
use std::iter::repeat;

use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, manifest};
use certwright_storage::certmagic;
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 8] = [
    "certificates/a/a.test/a.test.json",
    "certificates/a/a.test/a.test.crt",
    "certificates/a/a.test/a.test.key",
    "certificates/b/a.test/a.test.json",
    "certificates/b/a.test/a.test.crt",
    "certificates/b/a.test/a.test.key",
    "acme/a/users/a@a.test/a.json",
    "acme/a/users/a@a.test/a.key",
];

fuzz_target!(|text: &str| {
    let root = tempfile::tempdir().expect("a directory");
    for (place, part) in FILES.iter().zip(text.split("\n--\n").chain(repeat(""))) {
        let place = root.path().join(place);
        fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        if !part.is_empty() {
            fs::write(place, part).expect("a file");
        }
    }
    let found = certmagic::read(root.path()).expect("a directory");
    assert_eq!(
        found.certificates.len() + found.accounts.len() + found.left_out.len(),
        3
    );
    let all = manifest::read(&found.to_manifests("ns"), Format::Yaml, Strictness::Strict);
    assert_eq!(all.len(), found.certificates.len());
    for (read, used) in all.into_iter().zip(&found.certificates) {
        match read {
            Ok(Manifest::Secret(read)) => assert_eq!(read, used.to_secret("ns", &read.name)),
            other => panic!("{other:?}"),
        }
    }
});
