//! The keystores of a Secret: made beside the other formats, and made again when they must be.

use std::cell::RefCell;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_cert_model::output::OutputFormat;
use certwright_cert_model::secret::*;
use certwright_issuance::keystore::{Contents, Jks, KeystoreError, PasswordError, SecretKeystores};
use certwright_issuance::{KeyPair, self_signed};
use proptest::prelude::*;

use super::*;
use crate::specification::specification;

const ALL: [&str; 4] = [KEYSTORE_JKS, TRUSTSTORE_JKS, KEYSTORE_P12, TRUSTSTORE_P12];

fn stores(keystores: &str) -> SecretKeystores {
    let spec = specification(&with(keystores));
    SecretKeystores::resolve(spec.keystores(), |_, _| None).unwrap()
}

/// The fields of a specification with these keystores.
fn with(keystores: &str) -> String {
    format!("dnsNames: [example.com], keystores: {keystores}")
}

/// The Secret of a leaf below two CAs, in every format but keystores.
fn secret() -> TlsSecret {
    let root = root(&request("Root", &[]), None);
    let ca = intermediate(&root, &request("ca", &[]), Some(0));
    let key = p256();
    let csr = verified(&request("", &["example.com"]), &key);
    let bundle = ca.sign(&csr, &leaf_profile(), now()).unwrap();
    let outputs = [OutputFormat::CombinedPem, OutputFormat::Der];
    let secret = TlsSecret::new("default", "web-tls");
    bundle
        .into_secret(secret, &key, KeyEncoding::Pkcs1, &outputs)
        .unwrap()
}

const BOTH: &str = "{jks: {create: true, password: one}, pkcs12: {create: true, password: two, profile: Modern2023}}";

#[test]
fn both_formats_stand_beside_the_others() {
    let mut secret = secret();
    stores(BOTH).write(&mut secret, now()).unwrap();
    let names: Vec<_> = secret.data().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            CA_CRT,
            KEY_DER,
            KEYSTORE_JKS,
            KEYSTORE_P12,
            TLS_COMBINED,
            TLS_CRT,
            TLS_KEY,
            TRUSTSTORE_JKS,
            TRUSTSTORE_P12
        ]
    );
    let read = |name: &str| Certificate::read_pem(secret.get(name).unwrap()).unwrap();
    let (chain, authorities) = (read(TLS_CRT), read(CA_CRT));
    let key = KeyPair::from_pem(secret.get(TLS_KEY).unwrap()).unwrap();
    let entry = KeyEntry {
        alias: None,
        key: &key,
        chain: &chain,
        authorities: &authorities,
    };
    for (contents, jks, p12) in [
        (Contents::Key(entry), KEYSTORE_JKS, KEYSTORE_P12),
        (
            Contents::Trust(&authorities),
            TRUSTSTORE_JKS,
            TRUSTSTORE_P12,
        ),
    ] {
        let store = Jks {
            password: "one",
            contents,
        };
        assert!(store.matches(secret.get(jks).unwrap()).unwrap());
        let store = pkcs12(Pkcs12Profile::Modern2023, "two", contents);
        assert!(store.matches(secret.get(p12).unwrap()).unwrap());
    }
}

#[test]
fn without_a_ca_there_is_no_trust_store() {
    let mut secret = secret();
    secret.remove(CA_CRT);
    stores(BOTH).write(&mut secret, now()).unwrap();
    assert!(secret.get(KEYSTORE_JKS).is_some() && secret.get(KEYSTORE_P12).is_some());
    assert!(secret.get(TRUSTSTORE_JKS).is_none() && secret.get(TRUSTSTORE_P12).is_none());
    assert_eq!(stores(BOTH).outdated(&secret).unwrap(), [""; 0]);
}

#[test]
fn a_change_makes_just_what_it_touches_outdated() {
    let mut secret = secret();
    assert_eq!(stores(BOTH).outdated(&secret).unwrap(), ALL);
    stores(BOTH).write(&mut secret, now()).unwrap();
    let (jks, p12) = (&ALL[..2], &ALL[2..]);
    for (keystores, expected) in [
        (BOTH, vec![]),
        (
            "{jks: {create: true, password: one, alias: certificate}, pkcs12: {create: true, password: two, profile: Modern2023}}",
            vec![],
        ),
        // The password, the alias, the profile.
        (
            "{jks: {create: true, password: One}, pkcs12: {create: true, password: two, profile: Modern2023}}",
            jks.to_vec(),
        ),
        (
            "{jks: {create: true, password: one, alias: web}, pkcs12: {create: true, password: two, profile: Modern2023}}",
            vec![KEYSTORE_JKS],
        ),
        (
            "{jks: {create: true, password: one, alias: certificatf}, pkcs12: {create: true, password: two, profile: Modern2023}}",
            vec![KEYSTORE_JKS],
        ),
        (
            "{jks: {create: true, password: one}, pkcs12: {create: true, password: too, profile: Modern2023}}",
            p12.to_vec(),
        ),
        (
            "{jks: {create: true, password: one}, pkcs12: {create: true, password: two, profile: Modern2026}}",
            p12.to_vec(),
        ),
        (
            "{jks: {create: true, password: one}, pkcs12: {create: true, password: two}}",
            p12.to_vec(),
        ),
        // What is not wanted any more.
        (
            "{pkcs12: {create: true, password: two, profile: Modern2023}}",
            vec![KEYSTORE_JKS, TRUSTSTORE_JKS],
        ),
        (
            "{jks: {create: true, password: one}, pkcs12: {create: false, password: two}}",
            p12.to_vec(),
        ),
        (
            "{}",
            vec![KEYSTORE_JKS, KEYSTORE_P12, TRUSTSTORE_JKS, TRUSTSTORE_P12],
        ),
    ] {
        let stores = stores(keystores);
        assert_eq!(stores.outdated(&secret).unwrap(), expected, "{keystores}");
        let mut renewed = secret.clone_with_keys();
        stores.write(&mut renewed, now()).unwrap();
        assert_eq!(stores.outdated(&renewed).unwrap(), [""; 0], "{keystores}");
    }
    let stores = stores(BOTH);
    // The CA, the certificate; a store that is gone or damaged.
    let change = |change: &dyn Fn(&mut TlsSecret)| {
        let mut changed = secret.clone_with_keys();
        change(&mut changed);
        stores.outdated(&changed).unwrap()
    };
    let other = self::secret();
    assert_eq!(
        change(&|secret| secret.insert(CA_CRT, other.get(CA_CRT).unwrap())),
        ALL
    );
    let renewed = |secret: &mut TlsSecret| {
        for name in [TLS_CRT, TLS_KEY] {
            secret.insert(name, other.get(name).unwrap());
        }
    };
    assert_eq!(change(&renewed), [KEYSTORE_JKS, KEYSTORE_P12]);
    assert_eq!(
        change(&|secret| _ = secret.remove(TRUSTSTORE_P12)),
        [TRUSTSTORE_P12]
    );
    assert_eq!(
        change(&|secret| secret.insert(KEYSTORE_JKS, "")),
        [KEYSTORE_JKS]
    );
}

#[test]
fn issuing_again_leaves_no_store_of_the_old_key() {
    let mut secret = secret();
    stores(BOTH).write(&mut secret, now()).unwrap();
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let csr = verified(&request("x", &["example.com"]), &key);
    let bundle = self_signed(&csr, &key, &leaf_profile(), now()).unwrap();
    let secret = bundle
        .into_secret(secret, &key, KeyEncoding::Pkcs8, &[])
        .unwrap();
    assert!(ALL.iter().all(|name| secret.get(name).is_none()));
}

#[test]
fn a_failure_leaves_the_secret_as_it_was() {
    let mut secret = secret();
    stores(BOTH).write(&mut secret, now()).unwrap();
    let other = self::secret();
    secret.insert(TLS_KEY, other.get(TLS_KEY).unwrap());
    let before = secret.clone_with_keys();
    let changed = stores("{jks: {create: true, password: other}}");
    assert_eq!(
        changed.write(&mut secret, now()),
        Err(KeystoreError::ForeignKey)
    );
    assert_eq!(changed.outdated(&secret), Err(KeystoreError::ForeignKey));
    assert_eq!(secret, before);
    secret.remove(TLS_KEY);
    let missing = KeystoreError::Missing { name: TLS_KEY };
    assert_eq!(changed.write(&mut secret, now()), Err(missing));
    // Two CAs, and an alias that is the second one's.
    let mut secret = other;
    let second = root(&request("Second", &[]), None);
    let both = [
        secret.get(CA_CRT).unwrap(),
        second.chain().certificate().to_pem().as_bytes(),
    ]
    .concat();
    secret.insert(CA_CRT, both);
    let clash = stores("{jks: {create: true, password: one, alias: CA-1}}");
    let expected = KeystoreError::AliasClash {
        alias: "ca-1".to_owned(),
    };
    assert_eq!(clash.write(&mut secret, now()), Err(expected));
}

#[test]
fn passwords_come_from_where_the_specification_says() {
    let keystores = "{jks: {create: true, passwordSecretRef: {name: passwords, key: jks}}, pkcs12: {create: true, password: literal}}";
    let (spec, asked) = (specification(&with(keystores)), RefCell::new(Vec::new()));
    let resolve = |found: Option<&'static [u8]>| {
        SecretKeystores::resolve(spec.keystores(), |name, key| {
            asked.borrow_mut().push(format!("{name}/{key}"));
            found
        })
    };
    let (secret, key) = ("passwords".to_owned(), "jks".to_owned());
    let missing = PasswordError::Missing {
        secret: secret.clone(),
        key: key.clone(),
    };
    let empty = PasswordError::Empty {
        secret: secret.clone(),
        key: key.clone(),
    };
    let binary = PasswordError::NotText { secret, key, at: 1 };
    assert_eq!(resolve(None).unwrap_err(), missing);
    assert_eq!(resolve(Some(b"")).unwrap_err(), empty);
    assert_eq!(resolve(Some(b"x\xff")).unwrap_err(), binary);
    let found = resolve(Some(b"from the Secret\n")).unwrap();
    assert!(
        asked
            .into_inner()
            .iter()
            .all(|asked| asked == "passwords/jks")
    );
    let shown = format!("{found:?}");
    assert!(
        !shown.contains("from") && !shown.contains("literal"),
        "{shown}"
    );

    let mut secret = self::secret();
    found.write(&mut secret, now()).unwrap();
    let same = "{jks: {create: true, password: \"from the Secret\\n\"}, pkcs12: {create: true, password: literal}}";
    assert_eq!(stores(same).outdated(&secret).unwrap(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_matches_itself_and_nothing_else(
        password in password(),
        other in password(),
        profile in proptest::sample::select(PROFILES.to_vec()),
        trust: bool,
        at: proptest::sample::Index,
        bit in 0..8,
    ) {
        let held = Held::new(KeyAlgorithm::Ed25519);
        let contents = if trust { held.trust() } else { Contents::Key(held.entry()) };
        let p12 = |password| pkcs12(profile, password, contents);
        let jks = |password| Jks { password, contents };
        let (p12_store, jks_store) = (p12(&password).write().unwrap(), jks(&password).write(now()).unwrap());
        prop_assert!(p12(&password).matches(&p12_store).unwrap());
        prop_assert!(jks(&password).matches(&jks_store).unwrap());
        prop_assert_eq!(p12(&other).matches(&p12_store).unwrap(), password == other);
        prop_assert_eq!(jks(&other).matches(&jks_store).unwrap(), password == other);
        prop_assert!(!p12(&password).matches(&jks_store).unwrap());
        prop_assert!(!jks(&password).matches(&p12_store).unwrap());
        for store in [&p12_store, &jks_store] {
            let mut damaged = store.clone();
            damaged[at.index(store.len())] ^= 1_u8 << bit;
            for stored in [&damaged[..], &store[..at.index(store.len())]] {
                prop_assert!(!p12(&password).matches(stored).unwrap());
                prop_assert!(!jks(&password).matches(stored).unwrap());
            }
        }
    }
}
