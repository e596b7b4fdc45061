//! `spec.acme.solvers`: who proves control over which names.

use std::collections::BTreeMap;

use crate::report::{Report, spec};
use crate::violation::{FieldPath, ViolationKind};

/// One of `spec.acme.solvers`.
///
/// How an answer to HTTP-01 comes to an Ingress or a Gateway, and what a DNS provider's settings are, is left to who
/// orders the certificates: those fields may hold anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcmeSolver {
    /// What it is for; everything if it is empty.
    pub selector: SolverSelector,
    /// `dns01`, if it is written.
    pub dns01: Option<Dns01Solver>,
    /// Whether `http01` is written; exactly one of the two is once validated.
    pub http01: bool,
}

/// `selector` of a solver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SolverSelector {
    /// Names, as they are written in Certificates.
    pub dns_names: Vec<String>,
    /// Zones: they and all names below them.
    pub dns_zones: Vec<String>,
    /// The labels of Certificates.
    pub match_labels: BTreeMap<String, String>,
}

/// `dns01` of a solver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dns01Solver {
    /// The providers that are written, such as `cloudflare`, or the `solverName` of a webhook; one once validated.
    pub providers: Vec<String>,
    /// `cnameStrategy`: `None` or `Follow` once validated.
    pub cname_strategy: Option<String>,
}

impl AcmeSolver {
    /// What a name is to this solver: how closely its selector fits, more for closer; `None` if it is for other names.
    ///
    /// A listed name is closer than a zone, a longer zone closer than a shorter one, and any closer than no selector:
    /// cert-manager's order. Labels are not looked at.
    pub fn fits(&self, name: &str) -> Option<usize> {
        let SolverSelector {
            dns_names,
            dns_zones,
            ..
        } = &self.selector;
        if dns_names.iter().any(|one| one.eq_ignore_ascii_case(name)) {
            return Some(usize::MAX);
        }
        let base = name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase();
        let zones = dns_zones.iter().filter(|zone| {
            let zone = zone.to_ascii_lowercase();
            let above = base.strip_suffix(&zone);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        });
        let zone = zones.map(String::len).max();
        let everything = dns_names.is_empty() && dns_zones.is_empty();
        zone.or(everything.then_some(0))
    }

    pub(super) fn check(&self, index: usize, report: &mut Report) {
        let place = || solvers().index(index);
        match (&self.dns01, self.http01) {
            (None, false) => report.violation(
                place(),
                ViolationKind::Required,
                "has no way to prove control; write http01 or dns01",
            ),
            (Some(_), true) => report.violation(
                place().child("http01"),
                ViolationKind::Forbidden,
                "a solver has one way to prove control, and dns01 is already set",
            ),
            (None, true) => {}
            (Some(dns01), false) => {
                let place = place().child("dns01");
                match dns01.providers.as_slice() {
                    [_] => {}
                    [] => {
                        report.violation(place.clone(), ViolationKind::Required, "has no provider");
                    }
                    [first, ..] => report.violation(
                        place.clone(),
                        ViolationKind::Forbidden,
                        format!("has one provider, and {first} is already set"),
                    ),
                }
                let strategy = dns01.cname_strategy.as_deref().unwrap_or("None");
                if !["None", "Follow"].contains(&strategy) {
                    let field = place.child("cnameStrategy");
                    report.violation(field, ViolationKind::NotSupported, "must be None or Follow");
                }
            }
        }
    }
}

fn solvers() -> FieldPath {
    spec("acme").child("solvers")
}

#[cfg(feature = "documents")]
pub(super) mod decode {
    use super::*;
    use crate::document::Fields;

    /// The providers of cert-manager 1.21.
    const PROVIDERS: [&str; 8] = [
        "acmeDNS",
        "akamai",
        "azureDNS",
        "cloudDNS",
        "cloudflare",
        "digitalocean",
        "rfc2136",
        "route53",
    ];

    pub(in crate::issuer) fn solver(fields: &mut Fields<'_>) -> AcmeSolver {
        AcmeSolver {
            selector: fields
                .object("selector", |selector| SolverSelector {
                    dns_names: selector.texts("dnsNames"),
                    dns_zones: selector.texts("dnsZones"),
                    match_labels: selector.text_map("matchLabels"),
                })
                .unwrap_or_default(),
            dns01: fields.object("dns01", |dns01| {
                let cname_strategy = dns01.text("cnameStrategy");
                let mut providers = Vec::new();
                for name in PROVIDERS {
                    providers.extend(dns01.get(name).map(|_| name.to_owned()));
                }
                let webhook = dns01.object("webhook", |webhook| {
                    webhook.get("config");
                    webhook.text("groupName");
                    webhook.text("solverName").unwrap_or_default()
                });
                providers.extend(webhook);
                Dns01Solver {
                    providers,
                    cname_strategy,
                }
            }),
            http01: fields
                .object("http01", |http01| {
                    http01.get("ingress");
                    http01.get("gatewayHTTPRoute");
                })
                .is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_selector() {
        let selector = |names: &[&str], zones: &[&str]| AcmeSolver {
            selector: SolverSelector {
                dns_names: names.iter().map(|one| (*one).to_owned()).collect(),
                dns_zones: zones.iter().map(|one| (*one).to_owned()).collect(),
                match_labels: BTreeMap::new(),
            },
            ..AcmeSolver::default()
        };
        for (names, zones, name, fits) in [
            (&[][..], &[][..], "a.test", Some(0)),
            (&["A.test"], &[], "a.test", Some(usize::MAX)),
            (&["a.test"], &[], "b.test", None),
            (&["a.test"], &[], "*.a.test", None),
            (&["*.a.test"], &[], "*.a.test", Some(usize::MAX)),
            (&[], &["test", "a.test"], "x.a.test", Some(6)),
            (&[], &["test"], "*.a.test", Some(4)),
            (&[], &["a.test"], "a.test", Some(6)),
            (&[], &["a.test"], "ba.test", None),
        ] {
            assert_eq!(selector(names, zones).fits(name), fits, "{name} {zones:?}");
        }
    }
}
