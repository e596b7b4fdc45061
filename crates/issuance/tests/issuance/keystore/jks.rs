//! JKS stores before Java.

use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize};
use certwright_issuance::keystore::{Contents, Jks, KeyEntry, KeystoreError};
use proptest::prelude::*;

use super::*;

#[test]
fn java_reads_jks_and_gives_the_key_back() {
    let (Some(judge), Some(openssl)) = (Judge::find("KEYTOOL", "keytool"), Judge::openssl()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (algorithm, alias, password) in [
        (KeyAlgorithm::Rsa(RsaSize::MIN), None, PASSWORD),
        (
            KeyAlgorithm::Ecdsa(Curve::P521),
            Some("Web"),
            "p\u{e4}ssw\u{f6}rd",
        ),
        (
            KeyAlgorithm::Ed25519,
            Some("gr\u{fc}\u{df}e \u{20ac} \u{1f511}"),
            "\u{1f511}\u{1f512} \u{20ac}uro",
        ),
    ] {
        let held = Held::new(algorithm);
        let entry = KeyEntry {
            alias,
            ..held.entry()
        };
        let store = Jks {
            password,
            contents: Contents::Key(entry),
        };
        std::fs::write(folder.path().join("store"), store.write(now()).unwrap()).unwrap();
        let text = lists(&judge, folder.path(), password).unwrap();
        let alias = alias.unwrap_or("certificate").to_lowercase();
        assert!(text.contains("Keystore type: JKS"), "{text}");
        assert!(text.contains(&format!("Alias name: {alias}\n")), "{text}");
        assert!(text.contains("Alias name: ca\n"), "{text}");
        assert!(text.contains("Creation date: Jan 1, 2026"), "{text}");
        let key = text
            .split("Alias name: ")
            .find(|entry| entry.starts_with(&alias))
            .unwrap();
        assert!(key.contains("Entry type: PrivateKeyEntry"), "{text}");
        assert_eq!(blocks(key).1, held.chain, "{text}");
        lists(&judge, folder.path(), &format!("{password}x")).unwrap_err();

        // Through a store of Java's own making, since JKS is Java's alone.
        let (keys, certificates) = exported(&judge, &openssl, folder.path(), password, &alias);
        assert_eq!(keys[0].public_key(), held.key.public_key());
        assert_eq!(certificates, held.chain);

        let trust = Jks {
            password,
            contents: held.trust(),
        };
        std::fs::write(folder.path().join("store"), trust.write(now()).unwrap()).unwrap();
        let text = lists(&judge, folder.path(), password).unwrap();
        assert!(text.contains("contains 1 entry"), "{text}");
        assert!(text.contains("Entry type: trustedCertEntry"), "{text}");
        assert_eq!(blocks(&text).1, held.authorities, "{text}");
    }
}

#[test]
fn a_key_is_never_lost_to_a_ca() {
    let held = Held::new(KeyAlgorithm::Ed25519);
    let two = [&held.authorities[..], &held.chain[1..]].concat();
    for (alias, authorities, clash) in [
        ("ca", &held.authorities[..], true),
        ("CA", &held.authorities[..], true),
        ("ca-1", &held.authorities[..], false),
        ("ca-1", &two, true),
        ("Ca-1", &two, true),
        ("ca-01", &two, false),
        ("ca", &[], false),
        ("certificate", &two, false),
    ] {
        let entry = KeyEntry {
            alias: Some(alias),
            authorities,
            ..held.entry()
        };
        let store = Jks {
            password: PASSWORD,
            contents: Contents::Key(entry),
        };
        let expected = KeystoreError::AliasClash {
            alias: alias.to_lowercase(),
        };
        match store.write(now()) {
            Ok(_) => assert!(!clash, "{alias}"),
            Err(error) => assert_eq!((error, clash), (expected, true), "{alias}"),
        }
    }
    let long = "\u{20ac}".repeat(30_000);
    let entry = KeyEntry {
        alias: Some(&long),
        ..held.entry()
    };
    let store = Jks {
        password: PASSWORD,
        contents: Contents::Key(entry),
    };
    let expected = KeystoreError::AliasTooLong {
        found: 90_000,
        max: 65_535,
    };
    assert_eq!(store.write(now()), Err(expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn any_password_opens_its_jks_store(password in password(), wrong in "[ -~]{6,12}") {
        let Some(judge) = Judge::find("KEYTOOL", "keytool") else {
            return Ok(());
        };
        // Keytool asks for a password on its terminal when it is given an empty one.
        prop_assume!(!password.is_empty() && password != wrong);
        let folder = tempfile::tempdir().unwrap();
        let held = Held::new(KeyAlgorithm::Ed25519);
        let store = Jks { password: &password, contents: Contents::Key(held.entry()) };
        std::fs::write(folder.path().join("store"), store.write(now()).unwrap()).unwrap();
        let text = lists(&judge, folder.path(), &password);
        prop_assert!(text.is_ok(), "{text:?}");
        prop_assert!(lists(&judge, folder.path(), &wrong).is_err());
    }
}
