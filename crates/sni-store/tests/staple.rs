//! OCSP responses made by openssl, stapled and dropped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use certwright_sni_store::{CertStore, PairLoader, PemPair, SelectionPolicy, StapleError};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

/// An authority with three certificates, serial numbers 0x80, 2 and 3, the last one revoked.
struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, name);
        write("ca.crt", &params.self_signed(&key).unwrap().pem());
        write("ca.key", &key.serialize_pem());
        let issuer = Issuer::new(params, key);
        for serial in [0x80, 2, 3] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([format!("n{serial}.test")]).unwrap();
            params.serial_number = Some(SerialNumber::from(serial));
            // Two of them demand a staple, RFC 7633; the other knows another TLS feature.
            let feature = if serial == 2 { 17 } else { 5 };
            params.custom_extensions = vec![CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 5, 5, 7, 1, 24],
                vec![0x30, 3, 2, 1, feature],
            )];
            let leaf = params.signed_by(&key, &issuer).unwrap();
            write(&format!("{serial}.crt"), &leaf.pem());
            write(&format!("{serial}.key"), &key.serialize_pem());
        }
        let line = |flag: &str, revoked: &str, serial: &str| {
            format!("{flag}\t401231235959Z\t{revoked}\t{serial}\tunknown\t/CN={serial}\n")
        };
        write(
            "index.txt",
            &(line("V", "", "80") + &line("V", "", "02") + &line("R", "250101000000Z", "03")),
        );
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The responder's answer about these certificates, good for a week.
    fn respond(&self, serials: &[u64], days: Option<&str>) -> Vec<u8> {
        let mut request = vec!["ocsp", "-issuer", "ca.crt", "-reqout", "request"];
        let files: Vec<String> = serials.iter().map(|s| format!("{s}.crt")).collect();
        for file in &files {
            request.extend(["-cert", file]);
        }
        self.openssl(&request);
        let mut answer = vec![
            "ocsp",
            "-index",
            "index.txt",
            "-rsigner",
            "ca.crt",
            "-rkey",
            "ca.key",
            "-CA",
            "ca.crt",
            "-reqin",
            "request",
            "-respout",
            "response",
        ];
        answer.extend(days.into_iter().flat_map(|days| ["-ndays", days]));
        self.openssl(&answer);
        fs::read(self.path().join("response")).unwrap()
    }

    fn store(&self, serials: &[u64], with_issuer: bool) -> CertStore<CertifiedKey> {
        let loader = PairLoader::new(Arc::new(aws_lc_rs::default_provider()));
        let store = CertStore::new(SelectionPolicy::Best);
        for serial in serials {
            let read = |extension: &str| {
                fs::read(self.path().join(format!("{serial}.{extension}"))).unwrap()
            };
            let (mut chain, key) = (read("crt"), read("key"));
            if with_issuer {
                chain.extend(fs::read(self.path().join("ca.crt")).unwrap());
            }
            let pair = PemPair {
                chain: &chain,
                key: &key,
            };
            store.apply(loader.load(serial.to_string(), pair).unwrap());
        }
        store
    }
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        eprintln!("SKIPPED: openssl is not installed");
    }
    found
}

#[test]
fn another_authoritys_word_about_the_same_serial_number_is_refused() {
    if !has_openssl() {
        return;
    }
    let ours = Authority::new("authority");
    let stranger = Authority::new("stranger").respond(&[2], Some("7"));
    let namesake = Authority::new("authority").respond(&[2], Some("7"));
    let own = ours.respond(&[2], Some("7"));
    let now = OffsetDateTime::now_utc() + Duration::MINUTE;
    let foreign = |differs| StapleError::Foreign {
        serial: "02".to_owned(),
        differs,
    };
    for with_issuer in [true, false] {
        let store = ours.store(&[2], with_issuer);
        assert_eq!(
            store.staple("2", &stranger, now).unwrap_err(),
            foreign("its issuer's name is another")
        );
        let refused = store.staple("2", &namesake, now).err();
        // Whose key it is only the issuer's certificate tells.
        assert_eq!(
            refused,
            with_issuer.then(|| foreign("its issuer's key is another"))
        );
        assert!(store.staple("2", &own, now).is_ok());
        assert_eq!(
            store.entry("2").unwrap().payload().ocsp.as_deref(),
            Some(&own[..])
        );
    }
}

#[test]
fn openssls_responses_are_stapled_while_they_are_good() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("authority");
    let store = authority.store(&[0x80, 2, 3], true);
    let now = OffsetDateTime::now_utc() + Duration::MINUTE;
    let good = authority.respond(&[2, 0x80], Some("7"));
    let staple = |id: &str, response: &[u8], now| store.staple(id, response, now);
    let entry = |id: &str| store.entry(id).unwrap();

    let awaiting = || {
        let ids = store.awaiting_staples();
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(awaiting(), ["128", "3"]);
    let before = entry("128");
    let stapled = staple("128", &good, now).unwrap();
    assert_eq!(stapled.report.replaced.len(), 1);
    assert!((stapled.until - now - Duration::WEEK).abs() < 2 * Duration::MINUTE);
    assert_eq!(awaiting(), ["3"]);
    let after = entry("128");
    assert_eq!(after.payload().ocsp.as_deref(), Some(&good[..]));
    assert!(Arc::ptr_eq(&after.payload().key, &before.payload().key));
    assert_eq!(after.payload().cert, before.payload().cert);
    assert_eq!(after.fingerprint(), before.fingerprint());
    assert!(staple("2", &good, now).is_ok());

    let day = Duration::DAY;
    let revoked = authority.respond(&[3], Some("7"));
    let endless = authority.respond(&[2], None);
    let text = |refused: Result<_, StapleError>| refused.unwrap_err().to_string();
    assert_eq!(staple("4", &good, now).unwrap_err(), StapleError::NoEntry);
    assert_eq!(
        staple("3", &good, now).unwrap_err(),
        StapleError::Foreign {
            serial: "03".to_owned(),
            differs: "its serial number is another",
        }
    );
    assert_eq!(
        text(staple("3", &revoked, now)),
        "the authority does not call the certificate good: it is revoked; replace it"
    );
    assert_eq!(
        staple("2", &endless, now).unwrap_err(),
        StapleError::NoNextUpdate
    );
    assert_eq!(
        staple("2", b"no response", now).unwrap_err(),
        StapleError::Malformed
    );
    assert!(matches!(
        staple("2", &good, now - day),
        Err(StapleError::NotYetValid { .. })
    ));
    assert!(matches!(
        staple("2", &good, now + 8 * day),
        Err(StapleError::Expired { .. })
    ));

    // A refused one leaves the one that is there.
    assert!(entry("2").payload().ocsp.is_some());
    assert!(!store.drop_expired_staples(now + 6 * day).changed());
    assert_eq!(store.drop_expired_staples(now + 8 * day).replaced.len(), 2);
    assert!(entry("2").payload().ocsp.is_none());
    assert_eq!(awaiting(), ["128", "3"]);
    assert!(Arc::ptr_eq(
        &entry("128").payload().key,
        &before.payload().key
    ));
}
