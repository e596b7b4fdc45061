//! PKCS#12 stores before OpenSSL, GnuTLS and Java.

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::output::Pkcs12Profile;
use certwright_issuance::keystore::{Contents, Jks, KeyEntry};
use certwright_issuance::self_signed;
use proptest::prelude::*;

use super::*;

/// The arguments with which OpenSSL 3 reads a store.
fn reading(profile: Pkcs12Profile) -> Vec<&'static str> {
    let mut arguments = vec!["pkcs12", "-in", "store", "-noenc"];
    if profile.is_legacy() {
        arguments.push("-legacy");
    }
    if profile == Pkcs12Profile::Modern2026 {
        // OpenSSL knows PBMAC1 from 3.4 on; `the_mac_of_modern2026` judges that part.
        arguments.push("-nomacver");
    }
    arguments
}

#[test]
fn openssl_reads_every_profile_with_its_parameters() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (rc2, des) = (
        "pbeWithSHA1And40BitRC2-CBC, Iteration 2048\n",
        "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048\n",
    );
    let aes = "PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256\n";
    let sha1 = "MAC: sha1, Iteration 1\nMAC length: 20, salt length: 8\n";
    let sha256 = "MAC: sha256, Iteration 2048\nMAC length: 32, salt length: 16\n";
    for (profile, mac, certificates, key) in [
        (Pkcs12Profile::LegacyDes, sha1, des, des),
        (Pkcs12Profile::LegacyRc2, sha1, rc2, des),
        (Pkcs12Profile::Modern2023, sha256, aes, aes),
        (
            Pkcs12Profile::Modern2026,
            "MAC: PBMAC1, Iteration 1\n",
            aes,
            aes,
        ),
    ] {
        for algorithm in algorithms() {
            let held = Held::new(algorithm);
            let store = pkcs12(profile, PASSWORD, Contents::Key(held.entry()));
            let password = put(folder.path(), "store", &store.write().unwrap(), PASSWORD);
            let common = reading(profile);
            let info = [&common[..], &["-info", "-passin", &password]].concat();
            let text = openssl.accept(&info, folder.path());
            let has = |part: &str| assert!(text.contains(part), "{profile:?} {part}: {text}");
            has(mac);
            has(&format!("PKCS7 Encrypted data: {certificates}"));
            has("Certificate bag\nCertificate bag\nCertificate bag\nPKCS7 Data\n");
            has(&format!("Shrouded Keybag: {key}"));
            assert_eq!(text.matches("localKeyID: ").count(), 2, "{text}");
            let own = text
                .split("localKeyID: ")
                .skip(1)
                .map(|id| id.lines().next().unwrap());
            assert_eq!(
                own.collect::<std::collections::BTreeSet<_>>().len(),
                1,
                "{text}"
            );
            assert!(!text.contains("friendlyName"), "{text}");

            let (keys, certificates) = blocks(&text);
            assert_eq!(certificates, held.everything());
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0].public_key(), held.key.public_key());

            for wrong in [
                "",
                "correct horse battery stapl",
                "Correct horse battery staple",
            ] {
                std::fs::write(folder.path().join("wrong"), format!("{wrong}\n")).unwrap();
                let arguments = [&common[..], &["-passin", "file:wrong"]].concat();
                let output = openssl.run(&arguments, folder.path());
                assert!(!output.status.success(), "{profile:?} {wrong:?}");
            }
        }
    }
}

#[test]
fn the_local_key_id_is_the_certificates_sha1() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let held = Held::new(KeyAlgorithm::Ed25519);
    let entry = KeyEntry {
        alias: Some("My Key"),
        ..held.entry()
    };
    let store = pkcs12(Pkcs12Profile::Modern2023, PASSWORD, Contents::Key(entry));
    let password = put(folder.path(), "store", &store.write().unwrap(), PASSWORD);
    let arguments = ["pkcs12", "-in", "store", "-noenc", "-passin", &password];
    let text = openssl.accept(&arguments, folder.path());
    // The alias stands at the certificate and at the key.
    assert_eq!(text.matches("friendlyName: My Key\n").count(), 2, "{text}");
    std::fs::write(folder.path().join("leaf.pem"), held.chain[0].to_pem()).unwrap();
    let arguments = ["x509", "-in", "leaf.pem", "-noout", "-fingerprint", "-sha1"];
    let print = openssl.accept(&arguments, folder.path());
    let print = print.trim().rsplit('=').next().unwrap().replace(':', " ");
    assert_eq!(
        text.matches(&format!("localKeyID: {print}")).count(),
        2,
        "{text}"
    );
}

/// An element's content within DER, by its position at each level.
fn inside<'a>(der: &'a [u8], path: &[usize]) -> &'a [u8] {
    path.iter().fold(der, |content, position| {
        let mut reader = der::SliceReader::new(content).unwrap();
        let mut found = content;
        for _ in 0..=*position {
            let any = <der::asn1::AnyRef<'_> as der::Decode<'_>>::decode(&mut reader).unwrap();
            found = any.value();
        }
        found
    })
}

#[test]
fn the_mac_of_modern2026() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let folder = tempfile::tempdir().unwrap();
    let held = Held::new(KeyAlgorithm::Ed25519);
    for (password, contents) in [
        (PASSWORD, Contents::Key(held.entry())),
        ("p\u{e4}ssw\u{f6}rd\u{1f511}", held.trust()),
    ] {
        let store = pkcs12(Pkcs12Profile::Modern2026, password, contents);
        let store = store.write().unwrap();
        let mac = inside(&store, &[0, 2]);
        let parameters = inside(mac, &[0, 0, 1]);
        let pbkdf2 = inside(parameters, &[0, 1]);
        assert_eq!(inside(pbkdf2, &[1]), 2048_u16.to_be_bytes());
        assert_eq!(inside(pbkdf2, &[2]), [32]);
        let salt = inside(pbkdf2, &[0]);
        assert_eq!(salt.len(), 16);
        // PBKDF2 with HMAC-SHA-256 over UTF-8, then HMAC-SHA-256 (RFC 8018, 7.1; RFC 9579, 4).
        let (salt, password) = (hex(salt), hex(password.as_bytes()));
        let key = openssl.accept(
            &[
                "kdf",
                "-keylen",
                "32",
                "-kdfopt",
                "digest:SHA256",
                "-kdfopt",
                &format!("hexpass:{password}"),
                "-kdfopt",
                &format!("hexsalt:{salt}"),
                "-kdfopt",
                "iter:2048",
                "PBKDF2",
            ],
            folder.path(),
        );
        let key = key.trim().replace(':', "");
        std::fs::write(folder.path().join("safe"), inside(&store, &[0, 1, 1, 0])).unwrap();
        let key = format!("hexkey:{key}");
        let arguments = ["dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "safe"];
        let computed = openssl.accept(&arguments, folder.path());
        let computed = computed.trim().rsplit(' ').next().unwrap();
        assert_eq!(hex(inside(mac, &[0, 1])), computed);
    }
}

#[test]
fn gnutls_reads_pkcs12() {
    let Some(certtool) = Judge::find("CERTTOOL", "certtool") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let held = Held::new(KeyAlgorithm::Ecdsa(Curve::P256));
    for (profile, ciphers, salt) in [
        (Pkcs12Profile::LegacyDes, ["PKCS12-3DES-SHA1"; 2], 8),
        (
            Pkcs12Profile::LegacyRc2,
            ["PKCS12-RC2-40-SHA1", "PKCS12-3DES-SHA1"],
            8,
        ),
        (Pkcs12Profile::Modern2023, ["PBES2-AES256-CBC"; 2], 16),
    ] {
        let store = pkcs12(profile, PASSWORD, Contents::Key(held.entry()));
        put(folder.path(), "store", &store.write().unwrap(), PASSWORD);
        let arguments = ["--p12-info", "--inder", "--infile", "store", "--password"];
        let read = [&arguments[..], &[PASSWORD]].concat();
        let text = certtool.accept(&read, folder.path());
        let schemas = text.matches("Schema: ").count();
        assert_eq!(schemas, 2, "{text}");
        let mut found = text.split("Schema: ").skip(1);
        assert!(
            ciphers
                .iter()
                .all(|cipher| found.next().unwrap().starts_with(cipher)),
            "{text}"
        );
        assert_eq!(
            text.matches(&format!("Salt size: {salt}\n")).count(),
            3,
            "{text}"
        );
        let (_, certificates) = blocks(text.split("-----BEGIN ENCRYPTED").next().unwrap());
        assert_eq!(certificates, held.everything());
        let wrong = certtool.run(&[&arguments[..], &["wrong"]].concat(), folder.path());
        assert!(!wrong.status.success(), "{profile:?}");
    }
}

#[test]
fn java_reads_pkcs12_and_gives_the_key_back() {
    let (Some(judge), Some(openssl)) = (Judge::find("KEYTOOL", "keytool"), Judge::openssl()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let held = Held::new(KeyAlgorithm::Ecdsa(Curve::P256));
    // Java reads PBMAC1 from version 26 on.
    for (profile, alias) in [
        (Pkcs12Profile::LegacyDes, None),
        (Pkcs12Profile::LegacyRc2, Some("My Key")),
        (Pkcs12Profile::Modern2023, Some("Gr\u{fc}\u{df}e \u{1f511}")),
    ] {
        let entry = KeyEntry {
            alias,
            ..held.entry()
        };
        let store = pkcs12(profile, PASSWORD, Contents::Key(entry));
        put(folder.path(), "store", &store.write().unwrap(), PASSWORD);
        let text = lists(&judge, folder.path(), PASSWORD).unwrap();
        let name = alias.unwrap_or("1").to_lowercase();
        assert!(text.contains(&format!("Alias name: {name}\n")), "{text}");
        assert!(text.contains("contains 1 entry"), "{text}");
        assert!(text.contains("Entry type: PrivateKeyEntry"), "{text}");
        // The chain goes up to the root, which Java finds beside the entry.
        assert_eq!(blocks(&text).1, held.everything(), "{text}");
        let (keys, certificates) = exported(&judge, &openssl, folder.path(), PASSWORD, &name);
        assert_eq!(keys[0].public_key(), held.key.public_key());
        assert_eq!(certificates, held.everything());

        let store = pkcs12(profile, PASSWORD, held.trust());
        put(folder.path(), "store", &store.write().unwrap(), PASSWORD);
        let text = lists(&judge, folder.path(), PASSWORD).unwrap();
        assert!(text.contains("Alias name: cn=root\n"), "{text}");
        assert!(text.contains("Entry type: trustedCertEntry"), "{text}");
        assert_eq!(blocks(&text).1, held.authorities, "{text}");
        lists(&judge, folder.path(), "wrong password").unwrap_err();
    }
}

#[test]
fn a_certificate_that_is_its_own_ca() {
    let (Some(judge), Some(openssl)) = (Judge::find("KEYTOOL", "keytool"), Judge::openssl()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let key = p256();
    let csr = verified(&request("own", &["example.com"]), &key);
    let bundle = self_signed(&csr, &key, &leaf_profile(), now()).unwrap();
    let chain = vec![bundle.certificate().unwrap()];
    let (authorities, own) = (chain.clone(), chain.clone());
    let held = Held {
        key,
        chain,
        authorities,
    };
    let contents = Contents::Key(held.entry());
    let jks = Jks {
        password: PASSWORD,
        contents,
    };
    let store = pkcs12(Pkcs12Profile::Modern2023, PASSWORD, contents);
    for (store, alias) in [
        (store.write().unwrap(), "1"),
        (jks.write(now()).unwrap(), "certificate"),
    ] {
        put(folder.path(), "store", &store, PASSWORD);
        let text = lists(&judge, folder.path(), PASSWORD).unwrap();
        assert_eq!(text.matches("PrivateKeyEntry").count(), 1, "{text}");
        let (keys, certificates) = exported(&judge, &openssl, folder.path(), PASSWORD, alias);
        assert_eq!(keys[0].public_key(), held.key.public_key());
        assert_eq!(certificates, own);
    }
}

#[test]
fn cas_of_one_name_are_all_trusted() {
    let Some(judge) = Judge::find("KEYTOOL", "keytool") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let roots: Vec<_> = ["root", "Root", "ROOT"]
        .map(|name| {
            root(&request(name, &[]), None)
                .chain()
                .certificate()
                .clone()
        })
        .into();
    for jks in [false, true] {
        let contents = Contents::Trust(&roots);
        let store = if jks {
            let store = Jks {
                password: PASSWORD,
                contents,
            };
            store.write(now()).unwrap()
        } else {
            pkcs12(Pkcs12Profile::Modern2023, PASSWORD, contents)
                .write()
                .unwrap()
        };
        put(folder.path(), "store", &store, PASSWORD);
        let text = lists(&judge, folder.path(), PASSWORD).unwrap();
        let mut aliases: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Alias name: "))
            .collect();
        aliases.sort_unstable();
        if jks {
            assert_eq!(aliases, ["ca", "ca-1", "ca-2"]);
        } else {
            assert_eq!(aliases, ["cn=root", "cn=root-1", "cn=root-2"]);
        }
        assert_eq!(blocks(&text).1.len(), 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_password_opens_its_pkcs12_store(
        password in password(),
        wrong in password(),
        profile in proptest::sample::select(PROFILES.to_vec()),
        algorithm in proptest::sample::select(algorithms()[1..].to_vec()),
    ) {
        let Some(openssl) = Judge::openssl() else {
            return Ok(());
        };
        let folder = tempfile::tempdir().unwrap();
        let held = Held::new(algorithm);
        let store = pkcs12(profile, &password, Contents::Key(held.entry())).write().unwrap();
        let file = put(folder.path(), "store", &store, &password);
        let common = reading(profile);
        let arguments = [&common[..], &["-passin", &file]].concat();
        let (keys, certificates) = blocks(&openssl.accept(&arguments, folder.path()));
        prop_assert_eq!(certificates, held.everything());
        prop_assert_eq!(keys[0].public_key(), held.key.public_key());
        if wrong != password {
            let file = put(folder.path(), "store", &store, &wrong);
            let arguments = [&common[..], &["-passin", &file]].concat();
            prop_assert!(!openssl.run(&arguments, folder.path()).status.success());
        }
    }
}
