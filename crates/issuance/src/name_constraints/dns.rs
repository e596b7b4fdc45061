//! Host names, and constraints on single hosts.

use super::subtree::Hit;

/// A host name in lower case on the stack, backwards and with zero for every dot; DNS names have at
/// most 253 bytes.
pub(super) struct Host {
    key: [u8; 256],
    /// Length of the name, and of its key but for the zero at the end.
    length: u8,
    wildcard: bool,
}

impl Host {
    /// Reads a host name: labels of letters, digits, `-` and `_`, no dot at the end, no number as
    /// the last label.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        let length = u8::try_from(text.len())
            .ok()
            .filter(|length| *length <= 253)?;
        let mut key = [0; 256];
        let (mut label, mut digits, mut labels, mut last) = (0, 0, 0, 0);
        // From the end; `label` counts the bytes of the current label, `digits` those that are digits,
        // `last` is the byte behind the one that is looked at.
        for (slot, byte) in key.iter_mut().zip(text.iter().rev()) {
            let class = CLASS[usize::from(*byte)];
            match class {
                0 => return None,
                b'.' => {
                    if label == 0 || last == b'-' || (labels == 0 && digits == label) {
                        return None;
                    }
                    labels += 1;
                    (label, digits) = (0, 0);
                    continue;
                }
                b'-' if label == 0 => return None,
                b'0'..=b'9' => digits += 1,
                _ => {}
            }
            label += 1;
            if label > 63 {
                return None;
            }
            *slot = class;
            last = class;
        }
        if label == 0 || last == b'-' || (labels == 0 && digits == label) {
            return None;
        }
        Some(Self {
            key,
            length,
            wildcard: false,
        })
    }

    /// Reads a name as a certificate presents it: a host, or `*.` and at least two labels.
    pub(super) fn presented(text: &[u8]) -> Option<Self> {
        let Some(base) = text.strip_prefix(b"*.") else {
            return Self::new(text);
        };
        let mut host = Self::new(base)?;
        host.wildcard = true;
        host.is_qualified().then_some(host)
    }

    /// The host without the wildcard, backwards, with zero for every dot and one at the end.
    pub(super) fn key(&self) -> &[u8] {
        &self.key[..=usize::from(self.length)]
    }

    /// The first bytes of the key as a number, in the same order.
    pub(super) fn prefix(&self) -> u128 {
        let first = self.key.first_chunk();
        first.map_or(0, |bytes| u128::from_be_bytes(*bytes))
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether there are at least two labels.
    pub(super) fn is_qualified(&self) -> bool {
        self.key[..usize::from(self.length)].contains(&0)
    }
}

/// What a byte is in a host name: itself in lower case, or zero.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let allowed = b"abcdefghijklmnopqrstuvwxyz0123456789-_.";
    let mut at = 0;
    while at < allowed.len() {
        class[allowed[at] as usize] = allowed[at];
        class[allowed[at].to_ascii_uppercase() as usize] = allowed[at];
        at += 1;
    }
    class
};

/// A constraint on the hosts of URIs and mailboxes.
#[derive(Clone, Debug)]
pub(super) enum HostBase {
    /// `.example.com`: hosts below this one.
    Below(Box<[u8]>),
    /// `example.com`: exactly this host.
    Host(Box<[u8]>),
    /// Anything else, also nothing: RFC 5280 gives an empty constraint on hosts no meaning, and OpenSSL
    /// finds no name in it. Nothing can be said about names of this form then.
    Malformed(Box<str>),
}

impl HostBase {
    pub(super) fn read(text: &str) -> Self {
        let below = text.strip_prefix('.');
        match (Host::new(below.unwrap_or(text).as_bytes()), below) {
            (Some(host), Some(_)) => Self::Below(host.key().into()),
            (Some(host), None) => Self::Host(host.key().into()),
            (None, _) => Self::Malformed(text.into()),
        }
    }

    pub(super) fn test(&self, host: &Host) -> Hit {
        let key = host.key();
        match self {
            Self::Malformed(_) => Hit::Malformed,
            Self::Below(base) => Hit::from(key.len() > base.len() && key.starts_with(base)),
            Self::Host(base) => Hit::from(key == &**base),
        }
    }
}

impl core::fmt::Display for HostBase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Below(base) => write!(f, ".{}", forward(base)),
            Self::Host(base) => f.write_str(&forward(base)),
            Self::Malformed(text) => f.write_str(text),
        }
    }
}

/// The first bytes of a key as a number, in the same order.
pub(super) fn prefix(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = key.len().min(16);
    bytes[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(bytes)
}

/// The host of a key, as it is written.
pub(super) fn forward(key: &[u8]) -> String {
    let host = key.split_last().map_or(key, |(_, host)| host);
    let dot = |byte: &u8| if *byte == 0 { '.' } else { char::from(*byte) };
    host.iter().rev().map(dot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presented_names() {
        for good in [
            "a", "a.b", "_x.y", "*.a.b", "xn--a.b", "1.a", "a-b.c", "1.2.3.4a",
        ] {
            let host = Host::presented(good.as_bytes()).unwrap();
            assert_eq!(forward(host.key()), good.trim_start_matches("*."));
        }
        let long = "a".repeat(64);
        for bad in [
            "", ".", "a.", ".a", "a..b", "*", "*.a", "a.*.b", "-a", "a-", "a-.b", "a.-b",
            "10.0.0.1", "1", "a b", &long,
        ] {
            assert!(Host::presented(bad.as_bytes()).is_none(), "{bad}");
        }
        let name = format!("{}a", "a.".repeat(126));
        assert!(Host::new(name.as_bytes()).is_some());
        assert!(Host::new(format!("a{name}").as_bytes()).is_none());
    }

    #[test]
    fn hosts_of_uris() {
        use Hit::{Inside, Malformed, Outside};
        for (base, host, hit) in [
            ("example.com", "EXAMPLE.com", Inside),
            ("example.com", "a.example.com", Outside),
            (".example.com", "a.example.com", Inside),
            (".example.com", "example.com", Outside),
            (".example.com", "badexample.com", Outside),
            ("", "example.com", Malformed),
            ("https://example.com", "example.com", Malformed),
        ] {
            let read = HostBase::read(base);
            assert_eq!(
                read.test(&Host::new(host.as_bytes()).unwrap()),
                hit,
                "{base} {host}"
            );
        }
    }
}
