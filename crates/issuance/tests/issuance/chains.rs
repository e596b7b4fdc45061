//! Chains put in order, by cert-manager's rules.

use certwright_issuance::certificate::CertificateError;
use certwright_issuance::chain::{
    AssembleError, AssembledChain, ReadError, assemble, encode_chain, read_pem,
};
use certwright_issuance::{Certificate, CertificateAuthority, pem_limit};

use crate::common::*;

/// A PKI by names: root -> a1 -> a2 -> leaf, root -> b1 -> b2, and a root of its own.
struct Pki {
    certificates: Vec<(&'static str, Certificate)>,
}

impl Pki {
    fn new() -> Self {
        let own = |ca: &CertificateAuthority| ca.chain().certificate().clone();
        let root = root(&request("root", &[]), None);
        let a1 = intermediate(&root, &request("a1", &[]), None);
        let a2 = intermediate(&a1, &request("a2", &[]), None);
        let b1 = intermediate(&root, &request("b1", &[]), None);
        let b2 = intermediate(&b1, &request("b2", &[]), None);
        let csr = verified(&request("leaf", &[]), &p256());
        let leaf = a2.sign(&csr, &leaf_profile(), now()).unwrap();
        let stranger = crate::common::root(&request("random", &[]), None);
        Self {
            certificates: vec![
                ("root", own(&root)),
                ("a1", own(&a1)),
                ("a2", own(&a2)),
                ("b1", own(&b1)),
                ("b2", own(&b2)),
                ("leaf", leaf.certificate().unwrap()),
                ("random", own(&stranger)),
            ],
        }
    }

    fn get(&self, names: &[&str]) -> Vec<Certificate> {
        let one = |name: &&str| self.certificates.iter().find(|(known, _)| known == name);
        names
            .iter()
            .map(|name| one(name).unwrap().1.clone())
            .collect()
    }

    fn name(&self, certificate: &Certificate) -> &'static str {
        let mut all = self.certificates.iter();
        all.find(|(_, known)| known == certificate).unwrap().0
    }

    fn assemble(&self, names: &[&str]) -> Result<(Vec<&str>, Option<&str>), AssembleError> {
        let AssembledChain {
            chain, authority, ..
        } = assemble(self.get(names))?;
        Ok((
            chain.iter().map(|one| self.name(one)).collect(),
            authority.map(|one| self.name(&one)),
        ))
    }
}

#[test]
fn a_text_is_read_up_to_its_limit() {
    let pki = Pki::new();
    let pem = |names: &[&str]| -> String {
        let certificates = pki.get(names);
        let texts = certificates.iter().map(Certificate::to_pem);
        texts.collect::<Vec<_>>().join("\n#foo\n  \n")
    };
    let text = pem(&["root", "a2", "a1"]);
    let found = read_pem(text.as_bytes()).unwrap();
    assert_eq!(found.chain, pki.get(&["a2", "a1"]));
    assert_eq!(found.authority, pki.get(&["root"]).pop());

    let padded = |length: usize| format!("{}{text}", "\n".repeat(length - text.len()));
    let (found, max) = (pem_limit::CHAIN + 1, pem_limit::CHAIN);
    assert!(read_pem(padded(max).as_bytes()).is_ok());
    assert_eq!(
        read_pem(padded(found).as_bytes()),
        Err(CertificateError::TooLong { found, max }.into())
    );
    assert_eq!(
        read_pem(b"\n#foo\n"),
        Err(CertificateError::NoCertificate.into())
    );
    assert!(matches!(
        read_pem(pem(&["root", "random"]).as_bytes()),
        Err(ReadError::Assemble(AssembleError::Gap { .. }))
    ));
}

#[test]
fn any_order_gives_one_chain() {
    let pki = Pki::new();
    for (given, chain, authority) in [
        (&["leaf", "a2"][..], &["leaf", "a2"][..], Some("a2")),
        (&["root", "a1"], &["a1"], Some("root")),
        (
            &["leaf", "a1", "a2", "root"],
            &["leaf", "a2", "a1"],
            Some("root"),
        ),
        (
            &["root", "a1", "leaf", "a2"],
            &["leaf", "a2", "a1"],
            Some("root"),
        ),
        (
            &["a2", "a1", "root", "leaf", "a1", "root"],
            &["leaf", "a2", "a1"],
            Some("root"),
        ),
        (&["a1", "a2", "leaf"], &["leaf", "a2", "a1"], Some("a1")),
        (&["leaf"], &["leaf"], None),
        (&["a1"], &["a1"], None),
        (&["root"], &["root"], Some("root")),
        (&["root", "root"], &["root"], Some("root")),
    ] {
        assert_eq!(
            pki.assemble(given),
            Ok((chain.to_vec(), authority)),
            "{given:?}"
        );
    }
}

#[test]
fn what_is_not_one_chain_is_refused_with_the_reason() {
    let pki = Pki::new();
    assert_eq!(pki.assemble(&[]), Err(AssembleError::Empty));
    let error = pki.assemble(&["root", "a1", "a2", "b1", "b2"]).unwrap_err();
    assert!(matches!(error, AssembleError::Branch { .. }), "{error}");
    for broken in [
        &["root", "a1", "leaf", "a2", "random"][..],
        &["leaf", "a1", "root"],
        &["leaf", "root"],
        &["root", "random"],
    ] {
        let error = pki.assemble(broken).unwrap_err();
        assert!(
            matches!(error, AssembleError::Gap { .. }),
            "{broken:?}: {error}"
        );
    }
}

#[test]
fn a_hundred_intermediates_take_a_moment() {
    let mut ca = root(&request("root", &[]), None);
    let mut all = vec![ca.chain().certificate().clone()];
    for number in 0..100 {
        let name = format!("intermediate {number}");
        ca = intermediate(&ca, &request(&name, &[]), None);
        all.push(ca.chain().certificate().clone());
    }
    // A stride that visits all 101 in an order of no use to anyone.
    let shuffled: Vec<_> = (0..all.len())
        .map(|i| all[i * 37 % all.len()].clone())
        .collect();
    let assembled = assemble(shuffled).unwrap();
    assert_eq!(assembled.authority.as_ref(), all.first());
    all.reverse();
    all.pop();
    assert_eq!(assembled.chain, all);
}

#[test]
fn roots_are_left_out_of_encoded_chains() {
    let pki = Pki::new();
    for (given, written) in [
        (&["root", "a1", "a2"][..], &["a1", "a2"][..]),
        (&["root"], &[]),
        (&[], &[]),
        (&["leaf"], &["leaf"]),
    ] {
        let expected: String = pki.get(written).iter().map(Certificate::to_pem).collect();
        assert_eq!(encode_chain(&pki.get(given)), expected);
    }
}
