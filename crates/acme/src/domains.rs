//! Which names to ask a certificate for, by Traefik's rules: pruned, cleaned, without those that are
//! covered already, and checked as an order of their own.
//!
//! ```
//! use certwright_acme::domains::{Coverage, Domain, OrderRules, orders};
//!
//! let wanted = [
//!     Domain::new("Example.com.", ["www.example.com"]),
//!     Domain::new("example.com", ["api.example.com"]),
//! ];
//! let orders = orders(&wanted, &OrderRules::default())?;
//! assert_eq!(orders[0].names(), ["example.com", "www.example.com"]);
//! assert_eq!(orders[1].names(), ["api.example.com"]);
//!
//! let coverage = Coverage::of(["*.example.com"]);
//! assert_eq!(coverage.uncovered(orders[0].names()), ["example.com"]);
//! # Ok::<(), certwright_acme::domains::DomainError>(())
//! ```
//!
//! Sources: Traefik's ACME documentation (domain definition) and what its `pkg/provider/acme` does.

mod coverage;
mod order;

pub use coverage::{Coverage, matches};
pub use order::{Grouping, OrderNames, OrderRules, Wildcards, orders};

/// One entry of `tls.domains`: a main name and alternatives, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Domain {
    /// `main`; may be empty if there are alternatives.
    pub main: String,
    /// `sans`.
    pub sans: Vec<String>,
}

impl Domain {
    /// An entry.
    pub fn new<S: Into<String>>(
        main: impl Into<String>,
        sans: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            main: main.into(),
            sans: sans.into_iter().map(Into::into).collect(),
        }
    }

    /// An entry of these names, the first as its main one; `None` if there are none.
    pub fn of_names(names: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut names = names.into_iter();
        Some(Self {
            main: names.next()?,
            sans: names.collect(),
        })
    }

    /// The main name, if there is one, and the alternatives.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let main = Some(self.main.as_str()).filter(|main| !main.is_empty());
        main.into_iter().chain(self.sans.iter().map(String::as_str))
    }
}

/// Cleans the names of an entry as Traefik does: white space around them goes, letters become small, one
/// trailing dot goes. What is left may still be no name: [`OrderNames::new`] says so.
///
/// # Errors
///
/// [`DomainError::None`] without any name, [`DomainError::DoubleWildcard`] if one starts with `*.*`.
pub fn sanitize(domain: &Domain) -> Result<Vec<String>, DomainError> {
    let mut names = Vec::new();
    for name in domain.names() {
        if name.starts_with("*.*") {
            let all: Vec<&str> = domain.names().collect();
            return Err(DomainError::DoubleWildcard {
                names: all.join(","),
            });
        }
        let clean: String = name.trim().chars().map(lower).collect();
        names.push(match clean.strip_suffix('.') {
            Some(clean) => clean.to_owned(),
            None => clean,
        });
    }
    match names.is_empty() {
        true => Err(DomainError::None),
        false => Ok(names),
    }
}

/// Go's lower case, which is always one character.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Takes out of entries what others ask for already: an entry loses each name that an earlier entry has
/// or covers, and each that the main name of any entry covers as a wildcard. What is left moves up;
/// an entry of which nothing is left goes.
///
/// A wildcard among the alternatives takes names from later entries only.
pub fn prune(domains: &[Domain]) -> Vec<Domain> {
    let mains = domains.iter().map(|one| one.main.as_str()).enumerate();
    let wildcards: Vec<_> = mains.filter(|(_, main)| main.starts_with('*')).collect();
    let mut earlier = Coverage::default();
    let mut kept = Vec::new();
    for (index, domain) in domains.iter().enumerate() {
        let by_wildcard = |name: &str| {
            let mut others = wildcards.iter().filter(|(other, _)| *other != index);
            others.any(|(_, wildcard)| *wildcard != name && matches(wildcard, name))
        };
        let names = domain.names();
        let names = names.filter(|name| !earlier.covers(name) && !by_wildcard(name));
        kept.extend(Domain::of_names(names.map(str::to_owned)));
        for name in domain.names() {
            earlier.add(name);
        }
    }
    kept
}

/// Why names cannot be ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// `*.*` at the start of a name.
    #[error(
        "unable to generate a wildcard certificate in ACME provider for domain {names:?} : ACME does not allow '*.*' wildcard domain"
    )]
    DoubleWildcard {
        /// All names of the entry, joined with commas.
        names: String,
    },
    /// A text that is no name.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it as a DNS name.
        source: certwright_cert_model::name::DnsNameError,
    },
    /// No name at all.
    #[error("no domain was given")]
    None,
    /// A wildcard, which only DNS-01 can prove.
    #[error(
        "{name:?} is a wildcard, and only DNS-01 proves those; add a dnsChallenge to the resolver{} or write the names out",
        .resolver.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default()
    )]
    WildcardNeedsDns01 {
        /// The wildcard.
        name: String,
        /// The resolver that is asked, if it is known.
        resolver: Option<String>,
    },
}

impl DomainError {
    /// The same, with the resolver that is asked.
    #[must_use]
    pub fn of_resolver(self, asked: &str) -> Self {
        match self {
            Self::WildcardNeedsDns01 { name, .. } => Self::WildcardNeedsDns01 {
                name,
                resolver: Some(asked.to_owned()),
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cleaned() {
        let double = "unable to generate a wildcard certificate in ACME provider for domain \"a.test,*.*.a.test\" : ACME does not allow '*.*' wildcard domain";
        for (main, sans, expected) in [
            ("a.test", &["b.test"][..], Ok(&["a.test", "b.test"][..])),
            ("", &["a.test"], Ok(&["a.test"])),
            ("  A.Test\t", &[], Ok(&["a.test"])),
            ("a.test.", &[], Ok(&["a.test"])),
            ("a.test..", &[], Ok(&["a.test."])),
            ("a.test", &[""], Ok(&["a.test", ""])),
            ("a.test", &["a.test"], Ok(&["a.test", "a.test"])),
            ("*.a.test", &[], Ok(&["*.a.test"])),
            ("192.0.2.7", &[], Ok(&["192.0.2.7"])),
            ("\u{c4}.test", &[], Ok(&["\u{e4}.test"])),
            ("", &[], Err("no domain was given")),
            ("a.test", &["*.*.a.test"], Err(double)),
        ] {
            let found = sanitize(&Domain::new(main, sans.iter().copied()));
            match expected {
                Ok(names) => assert_eq!(found.unwrap(), names),
                Err(text) => assert_eq!(found.unwrap_err().to_string(), text),
            }
        }
    }

    fn entries(text: &str) -> Vec<Domain> {
        let entries = text.split(';').filter(|entry| !entry.is_empty());
        entries
            .filter_map(|entry| Domain::of_names(entry.split(',').map(str::to_owned)))
            .collect()
    }

    #[test]
    fn entries_are_pruned() {
        for (given, expected) in [
            ("", ""),
            ("a.t,b.a.t;*.b.t", "a.t,b.a.t;*.b.t"),
            ("*.a.t;a.t", "*.a.t;a.t"),
            ("a.t,b.t;a.t,b.t", "a.t,b.t"),
            ("a.t,b.t;a.t,b.t,c.t", "a.t,b.t;c.t"),
            ("*.a.t,a.t;*.a.t", "*.a.t,a.t"),
            ("*.a.t;*.a.t,a.t", "*.a.t;a.t"),
            ("b.a.t,a.t,c.t;*.a.t;d.a.t,b.a.t", "a.t,c.t;*.a.t"),
            ("b.a.t;a.t,*.a.t", "b.a.t;a.t,*.a.t"),
            ("a.t,*.a.t;b.a.t", "a.t,*.a.t"),
            ("c.b.a.t;*.*.a.t", "*.*.a.t"),
            // In Traefik, the equal entry in between keeps the wildcard from being seen.
            ("b.a.t;b.a.t;*.a.t", "*.a.t"),
            ("A.t;a.t", "A.t;a.t"),
            ("*.a.t,b.a.t", "*.a.t,b.a.t"),
        ] {
            assert_eq!(prune(&entries(given)), entries(expected), "{given}");
        }
    }

    proptest! {
        #[test]
        fn pruning_loses_no_name_and_keeps_none_twice(given in "((\\*\\.)?[ab](\\.[ab]){0,2}[,;]){0,8}") {
            // A comma before the end would be an empty name.
            let given = given.replace(",;", ";");
            let given = given.trim_end_matches([',', ';']);
            let given = entries(given);
            let pruned = prune(&given);
            let left = Coverage::of(pruned.iter().flat_map(Domain::names));
            for name in given.iter().flat_map(Domain::names) {
                prop_assert!(left.covers(name), "{} of {:?}", name, pruned);
                let holders = pruned.iter().filter(|entry| entry.names().any(|own| own == name));
                prop_assert!(holders.count() <= 1, "{} in {:?}", name, pruned);
            }
        }
    }
}
