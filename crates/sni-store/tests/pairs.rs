//! What becomes of PEM pairs, good and broken.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certwright_sni_store::{
    CertStore, ChallengeError, Challenges, Entry, Origin, PairError, PairLoader, PatternError,
    PemPair, Query, SelectionPolicy,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType, SignatureAlgorithm,
};
use rustls::crypto::{KeyProvider, aws_lc_rs};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use time::OffsetDateTime;

fn loader() -> PairLoader {
    PairLoader::new(Arc::new(aws_lc_rs::default_provider()))
}

fn load(chain: &str, key: &str) -> Result<Entry<CertifiedKey>, PairError> {
    let pair = PemPair {
        chain: chain.as_bytes(),
        key: key.as_bytes(),
    };
    loader().load("id", pair)
}

struct Chain {
    leaf: String,
    key: String,
    authority: String,
}

impl Chain {
    fn new(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Common");
        let ip = SanType::IpAddress("2001:db8::7".parse().unwrap());
        params.subject_alt_names.push(ip);
        params.not_before = OffsetDateTime::UNIX_EPOCH;
        params.not_after = OffsetDateTime::UNIX_EPOCH + time::Duration::days(1);
        let leaf = params.signed_by(&key, &issuer).unwrap().pem();
        Self {
            leaf,
            key: key.serialize_pem(),
            authority,
        }
    }

    fn pair(&self) -> PemPair<'_> {
        PemPair {
            chain: self.leaf.as_bytes(),
            key: self.key.as_bytes(),
        }
    }

    fn whole(&self) -> String {
        format!("{}{}", self.leaf, self.authority)
    }
}

#[test]
fn entries_say_what_the_certificate_says() {
    let table = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "ecdsa_secp256r1_sha256"),
        (&PKCS_ECDSA_P384_SHA384, "ecdsa_secp384r1_sha384"),
        (&PKCS_ED25519, "ed25519"),
        (
            &PKCS_RSA_SHA256,
            "rsa_pkcs1_sha256 rsa_pkcs1_sha384 rsa_pkcs1_sha512 rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512",
        ),
    ];
    for (algorithm, schemes) in table {
        let chain = Chain::new("A.test", algorithm);
        let entry = load(&chain.whole(), &chain.key).unwrap();
        assert_eq!(entry.identifier(), "2001:db8::7,a.test,common");
        assert_eq!(entry.common_name(), Some("Common"));
        assert_eq!(entry.names().collect::<Vec<_>>(), ["A.test"]);
        let validity = (entry.not_before(), entry.not_after());
        let epoch = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(validity, (Some(epoch), Some(epoch + time::Duration::DAY)));
        assert_eq!(entry.schemes().to_string(), schemes);
        assert_eq!(entry.payload().cert.len(), 2);
        assert!(entry.payload().keys_match().is_ok());
        assert!(entry.fingerprint().is_some());
    }
}

#[test]
fn keys_come_in_three_wrappings() {
    let directory = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl")
            .args(arguments)
            .current_dir(&directory)
            .output();
        let Ok(output) = output else {
            assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
            eprintln!("SKIPPED: openssl is not installed");
            return None;
        };
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let ec = Chain::new("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let p384 = Chain::new("a.test", &PKCS_ECDSA_P384_SHA384);
    let rsa = Chain::new("a.test", &PKCS_RSA_SHA256);
    for (chain, label) in [(ec, "EC"), (p384, "EC"), (rsa, "RSA")] {
        std::fs::write(directory.path().join("key.pem"), &chain.key).unwrap();
        let Some(traditional) = openssl(&["pkey", "-in", "key.pem", "-traditional"]) else {
            return;
        };
        assert!(traditional.starts_with(&format!("-----BEGIN {label} PRIVATE KEY-----")));
        load(&chain.leaf, &traditional).unwrap();
        load(&chain.leaf, &chain.key).unwrap();
    }
}

#[test]
fn broken_pairs_say_what_to_change() {
    let chain = Chain::new("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let other = Chain::new("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["ca.test".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_authority = params.self_signed(&authority_key).unwrap().pem();
    let ca_key = authority_key.serialize_pem();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let reversed = format!("{}{}", chain.authority, chain.leaf);
    let under_ca = format!("{own_authority}{}", chain.authority);
    let cut = &chain.leaf[..chain.leaf.len() - 20];
    let table = [
        (
            &*chain.whole(),
            &*other.key,
            "the private key is not that of the certificate",
        ),
        (
            &*reversed,
            &*chain.key,
            "the private key belongs to certificate 1 of the chain; put that one first",
        ),
        (
            "",
            &*chain.key,
            "the chain holds no certificate; expected a PEM block CERTIFICATE",
        ),
        (
            &*chain.key,
            &*chain.key,
            "the chain holds no certificate; expected a PEM block CERTIFICATE",
        ),
        (
            &*chain.leaf,
            "",
            "there is no private key; expected a PEM block PRIVATE KEY",
        ),
        (
            &*chain.leaf,
            &*chain.leaf,
            "there is no private key; expected a PEM block PRIVATE KEY",
        ),
        (
            garbage,
            &*chain.key,
            "certificate 0 of the chain cannot be read",
        ),
        (cut, &*chain.key, "the chain is not valid PEM"),
        (&*chain.leaf, broken_key, "the private key cannot be used"),
        (
            &*under_ca,
            &*ca_key,
            "the first certificate is a CA certificate; put the server's certificate first",
        ),
    ];
    for (pem, key, expected) in table {
        let error = load(pem, key).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    // What is wrong with the text itself names the block and its line.
    let error = load(cut, &chain.key).unwrap_err();
    assert_eq!(
        error.source().map(ToString::to_string).as_deref(),
        Some("the CERTIFICATE block at line 1 has no END line")
    );
    // A self-signed certificate that may sign others serves all the same: `openssl req -x509` makes them.
    load(&own_authority, &ca_key).unwrap();
}

#[test]
fn one_broken_pair_takes_nothing_down() {
    let store = CertStore::new(SelectionPolicy::Best);
    let good: Vec<Chain> = (0..200)
        .map(|n| Chain::new(&format!("host{n}.test"), &rcgen::PKCS_ECDSA_P256_SHA256))
        .collect();
    let pairs = |broken: usize| {
        good.iter().enumerate().map(move |(n, chain)| {
            let key = if n == broken { "" } else { &chain.key };
            let pair = PemPair {
                chain: chain.leaf.as_bytes(),
                key: key.as_bytes(),
            };
            (format!("{n}"), pair)
        })
    };
    let now = OffsetDateTime::UNIX_EPOCH;
    let serves = |n: usize| {
        let name = format!("host{n}.test");
        store.select(&Query::new(&name, now)).is_some()
    };
    let report = store.replace_all(loader().load_all(&store, pairs(7)));
    assert_eq!((report.added.len(), report.rejected.len()), (199, 1));
    assert_eq!(report.rejected[0].origin, Origin::Entry("7".into()));
    let error: &PairError = report.rejected[0].error.downcast_ref().unwrap();
    assert_eq!(*error, PairError::NoKey);
    assert_eq!((serves(6), serves(7)), (true, false));

    let report = store.replace_all(loader().load_all(&store, pairs(150)));
    assert_eq!((report.added.len(), report.unchanged), (1, 198));
    assert_eq!(report.rejected.len(), 1);
    assert!(report.removed.is_empty(), "the good predecessor stays");
    assert!((0..200).all(serves));
}

#[test]
fn chains_share_their_intermediates() {
    let chain = Chain::new("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let address =
        |entry: &Entry<CertifiedKey>, index: usize| entry.payload().cert[index].as_ref().as_ptr();
    let first = load(&chain.whole(), &chain.key).unwrap();
    let second = load(&chain.whole(), &chain.key).unwrap();
    assert_eq!(address(&first, 1), address(&second, 1));
    assert_ne!(address(&first, 0), address(&second, 0));
    assert!(PairLoader::shared_intermediates() > 0);
}

/// The loader's key provider with a count of the keys it loaded.
fn counting() -> (PairLoader, &'static AtomicUsize) {
    #[derive(Debug)]
    struct Counting(AtomicUsize);
    impl KeyProvider for Counting {
        fn load_private_key(
            &self,
            key: PrivateKeyDer<'static>,
        ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
            let provider = aws_lc_rs::default_provider().key_provider;
            let loaded = provider.load_private_key(key);
            self.0
                .fetch_add(usize::from(loaded.is_ok()), Ordering::Relaxed);
            loaded
        }
    }
    let counting: &'static Counting = Box::leak(Box::new(Counting(AtomicUsize::new(0))));
    let mut provider = aws_lc_rs::default_provider();
    provider.key_provider = counting;
    (PairLoader::new(Arc::new(provider)), &counting.0)
}

#[test]
fn lazy_keys_wait_for_their_first_signature() {
    let (loader, loaded) = counting();
    let loader = loader.with_lazy_keys();
    // With the first P-256 key it is found out in which form they can wait.
    let first = Chain::new("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    loader.load("first", first.pair()).unwrap();
    assert_eq!(loaded.load(Ordering::Relaxed), 1);
    let table = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, 0),
        (&PKCS_ECDSA_P384_SHA384, 0),
        // Nobody could tell whether these are the certificate's without loading them.
        (&PKCS_ED25519, 1),
        (&PKCS_RSA_SHA256, 1),
    ];
    for (algorithm, expected) in table {
        let before = loaded.load(Ordering::Relaxed);
        let chain = Chain::new("a.test", algorithm);
        let entry = loader.load("id", chain.pair()).unwrap();
        assert_eq!(loaded.load(Ordering::Relaxed) - before, expected);
        let eager = load(&chain.leaf, &chain.key).unwrap();
        assert_eq!(entry.schemes(), eager.schemes());
        let (lazy, eager) = (&entry.payload().key, &eager.payload().key);
        assert_eq!(lazy.algorithm(), eager.algorithm());
        for _ in 0..2 {
            let point = entry.schemes().code_points().last().unwrap();
            let signer = lazy.choose_scheme(&[point.into()]).unwrap();
            assert!(!signer.sign(b"message").unwrap().is_empty());
        }
        assert_eq!(loaded.load(Ordering::Relaxed) - before, 1);
        assert_eq!(lazy.public_key(), eager.public_key());
    }
}

#[test]
fn cold_keys_are_warmed_oldest_first() {
    let (loader, loaded) = counting();
    let loader = loader.with_lazy_keys();
    let chain = Chain::new("a.test", &PKCS_ECDSA_P384_SHA384);
    let mut entries: Vec<_> = (0..5)
        .map(|n| loader.load(n.to_string(), chain.pair()).unwrap())
        .collect();
    let warm = |n: usize| {
        let text = format!("{:?}", entries[n].payload().key);
        text.contains("loaded: true")
    };
    assert_eq!(loader.clone().warm_up(2), 3);
    assert_eq!([0, 1, 2, 3, 4].map(warm), [true, true, false, false, false]);
    // Neither what is gone nor what was used is loaded.
    let used = &entries[3].payload().key;
    assert!(used.public_key().is_some());
    drop(entries.remove(4));
    assert_eq!(loader.warm_up(10), 0);
    assert_eq!(loaded.load(Ordering::Relaxed), 4);
    assert_eq!(loader.warm_up(10), 0);
}

#[test]
fn a_lazy_key_of_another_certificate_is_found_at_once() {
    let (loader, _) = counting();
    let loader = loader.with_lazy_keys();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let mut chain = Chain::new("a.test", algorithm);
        chain.key = Chain::new("a.test", algorithm).key;
        let refused = loader.load("id", chain.pair()).unwrap_err();
        assert_eq!(refused, PairError::Mismatch);
    }
}

#[test]
fn a_challenges_certificate_loads_for_all_its_critical_extension() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let leaf = params.self_signed(&key).unwrap();
    assert!(load(&leaf.pem(), &key.serialize_pem()).is_ok());

    let provider = aws_lc_rs::default_provider();
    let challenges = Challenges::new();
    let answer = |host: &str, key: &[u8]| {
        let key = PrivatePkcs8KeyDer::from(key.to_vec()).into();
        challenges.answer(host, leaf.der().clone(), key, &provider)
    };
    let der = key.serialize_der();
    assert!(answer("a.test", &der).is_ok());
    assert!(challenges.get("A.test.").is_some());
    let wildcard = ChallengeError::Host(PatternError::Wildcard);
    assert_eq!(answer("*.a.test", &der), Err(wildcard));
    assert!(matches!(
        answer("a.test", &der[1..]),
        Err(ChallengeError::Key(_))
    ));
}
