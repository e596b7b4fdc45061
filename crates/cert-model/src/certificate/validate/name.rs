use core::error::Error;
use core::str::FromStr;

use crate::certificate::{CertificateSpec, OtherNameSpec};
use crate::defaults::Gates;
use crate::name::{Names, OtherName, parse_ip};
use crate::report::{Excerpt, Report, spec};
use crate::violation::ViolationKind;

/// Whether any name is written, right or wrong.
pub(super) fn any(cert: &CertificateSpec) -> bool {
    !(cert.dns_names.is_empty()
        && cert.uris.is_empty()
        && cert.email_addresses.is_empty()
        && cert.ip_addresses.is_empty()
        && cert.other_names.is_empty())
}

pub(super) fn names(report: &mut Report, cert: &CertificateSpec, gates: Gates) -> Names {
    let dns = parse(report, "dnsNames", &cert.dns_names);
    let mut ip = Vec::with_capacity(cert.ip_addresses.len());
    for (index, text) in cert.ip_addresses.iter().enumerate() {
        match parse_ip(text) {
            Some(address) => ip.push(address),
            None => report.invalid(
                spec("ipAddresses").index(index),
                format!(
                    "{:?} is not an IP address; write it like 192.0.2.1 or 2001:db8::1, without zone, prefix length or leading zeros",
                    Excerpt(text)
                ),
            ),
        }
    }
    let uri = parse(report, "uris", &cert.uris);
    let email = parse(report, "emailAddresses", &cert.email_addresses);
    let mut other = Vec::new();
    if gates.other_names {
        let others = cert.other_names.iter().enumerate();
        other.extend(others.filter_map(|(index, name)| other_name(report, index, name)));
    } else if !cert.other_names.is_empty() {
        // The capital letter is upstream's; tools match on its paths.
        report.violation(
            spec("OtherNames"),
            ViolationKind::Forbidden,
            "the feature gate OtherNames is off",
        );
    }
    Names {
        dns,
        email,
        ip,
        uri,
        other,
    }
}

fn parse<T: FromStr<Err: Error>>(report: &mut Report, field: &str, texts: &[String]) -> Vec<T> {
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(value) => values.push(value),
            Err(error) => report.refused(spec(field).index(index), text, &error),
        }
    }
    values
}

fn other_name(report: &mut Report, index: usize, name: &OtherNameSpec) -> Option<OtherName> {
    let path = spec("otherNames").index(index);
    if name.oid.is_empty() {
        report.violation(
            path.child("oid"),
            ViolationKind::Required,
            "must be set, like 1.3.6.1.4.1.311.20.2.3 for a user principal name",
        );
    }
    if name.utf8_value.is_empty() {
        report.violation(
            path.child("utf8Value"),
            ViolationKind::Required,
            "must be set",
        );
    }
    match name.oid.parse() {
        Ok(oid) => Some(OtherName::new(oid, &name.utf8_value)),
        Err(error) => {
            report.refused(path.child("oid"), &name.oid, &error);
            None
        }
    }
}
