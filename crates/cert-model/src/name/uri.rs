use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

/// An absolute URI in ASCII (RFC 3986, 4.3), kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(String);

impl Uri {
    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scheme, as written.
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The authority's host without user information, port or brackets; `None` if there is no authority.
    pub fn host(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once(':')?;
        authority(rest).and_then(host)
    }
}

/// The authority of what follows a scheme, if there is one.
fn authority(rest: &str) -> Option<&str> {
    rest.strip_prefix("//")?.split(['/', '?', '#']).next()
}

/// The host of an authority, or `None` if readers could find different ones in it.
fn host(authority: &str) -> Option<&str> {
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = match place.strip_prefix('[') {
        Some(literal) => {
            let (address, port) = literal.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port)
        }
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let valid = !user.contains(['@', '[', ']'])
        && !host.contains(['[', ']'])
        && (port.is_empty() || port.starts_with(':'))
        && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then_some(host)
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::NoScheme)?;
        let mut letters = scheme.bytes();
        if !letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            || !letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        {
            return Err(UriError::NoScheme);
        }
        if rest.is_empty() {
            return Err(UriError::Empty);
        }
        if let Some((at, found)) = text.char_indices().find(|(_, c)| !is_uri(*c)) {
            return Err(UriError::Character { at, found });
        }
        let bytes = text.as_bytes();
        for (at, _) in text.match_indices('%') {
            let escape = bytes.get(at + 1..at + 3).unwrap_or_default();
            if escape.len() < 2 || !escape.iter().all(u8::is_ascii_hexdigit) {
                return Err(UriError::Escape { at });
            }
        }
        // A constraint on hosts would be checked against another host than the one that is meant.
        if authority(rest).is_some_and(|authority| host(authority).is_none()) {
            return Err(UriError::Authority);
        }
        Ok(Self(text.to_owned()))
    }
}

/// RFC 3986: unreserved, reserved and `%`.
fn is_uri(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// What follows `//` is not a host with perhaps a user and a port (RFC 3986, 3.2).
    #[error(
        "what follows \"//\" is not user@host:port; brackets hold an IPv6 address, a port is a number, '@' stands once"
    )]
    Authority,
    /// A character that URIs do not have.
    #[error("{found:?} at byte {at} is not allowed in a URI; percent-encode it")]
    Character {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// Nothing behind the scheme.
    #[error("nothing follows the scheme")]
    Empty,
    /// A `%` without two hexadecimal digits.
    #[error("'%' at byte {at} is not followed by two hexadecimal digits")]
    Escape {
        /// Byte offset.
        at: usize,
    },
    /// The text does not start with a scheme and a colon.
    #[error("a URI starts with a scheme, like spiffe: or https:")]
    NoScheme,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for (text, host) in [
            ("spiffe://cluster.local/ns/a/sa/b", Some("cluster.local")),
            ("https://u@example.com:8443/x?y#z", Some("example.com")),
            ("https://[2001:db8::1]:1/", Some("2001:db8::1")),
            ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", None),
            ("file:///etc/x", Some("")),
            ("https://u:p@a:/", Some("a")),
        ] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!(uri.host(), host, "{text}");
            assert_eq!(uri.to_string(), text);
        }
        for bad in [
            "",
            "example.com",
            "://x",
            "1a:b",
            "a:",
            "https://b\u{fc}cher",
            "https://a b",
            "https://a/%zz",
            "https://a/%2",
            "https://[good.example]:1/",
            "https://[::1",
            "https://[::1]x/",
            "https://a]b/",
            "https://a:b/",
            "https://a:1:2/",
            "https://good.example@x@evil.example/",
        ] {
            assert!(bad.parse::<Uri>().is_err(), "{bad}");
        }
    }
}
