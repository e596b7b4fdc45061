use core::error::Error;
use core::net::IpAddr;
use core::str::FromStr;

use crate::certificate::{CertificateSpec, SubtreesSpec};
use crate::defaults::Gates;
use crate::name_constraints::{NameConstraints, Subtrees};
use crate::report::{Report, spec};
use crate::violation::{FieldPath, ViolationKind};

pub(super) fn constraints(
    report: &mut Report,
    cert: &CertificateSpec,
    gates: Gates,
) -> Option<NameConstraints> {
    let constraints = cert.name_constraints.as_ref()?;
    let field = || spec("nameConstraints");
    if !gates.name_constraints {
        report.violation(
            field(),
            ViolationKind::Forbidden,
            "the feature gate NameConstraints is off",
        );
        return None;
    }
    if !cert.is_ca {
        report.invalid(field(), "only a CA can be constrained; set isCA: true");
    }
    if constraints.permitted.is_none() && constraints.excluded.is_none() {
        report.invalid(field(), "constrains nothing; set permitted or excluded");
    }
    if !constraints.critical {
        report.warning(
            field().child("critical"),
            ViolationKind::Invalid,
            "RFC 5280 (4.2.1.10) demands a critical extension; set critical: true",
        );
    }
    let permitted = constraints.permitted.as_ref();
    let permitted =
        permitted.map(|permitted| subtrees(report, &field().child("permitted"), permitted));
    let excluded = constraints.excluded.as_ref();
    let excluded = excluded.map(|excluded| subtrees(report, &field().child("excluded"), excluded));
    NameConstraints::new(
        constraints.critical,
        permitted.unwrap_or_default(),
        excluded.unwrap_or_default(),
    )
}

fn subtrees(report: &mut Report, field: &FieldPath, subtrees: &SubtreesSpec) -> Subtrees {
    if *subtrees == SubtreesSpec::default() {
        report.invalid(
            field.clone(),
            "lists nothing; remove it or set dnsDomains, ipRanges, emailAddresses or uriDomains",
        );
    }
    for (name, subtrees) in [
        ("emailAddresses", &subtrees.email_addresses),
        ("uriDomains", &subtrees.uri_domains),
    ] {
        if !subtrees.is_empty() {
            report.warning(
                field.child(name),
                ViolationKind::NotSupported,
                "rustls (webpki) refuses every certificate below this CA that has a name of this form",
            );
        }
    }
    let subtrees = Subtrees {
        dns: parse(report, field, "dnsDomains", &subtrees.dns_domains),
        ip: parse(report, field, "ipRanges", &subtrees.ip_ranges),
        email: parse(report, field, "emailAddresses", &subtrees.email_addresses),
        uri: parse(report, field, "uriDomains", &subtrees.uri_domains),
    };
    disagreements(report, field, &subtrees);
    subtrees
}

/// Values that verifiers read in different ways.
fn disagreements(report: &mut Report, field: &FieldPath, subtrees: &Subtrees) {
    let mut warn = |name: &str, message: String| {
        report.warning(field.child(name), ViolationKind::Invalid, message);
    };
    for subtree in subtrees.dns.iter().filter(|subtree| subtree.below_only()) {
        let host = subtree.host();
        warn(
            "dnsDomains",
            format!(
                "{subtree} has a leading dot, which RFC 5280 does not define for DNS names; {host} covers all below it too"
            ),
        );
    }
    for block in &subtrees.ip {
        if let IpAddr::V6(address) = block.address()
            && address.to_ipv4_mapped().is_some()
        {
            warn(
                "ipRanges",
                format!(
                    "{block} does not cover IPv4 addresses in certificates; write the IPv4 range"
                ),
            );
        }
    }
    for subtree in &subtrees.uri {
        if subtree.host().labels().count() < 2 {
            warn(
                "uriDomains",
                format!(
                    "{subtree} is not a fully qualified name, as RFC 5280 demands; verifiers disagree about it"
                ),
            );
        }
    }
}

fn parse<T: FromStr<Err: Error>>(
    report: &mut Report,
    parent: &FieldPath,
    field: &str,
    texts: &[String],
) -> Vec<T> {
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(value) => values.push(value),
            Err(error) => report.refused(parent.child(field).index(index), text, &error),
        }
    }
    values
}
