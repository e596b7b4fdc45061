use core::net::IpAddr;

use certwright_cert_model::name::{DnsNameError, DnsPattern};

use super::{Domain, DomainError, matches, prune, sanitize};

/// How orders are made of domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderRules {
    /// How names share certificates.
    pub grouping: Grouping,
    /// Whether wildcards may be asked for.
    pub wildcards: Wildcards,
}

/// How names share certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grouping {
    /// One certificate for a main name and its alternatives, as Traefik does it.
    #[default]
    Domain,
    /// One certificate for each name, as Traefik's documentation says it.
    Name,
}

/// Whether wildcards may be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wildcards {
    /// They may: there is DNS-01, or a CA that needs none.
    #[default]
    Allowed,
    /// They may not: no public CA issues them without DNS-01.
    Refused,
}

/// The names of one order: at least one, all different, in their canonical spelling, none covered by
/// another, the first one the main name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderNames(Vec<String>);

/// The orders for these domains: pruned and cleaned, one for each domain or for each name.
///
/// # Errors
///
/// The first [`DomainError`].
pub fn orders(domains: &[Domain], rules: &OrderRules) -> Result<Vec<OrderNames>, DomainError> {
    let cleaned = domains.iter().map(|domain| {
        let names = sanitize(domain)?;
        let names = names.into_iter().map(|name| canonical(&name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        Domain::of_names(names).ok_or(DomainError::None)
    });
    // Cleaned first, so that two spellings of a name do not make two orders.
    let pruned = prune(&cleaned.collect::<Result<Vec<_>, _>>()?);
    let mut orders = Vec::new();
    for domain in &pruned {
        let names: Vec<String> = domain.names().map(str::to_owned).collect();
        match rules.grouping {
            Grouping::Domain => orders.push(OrderNames::new(&names, rules.wildcards)?),
            Grouping::Name => {
                let whole = OrderNames::new(&names, rules.wildcards)?;
                let each = whole.0.into_iter().map(|name| OrderNames(vec![name]));
                orders.extend(each);
            }
        }
    }
    Ok(orders)
}

impl OrderNames {
    /// An order for these names. Names that stand there twice, or that a wildcard of the same order
    /// covers, are left out: Let's Encrypt refuses such orders.
    ///
    /// # Errors
    ///
    /// A text that is no name, a wildcard of two levels or where there may be none, no name.
    pub fn new(names: &[String], wildcards: Wildcards) -> Result<Self, DomainError> {
        let names = names.iter().map(|name| canonical(name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let stars = names.iter().filter(|name| name.starts_with("*."));
        if wildcards == Wildcards::Refused
            && let Some(name) = stars.clone().next()
        {
            return Err(DomainError::WildcardNeedsDns01 {
                name: name.clone(),
                resolver: None,
            });
        }
        let covered = |name: &String| {
            let address = name.parse::<IpAddr>().is_ok();
            !address
                && stars
                    .clone()
                    .any(|star| star != name && matches(star, name))
        };
        let mut order: Vec<String> = Vec::with_capacity(names.len());
        for name in &names {
            if !order.contains(name) && !covered(name) {
                order.push(name.clone());
            }
        }
        match order.is_empty() {
            true => Err(DomainError::None),
            false => Ok(Self(order)),
        }
    }

    /// The names, the main one first.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The main name.
    pub fn main(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether one of the names is a wildcard, which only DNS-01 proves.
    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|name| name.starts_with("*."))
    }
}

/// A name as it is ordered: small letters, international labels as A-labels (lego does so
/// too), addresses in their one spelling.
fn canonical(name: &str) -> Result<String, DomainError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if name.trim_start().starts_with("*.*") {
        return Err(DomainError::DoubleWildcard {
            names: name.to_owned(),
        });
    }
    let parsed = match name.parse::<DnsPattern>() {
        Err(DnsNameError::International { suggestion }) => suggestion.parse(),
        parsed => parsed,
    };
    match parsed {
        Ok(pattern) => Ok(pattern.to_string().to_ascii_lowercase()),
        Err(source) => Err(DomainError::Name {
            name: name.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_of_an_order() {
        let dns = "is neither a DNS name nor an IP address";
        for (names, expected) in [
            (&["b.t", "a.t", "B.t"][..], Ok(&["b.t", "a.t"][..])),
            (&["a.t", "b.a.t", "*.a.t", "c.b.a.t"], Ok(&["a.t", "*.a.t", "c.b.a.t"])),
            (&["192.0.2.7", "2001:DB8:0::1"], Ok(&["192.0.2.7", "2001:db8::1"])),
            // As browsers ask for them.
            (&["b\u{fc}cher.t", "*.B\u{fc}cher.t", "xn--bcher-kva.t"], Ok(&["xn--bcher-kva.t", "*.xn--bcher-kva.t"])),
            (&["*.internal"], Err(format!("\"*.internal\" {dns}"))),
            (&[], Err("no domain was given".to_owned())),
            (&["a.t", ""], Err(format!("\"\" {dns}"))),
            (&["a..t"], Err(format!("\"a..t\" {dns}"))),
            (&["a t"], Err(format!("\"a t\" {dns}"))),
            (&["*"], Err(format!("\"*\" {dns}"))),
            (&["a.*.t"], Err(format!("\"a.*.t\" {dns}"))),
            (
                &[" *.*.t"],
                Err("unable to generate a wildcard certificate in ACME provider for domain \" *.*.t\" : ACME does not allow '*.*' wildcard domain".to_owned()),
            ),
        ] {
            let order = OrderNames::new(&strings(names), Wildcards::Allowed);
            let found = order.map_err(|error| error.to_string());
            let expected = expected.map(|names| OrderNames(strings(names)));
            assert_eq!(found, expected, "{names:?}");
        }
    }

    #[test]
    fn orders_of_domains() {
        let domains = [
            Domain::new("A.t.", ["b.t", "B.t "]),
            Domain::new("a.t", ["*.c.t", "c.t"]),
            Domain::new("d.c.t", [""; 0]),
        ];
        let found = |rules: &OrderRules| -> Vec<Vec<String>> {
            let orders = orders(&domains, rules).unwrap();
            orders.into_iter().map(|order| order.0).collect()
        };
        let rules = OrderRules::default();
        assert_eq!(
            found(&rules),
            [strings(&["a.t", "b.t"]), strings(&["*.c.t", "c.t"])]
        );
        let each = OrderRules {
            grouping: Grouping::Name,
            ..rules
        };
        let names: Vec<String> = found(&each).into_iter().flatten().collect();
        assert_eq!(names, ["a.t", "b.t", "*.c.t", "c.t"]);
        let refused = OrderRules {
            wildcards: Wildcards::Refused,
            ..rules
        };
        assert_eq!(
            orders(&domains, &refused).unwrap_err().to_string(),
            "\"*.c.t\" is a wildcard, and only DNS-01 proves those; add a dnsChallenge to the resolver or write the names out"
        );
        let one = orders(&domains[1..2], &rules).unwrap();
        assert!(one[0].has_wildcard() && one[0].main() == "a.t");
    }
}
