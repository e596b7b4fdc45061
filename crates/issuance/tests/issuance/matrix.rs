//! One constrained CA, one leaf: what RFC 5280 says, and what everyone accepts.

use certwright_issuance::Certificate;
use certwright_issuance::name_constraints::{ConstraintLevel, check_chain};
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, IsCa, Issuer, KeyPair};

use crate::soundness::{name_der, params, tlv};

const P: u8 = 0xa0;
const X: u8 = 0xa1;
const MAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const DIR: u8 = 0xa4;

/// What a leaf says: an organization, a common name, an e-mail address of the subject, and names.
#[derive(Clone, Copy, Default)]
struct Leaf<'a> {
    organization: &'a str,
    common_name: &'a str,
    email: &'a str,
    names: &'a [(u8, &'a str)],
}

fn general_name(tag: u8, text: &str) -> Vec<u8> {
    match tag {
        DIR => tlv(DIR, &name_der(text)),
        // An otherName: a user principal name.
        0xa0 => {
            let oid = tlv(6, &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3]);
            tlv(
                0xa0,
                &[oid, tlv(0xa0, &tlv(0x0c, text.as_bytes()))].concat(),
            )
        }
        _ => tlv(tag, text.as_bytes()),
    }
}

fn leaf(leaf: &Leaf<'_>) -> CertificateParams {
    let mut params = params("leaf", None);
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let mut push = |kind: DnType, value: &str| {
        if !value.is_empty() {
            params
                .distinguished_name
                .push(kind, DnValue::Utf8String(value.to_owned()));
        }
    };
    push(DnType::OrganizationName, leaf.organization);
    push(DnType::CommonName, leaf.common_name);
    push(DnType::from_oid(&[1, 2, 840, 113_549, 1, 9, 1]), leaf.email);
    let names: Vec<u8> = leaf
        .names
        .iter()
        .flat_map(|(tag, text)| general_name(*tag, text))
        .collect();
    if !names.is_empty() {
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], tlv(0x30, &names));
        params.custom_extensions.push(extension);
    }
    params
}

#[test]
fn verdicts() {
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let named = |names| Leaf {
        names,
        ..Leaf::default()
    };
    let common = |common_name| Leaf {
        common_name,
        ..Leaf::default()
    };
    let of = |organization| Leaf {
        organization,
        common_name: "x",
        ..Leaf::default()
    };
    // List, form, subtree, leaf; RFC 5280's verdict, and ours by default.
    let cases: &[(u8, u8, &str, Leaf<'_>, bool, bool)] = &[
        (
            P,
            DNS,
            ".example.com",
            named(&[(DNS, "a.example.com")]),
            true,
            true,
        ),
        (P, DNS, "", named(&[(DNS, "a.example.com")]), true, true),
        (
            P,
            DNS,
            "example.com",
            named(&[(DNS, "a.example.com"), (DNS, "example.org")]),
            false,
            false,
        ),
        (
            X,
            DNS,
            "foo.example.com",
            named(&[(DNS, "*.example.com")]),
            false,
            false,
        ),
        (
            P,
            DNS,
            "example.com",
            named(&[(DNS, "a.example.com.")]),
            false,
            false,
        ),
        (
            P,
            DNS,
            "example.com.",
            named(&[(DNS, "a.example.com")]),
            false,
            false,
        ),
        (
            P,
            DNS,
            "example.com",
            named(&[(MAIL, "u@example.org")]),
            true,
            true,
        ),
        (P, DNS, "example.com", common("other.org"), true, false),
        (X, DNS, "other.org", common("other.org"), true, false),
        (P, DNS, "example.com", common("Jane Doe"), true, true),
        (
            P,
            DNS,
            "example.com",
            Leaf {
                names: &[(DNS, "example.com")],
                ..common("other.org")
            },
            true,
            true,
        ),
        (
            P,
            MAIL,
            "u@example.com",
            named(&[(MAIL, "U@example.com")]),
            false,
            false,
        ),
        (
            P,
            MAIL,
            "u@example.com",
            named(&[(MAIL, "u@EXAMPLE.com")]),
            true,
            true,
        ),
        (
            P,
            MAIL,
            "example.com",
            named(&[(MAIL, "u@s.example.com")]),
            false,
            false,
        ),
        (
            P,
            MAIL,
            ".example.com",
            named(&[(MAIL, "u@s.example.com")]),
            true,
            true,
        ),
        (
            P,
            MAIL,
            "example.com",
            Leaf {
                email: "u@other.org",
                ..Leaf::default()
            },
            false,
            false,
        ),
        (
            P,
            MAIL,
            "example.com",
            Leaf {
                email: "u@other.org",
                names: &[(DNS, "x.org")],
                ..Leaf::default()
            },
            true,
            false,
        ),
        (
            P,
            URI,
            "example.com",
            named(&[(URI, "https://example.com/x")]),
            true,
            true,
        ),
        (
            P,
            URI,
            "td",
            named(&[(URI, "spiffe://td/ns/a")]),
            false,
            true,
        ),
        (
            P,
            URI,
            "example.com",
            named(&[(URI, "https://a.example.com/")]),
            false,
            false,
        ),
        (
            P,
            URI,
            ".example.com",
            named(&[(URI, "https://a.example.com/")]),
            true,
            true,
        ),
        (
            P,
            URI,
            ".example.com",
            named(&[(URI, "https://example.com/")]),
            false,
            false,
        ),
        (
            P,
            URI,
            "example.com",
            named(&[(URI, "urn:uuid:1")]),
            false,
            false,
        ),
        (
            P,
            URI,
            "example.com",
            named(&[(URI, "https://10.0.0.1/")]),
            false,
            false,
        ),
        (
            X,
            URI,
            "example.com",
            named(&[(URI, "https://u@example.com:8443/")]),
            false,
            false,
        ),
        (
            P,
            URI,
            "example.com",
            named(&[(URI, "https://u@example.com/")]),
            true,
            false,
        ),
        (P, DIR, "Acme", of("Acme"), true, true),
        (P, DIR, "Acme", of("ACME"), true, true),
        (P, DIR, "Acme", common("x"), false, false),
        (P, DIR, "Acme", named(&[(DNS, "example.com")]), true, true),
        (
            P,
            DIR,
            "Acme",
            Leaf {
                names: &[(DIR, "Other")],
                ..of("Acme")
            },
            false,
            false,
        ),
        (X, DIR, "Acme", of("acme"), false, false),
        (P, 0xa0, "u@d", named(&[(0xa0, "u@d")]), false, false),
        (P, 0xa0, "u@d", named(&[(DNS, "example.com")]), true, true),
    ];
    for (list, form, subtree, wanted, rfc, interop) in cases {
        let base = tlv(0x30, &general_name(*form, subtree));
        let ca = params("ca", Some(tlv(0x30, &tlv(*list, &base))));
        let root = ca.self_signed(&keys[0]).unwrap();
        let end = leaf(wanted)
            .signed_by(&keys[1], &Issuer::new(ca, &keys[0]))
            .unwrap();
        let chain = [end.der(), root.der()].map(|der| Certificate::from_der(der.clone()).unwrap());
        for (level, expected) in [
            (ConstraintLevel::Rfc5280, rfc),
            (ConstraintLevel::Interop, interop),
        ] {
            let verdict = check_chain(&chain, level);
            assert_eq!(
                verdict.is_ok(),
                *expected,
                "{list:02x} {form:02x} {subtree:?}, leaf {:?} {:?}: {level:?} {verdict:?}",
                chain[0].subject(),
                wanted.names
            );
        }
    }
}
