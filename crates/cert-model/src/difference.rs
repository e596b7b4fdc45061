//! Where a certificate or a request is not what a specification asks for.

use core::fmt;
use core::net::IpAddr;

use crate::inspect::{CertificateFacts, NameTexts};
use crate::name::OtherName;
use crate::subject::{Subject, attribute};
use crate::validated::ValidatedSpec;

/// One field of a specification that something stored does not agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The field, for example `spec.dnsNames`.
    pub field: &'static str,
    /// What the specification asks for; empty if nothing.
    pub expected: String,
    /// What was found; empty if nothing. It may come from a stranger's certificate: show it escaped.
    pub found: String,
}

impl Difference {
    /// A field, what it asks for and what was found.
    pub fn new(field: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            field,
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl fmt::Display for Difference {
    /// Writes `spec.dnsNames asks for a, b, but there is a`, on one line whatever was found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            expected,
            found,
        } = self;
        write!(
            f,
            "{field} asks for {}, but there is {}",
            Shown(expected),
            Shown(found)
        )
    }
}

struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        write!(f, "{}", self.0.escape_debug())
    }
}

impl CertificateFacts {
    /// Where the certificate's names are not those of a specification, as loosely as cert-manager compares
    /// a certificate whose request is gone: common name and DNS names count as one set, because CAs move
    /// names between the two; the other forms must be the same, in any order. `spec.otherNames` and
    /// `spec.isCA`, which upstream does not look at, are compared as well.
    ///
    /// Usages and lifetime are not compared: issuers choose their own.
    pub fn name_differences(&self, spec: &ValidatedSpec) -> Vec<Difference> {
        let found_name = common_name(&self.subject);
        let mut differences = Vec::new();
        let wanted = NameTexts::from(spec.names());
        let set = |dns: &[String], common_name: &str| {
            let names = dns.iter().map(String::as_str).chain([common_name]);
            let mut names: Vec<_> = names.map(str::to_ascii_lowercase).collect();
            names.retain(|name| !name.is_empty());
            names
        };
        let asked_name = spec.common_name().unwrap_or_default();
        let asked = set(&wanted.dns, asked_name);
        let found = set(&self.names.dns, found_name);
        let within = |names: &[String], all: &[String]| {
            names
                .iter()
                .all(|name| name.is_empty() || all.contains(&name.to_ascii_lowercase()))
        };
        let alone = |name: &str| [name.to_owned()];
        if !within(&alone(asked_name), &found) || !within(&alone(found_name), &asked) {
            differences.push(Difference::new("spec.commonName", asked_name, found_name));
        }
        if !within(&wanted.dns, &found) || !within(&self.names.dns, &asked) {
            let texts = (wanted.dns.join(", "), self.names.dns.join(", "));
            differences.push(Difference::new("spec.dnsNames", texts.0, texts.1));
        }
        differences.extend(ips(&wanted, &self.names));
        differences.extend(uris(&wanted, &self.names));
        differences.extend(emails(&wanted, &self.names));
        differences.extend(others(&wanted, &self.names));
        differences.extend(is_ca(spec, self.is_ca));
        differences
    }
}

/// The common name that counts if there are several: the last one.
pub(crate) fn common_name(subject: &Subject) -> &str {
    let name = subject.values(attribute::COMMON_NAME).last();
    name.unwrap_or_default()
}

pub(crate) fn ips(wanted: &NameTexts, found: &NameTexts) -> Option<Difference> {
    let texts = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (wanted, found) = (texts(&wanted.ip), texts(&found.ip));
    in_any_order("spec.ipAddresses", &wanted, &found, str::to_owned)
}

pub(crate) fn uris(wanted: &NameTexts, found: &NameTexts) -> Option<Difference> {
    in_any_order("spec.uris", &wanted.uri, &found.uri, str::to_owned)
}

pub(crate) fn emails(wanted: &NameTexts, found: &NameTexts) -> Option<Difference> {
    let host_in_lower_case = |email: &str| match email.rsplit_once('@') {
        Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
        None => email.to_owned(),
    };
    in_any_order(
        "spec.emailAddresses",
        &wanted.email,
        &found.email,
        host_in_lower_case,
    )
}

pub(crate) fn dns(wanted: &NameTexts, found: &NameTexts) -> Option<Difference> {
    in_any_order(
        "spec.dnsNames",
        &wanted.dns,
        &found.dns,
        str::to_ascii_lowercase,
    )
}

/// Only what is asked for is looked at: many issuers leave these names out.
pub(crate) fn others(wanted: &NameTexts, found: &NameTexts) -> Option<Difference> {
    if wanted.other.is_empty() {
        return None;
    }
    let texts = |names: &[OtherName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (wanted, found) = (texts(&wanted.other), texts(&found.other));
    in_any_order("spec.otherNames", &wanted, &found, str::to_owned)
}

pub(crate) fn is_ca(spec: &ValidatedSpec, found: bool) -> Option<Difference> {
    let text = |is_ca: bool| if is_ca { "true" } else { "false" };
    (spec.is_ca() != found).then(|| Difference::new("spec.isCA", text(spec.is_ca()), text(found)))
}

/// Compares two lists whose order does not matter; how often a text stands there does.
pub(crate) fn in_any_order(
    field: &'static str,
    wanted: &[String],
    found: &[String],
    folded: impl Fn(&str) -> String,
) -> Option<Difference> {
    let sorted = |texts: &[String]| {
        let mut texts: Vec<_> = texts.iter().map(|text| folded(text)).collect();
        texts.sort_unstable();
        texts
    };
    let differs = wanted != found && sorted(wanted) != sorted(found);
    differs.then(|| Difference::new(field, wanted.join(", "), found.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_one_line() {
        let difference = Difference::new("spec.uris", "", "a\nb");
        assert_eq!(
            difference.to_string(),
            "spec.uris asks for nothing, but there is a\\nb"
        );
    }

    #[test]
    fn lists_are_compared_in_any_order_but_counted() {
        let texts = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (wanted, found, same) in [
            ("a b", "b a", true),
            ("a b", "A b", true),
            ("a a b", "a b b", false),
            ("a", "a a", false),
        ] {
            let fold = str::to_ascii_lowercase;
            let difference = in_any_order("spec.x", &texts(wanted), &texts(found), fold);
            assert_eq!(difference.is_none(), same, "{wanted} {found}");
        }
    }
}
