//! What a certificate is ordered for.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use certwright_cert_model::name::{DnsNameError, DnsPattern};
use serde::{Deserialize, Serialize};

/// A DNS name, with or without a wildcard (RFC 8555 section 7.1.4), or an IP address
/// (RFC 8738).
///
/// Names compare without regard to case, addresses by value, names before addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Identifier {
    /// A name, or all names one label below one.
    Dns(DnsPattern),
    /// An address.
    Ip(IpAddr),
}

impl Identifier {
    /// The value as the protocol writes it: lower case, and without `*.` in an
    /// authorization.
    pub fn value(&self) -> String {
        match self {
            Self::Dns(name) => name.to_string().to_ascii_lowercase(),
            Self::Ip(address) => address.to_string(),
        }
    }

    /// The name without its wildcard, in lower case; the address.
    pub fn base(&self) -> String {
        match self {
            Self::Dns(name) => name.base().as_str().to_ascii_lowercase(),
            Self::Ip(address) => address.to_string(),
        }
    }

    /// Whether it is a wildcard, which only DNS-01 can prove.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(DnsPattern::Wildcard(_)))
    }
}

impl FromStr for Identifier {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        match text.parse() {
            Ok(address) => Ok(Self::Ip(address)),
            Err(_) => text.parse().map(Self::Dns),
        }
    }
}

impl TryFrom<String> for Identifier {
    type Error = DnsNameError;

    fn try_from(text: String) -> Result<Self, DnsNameError> {
        text.parse()
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> Self {
        identifier.value()
    }
}

impl From<DnsPattern> for Identifier {
    fn from(name: DnsPattern) -> Self {
        Self::Dns(name)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, value, base, wildcard) in [
            ("Example.org", "example.org", "example.org", false),
            ("*.Example.org", "*.example.org", "example.org", true),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1", false),
            ("2001:DB8::1", "2001:db8::1", "2001:db8::1", false),
        ] {
            let read: Identifier = text.parse().unwrap();
            assert_eq!((read.value().as_str(), read.base().as_str()), (value, base));
            assert_eq!(read.is_wildcard(), wildcard, "{text}");
            assert_eq!(read.value().parse(), Ok(read));
        }
        for text in ["", "*", "*.org", "a b", "a..b"] {
            assert!(text.parse::<Identifier>().is_err(), "{text}");
        }
    }
}
