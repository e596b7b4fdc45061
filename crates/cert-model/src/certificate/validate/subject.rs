use crate::certificate::{CertificateSpec, SubjectSpec};
use crate::defaults::Gates;
use crate::oid::Oid;
use crate::report::{Report, spec};
use crate::subject::{Attribute, LiteralSubject, Rdn, Subject, attribute};
use crate::violation::ViolationKind;

/// The longest common name in bytes (RFC 5280, appendix A: `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

#[derive(Default)]
pub(super) struct CheckedSubject {
    pub(super) name: Subject,
    pub(super) common_name: String,
}

pub(super) fn subject(report: &mut Report, cert: &CertificateSpec, gates: Gates) -> CheckedSubject {
    let common_name = cert.common_name.clone().unwrap_or_default();
    let literal = cert.literal_subject.as_deref().unwrap_or_default();
    let subject = if literal.is_empty() {
        CheckedSubject {
            name: structured(report, cert.subject.as_ref(), &common_name),
            common_name,
        }
    } else {
        exclusions(report, cert, gates);
        from_literal(report, literal, common_name)
    };
    if subject.common_name.len() > MAX_COMMON_NAME {
        report.violation(
            spec("commonName"),
            ViolationKind::TooLong,
            format!(
                "{:?} has {} bytes, more than {MAX_COMMON_NAME}; leave it out and list the name in dnsNames",
                subject.common_name,
                subject.common_name.len()
            ),
        );
    } else if !subject.common_name.is_empty() && !cert.is_ca && !listed(cert, &subject.common_name)
    {
        report.warning(
            spec("commonName"),
            ViolationKind::NotSupported,
            "TLS clients ignore common names (RFC 9525, 6.4.4); list the name in dnsNames",
        );
    }
    subject
}

/// Whether the name that clients ignore stands where they look for it.
fn listed(cert: &CertificateSpec, common_name: &str) -> bool {
    let mut names = cert.dns_names.iter();
    names.any(|name| name.eq_ignore_ascii_case(common_name))
}

fn exclusions(report: &mut Report, cert: &CertificateSpec, gates: Gates) {
    if !gates.literal_subject {
        report.violation(
            spec("literalSubject"),
            ViolationKind::Forbidden,
            "the feature gate LiteralCertificateSubject is off",
        );
    }
    if cert
        .common_name
        .as_deref()
        .is_some_and(|name| !name.is_empty())
    {
        report.invalid(
            spec("commonName"),
            "cannot be set together with literalSubject; write CN= into the latter",
        );
    }
    if cert
        .subject
        .as_ref()
        .is_some_and(|subject| !is_empty(subject))
    {
        report.invalid(
            spec("subject"),
            "cannot be set together with literalSubject; keep one of the two",
        );
    }
}

/// The subject that `text` says; without a common name there, the one that stands beside it, wrongly, is looked at.
fn from_literal(report: &mut Report, text: &str, common_name: String) -> CheckedSubject {
    let literal: LiteralSubject = match text.parse() {
        Ok(literal) => literal,
        Err(error) => {
            report.refused(spec("literalSubject"), text, &error);
            return CheckedSubject {
                name: Subject::default(),
                common_name,
            };
        }
    };
    for name in literal.unknown_types() {
        report.invalid(
            spec("literalSubject"),
            format!(
                "attribute type {name:?} is unknown; write one of {} or an object identifier like 2.5.4.42",
                attribute::names().collect::<Vec<_>>().join(", ")
            ),
        );
    }
    let name = literal.to_subject();
    let last = name.values(attribute::COMMON_NAME).last();
    let common_name = last.map_or(common_name, str::to_owned);
    CheckedSubject { name, common_name }
}

/// The name in the order of Go's `pkix.Name`, which every certificate of cert-manager has; several
/// values of one field are one RDN there.
fn structured(report: &mut Report, subject: Option<&SubjectSpec>, common_name: &str) -> Subject {
    let empty = SubjectSpec::default();
    let subject = subject.unwrap_or(&empty);
    let common_name = [common_name.to_owned()];
    let serial_number = [subject.serial_number.clone().unwrap_or_default()];
    let single = |value: &'_ [String; 1]| !value[0].is_empty();
    let fields: [(&str, &str, &[String]); 9] = [
        ("countries", attribute::COUNTRY, &subject.countries),
        ("provinces", attribute::PROVINCE, &subject.provinces),
        ("localities", attribute::LOCALITY, &subject.localities),
        (
            "streetAddresses",
            attribute::STREET_ADDRESS,
            &subject.street_addresses,
        ),
        ("postalCodes", attribute::POSTAL_CODE, &subject.postal_codes),
        (
            "organizations",
            attribute::ORGANIZATION,
            &subject.organizations,
        ),
        (
            "organizationalUnits",
            attribute::ORGANIZATIONAL_UNIT,
            &subject.organizational_units,
        ),
        (
            "commonName",
            attribute::COMMON_NAME,
            if single(&common_name) {
                &common_name
            } else {
                &[]
            },
        ),
        (
            "serialNumber",
            attribute::SERIAL_NUMBER,
            if single(&serial_number) {
                &serial_number
            } else {
                &[]
            },
        ),
    ];
    let mut rdns = Vec::new();
    for (field, oid, values) in fields {
        if values.is_empty() {
            continue;
        }
        let oid = Oid::known(oid);
        for (index, value) in values.iter().enumerate() {
            let path = || spec("subject").child(field).index(index);
            if value.is_empty() {
                report.invalid(path(), "is empty; remove it or write a value");
            }
            if field == "countries" && !is_country(value) {
                report.warning(
                    path(),
                    ViolationKind::Invalid,
                    format!("{value:?} is not a two-letter country code (ISO 3166); verifiers may refuse it"),
                );
            }
        }
        let attributes = values
            .iter()
            .map(|value| Attribute::new(oid.clone(), value))
            .collect();
        rdns.extend(Rdn::new(attributes));
    }
    Subject::new(rdns)
}

fn is_country(value: &str) -> bool {
    value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_empty(subject: &SubjectSpec) -> bool {
    let mut with_empty_number = subject.clone();
    if with_empty_number.serial_number.as_deref() == Some("") {
        with_empty_number.serial_number = None;
    }
    with_empty_number == SubjectSpec::default()
}
