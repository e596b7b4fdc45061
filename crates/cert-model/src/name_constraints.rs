//! Name constraints of a CA certificate (RFC 5280, 4.2.1.10), as a specification states them.

use core::fmt;
use core::str::FromStr;

use crate::name::{Cidr, DnsName, DnsNameError, Email, EmailError};

/// The name constraints a CA certificate is to carry; at least one subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameConstraints {
    /// Whether the extension is marked critical, as RFC 5280 demands.
    pub critical: bool,
    /// Names below the CA must lie in these, per form that is listed at all.
    pub permitted: Subtrees,
    /// Names below the CA must not lie in these.
    pub excluded: Subtrees,
}

/// Subtrees per form of name, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subtrees {
    /// DNS names.
    pub dns: Vec<DnsSubtree>,
    /// Blocks of IP addresses.
    pub ip: Vec<Cidr>,
    /// E-mail addresses.
    pub email: Vec<EmailSubtree>,
    /// Hosts of URIs.
    pub uri: Vec<UriSubtree>,
}

impl NameConstraints {
    /// Constraints of these subtrees, or `None` if there is not one.
    pub fn new(critical: bool, permitted: Subtrees, excluded: Subtrees) -> Option<Self> {
        let constraints = Self {
            critical,
            permitted,
            excluded,
        };
        let empty = constraints.permitted.is_empty() && constraints.excluded.is_empty();
        (!empty).then_some(constraints)
    }
}

impl Subtrees {
    /// Whether there is no subtree of any form.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.ip.is_empty() && self.email.is_empty() && self.uri.is_empty()
    }
}

/// A dNSName subtree: a host and everything below it, or with a leading dot only what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSubtree {
    host: DnsName,
    below_only: bool,
}

/// A URI subtree: exactly one host, or with a leading dot every host below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriSubtree {
    host: DnsName,
    below_only: bool,
}

/// An rfc822Name subtree; complete by definition (RFC 5280, 4.2.1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailSubtree {
    /// Every mailbox at hosts below this one, written `.example.com`.
    Below(DnsName),
    /// Every mailbox at exactly this host, written `example.com`.
    Host(DnsName),
    /// One mailbox.
    Mailbox(Email),
}

macro_rules! host_subtree {
    ($name:ident) => {
        impl $name {
            /// The host, without a leading dot.
            pub fn host(&self) -> &DnsName {
                &self.host
            }

            /// Whether the constraint was written with a leading dot.
            pub fn below_only(&self) -> bool {
                self.below_only
            }
        }

        impl FromStr for $name {
            type Err = DnsNameError;

            fn from_str(text: &str) -> Result<Self, DnsNameError> {
                let (below_only, host) = below(text);
                let host = host?;
                Ok(Self { host, below_only })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let dot = if self.below_only { "." } else { "" };
                write!(f, "{dot}{}", self.host)
            }
        }
    };
}

host_subtree!(DnsSubtree);
host_subtree!(UriSubtree);

impl FromStr for EmailSubtree {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        if text.contains('@') {
            text.parse().map(Self::Mailbox)
        } else {
            let (below_only, host) = below(text);
            let host = host.map_err(EmailError::Host)?;
            Ok(if below_only {
                Self::Below(host)
            } else {
                Self::Host(host)
            })
        }
    }
}

/// Whether a dot leads, and the host behind it.
fn below(text: &str) -> (bool, Result<DnsName, DnsNameError>) {
    match text.strip_prefix('.') {
        Some(host) => (true, host.parse().map_err(|e: DnsNameError| e.behind("."))),
        None => (false, text.parse()),
    }
}

impl fmt::Display for EmailSubtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(host) => write!(f, ".{host}"),
            Self::Host(host) => host.fmt(f),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees_read_and_write_back() {
        for text in ["example.com", ".example.com"] {
            assert_eq!(text.parse::<DnsSubtree>().unwrap().to_string(), text);
            assert_eq!(text.parse::<UriSubtree>().unwrap().to_string(), text);
        }
        for text in ["a@example.com", "example.com", ".example.com"] {
            assert_eq!(text.parse::<EmailSubtree>().unwrap().to_string(), text);
        }
        for bad in ["", ".", "*.example.com", "https://example.com", "a b"] {
            assert!(bad.parse::<DnsSubtree>().is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_count_the_leading_dot() {
        assert_eq!(
            ".ex mple.com".parse::<DnsSubtree>(),
            Err(DnsNameError::Character { at: 3, found: ' ' })
        );
        let suggestion = ".xn--bcher-kva.example".to_owned();
        assert_eq!(
            ".b\u{fc}cher.example".parse::<EmailSubtree>(),
            Err(EmailError::Host(DnsNameError::International { suggestion }))
        );
    }

    #[test]
    fn no_subtree_is_no_constraint() {
        assert_eq!(
            NameConstraints::new(true, Subtrees::default(), Subtrees::default()),
            None
        );
    }
}
