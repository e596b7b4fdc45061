//! Keystores, as their readers see them.

mod jks;
mod pkcs12;
mod secret;

use std::path::Path;
use std::process::Output;

use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize};
use certwright_cert_model::output::Pkcs12Profile;
use certwright_cert_model::pem;
use certwright_issuance::keystore::{Contents, Jks, KeyEntry, KeystoreError, Pkcs12};
use certwright_issuance::{Certificate, KeyPair};
use proptest::prelude::*;

use crate::common::*;
use crate::judge::Judge;

const PASSWORD: &str = "correct horse battery staple";

const PROFILES: [Pkcs12Profile; 4] = [
    Pkcs12Profile::LegacyDes,
    Pkcs12Profile::LegacyRc2,
    Pkcs12Profile::Modern2023,
    Pkcs12Profile::Modern2026,
];

/// A key with its chain: leaf and intermediate, and the root beside.
struct Held {
    key: KeyPair,
    chain: Vec<Certificate>,
    authorities: Vec<Certificate>,
}

impl Held {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let root = root(&request("Root", &[]), None);
        let ca = intermediate(&root, &request("ca", &[]), Some(0));
        let key = KeyPair::generate(algorithm).unwrap();
        let csr = verified(&request("leaf", &["example.com"]), &key);
        let mut profile = leaf_profile();
        profile.duration = time::Duration::days(36_000);
        let bundle = ca.sign(&csr, &profile, now()).unwrap();
        let chain = bundle.chain().cloned();
        Self {
            key,
            chain: chain
                .map(|one| Certificate::from_der(one).unwrap())
                .collect(),
            authorities: vec![root.chain().certificate().clone()],
        }
    }

    fn entry(&self) -> KeyEntry<'_> {
        KeyEntry {
            alias: None,
            key: &self.key,
            chain: &self.chain,
            authorities: &self.authorities,
        }
    }

    fn trust(&self) -> Contents<'_> {
        Contents::Trust(&self.authorities)
    }

    fn everything(&self) -> Vec<Certificate> {
        self.chain
            .iter()
            .chain(&self.authorities)
            .cloned()
            .collect()
    }
}

fn algorithms() -> [KeyAlgorithm; 3] {
    [
        KeyAlgorithm::Rsa(RsaSize::MIN),
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Ed25519,
    ]
}

fn pkcs12<'a>(profile: Pkcs12Profile, password: &'a str, contents: Contents<'a>) -> Pkcs12<'a> {
    Pkcs12 {
        profile,
        password,
        contents,
    }
}

/// A store's file and, beside it, one with the password, as OpenSSL takes it.
fn put(folder: &Path, name: &str, store: &[u8], password: &str) -> String {
    std::fs::write(folder.join(name), store).unwrap();
    let file = format!("{name}.password");
    std::fs::write(folder.join(&file), format!("{password}\n")).unwrap();
    format!("file:{file}")
}

/// The private keys and the certificates of a PEM text with other text between.
fn blocks(text: &str) -> (Vec<KeyPair>, Vec<Certificate>) {
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    for block in pem::read(text.as_bytes()).unwrap() {
        match block.label() {
            "PRIVATE KEY" => keys.push(KeyPair::from_der(block.der()).unwrap()),
            "CERTIFICATE" => {
                certificates.push(Certificate::from_der(block.der().to_vec()).unwrap());
            }
            other => panic!("{other}"),
        }
    }
    (keys, certificates)
}

/// Keytool, speaking UTF-8, with the password in the file `keytool.password`.
fn keytool(judge: &Judge, folder: &Path, password: &str, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("keytool.password"), password).unwrap();
    let common = [
        "-J-Dfile.encoding=UTF-8",
        "-J-Dstdout.encoding=UTF-8",
        "-J-Duser.language=en",
        "-J-XX:TieredStopAtLevel=1",
    ];
    judge.run(&[arguments, &common].concat(), folder)
}

fn lists(judge: &Judge, folder: &Path, password: &str) -> Result<String, String> {
    let arguments = [
        "-list",
        "-rfc",
        "-keystore",
        "store",
        "-storepass:file",
        "keytool.password",
    ];
    let output = keytool(judge, folder, password, &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

/// What Java takes out of a store under this alias, put into one of its own, as OpenSSL reads that.
fn exported(
    judge: &Judge,
    openssl: &Judge,
    folder: &Path,
    password: &str,
    alias: &str,
) -> (Vec<KeyPair>, Vec<Certificate>) {
    let _ = std::fs::remove_file(folder.join("exported"));
    let arguments = "-importkeystore -srckeystore store -srcstorepass:file keytool.password \
                     -destkeystore exported -deststoretype PKCS12 -deststorepass changeit \
                     -destalias key -srcalias";
    let arguments: Vec<_> = arguments.split_whitespace().chain([alias]).collect();
    let output = keytool(judge, folder, password, &arguments);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    let arguments = [
        "pkcs12",
        "-in",
        "exported",
        "-noenc",
        "-passin",
        "pass:changeit",
    ];
    blocks(&openssl.accept(&arguments, folder))
}

/// Passwords of all kinds that fit a line.
fn password() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ -~]{1,12}",
        "[ -~]{100,900}",
        "[\u{a1}-\u{24f}]{1,20}",
        "[\u{1f300}-\u{1f5ff}]{1,20}",
        "\\PC{1,40}",
    ]
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (held, other) = (Held::new(KeyAlgorithm::Ed25519), p256());
    let foreign = KeyEntry {
        key: &other,
        ..held.entry()
    };
    let bare = KeyEntry {
        chain: &[],
        ..held.entry()
    };
    for (contents, expected) in [
        (Contents::Key(foreign), KeystoreError::ForeignKey),
        (Contents::Key(bare), KeystoreError::NoCertificate),
        (Contents::Trust(&[]), KeystoreError::NoCertificate),
    ] {
        let jks = Jks {
            password: PASSWORD,
            contents,
        };
        assert_eq!(jks.write(now()), Err(expected.clone()));
        let store = pkcs12(Pkcs12Profile::Modern2023, PASSWORD, contents);
        assert_eq!(store.write(), Err(expected));
    }
}

#[test]
fn debug_shows_no_password() {
    let held = Held::new(KeyAlgorithm::Ed25519);
    let contents = Contents::Key(held.entry());
    let texts = [
        format!(
            "{:?}",
            Jks {
                password: "hunter2",
                contents
            }
        ),
        format!(
            "{:?}",
            pkcs12(Pkcs12Profile::Modern2023, "hunter2", contents)
        ),
    ];
    assert!(
        texts.iter().all(|text| !text.contains("hunter2")),
        "{texts:?}"
    );
}
