//! Every name that parses writes itself back.
#![no_main]

use core::fmt::{Debug, Display};
use core::str::FromStr;

use certwright_acme::Identifier;
use certwright_cert_model::Fingerprint;
use certwright_cert_model::name::{Cidr, DnsName, DnsPattern, Email, TrustDomain, Uri, parse_ip};
use certwright_cert_model::name_constraints::{DnsSubtree, EmailSubtree, UriSubtree};
use certwright_cert_model::oid::Oid;
use certwright_cert_model::usage::Usage;
use certwright_sni_store::Pattern;
use libfuzzer_sys::fuzz_target;

fn round_trip<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string().parse::<T>().expect("its own text"), name);
    }
}

fuzz_target!(|text: &str| {
    round_trip::<Cidr>(text);
    round_trip::<DnsName>(text);
    round_trip::<DnsPattern>(text);
    round_trip::<DnsSubtree>(text);
    round_trip::<Email>(text);
    round_trip::<EmailSubtree>(text);
    round_trip::<Fingerprint>(text);
    round_trip::<Identifier>(text);
    round_trip::<Oid>(text);
    round_trip::<Pattern>(text);
    round_trip::<TrustDomain>(text);
    round_trip::<Uri>(text);
    round_trip::<UriSubtree>(text);
    round_trip::<Usage>(text);
    if let Some(address) = parse_ip(text) {
        assert_eq!(parse_ip(&address.to_string()), Some(address));
    }
});
