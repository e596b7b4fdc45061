//! Revocation lists, as OpenSSL, GnuTLS, Java and webpki see them.

use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize, SignatureAlgorithm};
use certwright_issuance::crl::{RevocationList, RevocationReason, Revoked};
use certwright_issuance::{
    CertificateAuthority, CrlError, KeyPair, Profile, Serial, SignedBundle, self_signed,
};
use der::{Decode, Encode};
use proptest::prelude::*;
use time::Duration;
use webpki::{BorrowedCertRevocationList, RevocationReason as Theirs};

use crate::common::*;
use crate::judge::Judge;

const REASONS: [RevocationReason; 8] = [
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::CertificateHold,
    RevocationReason::PrivilegeWithdrawn,
    RevocationReason::AaCompromise,
];

fn authority_with(algorithm: KeyAlgorithm, usages_of_it: &[&str]) -> CertificateAuthority {
    let key = KeyPair::generate(algorithm).unwrap();
    let csr = verified(&request("root", &[]), &key);
    let profile = Profile::ca(usages(usages_of_it), Duration::days(3650), None);
    let bundle = self_signed(&csr, &key, &profile, now()).unwrap();
    authority(&bundle, &[], key)
}

fn leaf(ca: &CertificateAuthority) -> SignedBundle {
    let csr = verified(&request("leaf", &["example.com"]), &p256());
    ca.sign(&csr, &leaf_profile(), now()).unwrap()
}

fn serial(number: u8) -> Serial {
    Serial::from_be_bytes(&[number]).unwrap()
}

#[test]
fn others_read_our_lists() {
    let (openssl, certtool) = (Judge::openssl(), Judge::find("CERTTOOL", "certtool"));
    let keytool = Judge::find("KEYTOOL", "keytool");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for algorithm in [
        KeyAlgorithm::Rsa(RsaSize::MIN),
        KeyAlgorithm::Ecdsa(Curve::P256),
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Ecdsa(Curve::P521),
        KeyAlgorithm::Ed25519,
    ] {
        let ca = authority_with(algorithm, &["cert sign", "crl sign"]);
        let (good, bad) = (leaf(&ca), leaf(&ca));
        let mut list = RevocationList::new(0x1234_5678_9abc, now() + Duration::days(9));
        let mut revoked = Revoked::certificate(&bad.certificate().unwrap(), now()).unwrap();
        revoked.reason = Some(RevocationReason::KeyCompromise);
        list.revoked.push(revoked);
        list.revoked
            .push(Revoked::new(serial(0x80), now() - Duration::days(1)));
        let crl = ca.sign_crl(&list, now()).unwrap();
        write("ca.pem", &ca.chain().certificate().to_pem());
        write("crl.pem", &crl.to_pem());
        write("good.pem", &good.chain_pem());
        write("bad.pem", &bad.chain_pem());
        if let Some(openssl) = &openssl {
            let arguments = [
                "crl", "-in", "crl.pem", "-noout", "-text", "-CAfile", "ca.pem",
            ];
            let text = openssl.accept(&arguments, folder.path());
            for part in [
                "verify OK",
                "Version 2 (0x1)",
                "Issuer: CN = root",
                "Last Update: Jan  1 00:00:00 2026 GMT",
                "Next Update: Jan 10 00:00:00 2026 GMT",
                "X509v3 Authority Key Identifier",
                "X509v3 CRL Number: \n                20015998343868\n",
                "Key Compromise",
                "Serial Number: 80\n        Revocation Date: Dec 31 00:00:00 2025 GMT\n",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            let time = (now().unix_timestamp() + 60).to_string();
            let verify = |leaf| {
                let arguments = [
                    "verify",
                    "-x509_strict",
                    "-crl_check_all",
                    "-attime",
                    &time,
                    "-CAfile",
                    "ca.pem",
                    "-CRLfile",
                    "crl.pem",
                    leaf,
                ];
                let output = openssl.run(&arguments, folder.path());
                (
                    output.status.success(),
                    String::from_utf8_lossy(&output.stderr).into_owned(),
                )
            };
            let (accepted, text) = verify("good.pem");
            assert!(accepted, "{text}");
            let (accepted, text) = verify("bad.pem");
            assert!(!accepted && text.contains("certificate revoked"), "{text}");
        }
        if let Some(certtool) = &certtool {
            let arguments = ["--crl-info", "--infile", "crl.pem"];
            let text = certtool.accept(&arguments, folder.path());
            assert!(text.contains("Revoked certificates (2):"), "{text}");
            assert!(
                text.contains("CRL Number (not critical): 123456789abc"),
                "{text}"
            );
        }
        if let Some(keytool) = &keytool {
            let text = keytool.accept(&["-printcrl", "-file", "crl.pem"], folder.path());
            assert!(text.contains("Reason Code: KEY_COMPROMISE"), "{text}");
            assert!(text.contains("CRL Number:     12345678 9abc"), "{text}");
        }
    }
}

#[test]
fn every_reason_is_read_back() {
    let ca = root(&request("root", &[]), None);
    let mut list = RevocationList::new(1, now() + Duration::days(9));
    let reasons: Vec<_> = REASONS.into_iter().map(Some).chain([None]).collect();
    for (number, reason) in (1..).zip(&reasons) {
        let mut revoked = Revoked::new(serial(number), now());
        revoked.reason = *reason;
        list.revoked.push(revoked);
    }
    let crl = ca.sign_crl(&list, now()).unwrap();
    let read = BorrowedCertRevocationList::from_der(crl.der()).unwrap();
    let found: Vec<_> = (&read)
        .into_iter()
        .map(|one| one.unwrap().reason_code)
        .collect();
    let expected = [
        Some(Theirs::KeyCompromise),
        Some(Theirs::CaCompromise),
        Some(Theirs::AffiliationChanged),
        Some(Theirs::Superseded),
        Some(Theirs::CessationOfOperation),
        Some(Theirs::CertificateHold),
        Some(Theirs::PrivilegeWithdrawn),
        Some(Theirs::AaCompromise),
        None,
    ];
    assert_eq!(found, expected);
}

#[test]
fn lists_that_would_mislead_are_refused() {
    let ca = root(&request("root", &[]), None);
    let late = now() + Duration::days(9);
    let list = |revoked: &[(u8, Duration)]| {
        let mut list = RevocationList::new(1, late);
        let revoked = revoked.iter();
        list.revoked = revoked
            .map(|(n, age)| Revoked::new(serial(*n), now() - *age))
            .collect();
        list
    };
    let ago = Duration::seconds;
    for (list, at, expected) in [
        (list(&[(1, ago(0)), (2, ago(5))]), now(), "accepted"),
        (list(&[]), now(), "accepted"),
        (
            list(&[(1, ago(0)), (2, ago(0)), (1, ago(5))]),
            now(),
            "the certificate 01 is on the list twice",
        ),
        (
            list(&[(0x1f, ago(-1))]),
            now(),
            "the certificate 1f is revoked at 2026-01-01 0:00:01.0 +00:00:00, which is after 2026-01-01 0:00:00.0 +00:00:00, when the list is made, or before the year 0",
        ),
        (
            list(&[]),
            late,
            "the next update at 2026-01-10 0:00:00.0 +00:00:00 is not after 2026-01-10 0:00:00.0 +00:00:00, or not before the year 10000",
        ),
        (
            list(&[]),
            now() - Duration::days(1),
            "the CA \"CN=root\" is valid from 2026-01-01 0:00:00.0 +00:00:00 to 2125-12-08 0:00:00.0 +00:00:00 only",
        ),
    ] {
        let result = ca.sign_crl(&list, at).err();
        let found = result.map_or_else(|| "accepted".to_owned(), |error| error.to_string());
        assert_eq!(found, expected);
    }
    let silent = authority_with(KeyAlgorithm::Ed25519, &["cert sign"]);
    assert_eq!(
        silent.sign_crl(&list(&[]), now()).unwrap_err().to_string(),
        "\"CN=root\" may not sign revocation lists: issue it with the usage crl sign"
    );
}

#[test]
fn a_list_is_signed_elsewhere() {
    let key = p256();
    let csr = verified(&request("root", &[]), &key);
    let bundle = self_signed(&csr, &key, &ca_profile(None), now()).unwrap();
    let chain = certwright_issuance::CaChain::from_pem(bundle.chain_pem().as_bytes(), now());
    let waiting = || {
        let list = RevocationList::new(1, now() + Duration::days(9));
        chain.as_ref().unwrap().prepare_crl(&list, now()).unwrap()
    };
    assert_eq!(waiting().algorithm(), SignatureAlgorithm::EcdsaWithSha256);
    let signature = key.sign(waiting().algorithm(), waiting().bytes()).unwrap();
    let crl = waiting().complete(&signature).unwrap();
    BorrowedCertRevocationList::from_der(crl.der()).unwrap();
    let other = p256()
        .sign(waiting().algorithm(), waiting().bytes())
        .unwrap();
    assert_eq!(waiting().complete(&other), Err(CrlError::WrongSignature));
    assert_eq!(waiting().sign(&p256()), Err(CrlError::ForeignKey));
    assert!(waiting().sign(&key).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn parsed_is_what_was_listed(
        number: u64,
        life in 1_i64..10_000_000_000,
        revoked in proptest::collection::hash_map(
            proptest::collection::vec(any::<u8>(), 1..20),
            // x509-cert knows no time before 1970.
            (0..=1_767_225_600_i64, proptest::option::of(proptest::sample::select(REASONS.to_vec()))),
            0..40,
        ),
    ) {
        let ca = root(&request("root", &[]), None);
        let mut list = RevocationList::new(number, now() + Duration::seconds(life));
        let mut seen = std::collections::HashSet::new();
        for (octets, (age, reason)) in revoked {
            let Ok(serial) = Serial::from_be_bytes(&octets) else { continue };
            if !seen.insert(serial.clone()) {
                continue;
            }
            let mut revoked = Revoked::new(serial, now() - Duration::seconds(age));
            revoked.reason = reason;
            list.revoked.push(revoked);
        }
        let crl = ca.sign_crl(&list, now()).unwrap();
        let read = x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280>::from_der(crl.der()).unwrap();
        prop_assert_eq!(read.to_der().unwrap(), crl.der().to_vec());
        let tbs = &read.tbs_cert_list;
        let seconds = |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap();
        prop_assert_eq!(seconds(&tbs.this_update), now().unix_timestamp());
        prop_assert_eq!(seconds(tbs.next_update.as_ref().unwrap()), list.next_update.unix_timestamp());
        let entries = tbs.revoked_certificates.iter().flatten();
        let found: Vec<_> = entries.map(|entry| {
            let serial = Serial::from_be_bytes(entry.serial_number.as_bytes()).unwrap();
            let mut code = entry.crl_entry_extensions.iter().flatten().map(|one| *one.extn_value.as_bytes().last().unwrap());
            (serial, seconds(&entry.revocation_date), code.next())
        }).collect();
        let listed = list.revoked.iter().map(|one| {
            (one.serial.clone(), one.at.unix_timestamp(), one.reason.map(RevocationReason::code))
        });
        prop_assert_eq!(found, listed.collect::<Vec<_>>());
        prop_assert!(BorrowedCertRevocationList::from_der(crl.der()).is_ok());
    }
}
