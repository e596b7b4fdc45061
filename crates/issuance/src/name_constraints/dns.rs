//! dNSName subtrees, and host names in general.

use super::subtree::{Hit, Side};

/// A name or host in lower case on the stack; DNS names have at most 253 bytes.
pub(super) struct Host {
    bytes: [u8; 255],
    length: usize,
    wildcard: bool,
}

impl Host {
    /// Reads a host name: labels of letters, digits, `-` and `_`, no dot at the end, no number as
    /// the last label.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        if text.len() > 253 {
            return None;
        }
        let mut bytes = [0; 255];
        let mut label_start = 0;
        let mut numeric = true;
        for (at, byte) in text.iter().enumerate() {
            let length = at - label_start;
            match byte {
                b'.' => {
                    if length == 0 || length > 63 || text[at - 1] == b'-' {
                        return None;
                    }
                    label_start = at + 1;
                    numeric = true;
                }
                b'-' if length == 0 => return None,
                b'0'..=b'9' => {}
                b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => numeric = false,
                _ => return None,
            }
            bytes[at] = byte.to_ascii_lowercase();
        }
        let length = text.len() - label_start;
        if length == 0 || length > 63 || text.last() == Some(&b'-') || numeric {
            return None;
        }
        Some(Self {
            bytes,
            length: text.len(),
            wildcard: false,
        })
    }

    /// Reads a name as a certificate presents it: a host, or `*.` and at least two labels.
    pub(super) fn presented(text: &[u8]) -> Option<Self> {
        let Some(base) = text.strip_prefix(b"*.") else {
            return Self::new(text);
        };
        let host = Self::new(base)?;
        host.as_bytes().contains(&b'.').then_some(Self {
            wildcard: true,
            ..host
        })
    }

    /// The host in lower case, without the wildcard.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Whether there are at least two labels.
    pub(super) fn is_qualified(&self) -> bool {
        self.as_bytes().contains(&b'.')
    }
}

/// A constraint that names hosts.
#[derive(Clone, Debug)]
pub(super) enum HostBase {
    /// Every host, written as nothing.
    All,
    /// `.example.com`: hosts below this one.
    Below(Box<[u8]>),
    /// `example.com`.
    Host(Box<[u8]>),
    /// Anything else; nothing can be said about names of this form then.
    Malformed(Box<[u8]>),
}

impl HostBase {
    pub(super) fn read(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::All;
        }
        let below = text.strip_prefix(b".");
        match (Host::new(below.unwrap_or(text)), below) {
            (Some(host), Some(_)) => Self::Below(host.as_bytes().into()),
            (Some(host), None) => Self::Host(host.as_bytes().into()),
            (None, _) => Self::Malformed(text.into()),
        }
    }

    /// dNSName: a host and everything below it. A wildcard is permitted when all it stands for is,
    /// and excluded when anything it stands for is.
    pub(super) fn test_dns(&self, name: &Host, side: Side) -> Hit {
        let bytes = name.as_bytes();
        let inside = match self {
            Self::Malformed(_) => return Hit::Malformed,
            Self::All => true,
            Self::Host(base) => bytes == &**base || is_below(bytes, base),
            Self::Below(base) => is_below(bytes, base) || (name.wildcard && bytes == &**base),
        };
        let expands = || match (self, side) {
            (Self::Host(base) | Self::Below(base), Side::Excluded) => {
                name.wildcard && is_one_label_below(base, bytes)
            }
            _ => false,
        };
        Hit::from(inside || expands())
    }

    /// URI: exactly a host, or with a leading dot everything below it.
    pub(super) fn test_host(&self, host: &Host) -> Hit {
        match self {
            Self::Malformed(_) => Hit::Malformed,
            Self::All => Hit::Inside,
            Self::Below(base) => Hit::from(is_below(host.as_bytes(), base)),
            Self::Host(base) => Hit::from(host.as_bytes() == &**base),
        }
    }
}

impl core::fmt::Display for HostBase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::All => f.write_str("(every name)"),
            Self::Below(base) => write!(f, ".{}", String::from_utf8_lossy(base)),
            Self::Host(base) => f.write_str(&String::from_utf8_lossy(base)),
            Self::Malformed(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
        }
    }
}

/// Whether `name` is `base` with labels in front.
fn is_below(name: &[u8], base: &[u8]) -> bool {
    name.len() > base.len() && name[name.len() - base.len() - 1] == b'.' && name.ends_with(base)
}

/// Whether `name` is `base` with exactly one label in front.
fn is_one_label_below(name: &[u8], base: &[u8]) -> bool {
    is_below(name, base) && !name[..name.len() - base.len() - 1].contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees() {
        use Hit::{Inside, Malformed, Outside};
        for (base, name, permitted, excluded) in [
            ("example.com", "example.com", Inside, Inside),
            ("example.com", "a.example.com", Inside, Inside),
            ("example.com", "A.B.EXAMPLE.com", Inside, Inside),
            ("EXAMPLE.com", "a.example.com", Inside, Inside),
            ("example.com", "badexample.com", Outside, Outside),
            ("example.com", "example.org", Outside, Outside),
            ("example.com", "com", Outside, Outside),
            (".example.com", "example.com", Outside, Outside),
            (".example.com", "a.example.com", Inside, Inside),
            ("", "a.example.com", Inside, Inside),
            ("example.com", "*.example.com", Inside, Inside),
            (".example.com", "*.example.com", Inside, Inside),
            ("foo.example.com", "*.example.com", Outside, Inside),
            ("a.foo.example.com", "*.example.com", Outside, Outside),
            ("example.com", "*.org.example", Outside, Outside),
            ("*.example.com", "a.example.com", Malformed, Malformed),
            ("example.com.", "a.example.com", Malformed, Malformed),
            (".", "a.example.com", Malformed, Malformed),
        ] {
            let host = Host::presented(name.as_bytes()).unwrap();
            let read = HostBase::read(base.as_bytes());
            assert_eq!(
                read.test_dns(&host, Side::Permitted),
                permitted,
                "{base} {name}"
            );
            assert_eq!(
                read.test_dns(&host, Side::Excluded),
                excluded,
                "{base} {name}"
            );
        }
    }

    #[test]
    fn presented_names() {
        for good in ["a", "a.b", "_x.y", "*.a.b", "xn--a.b", "1.a"] {
            assert!(Host::presented(good.as_bytes()).is_some(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", ".", "a.", ".a", "a..b", "*", "*.a", "a.*.b", "-a", "a-", "a-.b", "10.0.0.1",
            "a b", &long,
        ] {
            assert!(Host::presented(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
