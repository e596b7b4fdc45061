//! Requests, keys and certificates between us and OpenSSL, GnuTLS and keytool.

use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding, RsaSize};
use certwright_issuance::csr::UnknownExtensions;
use certwright_issuance::{CsrError, CsrPolicy, KeyError, KeyPair, VerifiedCsr, self_signed};

use crate::common::*;
use crate::judge::Judge;

fn algorithms() -> [KeyAlgorithm; 5] {
    [
        KeyAlgorithm::Rsa(RsaSize::MIN),
        KeyAlgorithm::Ecdsa(Curve::P256),
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Ecdsa(Curve::P521),
        KeyAlgorithm::Ed25519,
    ]
}

#[test]
fn openssl_reads_our_keys_and_requests() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for algorithm in algorithms() {
        let key = KeyPair::generate(algorithm).unwrap();
        for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
            let pem = key.to_pem(encoding).unwrap();
            std::fs::write(folder.path().join("key.pem"), pem.as_bytes()).unwrap();
            openssl.accept(
                &["pkey", "-in", "key.pem", "-noout", "-check"],
                folder.path(),
            );
            let der = key.to_der(encoding).unwrap();
            std::fs::write(folder.path().join("key.der"), der.as_slice()).unwrap();
            let arguments = ["pkey", "-inform", "DER", "-in", "key.der", "-noout"];
            openssl.accept(&arguments, folder.path());
        }
        let mut request = request("leaf", &["example.com"]);
        request.usages = usages(&["digital signature", "server auth"]);
        let csr = request.sign(&key).unwrap();
        std::fs::write(folder.path().join("csr.pem"), csr.to_pem()).unwrap();
        let text = openssl.accept(
            &["req", "-in", "csr.pem", "-noout", "-verify", "-text"],
            folder.path(),
        );
        assert!(text.contains("DNS:example.com"), "{text}");
        assert!(text.contains("TLS Web Server Authentication"), "{text}");
    }
}

#[test]
fn openssl_and_certtool_verify_our_chains() {
    let (openssl, certtool) = (Judge::openssl(), Judge::find("CERTTOOL", "certtool"));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for algorithm in algorithms() {
        let key = KeyPair::generate(algorithm).unwrap();
        let csr = verified(&request("root", &[]), &key);
        let bundle = self_signed(&csr, &key, &ca_profile(None), now()).unwrap();
        let root = authority(&bundle, &[], key);
        let ca = intermediate(&root, &request("ca", &[]), Some(0));
        let csr = verified(&request("", &["example.com"]), &p256());
        let mut profile = leaf_profile();
        profile.duration = time::Duration::days(36_000);
        let bundle = ca.sign(&csr, &profile, now()).unwrap();
        write("root.pem", &bundle.authority_pem().unwrap());
        write("ca.pem", &ca.chain().certificate().to_pem());
        write("leaf.pem", &bundle.certificate().unwrap().to_pem());
        let whole = bundle.chain_pem() + &bundle.authority_pem().unwrap();
        write("whole.pem", &whole);
        if let Some(openssl) = &openssl {
            let time = (now().unix_timestamp() + 60).to_string();
            openssl.accept(
                &[
                    "verify",
                    "-x509_strict",
                    "-attime",
                    &time,
                    "-purpose",
                    "sslserver",
                    "-verify_hostname",
                    "example.com",
                    "-CAfile",
                    "root.pem",
                    "-untrusted",
                    "ca.pem",
                    "leaf.pem",
                ],
                folder.path(),
            );
        }
        if let Some(certtool) = &certtool {
            // certtool knows no other time than its own.
            certtool.accept(&["--verify-chain", "--infile", "whole.pem"], folder.path());
        }
    }
}

#[test]
fn requests_of_openssl() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let read = |arguments: &str, policy: &CsrPolicy| {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let common = [
            "req", "-new", "-nodes", "-keyout", "key.pem", "-out", "csr.pem",
        ];
        openssl.accept(&[&common[..], &arguments].concat(), folder.path());
        let text = std::fs::read(folder.path().join("csr.pem")).unwrap();
        VerifiedCsr::from_pem(&text, policy)
    };
    let policy = CsrPolicy::default();
    for key in [
        "-newkey rsa:2048",
        "-newkey rsa:3072 -sha384",
        "-newkey rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -sha256",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha512",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-384",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha384",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-521",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-521 -sha512",
        "-newkey ed25519",
    ] {
        let csr = read(
            &format!("{key} -subj /C=DE/O=a/O=b/CN=example.com"),
            &policy,
        );
        let csr = csr.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        // The key's type comes from the key: what OpenSSL wrote to disk is what we saw.
        let pem = std::fs::read(folder.path().join("key.pem")).unwrap();
        let pair = KeyPair::from_pem(&pem).unwrap();
        assert_eq!(csr.public_key(), pair.public_key(), "{key}");
        let ca = root(&request("root", &[]), None);
        let issued = ca.sign(&csr, &leaf_profile(), now()).unwrap();
        let issued = issued.certificate().unwrap();
        assert_eq!(issued.subject(), "CN=example.com,O=b,O=a,C=DE");
        assert_eq!(issued.subject_der(), csr.subject_der());
    }
    for (key, expected) in [
        ("-newkey rsa:1024", "PublicKey(RsaSize { found: 1024 })"),
        (
            "-newkey rsa:2048 -sha1",
            "Signature(Algorithm { found: \"1.2.840.113549.1.1.5\"",
        ),
        (
            "-newkey rsa:2048 -pkeyopt rsa_keygen_pubexp:3",
            "SmallExponent",
        ),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1",
            "PublicKey(Algorithm { oid: \"1.2.840.10045.2.1\", parameters: \" with curve 1.3.132.0.10\"",
        ),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
            "PublicKey(Algorithm {",
        ),
        (
            "-newkey ed448",
            "PublicKey(Algorithm { oid: \"1.3.101.113\"",
        ),
    ] {
        let error = read(&format!("{key} -subj /CN=example.com"), &policy).unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{key}: {error:?}"
        );
    }
}

#[test]
fn extensions_of_strangers() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let read = |extensions: &[&str], policy: &CsrPolicy| {
        let mut arguments = vec![
            "req", "-new", "-nodes", "-newkey", "ed25519", "-keyout", "key.pem", "-out", "csr.pem",
            "-subj", "/CN=x",
        ];
        for extension in extensions {
            arguments.extend(["-addext", *extension]);
        }
        openssl.accept(&arguments, folder.path());
        let text = std::fs::read(folder.path().join("csr.pem")).unwrap();
        VerifiedCsr::from_pem(&text, policy)
    };
    let must_staple = "1.3.6.1.5.5.7.1.24=DER:3003020105";
    let critical = "1.3.6.1.5.5.7.1.24=critical,DER:3003020105";
    let policy = |unknown_extensions| {
        let mut policy = CsrPolicy::default();
        policy.unknown_extensions = unknown_extensions;
        policy
    };
    let allowed = UnknownExtensions::Allow(vec!["1.3.6.1.5.5.7.1.24".parse().unwrap()]);
    let ca = root(&request("root", &[]), None);
    let staples = |csr: &VerifiedCsr| {
        let issued = ca.sign(csr, &leaf_profile(), now()).unwrap();
        issued
            .leaf()
            .windows(5)
            .any(|bytes| bytes == [0x30, 3, 2, 1, 5])
    };
    let dropped = read(&[must_staple], &policy(UnknownExtensions::Drop)).unwrap();
    assert!(!staples(&dropped));
    let copied = read(&[must_staple], &policy(allowed.clone())).unwrap();
    assert!(staples(&copied));
    for (extension, rule) in [
        (must_staple, UnknownExtensions::Reject),
        (critical, UnknownExtensions::Drop),
        ("1.2.3=DER:0500", allowed),
    ] {
        let error = read(&[extension], &policy(rule)).unwrap_err();
        assert!(
            matches!(error, CsrError::UnknownExtension { .. }),
            "{error}"
        );
    }
    let names = "subjectAltName=DNS:example.com,IP:10.0.0.1,email:a@b.c,URI:spiffe://td/x,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:u@d,RID:1.2.3";
    let csr = read(
        &["basicConstraints=CA:TRUE", "keyUsage=keyCertSign"],
        &policy(UnknownExtensions::Drop),
    )
    .unwrap();
    assert_eq!(csr.asks_for_ca(), Some(true));
    let csr = read(&[names], &policy(UnknownExtensions::Drop)).unwrap();
    assert_eq!(csr.names().count(), 6);
}

#[test]
fn damaged_requests_are_refused() {
    let key = p256();
    let good = request("leaf", &["example.com"]).sign(&key).unwrap();
    let policy = CsrPolicy::default();
    let trailing = [good.der(), &[0]].concat();
    assert!(matches!(
        VerifiedCsr::from_der(&trailing, &policy),
        Err(CsrError::Der(_))
    ));
    let mut small = CsrPolicy::default();
    small.max_size = 100;
    assert!(matches!(
        VerifiedCsr::from_der(good.der(), &small),
        Err(CsrError::TooLarge { max: 100, .. })
    ));
    // Whatever single byte changes, the request is refused: it is either malformed or forged.
    for at in 0..good.der().len() {
        let mut forged = good.der().to_vec();
        forged[at] ^= 0x01;
        assert!(
            VerifiedCsr::from_der(&forged, &policy).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn keys_of_openssl() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let make = |arguments: &str| {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        openssl.accept(&arguments, folder.path());
        KeyPair::from_pem(&std::fs::read(folder.path().join("k")).unwrap())
    };
    for (arguments, expected) in [
        ("genrsa -traditional -out k 2048", "RSA 2048"),
        ("genrsa -out k 2560", "RSA 2560"),
        ("ecparam -genkey -name prime256v1 -out k", "ECDSA P-256"),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out k",
            "ECDSA P-521",
        ),
        ("genpkey -algorithm ed25519 -out k", "Ed25519"),
    ] {
        assert_eq!(make(arguments).unwrap().algorithm().to_string(), expected);
    }
    assert!(matches!(
        make("genrsa -out k 1024"),
        Err(KeyError::Public(_))
    ));
    assert!(matches!(
        make("genpkey -algorithm ed25519 -aes256 -pass pass:x -out k"),
        Err(KeyError::Encrypted)
    ));
    assert!(matches!(
        make("genpkey -algorithm X25519 -out k"),
        Err(KeyError::Public(_))
    ));
    assert!(matches!(
        make("genrsa -3 -out k 2048"),
        Err(KeyError::SmallExponent)
    ));
}

#[test]
fn requests_of_keytool() {
    let Some(keytool) = Judge::find("KEYTOOL", "keytool") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (index, key) in ["RSA -keysize 2048", "EC -groupname secp384r1", "Ed25519"]
        .iter()
        .enumerate()
    {
        let store = format!("store{index}");
        let common = ["-keystore", &store, "-storepass", "changeit", "-alias", "a"];
        let key: Vec<_> = ["-keyalg"]
            .into_iter()
            .chain(key.split_whitespace())
            .collect();
        let generate = [&["-genkeypair", "-dname", "CN=x,O=y"][..], &key, &common].concat();
        keytool.accept(&generate, folder.path());
        let request = [
            &["-certreq", "-file", "csr", "-ext", "san=dns:example.com"][..],
            &common,
        ]
        .concat();
        keytool.accept(&request, folder.path());
        let text = std::fs::read(folder.path().join("csr")).unwrap();
        let csr = VerifiedCsr::from_pem(&text, &CsrPolicy::default()).unwrap();
        assert_eq!(csr.names().count(), 1);
    }
}
