//! Every name that parses writes itself back.
#![no_main]

use core::fmt::{Debug, Display};
use core::str::FromStr;

use certwright_cert_model::name::{Cidr, DnsPattern, Email, Uri};
use certwright_cert_model::name_constraints::{DnsSubtree, EmailSubtree};
use certwright_cert_model::oid::Oid;
use libfuzzer_sys::fuzz_target;

fn round_trip<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string().parse::<T>().expect("its own text"), name);
    }
}

fuzz_target!(|text: &str| {
    round_trip::<Cidr>(text);
    round_trip::<DnsPattern>(text);
    round_trip::<DnsSubtree>(text);
    round_trip::<Email>(text);
    round_trip::<EmailSubtree>(text);
    round_trip::<Oid>(text);
    round_trip::<Uri>(text);
});
