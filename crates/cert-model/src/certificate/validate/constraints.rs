use core::error::Error;
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
    Subtrees {
        dns: parse(report, field, "dnsDomains", &subtrees.dns_domains),
        ip: parse(report, field, "ipRanges", &subtrees.ip_ranges),
        email: parse(report, field, "emailAddresses", &subtrees.email_addresses),
        uri: parse(report, field, "uriDomains", &subtrees.uri_domains),
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
