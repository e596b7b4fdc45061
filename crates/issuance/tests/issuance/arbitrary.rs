//! Random requests and profiles, all of them valid.

use std::net::IpAddr;

use certwright_cert_model::name::{Names, OtherName};
use certwright_cert_model::name_constraints::{NameConstraints, Subtrees};
use certwright_cert_model::subject::{Attribute, Rdn, Subject};
use certwright_cert_model::usage::{ExtendedKeyUsage, KeyUsage, Usages};
use certwright_issuance::Profile;
use certwright_issuance::csr::Request;
use certwright_issuance::profile::{Role, UsageRule};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;
use time::Duration;

/// What a certificate is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) request: Request,
    pub(crate) profile: Profile,
}

/// What rcgen can say as well: attributes once each, no URI constraints, critical ones only.
pub(crate) fn common_wish() -> impl Strategy<Value = Wish> {
    wish_of(single_valued_subject().boxed(), Just(true).boxed(), 0)
}

/// Everything.
pub(crate) fn wish() -> impl Strategy<Value = Wish> {
    wish_of(subject().boxed(), any::<bool>().boxed(), 2)
}

/// Everything that standards leave a choice in: no usage that the key or RFC 3161 forbids, attributes
/// in RDNs of their own, no domain components in odd places, no e-mail address in the subject only.
pub(crate) fn tidy_wish() -> impl Strategy<Value = Wish> {
    let untidy = ["0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"];
    let tidy = move |mut wish: Wish| {
        let attributes = wish.request.subject.rdns().iter().flat_map(Rdn::attributes);
        let rdns = attributes
            .filter(|attribute| !untidy.contains(&attribute.oid.as_str()))
            .map(|attribute| Rdn::new(vec![attribute.clone()]).unwrap());
        wish.request.subject = Subject::new(rdns.collect());
        if let UsageRule::Exactly(usages) = &mut wish.profile.usages {
            usages.key.remove(KeyUsage::KeyAgreement);
            usages
                .extended
                .retain(|usage| *usage != ExtendedKeyUsage::Timestamping);
        }
        wish
    };
    wish()
        .prop_map(tidy)
        .prop_filter("somebody is still named", |wish| {
            let named = !wish.request.subject.is_empty();
            named || (wish.profile.role == Role::Leaf && wish.request.names != Names::default())
        })
}

fn wish_of(
    subject: BoxedStrategy<Subject>,
    critical: BoxedStrategy<bool>,
    uri_subtrees: usize,
) -> impl Strategy<Value = Wish> {
    let constraints = (critical, subtrees(uri_subtrees), subtrees(uri_subtrees));
    (
        subject,
        names(),
        usages(),
        option::of(option::of(0..9_u8)),
        constraints,
        vec("http://crl\\.[a-z]{1,9}\\.example/[a-z]{0,9}", 0..3),
        1..36_000_i64,
    )
        .prop_filter("a request names somebody", |(subject, names, ..)| {
            !(subject.is_empty() && names.is_empty())
        })
        .prop_filter("a CA has a name", |(subject, _, _, ca, ..)| {
            ca.is_none() || !subject.is_empty()
        })
        .prop_map(
            |(subject, names, mut usages, ca, constraints, crls, days)| {
                let mut request = Request::default();
                request.subject = subject;
                request.names = names;
                let role = match ca {
                    Some(max_path_len) => {
                        usages.key.insert(KeyUsage::CertSign);
                        let (critical, permitted, excluded) = constraints;
                        request.constraints = NameConstraints::new(critical, permitted, excluded);
                        Role::Ca { max_path_len }
                    }
                    None => Role::Leaf,
                };
                let mut profile = Profile::leaf(usages, Duration::days(days));
                profile.role = role;
                profile.crl_distribution_points = crls;
                Wish { request, profile }
            },
        )
}

/// No `?` in printable strings: rcgen panics on it.
const ATTRIBUTES: [(&str, &str); 9] = [
    ("2.5.4.6", "[A-Z]{2}"),
    ("2.5.4.8", "[A-Za-z\u{e0}-\u{ff}]{1,12}"),
    ("2.5.4.7", "[A-Za-z ]{1,12}"),
    ("2.5.4.10", "[A-Za-z0-9 &*@_\u{400}-\u{420}]{1,20}"),
    ("2.5.4.11", "[A-Za-z0-9' ()+,-./:=]{1,20}"),
    ("2.5.4.3", "[a-z]{1,20}"),
    ("2.5.4.5", "[0-9]{1,10}"),
    ("0.9.2342.19200300.100.1.25", "[a-z]{1,10}"),
    ("1.2.840.113549.1.9.1", "[a-z]{1,10}@[a-z]{1,10}\\.example"),
];

fn attribute(number: usize) -> impl Strategy<Value = Attribute> {
    let (oid, pattern) = ATTRIBUTES[number];
    pattern.prop_map(move |value| Attribute::new(oid.parse().unwrap(), value))
}

fn single_valued_subject() -> impl Strategy<Value = Subject> {
    let all: Vec<usize> = (0..ATTRIBUTES.len()).collect();
    subsequence(all, 0..=ATTRIBUTES.len())
        .prop_flat_map(|numbers| numbers.into_iter().map(attribute).collect::<Vec<_>>())
        .prop_map(|attributes| {
            let rdns = attributes
                .into_iter()
                .map(|one| Rdn::new(vec![one]).unwrap());
            Subject::new(rdns.collect())
        })
}

fn subject() -> impl Strategy<Value = Subject> {
    let attributes = (0..ATTRIBUTES.len()).prop_flat_map(attribute);
    vec(vec(attributes, 1..4), 0..5).prop_map(|rdns| {
        let rdns = rdns.into_iter().map(|mut attributes| {
            // A SET holds nothing twice.
            attributes.sort_by(|a, b| (&a.oid, &a.value).cmp(&(&b.oid, &b.value)));
            attributes.dedup();
            Rdn::new(attributes).unwrap()
        });
        Subject::new(rdns.collect())
    })
}

pub(crate) fn host() -> impl Strategy<Value = String> {
    "([a-z][a-z0-9]{0,8}\\.){1,3}(example|test)"
}

fn names() -> impl Strategy<Value = Names> {
    let dns = (any::<bool>(), host()).prop_map(
        |(wildcard, host)| {
            if wildcard { format!("*.{host}") } else { host }
        },
    );
    let email = ("[a-z]{1,9}(\\.[a-z]{1,9})?", host()).prop_map(|(u, h)| format!("{u}@{h}"));
    let uri =
        ("https|spiffe", host(), "[a-z0-9/]{0,12}").prop_map(|(s, h, p)| format!("{s}://{h}/{p}"));
    let other = "[ -~\u{e0}-\u{ff}]{1,12}"
        .prop_map(|value| OtherName::new("1.3.6.1.4.1.311.20.2.3".parse().unwrap(), value));
    let ip = any::<IpAddr>().prop_map(|ip| ip.to_canonical());
    (
        vec(dns, 0..4),
        vec(email, 0..3),
        vec(ip, 0..3),
        vec(uri, 0..3),
        vec(other, 0..2),
    )
        .prop_map(|(dns, email, ip, uri, other)| {
            let mut names = Names::default();
            names.dns = dns.iter().map(|name| name.parse().unwrap()).collect();
            names.email = email.iter().map(|name| name.parse().unwrap()).collect();
            names.ip = ip;
            names.uri = uri.iter().map(|name| name.parse().unwrap()).collect();
            names.other = other;
            names
        })
}

fn usages() -> impl Strategy<Value = Usages> {
    // `cert sign` goes with CAs only; encipher only and decipher only mean nothing without key agreement.
    let key: Vec<KeyUsage> = KeyUsage::ALL
        .into_iter()
        .filter(|usage| {
            !matches!(
                usage,
                KeyUsage::CertSign
                    | KeyUsage::EncipherOnly
                    | KeyUsage::DecipherOnly
                    | KeyUsage::KeyEncipherment
                    | KeyUsage::DataEncipherment
            )
        })
        .collect();
    let extended = ExtendedKeyUsage::ALL.to_vec();
    (subsequence(key, 0..=4), subsequence(extended, 0..=4)).prop_map(|(key, extended)| {
        let mut usages = Usages::default();
        usages.key = key.into_iter().collect();
        usages.extended = extended;
        usages
    })
}

fn subtrees(uris: usize) -> impl Strategy<Value = Subtrees> {
    let v4 = (any::<u32>(), 0..=32_u8)
        .prop_map(|(ip, p)| format!("{}/{p}", IpAddr::from(ip.to_be_bytes())));
    let v6 = (any::<u128>(), 0..=128_u8)
        .prop_map(|(ip, p)| format!("{}/{p}", IpAddr::from(ip.to_be_bytes())));
    let dotted = (any::<bool>(), host())
        .prop_map(|(dot, host)| if dot { format!(".{host}") } else { host })
        .boxed();
    let uri = vec(dotted.clone(), 0..=uris);
    (
        vec(host(), 0..3),
        vec(prop_oneof![v4, v6], 0..3),
        vec(dotted, 0..3),
        uri,
    )
        .prop_map(|(dns, ip, email, uri)| {
            let mut subtrees = Subtrees::default();
            subtrees.dns = dns.iter().map(|one| one.parse().unwrap()).collect();
            subtrees.ip = ip.iter().map(|one| one.parse().unwrap()).collect();
            subtrees.email = email.iter().map(|one| one.parse().unwrap()).collect();
            subtrees.uri = uri.iter().map(|one| one.parse().unwrap()).collect();
            subtrees
        })
}
