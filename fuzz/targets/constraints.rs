//! Names that we say a CA allows, webpki takes from that CA, and what only we refuse has a wildcard: DNS and IP subtrees
//! and names, which are the forms that webpki knows.
#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use certwright_issuance::Certificate;
use certwright_issuance::name_constraints::{ConstraintLevel, check_chain};
use libfuzzer_sys::fuzz_target;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, GeneralSubtree, IsCa, Issuer, KeyPair,
    NameConstraints, SanType,
};
use rustls_pki_types::UnixTime;

/// Labels and addresses are few, so that names meet subtrees.
#[derive(Arbitrary, Debug)]
enum Label {
    A,
    B,
    UpperA,
    Ab,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Dns {
        wildcard: bool,
        labels: [Option<Label>; 3],
    },
    V4([bool; 4]),
    V6([bool; 2]),
}

#[derive(Arbitrary, Debug)]
struct Case {
    permitted: Vec<(Name, u8)>,
    excluded: Vec<(Name, u8)>,
    names: Vec<Name>,
}

static KEYS: LazyLock<[KeyPair; 2]> =
    LazyLock::new(|| [(); 2].map(|()| KeyPair::generate().expect("a key")));

fuzz_target!(|case: Case| {
    let [ca_key, leaf_key] = &*KEYS;
    let mut ca_params = CertificateParams::default();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let subtrees = |list: &[(Name, u8)]| list.iter().take(8).map(subtree).collect();
    ca_params.name_constraints = Some(NameConstraints {
        permitted_subtrees: subtrees(&case.permitted),
        excluded_subtrees: subtrees(&case.excluded),
    });
    let ca = ca_params.self_signed(ca_key).expect("a CA");
    let mut params = CertificateParams::default();
    params.subject_alt_names = case.names.iter().take(8).map(san).collect();
    let Ok(leaf) = params.signed_by(leaf_key, &Issuer::new(ca_params, ca_key)) else {
        return;
    };
    let chain = [leaf.der(), ca.der()].map(|der| Certificate::from_der(der.clone()).expect("ours"));
    let ours = check_chain(&chain, ConstraintLevel::Interop);

    let anchors = [webpki::anchor_from_trusted_cert(ca.der()).expect("an anchor")];
    let end = webpki::EndEntityCert::try_from(leaf.der()).expect("a leaf");
    let theirs = end.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &[],
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_781_481_600)),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    );
    let wild = case
        .names
        .iter()
        .any(|name| matches!(name, Name::Dns { wildcard: true, .. }));
    match (&ours, theirs.map(drop)) {
        (Ok(()), Err(error)) => panic!("webpki: {error}: {case:?}"),
        (Err(error), Ok(())) => assert!(wild, "only we: {error}: {case:?}"),
        _ => {}
    }
});

fn subtree((name, prefix): &(Name, u8)) -> GeneralSubtree {
    match name {
        Name::Dns { labels, .. } => GeneralSubtree::DnsName(host(labels)),
        Name::V4(_) | Name::V6(_) => {
            let address = address(name);
            let bits = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix % (bits + 1)))
        }
    }
}

fn san(name: &Name) -> SanType {
    match name {
        Name::Dns { wildcard, labels } => {
            let host = format!("{}{}", if *wildcard { "*." } else { "" }, host(labels));
            SanType::DnsName(host.try_into().expect("ASCII"))
        }
        Name::V4(_) | Name::V6(_) => SanType::IpAddress(address(name)),
    }
}

fn host(labels: &[Option<Label>; 3]) -> String {
    let labels = labels.iter().flatten().map(|label| match label {
        Label::A => "a",
        Label::B => "b",
        Label::UpperA => "A",
        Label::Ab => "ab",
    });
    labels.chain(["test"]).collect::<Vec<_>>().join(".")
}

fn address(name: &Name) -> IpAddr {
    let octet = |one: &bool| if *one { 0x81 } else { 0 };
    match name {
        Name::V4([a, b, c, d]) => IpAddr::from([a, b, c, d].map(octet)),
        Name::V6([a, b]) => {
            let mut octets = [0; 16];
            (octets[0], octets[15]) = (octet(a), octet(b));
            octets.into()
        }
        Name::Dns { .. } => IpAddr::from([0; 4]),
    }
}
