//! Properties: what is read is printed as it was, arbitrary documents never panic, and the order of
//! maps does not matter.

#![allow(clippy::unwrap_used, reason = "this file is a test")]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use certwright_cert_model::document::{Entry, Kind, Node, Strictness};
use certwright_cert_model::name::{Cidr, DnsPattern, Email, SpiffeId, TrustDomain, Uri, parse_ip};
use certwright_cert_model::name_constraints::{DnsSubtree, EmailSubtree, UriSubtree};
use certwright_cert_model::oid::Oid;
use certwright_cert_model::subject::LiteralSubject;
use certwright_cert_model::{CertificateSpec, Defaults, RawIssuerSpec, Span, Violations, pem};
use proptest::prelude::*;

/// What is read prints as something that reads back as the same; is it printed as it was?
fn reads_back<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> Option<bool> {
    let value: T = text.parse().ok()?;
    let printed = value.to_string();
    assert_eq!(
        printed.parse::<T>().unwrap(),
        value,
        "{text:?} printed as {printed:?}"
    );
    Some(printed == text)
}

proptest! {
    #[test]
    fn names_are_printed_as_they_were(
        text in prop_oneof![
            any::<String>(),
            "(spiffe://)?[a-z0-9._-]{0,9}(/[a-zA-Z0-9._-]{1,5}){0,3}",
            "[a-z+]{1,6}:(//)?[a-zA-Z0-9%@:/?#\\[\\]._~-]{0,16}",
            "[a-z.+-]{1,8}@[a-z.-]{1,12}",
            "[.]?[a-z0-9.-]{1,12}",
            "[0-2][.][0-9]{1,2}([.][0-9]{1,11}){0,4}",
        ]
    ) {
        for same in [
            reads_back::<DnsPattern>(&text),
            reads_back::<DnsSubtree>(&text),
            reads_back::<Email>(&text),
            reads_back::<EmailSubtree>(&text),
            reads_back::<Oid>(&text),
            reads_back::<SpiffeId>(&text),
            reads_back::<Uri>(&text),
            reads_back::<UriSubtree>(&text),
        ] {
            prop_assert_ne!(same, Some(false));
        }
        // A whole ID stands for its trust domain.
        reads_back::<TrustDomain>(&text);
    }

    #[test]
    fn blocks_hold_their_first_address(v6: bool, bits: u128, prefix in 0..=128_u8) {
        let text = if v6 {
            format!("{}/{prefix}", std::net::Ipv6Addr::from_bits(bits))
        } else {
            let bits = u32::try_from(bits & 0xffff_ffff).unwrap();
            format!("{}/{}", std::net::Ipv4Addr::from_bits(bits), prefix % 33)
        };
        let block: Cidr = text.parse().unwrap();
        reads_back::<Cidr>(&text);
        prop_assert!(block.contains(block.address()));
    }

    #[test]
    fn subjects_read_back(text in prop_oneof![any::<String>(), "([A-Z]{1,2}=[a-z #+,;\\\\\"<>=0-9]{0,8}[,;+]?){0,4}"]) {
        reads_back::<LiteralSubject>(&text);
        let _ = parse_ip(&text);
        let _ = pem::read(text.as_bytes());
    }

    #[test]
    fn any_document_is_judged_without_panic(spec in any_spec()) {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            for defaults in [Defaults::documented(), Defaults::cert_manager_1_21()] {
                let decoded = CertificateSpec::decode(&spec, strictness);
                let result = decoded.and_then(|spec| spec.validate(&defaults));
                if let Ok(valid) = result {
                    prop_assert!(!valid.secret_name().is_empty());
                    let _ = valid.fingerprint();
                }
            }
            let _ = RawIssuerSpec::decode(&spec, strictness).and_then(RawIssuerSpec::validate);
        }
    }

    #[test]
    fn the_order_of_maps_does_not_matter(spec in any_spec()) {
        let judge = |spec: &Node| {
            let decoded = CertificateSpec::decode(spec, Strictness::Lenient);
            let result = decoded.and_then(|spec| spec.validate(&Defaults::documented()));
            result.map(|valid| valid.fingerprint()).map_err(|violations| lines(&violations))
        };
        prop_assert_eq!(judge(&spec), judge(&reversed(&spec)));
    }
}

fn lines(violations: &Violations) -> Vec<String> {
    let line =
        |v: &certwright_cert_model::Violation| format!("{} {:?} {}", v.field, v.kind, v.message);
    let mut lines: Vec<_> = violations.iter().map(line).collect();
    lines.sort();
    lines
}

fn reversed(node: &Node) -> Node {
    let kind = match &node.kind {
        Kind::Map(entries) => {
            let entries = entries.iter().rev();
            Kind::Map(
                entries
                    .map(|e| Entry::new(e.key.clone(), e.key_span, reversed(&e.value)))
                    .collect(),
            )
        }
        Kind::List(elements) => Kind::List(elements.iter().map(reversed).collect()),
        other => other.clone(),
    };
    Node::new(kind, node.span)
}

const FIELDS: [&str; 40] = [
    "secretName",
    "issuerRef",
    "name",
    "kind",
    "group",
    "commonName",
    "subject",
    "organizations",
    "countries",
    "serialNumber",
    "literalSubject",
    "dnsNames",
    "ipAddresses",
    "uris",
    "emailAddresses",
    "otherNames",
    "oid",
    "utf8Value",
    "duration",
    "renewBefore",
    "renewBeforePercentage",
    "renewal",
    "policy",
    "windows",
    "cron",
    "isCA",
    "usages",
    "signatureAlgorithm",
    "privateKey",
    "algorithm",
    "size",
    "nameConstraints",
    "permitted",
    "dnsDomains",
    "ipRanges",
    "secretTemplate",
    "additionalOutputFormats",
    "keystores",
    "ca",
    "acme",
];

/// Documents of known names and plausible values in wrong places, on top of a valid beginning.
fn any_spec() -> impl Strategy<Value = Node> {
    let at = Span { line: 1, column: 1 };
    let text = prop_oneof![
        any::<String>(),
        Just("a.example.com".to_owned()),
        Just("2160h".to_owned()),
        Just("10.0.0.0/8".to_owned()),
        Just("server auth".to_owned()),
        Just("CN=a".to_owned()),
        Just("RSA".to_owned()),
        Just("spiffe://td/a".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Kind::Null),
        any::<bool>().prop_map(Kind::Bool),
        any::<i64>().prop_map(Kind::Int),
        text.prop_map(Kind::Text),
    ];
    let map = move |inner: BoxedStrategy<Node>| {
        let name = prop::sample::select(FIELDS.to_vec());
        prop::collection::btree_map(name, inner, 0..6).prop_map(move |map| {
            let entries = map.into_iter();
            Kind::Map(
                entries
                    .map(|(key, value)| Entry::new(key, at, value))
                    .collect(),
            )
        })
    };
    let node = move |kind| Node::new(kind, at);
    let value = leaf.prop_map(node).prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Kind::List),
            map(inner.boxed()),
        ]
        .prop_map(node)
    });
    (map(value.boxed()), any::<bool>()).prop_map(move |(kind, complete)| {
        let Kind::Map(mut entries) = kind else {
            return node(kind);
        };
        if complete {
            let text = |text: &str| node(Kind::Text(text.to_owned()));
            entries.retain(|entry| entry.key != "secretName" && entry.key != "issuerRef");
            entries.push(Entry::new("secretName", at, text("web-tls")));
            let name = vec![Entry::new("name", at, text("ca"))];
            entries.push(Entry::new("issuerRef", at, node(Kind::Map(name))));
        }
        node(Kind::Map(entries))
    })
}
