use core::fmt;
use core::str::FromStr;

/// The longest name in characters: RFC 1035 (2.3.4) allows 255 octets with lengths and root.
const MAX_NAME: usize = 253;

/// A DNS name: labels of letters, digits, `-` and `_`, at most 253 bytes, no trailing dot (RFC 1034, 3.5;
/// underscores as every resolver and certificate library accepts them).
///
/// Names keep their spelling; they compare without regard to ASCII case.
#[derive(Clone, Debug)]
pub struct DnsName(String);

/// A DNS name as a certificate carries it: exact, or with `*` as the whole first label (RFC 6125, 6.4.3).
/// Complete by definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsPattern {
    /// One name.
    Exact(DnsName),
    /// Every name that has exactly one label in front of this one.
    Wildcard(DnsName),
}

impl DnsName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        if text.is_empty() {
            return Err(DnsNameError::Empty);
        }
        if !text.is_ascii()
            && let Some(suggestion) = super::punycode::to_ascii(text)
        {
            return Err(DnsNameError::International { suggestion });
        }
        if let Some((at, found)) = text
            .char_indices()
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        {
            return Err(DnsNameError::Character { at, found });
        }
        if text.len() > MAX_NAME {
            return Err(DnsNameError::TooLong { found: text.len() });
        }
        let mut at = 0;
        for label in text.split('.') {
            if label.is_empty() {
                return Err(DnsNameError::EmptyLabel { at });
            }
            if label.len() > 63 {
                return Err(DnsNameError::LongLabel {
                    at,
                    found: label.len(),
                });
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(DnsNameError::Hyphen { at });
            }
            at += label.len() + 1;
        }
        let last = text.rsplit('.').next().unwrap_or(text);
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DnsNameError::NumericTopLabel);
        }
        Ok(Self(text.to_owned()))
    }
}

impl DnsPattern {
    /// The name behind the wildcard, or the whole name.
    pub fn base(&self) -> &DnsName {
        match self {
            Self::Exact(name) | Self::Wildcard(name) => name,
        }
    }
}

impl FromStr for DnsPattern {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        let Some(base) = text.strip_prefix("*.") else {
            return text.parse().map(Self::Exact);
        };
        let base: DnsName = base
            .parse()
            .map_err(|error: DnsNameError| error.behind("*."))?;
        if base.labels().count() < 2 {
            return Err(DnsNameError::BroadWildcard);
        }
        if text.len() > MAX_NAME {
            return Err(DnsNameError::TooLong { found: text.len() });
        }
        Ok(Self::Wildcard(base))
    }
}

impl PartialEq for DnsName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for DnsName {}

impl PartialOrd for DnsName {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DnsName {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

impl core::hash::Hash for DnsName {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.folded().for_each(|b| state.write_u8(b));
        state.write_u8(0xff);
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(base) => write!(f, "*.{base}"),
        }
    }
}

/// Why a text is not a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsNameError {
    /// A wildcard with fewer than two labels behind it.
    #[error("a wildcard needs at least two labels behind it, like *.example.com")]
    BroadWildcard,
    /// A character that DNS names do not have.
    #[error(
        "{found:?} at byte {at} is not allowed; a DNS name has letters, digits, '-', '_' and '.', and '*' only as its whole first label"
    )]
    Character {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// Nothing.
    #[error("a DNS name cannot be empty")]
    Empty,
    /// Two dots in a row, or one at the start or the end.
    #[error("empty label at byte {at}; write the name without leading, trailing or doubled dots")]
    EmptyLabel {
        /// Byte offset of the label.
        at: usize,
    },
    /// A label that starts or ends with `-`.
    #[error("label at byte {at} starts or ends with '-'")]
    Hyphen {
        /// Byte offset of the label.
        at: usize,
    },
    /// Labels with letters beyond ASCII (U-labels, RFC 5890).
    #[error("certificates carry international names as A-labels; write {suggestion}")]
    International {
        /// The name with A-labels.
        suggestion: String,
    },
    /// A label of more than 63 bytes.
    #[error("label at byte {at} has {found} bytes, more than 63")]
    LongLabel {
        /// Byte offset of the label.
        at: usize,
        /// Its length.
        found: usize,
    },
    /// The last label is a number, as in an IPv4 address.
    #[error("the last label is a number; an IP address belongs under ipAddresses")]
    NumericTopLabel,
    /// More than 253 bytes.
    #[error("name has {found} bytes, more than {MAX_NAME}")]
    TooLong {
        /// Its length.
        found: usize,
    },
}

impl DnsNameError {
    /// The error of a name that stands behind `prefix`.
    pub(crate) fn behind(self, prefix: &str) -> Self {
        let by = prefix.len();
        match self {
            Self::Character { at, found } => Self::Character { at: at + by, found },
            Self::EmptyLabel { at } => Self::EmptyLabel { at: at + by },
            Self::Hyphen { at } => Self::Hyphen { at: at + by },
            Self::LongLabel { at, found } => Self::LongLabel { at: at + by, found },
            Self::International { suggestion } => Self::International {
                suggestion: format!("{prefix}{suggestion}"),
            },
            Self::TooLong { found } => Self::TooLong { found: found + by },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grammar() {
        for good in [
            "a",
            "localhost",
            "example.com",
            "_acme.example.com",
            "xn--bcher-kva.example",
            "A.b-c.D",
            "*.example.com",
        ] {
            assert_eq!(good.parse::<DnsPattern>().unwrap().to_string(), good);
        }
        let long = format!("{}.com", "a".repeat(64));
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "-a.com",
            "a-.com",
            "a b",
            "*",
            "*.com",
            "*.*.example.com",
            "f*.example.com",
            "a.*.com",
            "192.0.2.7",
            "b\u{fc}cher.example",
            "a\0b",
            &long,
        ] {
            assert!(bad.parse::<DnsPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn international_names_are_refused_with_what_to_write() {
        for (text, suggestion) in [
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("*.B\u{dc}CHER.example", "*.xn--bcher-kva.example"),
            (
                "\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}",
                "xn--r8jz45g.xn--zckzah",
            ),
            ("pr\u{103}nt.com", "xn--prnt-1sa.com"),
        ] {
            let suggestion = suggestion.to_owned();
            let error = DnsNameError::International { suggestion };
            assert_eq!(text.parse::<DnsPattern>(), Err(error), "{text}");
        }
        assert_eq!(
            "a\u{2014}b.example".parse::<DnsName>(),
            Err(DnsNameError::Character {
                at: 1,
                found: '\u{2014}'
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_printed_as_it_was(text in "([*][.])?([a-zA-Z0-9_-]{0,8}[.]){0,4}[a-z0-9-]{0,5}") {
            if let Ok(name) = text.parse::<DnsPattern>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<DnsPattern>();
        }
    }

    #[test]
    fn the_wildcard_counts_for_the_length() {
        let base = [&"a".repeat(63); 4].map(String::as_str).join(".");
        for (length, valid) in [(251, true), (252, false), (253, false), (254, false)] {
            let text = format!("*.{}", &base[..length]);
            let found = text.len();
            let parsed = text.parse::<DnsPattern>();
            match valid {
                true => assert!(parsed.is_ok(), "{found}"),
                false => assert_eq!(parsed, Err(DnsNameError::TooLong { found })),
            }
        }
    }

    #[test]
    fn case_does_not_matter() {
        let (a, b): (DnsPattern, DnsPattern) = (
            "*.Example.COM".parse().unwrap(),
            "*.example.com".parse().unwrap(),
        );
        assert_eq!(a, b);
    }

    #[test]
    fn offsets_count_the_wildcard() {
        assert_eq!(
            "*.ex mple.com".parse::<DnsPattern>(),
            Err(DnsNameError::Character { at: 4, found: ' ' })
        );
    }
}
