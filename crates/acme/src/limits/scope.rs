use core::fmt;
use core::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};

use crate::problem::RateLimitScope;

/// What a quota or a freeze is about, within one account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// New orders, and everything else of the account.
    Account,
    /// Certificates for a registered domain and all names below it.
    Domain(String),
    /// Failed validations of one name.
    FailedValidations(String),
    /// Certificates for exactly these names, by [`Scope::name_set`].
    NameSet(String),
    /// New accounts from this machine.
    NewAccounts,
}

impl Scope {
    /// The scopes of which an order for these names takes a token: the account, the set of names, and
    /// each [`registered_domain`] once.
    pub fn of_order(names: &[String]) -> Vec<Self> {
        let mut domains: Vec<Self> = names
            .iter()
            .map(|name| Self::Domain(registered_domain(name)))
            .collect();
        domains.sort();
        domains.dedup();
        let mut scopes = vec![Self::Account, Self::name_set(names)];
        scopes.append(&mut domains);
        scopes
    }

    /// The scopes to look at, without taking anything, before an order for these names is tried: as for
    /// the order, and the failed validations of each name.
    pub fn before_order(names: &[String]) -> Vec<Self> {
        let failed = names.iter().map(|name| Self::failed_validation(name));
        Self::of_order(names).into_iter().chain(failed).collect()
    }

    /// The failed validations of a name; a wildcard's are those of the name behind it.
    pub fn failed_validation(name: &str) -> Self {
        let name = name.strip_prefix("*.").unwrap_or(name);
        Self::FailedValidations(name.to_ascii_lowercase())
    }

    /// The set of these names, whatever their order and case.
    pub fn name_set(names: &[String]) -> Self {
        let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        let hash = digest(&SHA256, names.join(",").as_bytes());
        // Half of the hash: whoever found two sets with one would only share a quota.
        let half = hash.as_ref().iter().take(16);
        Self::NameSet(half.map(|byte| format!("{byte:02x}")).collect())
    }

    /// The scope that a refusal of an order for these names freezes.
    pub fn of_refusal(scope: &RateLimitScope, names: &[String]) -> Self {
        match scope {
            RateLimitScope::Account => Self::Account,
            RateLimitScope::Domain(domain) => Self::Domain(registered_domain(domain)),
            RateLimitScope::FailedValidations(name) => Self::failed_validation(name),
            RateLimitScope::NameSet => Self::name_set(names),
            RateLimitScope::NewAccounts => Self::NewAccounts,
        }
    }
}

impl fmt::Display for Scope {
    /// The key it is stored under, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Domain(domain) => write!(f, "domain:{domain}"),
            Self::FailedValidations(name) => write!(f, "failed:{name}"),
            Self::NameSet(hash) => write!(f, "names:{hash}"),
            Self::NewAccounts => f.write_str("new-accounts"),
        }
    }
}

/// The domain that was registered for a name: its last two labels, or three where a country's registry
/// has second levels such as `co.uk` and `com.br`; an IP address is its own.
///
/// CAs use the Public Suffix List, which changes weekly. This is a guess that errs to the strict side
/// for names like `a.github.io`; whoever knows better builds the scopes from
/// [`Scope::Domain`] with a list of their own.
pub fn registered_domain(name: &str) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        return name;
    }
    let labels: Vec<&str> = name.split('.').collect();
    let second_level = match labels.as_slice() {
        [.., second, country] => country.len() == 2 && SECOND_LEVELS.contains(second),
        _ => false,
    };
    let kept = if second_level { 3 } else { 2 };
    labels[labels.len().saturating_sub(kept)..].join(".")
}

const SECOND_LEVELS: [&str; 17] = [
    "ac", "co", "com", "edu", "gob", "gov", "govt", "gv", "id", "ltd", "me", "mil", "ne", "net",
    "or", "org", "sch",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for (name, domain) in [
            ("example.com", "example.com"),
            ("*.Example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("a.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("a.b.de", "b.de"),
            ("localhost", "localhost"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("", ""),
        ] {
            assert_eq!(registered_domain(name), domain, "{name}");
        }
    }

    #[test]
    fn orders() {
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let one = names(&["b.example.com", "A.example.com", "*.example.net"]);
        let scopes = Scope::of_order(&one);
        assert_eq!(scopes.len(), 4);
        assert_eq!(scopes[2].to_string(), "domain:example.com");
        assert_eq!(scopes[3].to_string(), "domain:example.net");
        let other = names(&[
            "*.example.net",
            "a.example.com",
            "b.example.com",
            "b.example.com",
        ]);
        assert_eq!(Scope::name_set(&other), scopes[1]);
        assert_ne!(Scope::name_set(&one[..2]), scopes[1]);
        let before = Scope::before_order(&one);
        assert_eq!(
            before.last(),
            Some(&Scope::FailedValidations("example.net".to_owned()))
        );
    }

    #[test]
    fn refusals() {
        let names = ["a.example.com".to_owned()];
        for (refused, scope) in [
            (RateLimitScope::Account, "account"),
            (
                RateLimitScope::Domain("b.example.com".to_owned()),
                "domain:example.com",
            ),
            (
                RateLimitScope::FailedValidations("*.B.test".to_owned()),
                "failed:b.test",
            ),
            (RateLimitScope::NewAccounts, "new-accounts"),
        ] {
            assert_eq!(Scope::of_refusal(&refused, &names).to_string(), scope);
        }
        let set = Scope::of_refusal(&RateLimitScope::NameSet, &names);
        assert_eq!(set, Scope::name_set(&names));
    }
}
