//! The names a certificate covers: one host, or every host one label below a domain.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host name, or a wildcard for exactly one leading label (`*.example.com`), lower-case and without
/// a trailing dot.
///
/// The rules are those of clients (RFC 9525 section 6.3, as webpki reads it): a wildcard is the whole
/// first label and has at least two labels behind it; a label has 1 to 63 letters, digits, hyphens (not
/// at its ends) or underscores; a name has at most 253 bytes and no all-digit last label. An
/// internationalised name is written with A-labels (`xn--bcher-kva.example`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern covers `server_name`; case and one trailing dot do not matter.
    ///
    /// ```
    /// let pattern: certwright_sni_store::Pattern = "*.example.com".parse()?;
    /// assert!(pattern.matches("WWW.example.com."));
    /// assert!(!pattern.matches("example.com"));
    /// # Ok::<(), certwright_sni_store::PatternError>(())
    /// ```
    pub fn matches(&self, server_name: &str) -> bool {
        let name = server_name.strip_suffix('.').unwrap_or(server_name);
        match self.suffix() {
            None => name.eq_ignore_ascii_case(&self.0),
            Some(suffix) => name.split_once('.').is_some_and(|(label, rest)| {
                name.len() <= MAX_NAME
                    && check_label(label).is_ok()
                    && rest.eq_ignore_ascii_case(&suffix[1..])
            }),
        }
    }

    /// For a wildcard, what follows the asterisk, dot included.
    pub(crate) fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*')
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME {
            return Err(PatternError::TooLong {
                length: name.len(),
                limit: MAX_NAME,
            });
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(PatternError::Address);
        }
        let (wildcard, host) = match name.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, name),
        };
        let mut labels = 0;
        let mut last = "";
        for label in host.split('.') {
            check_label(label)?;
            labels += 1;
            last = label;
        }
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PatternError::NumericLastLabel);
        }
        if wildcard && labels < 2 {
            return Err(PatternError::WildcardTooBroad);
        }
        Ok(Self(name.to_ascii_lowercase().into_boxed_str()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// An IP address stands where a DNS name is expected.
    #[error("is an IP address; write it as an address, not as a DNS name")]
    Address,
    /// A byte that no label may hold.
    #[error(
        "holds {found:?}; a label has letters, digits, hyphens and underscores only, other scripts as A-labels (xn--)"
    )]
    Character {
        /// The first such character.
        found: char,
    },
    /// Two dots in a row, a dot in front, or nothing at all.
    #[error("has an empty label; remove the extra dot")]
    EmptyLabel,
    /// A label starts or ends with a hyphen.
    #[error("has the label {label:?}, which must not start or end with a hyphen")]
    Hyphen {
        /// The label.
        label: String,
    },
    /// A label is longer than 63 bytes.
    #[error("has a label of {length} bytes; at most {MAX_LABEL} are allowed")]
    LabelTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The last label is a number, which reads as an IP address.
    #[error("has an all-digit last label, which no host name has")]
    NumericLastLabel,
    /// The name is longer than DNS allows.
    #[error("has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// The name's length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A wildcard stands where one host is named.
    #[error("is a wildcard; name a single host")]
    Wildcard,
    /// An asterisk anywhere but as the whole first label.
    #[error("has an asterisk that is not the whole first label; write *.example.com")]
    WildcardPlacement,
    /// A wildcard with fewer than two labels behind it.
    #[error("has a wildcard with fewer than two labels behind it, which clients refuse")]
    WildcardTooBroad,
}

/// RFC 1035 section 2.3.4: 255 octets on the wire, 253 as text without the trailing dot.
pub(crate) const MAX_NAME: usize = 253;
/// RFC 1035 section 2.3.4.
pub(crate) const MAX_LABEL: usize = 63;

fn check_label(label: &str) -> Result<(), PatternError> {
    if label.is_empty() {
        return Err(PatternError::EmptyLabel);
    }
    if label.contains('*') {
        return Err(PatternError::WildcardPlacement);
    }
    if let Some(found) = label
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
    {
        return Err(PatternError::Character { found });
    }
    if label.len() > MAX_LABEL {
        return Err(PatternError::LabelTooLong {
            length: label.len(),
        });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(PatternError::Hyphen {
            label: label.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        use PatternError as E;
        let long = format!("{}.test", "a".repeat(63));
        let table: &[(&str, Result<&str, PatternError>)] = &[
            ("example.com", Ok("example.com")),
            ("WWW.Example.com.", Ok("www.example.com")),
            ("*.example.com", Ok("*.example.com")),
            ("_dmarc.example.com", Ok("_dmarc.example.com")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("*.xn--bcher-kva.example", Ok("*.xn--bcher-kva.example")),
            ("localhost", Ok("localhost")),
            (&long, Ok(&long)),
            ("bücher.example", Err(E::Character { found: 'ü' })),
            ("a b.example", Err(E::Character { found: ' ' })),
            ("", Err(E::EmptyLabel)),
            (".", Err(E::EmptyLabel)),
            ("..", Err(E::EmptyLabel)),
            (".a", Err(E::EmptyLabel)),
            ("a..b", Err(E::EmptyLabel)),
            ("a.b..", Err(E::EmptyLabel)),
            ("*", Err(E::WildcardPlacement)),
            ("*.com", Err(E::WildcardTooBroad)),
            ("*.com.", Err(E::WildcardTooBroad)),
            ("*.*.example.com", Err(E::WildcardPlacement)),
            ("a.*.example.com", Err(E::WildcardPlacement)),
            ("f*.example.com", Err(E::WildcardPlacement)),
            ("*x.example.com", Err(E::WildcardPlacement)),
            ("*.xn--*.example.com", Err(E::WildcardPlacement)),
            (
                "-a.test",
                Err(E::Hyphen {
                    label: "-a".to_owned(),
                }),
            ),
            ("192.0.2.7", Err(E::Address)),
            ("*.0.2.7", Err(E::NumericLastLabel)),
            ("host.123", Err(E::NumericLastLabel)),
            ("::1", Err(E::Address)),
        ];
        for (text, expected) in table {
            let found = text.parse::<Pattern>();
            match expected {
                Ok(expected) => assert_eq!(found.unwrap().as_str(), *expected, "{text}"),
                Err(expected) => assert_eq!(found.unwrap_err(), *expected, "{text}"),
            }
        }
        let label = format!("{}.test", "a".repeat(64));
        assert_eq!(
            label.parse::<Pattern>().unwrap_err(),
            E::LabelTooLong { length: 64 }
        );
        for length in [254, 65_535] {
            let name = "a.".repeat(length / 2) + "b";
            let name = &name[name.len() - length..];
            assert!(
                matches!(
                    name.parse::<Pattern>(),
                    Err(E::TooLong { .. } | E::EmptyLabel)
                ),
                "{length}"
            );
        }
    }

    #[test]
    fn one_label_deep() {
        let table = [
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "B.A.TEST.", true),
            ("*.a.test", "_x.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", ".a.test", false),
            ("*.a.test", "*.a.test", false),
            ("*.a.test", "c.b.a.test", false),
            ("a.test", "a.test", true),
            ("a.test", "a.test.", true),
            ("a.test", "a.test..", false),
            ("a.test", "b.a.test", false),
        ];
        for (pattern, name, expected) in table {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(name), expected, "{pattern} {name}");
        }
    }
}
