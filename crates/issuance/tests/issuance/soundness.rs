//! Random chains, made by rcgen: none that we call good is refused by OpenSSL, or by webpki where it
//! knows the forms; whatever we refuse and OpenSSL accepts has a reason on the list below.
//!
//! 300 chains, 2,000 where `CI` is `true`; `CERTWRIGHT_CHAINS` sets another number.

use std::collections::BTreeMap;

use certwright_issuance::Certificate;
use certwright_issuance::name_constraints::{
    ChainError, ConstraintLevel, NameForm, ViolationReason, check_chain,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::common::*;
use crate::judge::Judge;

/// What we refuse although OpenSSL accepts it, and why.
const STRICTER: &[(NameForm, ViolationReason, &str)] = &[
    (
        NameForm::Dns,
        ViolationReason::Excluded,
        "a wildcard stands for an excluded name; OpenSSL compares texts",
    ),
    (
        NameForm::Dns,
        ViolationReason::Malformed,
        "a DNS name or subtree that is none, such as one with a dot at its end or a wildcard inside",
    ),
    (
        NameForm::CommonName,
        ViolationReason::Malformed,
        "the subtree a common name would be held against is no host",
    ),
    (NameForm::CommonName, ViolationReason::Excluded, WILDCARD),
    (
        NameForm::CommonName,
        ViolationReason::NotPermitted,
        WILDCARD,
    ),
    (
        NameForm::Email,
        ViolationReason::Malformed,
        "a mailbox or subtree that is none, such as '@host'",
    ),
    (
        NameForm::SubjectEmail,
        ViolationReason::Malformed,
        "as for e-mail addresses outside the subject",
    ),
    (
        NameForm::Ip,
        ViolationReason::Malformed,
        "a mask that is no prefix (RFC 5280 wants CIDR)",
    ),
    (
        NameForm::Uri,
        ViolationReason::AmbiguousHost,
        "user information hides the host from OpenSSL, which then misses the excluded one",
    ),
    (
        NameForm::Uri,
        ViolationReason::NoHost,
        "RFC 5280 refuses IP addresses as constrained hosts; OpenSSL compares them as texts",
    ),
    (
        NameForm::Uri,
        ViolationReason::Malformed,
        "a subtree that is no host; OpenSSL compares texts",
    ),
    (
        NameForm::Subject,
        ViolationReason::Excluded,
        "letters outside ASCII lose their case (RFC 4518); OpenSSL keeps it",
    ),
    (
        NameForm::Directory,
        ViolationReason::Excluded,
        "as for subjects",
    ),
];

/// Only for a name that is one: another may not be passed over.
const WILDCARD: &str = "a wildcard in a common name serves hosts all the same for who reads it; OpenSSL takes it for no \
                        name and holds it against nothing";

const HOSTS: &[&str] = &[
    "example.com",
    "a.example.com",
    "b.a.example.com",
    "EXAMPLE.com",
    "badexample.com",
    "example.org",
    "a.example.org",
    "com",
    "td",
    "xn--a.example.com",
    "10.0.0.1",
];
const DNS_NAMES: &[&str] = &[
    "*.example.com",
    "*.a.example.com",
    "*.org",
    "a.example.com.",
    "*",
    "a b.example.com",
];
const DNS_SUBTREES: &[&str] = &[
    "",
    ".example.com",
    ".a.example.com",
    "example.com.",
    "*.example.com",
    ".",
];
const MAILBOXES: &[&str] = &[
    "u@example.com",
    "U@example.com",
    "u@EXAMPLE.COM",
    "u@a.example.com",
    "v@example.org",
    "u",
    "u@v@example.com",
    "*@example.com",
];
const MAIL_SUBTREES: &[&str] = &["@example.com", "", ".com"];
const URIS: &[&str] = &[
    "https://example.com/x",
    "https://a.example.com:8443/",
    "https://example.org",
    "spiffe://td/x",
    "urn:uuid:1",
    "https://u@example.com/",
    "https://example.com?q",
    "https://example.com/a:b",
    "https://10.0.0.1/",
    "https://[::1]/",
    "https://EXAMPLE.com/",
];
const ADDRESSES: &[&[u8]] = &[
    &[10, 0, 0, 1],
    &[10, 1, 2, 3],
    &[192, 0, 2, 7],
    &[0; 16],
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
];
const BLOCKS: &[&[u8]] = &[
    &[10, 0, 0, 0, 255, 0, 0, 0],
    &[10, 0, 0, 0, 255, 255, 0, 0],
    &[0; 8],
    &[10, 0, 0, 1, 255, 255, 255, 255],
    &[10, 0, 0, 0, 255, 0, 255, 0],
    &[0; 32],
];
const ORGANIZATIONS: &[&str] = &[
    "Acme",
    "ACME",
    "Acme  Inc",
    "acme inc",
    "B\u{fc}cher",
    "B\u{dc}CHER",
];

#[test]
fn nothing_good_is_refused_by_others() {
    let Some(openssl) = Judge::openssl() else {
        return;
    };
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let count = std::env::var("CERTWRIGHT_CHAINS");
    let count: u64 = count.map_or(if ci { 2_000 } else { 300 }, |count| count.parse().unwrap());
    let maker = Maker::new();
    let folder = tempfile::tempdir().unwrap();
    let (mut good, mut strict, mut unlisted) = (0, BTreeMap::new(), Vec::new());
    for seed in 0..count {
        let chain = maker.chain(&mut Random(seed));
        let ours = check_chain(&chain.certificates, ConstraintLevel::Interop);
        for (name, certificate) in ["leaf", "ca", "root"].iter().zip(&chain.certificates) {
            std::fs::write(folder.path().join(name), certificate.to_pem()).unwrap();
        }
        let time = (now().unix_timestamp() + 60).to_string();
        let arguments = [
            "verify",
            "-attime",
            &time,
            "-CAfile",
            "root",
            "-untrusted",
            "ca",
            "leaf",
        ];
        let output = openssl.run(&arguments, folder.path());
        let theirs = output.status.success();
        let text = || {
            let text = [&output.stderr[..], &output.stdout].concat();
            format!(
                "seed {seed}: {}\n{}",
                chain.text,
                String::from_utf8_lossy(&text)
            )
        };
        match &ours {
            Ok(()) => {
                good += 1;
                assert!(theirs, "OpenSSL refuses what we accept: {}", text());
                if chain.is_for_webpki {
                    let verdict = webpki(&chain.certificates);
                    assert!(
                        verdict.is_ok(),
                        "webpki refuses what we accept: {verdict:?} {}",
                        text()
                    );
                }
            }
            Err(ChainError::Names { violations, .. }) if theirs => {
                let listed = violations.iter().find(|violation| {
                    STRICTER.iter().any(|(form, reason, why)| {
                        (*form, *reason) == (violation.form, violation.reason)
                            && (*why != WILDCARD || violation.name.starts_with("*."))
                    })
                });
                match listed {
                    Some(violation) => {
                        let kind = format!("{:?} {:?}", violation.form, violation.reason);
                        *strict.entry(kind).or_insert(0) += 1;
                    }
                    None => unlisted.push(format!("{violations}: {}", text())),
                }
            }
            Err(ChainError::Names { .. }) => {}
            Err(error) => panic!("{error}: {}", text()),
        }
    }
    println!("{count} chains, {good} good, stricter than OpenSSL: {strict:?}");
    assert!(
        unlisted.is_empty(),
        "stricter than OpenSSL without a reason: {unlisted:#?}"
    );
    assert!(
        good > count / 10,
        "only {good} of {count} chains are good: the test says little"
    );
}

fn webpki(chain: &[Certificate]) -> Result<(), webpki::Error> {
    let anchor = webpki::anchor_from_trusted_cert(chain[2].der())?;
    let seconds = now().unix_timestamp().unsigned_abs() + 60;
    webpki::EndEntityCert::try_from(chain[0].der())?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &[chain[1].der().clone()],
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map(|_| ())
}

/// Three keys for all chains; only what the certificates say differs.
struct Maker {
    root: KeyPair,
    ca: KeyPair,
    leaf: KeyPair,
}

struct Chain {
    certificates: Vec<Certificate>,
    /// Whether webpki knows every form that is constrained.
    is_for_webpki: bool,
    text: String,
}

impl Maker {
    fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        Self {
            root: key(),
            ca: key(),
            leaf: key(),
        }
    }

    fn chain(&self, random: &mut Random) -> Chain {
        let mut is_for_webpki = true;
        let mut text = String::new();
        let mut constraints = |random: &mut Random| {
            let extension = random.constraints(&mut is_for_webpki, &mut text);
            text.push_str("; ");
            extension
        };
        let root_constraints = random.one_in(3).then(|| constraints(random));
        let ca_constraints = (!random.one_in(5)).then(|| constraints(random));
        let root_params = params("root", root_constraints);
        let root = root_params.self_signed(&self.root).unwrap();
        let ca_params = params("ca", ca_constraints);
        let root_issuer = Issuer::new(root_params, &self.root);
        let ca = ca_params.signed_by(&self.ca, &root_issuer).unwrap();
        let leaf = random.leaf(&mut text);
        let leaf = leaf
            .signed_by(&self.leaf, &Issuer::new(ca_params, &self.ca))
            .unwrap();
        let read = |der: &CertificateDer<'static>| Certificate::from_der(der.clone()).unwrap();
        Chain {
            certificates: vec![read(leaf.der()), read(ca.der()), read(root.der())],
            is_for_webpki,
            text,
        }
    }
}

pub(crate) fn params(name: &str, constraints: Option<Vec<u8>>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // Under the name that some constraint on directory names permits.
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Acme");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now();
    params.not_after = now() + time::Duration::days(1000);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    if let Some(value) = constraints {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], value);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    }
    params
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..128) => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => der.extend(
            [
                &[0x82][..],
                &u16::try_from(content.len()).unwrap().to_be_bytes(),
            ]
            .concat(),
        ),
    }
    der.extend(content);
    der
}

pub(crate) fn name_der(organization: &str) -> Vec<u8> {
    let value = [tlv(6, &[0x55, 4, 10]), tlv(12, organization.as_bytes())].concat();
    tlv(0x30, &tlv(0x31, &tlv(0x30, &value)))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Mostly a usual value, sometimes an odd one.
    fn either(&mut self, usual: &[&'static str], odd: &[&'static str]) -> &'static str {
        if self.one_in(6) {
            self.pick(odd)
        } else {
            self.pick(usual)
        }
    }

    fn constraints(&mut self, is_for_webpki: &mut bool, text: &mut String) -> Vec<u8> {
        let mut lists = Vec::new();
        let which = self.below(3);
        for (tag, name) in [(0xa0, "permitted"), (0xa1, "excluded")] {
            if (tag, which) == (0xa0, 1) || (tag, which) == (0xa1, 0) {
                continue;
            }
            text.push_str(name);
            let mut subtrees = Vec::new();
            for _ in 0..=self.below(3) {
                let form = self.below(7);
                *is_for_webpki &= form > 2;
                let base = match form {
                    0 => self.text(0x81, &[HOSTS, MAILBOXES], MAIL_SUBTREES, text),
                    1 => self.text(0x86, &[HOSTS], DNS_SUBTREES, text),
                    2 => {
                        let name = self.pick(ORGANIZATIONS);
                        text.push_str(&format!(" dir:{name}"));
                        tlv(0xa4, &name_der(name))
                    }
                    3 | 4 => {
                        let block = self.pick(BLOCKS);
                        text.push_str(&format!(" ip:{block:?}"));
                        tlv(0x87, block)
                    }
                    _ => self.text(0x82, &[HOSTS], DNS_SUBTREES, text),
                };
                subtrees.extend(tlv(0x30, &base));
            }
            lists.extend(tlv(tag, &subtrees));
        }
        tlv(0x30, &lists)
    }

    fn text(
        &mut self,
        tag: u8,
        usual: &[&[&'static str]],
        odd: &[&'static str],
        text: &mut String,
    ) -> Vec<u8> {
        let usual = self.pick(usual);
        let value = self.either(usual, odd);
        text.push_str(&format!(" {tag:02x}:{value:?}"));
        tlv(tag, value.as_bytes())
    }

    fn leaf(&mut self, text: &mut String) -> CertificateParams {
        let mut params = params("leaf", None);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages.clear();
        params.distinguished_name = rcgen::DistinguishedName::new();
        text.push_str("leaf");
        if self.one_in(3) {
            let name = self.pick(ORGANIZATIONS);
            text.push_str(&format!(" O={name}"));
            params
                .distinguished_name
                .push(DnType::OrganizationName, name);
        }
        if self.one_in(6) {
            let name = self.either(HOSTS, DNS_NAMES);
            text.push_str(&format!(" CN={name}"));
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if self.one_in(8) {
            let name = self.pick(MAILBOXES);
            text.push_str(&format!(" E={name}"));
            let email = DnType::from_oid(&[1, 2, 840, 113_549, 1, 9, 1]);
            let value = rcgen::string::Ia5String::try_from(name).unwrap();
            params
                .distinguished_name
                .push(email, rcgen::DnValue::Ia5String(value));
        }
        let mut names = Vec::new();
        for _ in 0..self.below(3) {
            names.extend(match self.below(6) {
                0 => self.text(0x81, &[MAILBOXES], MAILBOXES, text),
                1 => self.text(0x86, &[URIS], URIS, text),
                2 => {
                    let address = self.pick(ADDRESSES);
                    text.push_str(&format!(" ip:{address:?}"));
                    tlv(0x87, address)
                }
                3 => {
                    let name = self.pick(ORGANIZATIONS);
                    text.push_str(&format!(" dir:{name}"));
                    tlv(0xa4, &name_der(name))
                }
                _ => self.text(0x82, &[HOSTS], DNS_NAMES, text),
            });
        }
        if !names.is_empty() {
            let value = tlv(0x30, &names);
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], value));
        }
        params
    }
}
