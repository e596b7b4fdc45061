//! What is not signed, and what is not a CA.

use certwright_cert_model::key::{KeyAlgorithm, RsaSize};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_issuance::csr::Request;
use certwright_issuance::name_constraints::{NameForm, ViolationReason};
use certwright_issuance::profile::{Overrun, Preflight, Role, UsageRule};
use certwright_issuance::temporary::temporary;
use certwright_issuance::{
    CaChain, CaError, CertificateAuthority, KeyPair, Serial, SignError, self_signed,
};
use time::Duration;

use crate::common::*;

fn constrained(permitted: &[&str], excluded: &[&str]) -> Request {
    let list = |names: &[&str]| {
        let mut subtrees = Subtrees::default();
        subtrees.dns = names.iter().map(|name| name.parse().unwrap()).collect();
        subtrees
    };
    let mut request = request("constrained", &[]);
    request.constraints = NameConstraints::new(true, list(permitted), list(excluded));
    request
}

#[test]
fn names_outside_any_ca_of_the_chain() {
    let root = root(&constrained(&["example.com"], &[]), None);
    let ca = intermediate(&root, &constrained(&[], &["secret.example.com"]), None);
    let key = p256();
    for (name, refused) in [
        ("example.com", None),
        ("a.example.com", None),
        ("example.org", Some((1, ViolationReason::NotPermitted))),
        ("a.secret.example.com", Some((0, ViolationReason::Excluded))),
        ("*.example.com", Some((0, ViolationReason::Excluded))),
    ] {
        let csr = verified(&request("", &[name]), &key);
        match (ca.sign(&csr, &leaf_profile(), now()), refused) {
            (Ok(_), None) => {}
            (Err(SignError::Names(violations)), Some(expected)) => {
                let violation = violations.iter().next().unwrap();
                assert_eq!((violation.ca_index, violation.reason), expected, "{name}");
                assert_eq!(
                    (violation.form, violation.name.as_str()),
                    (NameForm::Dns, name)
                );
            }
            (result, _) => panic!("{name}: {result:?}"),
        }
    }
    let error = ca
        .sign(
            &verified(&request("", &["example.org"]), &key),
            &leaf_profile(),
            now(),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the CAs above do not allow it: DNS name \"example.org\" is outside the permitted \"example.com\", by the name constraints of \"CN=constrained\""
    );
}

#[test]
fn a_common_name_is_tested_where_it_may_be_used_as_a_host() {
    let ca = root(&constrained(&["example.com"], &[]), None);
    let key = p256();
    for (name, dns, good) in [
        ("www.example.org", &[][..], false),
        ("www.example.org", &["example.com"], true),
        ("www.example.com", &[], true),
        ("Jane Doe", &[], true),
        ("leaf", &[], true),
    ] {
        let csr = verified(&request(name, dns), &key);
        assert_eq!(
            ca.sign(&csr, &leaf_profile(), now()).is_ok(),
            good,
            "{name} {dns:?}"
        );
    }
}

#[test]
fn path_lengths_count_down() {
    let top = root(&request("root", &[]), Some(1));
    let key = p256();
    let csr = verified(&request("ca", &[]), &key);
    for (asked, good) in [(Some(0), true), (None, true), (Some(1), false)] {
        let result = top.sign(&csr, &ca_profile(asked), now());
        assert_eq!(result.is_ok(), good, "{asked:?}: {result:?}");
    }
    // The intermediate says nothing about its own path length; the root's still counts.
    let middle = intermediate(&top, &request("middle", &[]), None);
    let error = middle.sign(&csr, &ca_profile(None), now()).unwrap_err();
    assert_eq!(
        error,
        SignError::PathLength {
            ca: "CN=middle".to_owned(),
            allowed: 0,
            asked: 0
        }
    );
    let leaf = verified(&request("", &["example.com"]), &key);
    middle.sign(&leaf, &leaf_profile(), now()).unwrap();
}

#[test]
fn lifetimes_stay_within_the_ca() {
    let ca = root(&request("root", &[]), None);
    let csr = verified(&request("", &["example.com"]), &p256());
    let mut profile = leaf_profile();
    profile.duration = Duration::days(100_000);
    let clamped = ca
        .sign(&csr, &profile, now())
        .unwrap()
        .certificate()
        .unwrap();
    assert_eq!(clamped.not_after(), ca.chain().certificate().not_after());
    profile.overrun = Overrun::Refuse;
    assert!(matches!(
        ca.sign(&csr, &profile, now()),
        Err(SignError::OutlivesCa { .. })
    ));

    profile = leaf_profile();
    profile.backdate = Duration::hours(1);
    let late = now() + Duration::days(1);
    let backdated = ca
        .sign(&csr, &profile, late)
        .unwrap()
        .certificate()
        .unwrap();
    assert_eq!(backdated.not_before(), late - Duration::hours(1));
    assert_eq!(backdated.not_after(), late + Duration::days(90));
    for wrong in [now() - Duration::seconds(1), now() + Duration::days(36_501)] {
        assert!(matches!(
            ca.sign(&csr, &leaf_profile(), wrong),
            Err(SignError::CaNotValid { .. })
        ));
        assert!(matches!(
            CaChain::new(ca.chain().certificates().to_vec(), wrong),
            Err(CaError::NotValid { .. })
        ));
    }
    profile.duration = Duration::ZERO;
    profile.backdate = Duration::ZERO;
    assert!(matches!(
        ca.sign(&csr, &profile, now()),
        Err(SignError::Validity { .. })
    ));
}

#[test]
fn nobody_becomes_a_ca_by_asking() {
    let ca = root(&request("root", &[]), None);
    let key = p256();
    let mut asking = request("evil", &[]);
    asking.basic_constraints = Some(true);
    let csr = verified(&asking, &key);
    assert_eq!(
        ca.sign(&csr, &leaf_profile(), now()).unwrap_err(),
        SignError::CaRequested
    );
    let csr = verified(&constrained(&["a.b"], &[]), &key);
    assert_eq!(
        ca.sign(&csr, &leaf_profile(), now()).unwrap_err(),
        SignError::ConstraintsWithoutCa
    );
    let mut profile = leaf_profile();
    profile.usages = UsageRule::Exactly(usages(&["cert sign"]));
    let csr = verified(&request("evil", &[]), &key);
    assert_eq!(
        ca.sign(&csr, &profile, now()).unwrap_err(),
        SignError::CertSignWithoutCa
    );
    profile.usages = UsageRule::Exactly(usages(&["server auth"]));
    profile.role = Role::Ca { max_path_len: None };
    assert_eq!(
        ca.sign(&csr, &profile, now()).unwrap_err(),
        SignError::CaWithoutCertSign
    );
    let leaf = ca.sign(&csr, &leaf_profile(), now()).unwrap();
    let chain = vec![
        leaf.certificate().unwrap(),
        ca.chain().certificate().clone(),
    ];
    assert!(matches!(
        CertificateAuthority::new(chain, key, now()),
        Err(CaError::NotACa { .. })
    ));
}

#[test]
fn usages_are_those_requested() {
    let ca = root(&request("root", &[]), None);
    let key = p256();
    let ask = |names: &[&str]| {
        let mut request = request("", &["example.com"]);
        request.usages = usages(names);
        verified(&request, &key)
    };
    let exactly = leaf_profile();
    let mut within = leaf_profile();
    within.usages = UsageRule::Requested {
        within: usages(&["digital signature", "server auth", "client auth"]),
    };
    for (asked, exact, approved) in [
        (&[][..], true, true),
        (&["digital signature", "server auth"], true, true),
        (&["digital signature"], false, true),
        (&["server auth"], false, true),
        (&["digital signature", "client auth"], false, true),
        (
            &["digital signature", "server auth", "client auth"],
            false,
            true,
        ),
        (&["digital signature", "code signing"], false, false),
        (&["key encipherment", "server auth"], false, false),
    ] {
        let csr = ask(asked);
        assert_eq!(ca.sign(&csr, &exactly, now()).is_ok(), exact, "{asked:?}");
        let result = ca.sign(&csr, &within, now());
        assert_eq!(result.is_ok(), approved, "{asked:?}");
        if let (Ok(bundle), false) = (result, asked.is_empty()) {
            let issued = bundle.certificate().unwrap();
            // What a request leaves open is never more than what is approved.
            let all = usages(&["digital signature", "server auth", "client auth"]);
            let mut wanted = usages(asked);
            if wanted.key.is_empty() {
                wanted.key = all.key;
            }
            if wanted.extended.is_empty() {
                wanted.extended = all.extended;
            }
            assert_eq!(issued.key_usage().unwrap_or_default(), wanted.key);
            let oids: Vec<_> = wanted.extended.iter().map(|usage| usage.oid()).collect();
            assert_eq!(issued.extended_key_usage().unwrap_or_default(), oids);
        }
    }
}

#[test]
fn self_signed_needs_a_subject_and_its_own_key() {
    let (key, other) = (p256(), p256());
    let csr = verified(&request("", &["example.com"]), &key);
    assert_eq!(
        self_signed(&csr, &key, &leaf_profile(), now()).unwrap_err(),
        SignError::NamelessIssuer
    );
    let csr = verified(&request("leaf", &["example.com"]), &key);
    assert_eq!(
        self_signed(&csr, &other, &leaf_profile(), now()).unwrap_err(),
        SignError::ForeignKey
    );
    let leaf = self_signed(&csr, &key, &leaf_profile(), now()).unwrap();
    assert_eq!(leaf.authority(), Some(leaf.leaf()));
    assert!(leaf.certificate().unwrap().is_self_signed());
}

#[test]
fn a_ca_needs_its_own_key_and_chain() {
    let (one, two) = (
        root(&request("one", &[]), None),
        root(&request("two", &[]), None),
    );
    let chain = |ca: &CertificateAuthority| ca.chain().certificates().to_vec();
    assert!(matches!(
        CertificateAuthority::new(chain(&one), p256(), now()),
        Err(CaError::ForeignKey { .. })
    ));
    assert!(matches!(
        CaChain::new(Vec::new(), now()),
        Err(CaError::Empty)
    ));
    let strangers = [chain(&one), chain(&two)].concat();
    assert!(matches!(
        CaChain::new(strangers, now()),
        Err(CaError::Chain(_))
    ));
    let below = intermediate(&one, &request("below", &[]), None);
    let reversed = chain(&below).into_iter().rev().collect();
    assert!(matches!(
        CaChain::new(reversed, now()),
        Err(CaError::NotFirst { .. })
    ));
    let without_root = vec![below.chain().certificate().clone()];
    CaChain::new(without_root, now()).unwrap();
}

#[test]
fn remote_signatures_are_verified() {
    let key = p256();
    let csr = verified(&request("root", &[]), &key);
    let bundle = self_signed(&csr, &key, &ca_profile(None), now()).unwrap();
    let ca = CaChain::new(vec![bundle.certificate().unwrap()], now()).unwrap();
    let csr = verified(&request("", &["example.com"]), &p256());
    let mut profile = leaf_profile();
    profile.preflight = Preflight::Off;
    let serial = Serial::from_be_bytes(&[7]).unwrap();
    let waiting = ca.prepare(&csr, &profile, now(), serial).unwrap();
    let right = key.sign(waiting.algorithm(), waiting.bytes()).unwrap();
    let wrong = p256().sign(waiting.algorithm(), waiting.bytes()).unwrap();
    assert_eq!(
        waiting.clone().complete(&wrong).unwrap_err(),
        SignError::WrongSignature
    );
    let issued = waiting.complete(&right).unwrap().certificate().unwrap();
    assert_eq!(issued.serial(), [7]);
}

#[test]
fn a_temporary_certificate_has_no_known_ca() {
    let key = KeyPair::generate(KeyAlgorithm::Rsa(RsaSize::MIN)).unwrap();
    let csr = verified(&request("", &["example.com"]), &key);
    let bundle = temporary(&csr, &leaf_profile(), now()).unwrap();
    assert_eq!(bundle.authority(), None);
    assert_eq!(bundle.chain().count(), 1);
    assert_eq!(
        bundle.certificate().unwrap().spki_der(),
        key.public_key().spki_der()
    );
}
