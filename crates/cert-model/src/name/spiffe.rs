use core::fmt;
use core::str::FromStr;

/// A SPIFFE ID: `spiffe://` trust domain, path; byte-exact, at most 2048 bytes (SPIFFE-ID, 2).
///
/// Nothing is normalised: a signed name in another spelling is an issuer's mistake, not a synonym.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    path: usize,
}

/// The name of a SPIFFE trust domain: 1 to 255 bytes of `[a-z0-9._-]` (SPIFFE-ID, 2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

const SCHEME: &str = "spiffe://";
const MAX_ID: usize = 2048;
const MAX_TRUST_DOMAIN: usize = 255;

impl SpiffeId {
    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.path]
    }

    /// The path with its leading slash; empty for the ID of a trust domain itself.
    pub fn path(&self) -> &str {
        &self.text[self.path..]
    }

    /// Whether the ID belongs to `trust_domain`.
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain() == trust_domain.0
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let domain = rest.find('/').unwrap_or(rest.len());
        check_trust_domain(&rest[..domain], SCHEME.len())?;
        let path = SCHEME.len() + domain;
        check_path(&text[path..], path)?;
        if text.len() > MAX_ID {
            return Err(SpiffeIdError::TooLong { found: text.len() });
        }
        Ok(Self {
            text: text.to_owned(),
            path,
        })
    }
}

impl TrustDomain {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    /// Reads a bare name, or the trust domain of a whole, valid SPIFFE ID.
    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::NoTrustDomain);
        }
        if text.contains(":/") {
            let id: SpiffeId = text.parse()?;
            return Ok(Self(id.trust_domain().to_owned()));
        }
        check_trust_domain(text, 0)?;
        Ok(Self(text.to_owned()))
    }
}

impl From<&SpiffeId> for TrustDomain {
    fn from(id: &SpiffeId) -> Self {
        Self(id.trust_domain().to_owned())
    }
}

fn check_trust_domain(name: &str, offset: usize) -> Result<(), SpiffeIdError> {
    if let Some((at, found)) = name
        .char_indices()
        .find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
    {
        return Err(SpiffeIdError::TrustDomainCharacter {
            at: offset + at,
            found,
        });
    }
    match name.len() {
        0 => Err(SpiffeIdError::NoTrustDomain),
        1..=MAX_TRUST_DOMAIN => Ok(()),
        found => Err(SpiffeIdError::TrustDomainTooLong { found }),
    }
}

/// Checks a path, empty or starting with a slash, left to right.
fn check_path(path: &str, offset: usize) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    let mut at = offset + 1;
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        if let Some((index, found)) = segment
            .char_indices()
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return Err(SpiffeIdError::PathCharacter {
                at: at + index,
                found,
            });
        }
        match segment {
            "" if segments.peek().is_none() => return Err(SpiffeIdError::TrailingSlash),
            "" => return Err(SpiffeIdError::EmptySegment { at }),
            "." | ".." => return Err(SpiffeIdError::DotSegment { at }),
            _ => at += segment.len() + 1,
        }
    }
    Ok(())
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a SPIFFE ID or the name of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// A path segment that is `.` or `..`.
    #[error("path segment at byte {at} is \".\" or \"..\"")]
    DotSegment {
        /// Byte offset of the segment.
        at: usize,
    },
    /// Nothing.
    #[error("a SPIFFE ID cannot be empty; it looks like spiffe://example.org/workload")]
    Empty,
    /// Two slashes in a row.
    #[error("empty path segment at byte {at}")]
    EmptySegment {
        /// Byte offset of the segment.
        at: usize,
    },
    /// No name between the scheme and the path.
    #[error("the trust domain is missing")]
    NoTrustDomain,
    /// A character that paths do not have.
    #[error("{found:?} at byte {at}: a path segment has only letters, digits, '.', '_' and '-'")]
    PathCharacter {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// Another scheme, or another spelling of it.
    #[error("a SPIFFE ID starts with spiffe:// in lower case")]
    Scheme,
    /// The path ends with a slash.
    #[error("the path ends with a slash")]
    TrailingSlash,
    /// More than 2048 bytes.
    #[error("SPIFFE ID has {found} bytes, more than {MAX_ID}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// A character that trust domains do not have.
    #[error(
        "{found:?} at byte {at}: a trust domain has only lower-case letters, digits, '.', '_' and '-'"
    )]
    TrustDomainCharacter {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// A trust domain of more than 255 bytes.
    #[error("trust domain has {found} bytes, more than {MAX_TRUST_DOMAIN}")]
    TrustDomainTooLong {
        /// Its length.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in [
            "spiffe://td",
            "spiffe://td/a",
            "spiffe://10.0.0.1/a",
            "spiffe://a..b/.../..x",
            "spiffe://-._/A-Z_9.",
        ] {
            let id: SpiffeId = good.parse().unwrap();
            assert_eq!(id.to_string(), good);
            assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), good);
        }
        for (bad, error) in [
            ("", SpiffeIdError::Empty),
            ("SPIFFE://td/a", SpiffeIdError::Scheme),
            ("https://td/a", SpiffeIdError::Scheme),
            ("spiffe:///a", SpiffeIdError::NoTrustDomain),
            (
                "spiffe://TD/a",
                SpiffeIdError::TrustDomainCharacter { at: 9, found: 'T' },
            ),
            (
                "spiffe://td:80/a",
                SpiffeIdError::TrustDomainCharacter { at: 11, found: ':' },
            ),
            ("spiffe://td/", SpiffeIdError::TrailingSlash),
            ("spiffe://td//a", SpiffeIdError::EmptySegment { at: 12 }),
            ("spiffe://td/a/../b", SpiffeIdError::DotSegment { at: 14 }),
            (
                "spiffe://td/a%20b",
                SpiffeIdError::PathCharacter { at: 13, found: '%' },
            ),
            (
                "spiffe://td?x",
                SpiffeIdError::TrustDomainCharacter { at: 11, found: '?' },
            ),
        ] {
            assert_eq!(bad.parse::<SpiffeId>(), Err(error), "{bad}");
        }
    }

    #[test]
    fn limits() {
        let domain = "a".repeat(255);
        assert!(domain.parse::<TrustDomain>().is_ok());
        assert!(format!("{domain}a").parse::<TrustDomain>().is_err());
        let id = |n: usize| format!("spiffe://td/{}", "a".repeat(n - 12));
        assert!(id(2048).parse::<SpiffeId>().is_ok());
        assert!(id(2049).parse::<SpiffeId>().is_err());
    }

    #[test]
    fn a_trust_domain_comes_from_a_name_or_a_whole_id() {
        let id: SpiffeId = "spiffe://td.example/a".parse().unwrap();
        assert_eq!("spiffe://td.example/b".parse(), Ok(TrustDomain::from(&id)));
        assert!("spiffe://td.example/".parse::<TrustDomain>().is_err());
        assert!(id.is_member_of(&"td.example".parse().unwrap()));
        assert!(!id.is_member_of(&"td.example.".parse().unwrap()));
    }
}
