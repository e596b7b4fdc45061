//! From the bytes a client sent to the two keys looked up, without allocating.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::pattern::{MAX_LABEL, MAX_NAME};
use crate::select::{Query, SelectionPolicy};

/// What to look up: the name itself, and for the wildcard table what follows its first label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    pub(crate) exact: &'a [u8],
    pub(crate) suffix: Option<&'a [u8]>,
}

/// Space for a name that has to be rewritten; names that come in clean (rustls' do) stay where they are.
pub(crate) struct Buffer {
    bytes: [u8; 256],
    length: usize,
}

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; 256],
            length: 0,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl<'a> Wanted<'a> {
    /// The keys for what the client sent; `None` when no certificate can match it.
    #[inline]
    pub(crate) fn new(
        policy: SelectionPolicy,
        query: &Query<'a>,
        buffer: &'a mut Buffer,
    ) -> Option<Self> {
        match policy {
            SelectionPolicy::Best => Self::best(query, buffer),
            SelectionPolicy::Traefik => Self::traefik(query, buffer),
        }
    }

    #[inline]
    fn best(query: &Query<'a>, buffer: &'a mut Buffer) -> Option<Self> {
        if query.name.is_empty() {
            return Self::address(query.local_ip?, buffer);
        }
        let name = query.name.strip_suffix(b".").unwrap_or(query.name);
        if name.len() > MAX_NAME {
            return None;
        }
        let mut seen = 0;
        for byte in name {
            seen |= CLASS[usize::from(*byte)];
        }
        if name.last().is_some_and(u8::is_ascii_digit) || seen & OTHER != 0 {
            // An address never takes part in the wildcard rule.
            if let Some(ip) = literal(name) {
                return Self::address(ip, buffer);
            }
        }
        if seen & OTHER != 0 {
            return None;
        }
        let exact = if seen & UPPER != 0 {
            buffer.length = name.len();
            buffer.bytes[..name.len()].copy_from_slice(name);
            buffer.bytes[..name.len()].make_ascii_lowercase();
            buffer.as_bytes()
        } else {
            name
        };
        Some(Self {
            exact,
            suffix: suffix(exact),
        })
    }

    /// `lower(trim_space(name))`, or the local address as text, or the empty name.
    fn traefik(query: &Query<'a>, buffer: &'a mut Buffer) -> Option<Self> {
        let name = std::str::from_utf8(query.name).ok()?.trim();
        if name.len() > MAX_NAME {
            return None;
        }
        let exact = if name.is_empty() {
            if let Some(ip) = query.local_ip {
                write!(buffer, "{}", ip.to_canonical()).ok()?;
            }
            buffer.as_bytes()
        } else if name
            .bytes()
            .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
        {
            name.as_bytes()
        } else {
            for c in name.chars().map(lower_char) {
                buffer.write_char(c).ok()?;
            }
            buffer.as_bytes()
        };
        let dot = exact.iter().position(|b| *b == b'.');
        Some(Self {
            exact,
            suffix: Some(dot.map_or(&[], |dot| &exact[dot..])),
        })
    }

    fn address(ip: IpAddr, buffer: &'a mut Buffer) -> Option<Self> {
        write!(buffer, "{}", ip.to_canonical()).ok()?;
        Some(Self {
            exact: buffer.as_bytes(),
            suffix: None,
        })
    }
}

/// Whether [`SelectionPolicy::Best`] looks a name up as it is; nearly every name is such a one.
#[inline]
pub(crate) fn is_clean(name: &[u8]) -> bool {
    // No early end: several bytes are looked at in one step.
    let clean = name.iter().fold(true, |clean, b| clean & is_plain(*b));
    let last = name.last();
    clean && name.len() <= MAX_NAME && last.is_some_and(|b| *b != b'.' && !b.is_ascii_digit())
}

/// What follows the first label, dot included, if a wildcard can stand for that label.
#[inline]
pub(crate) fn suffix(name: &[u8]) -> Option<&[u8]> {
    let (label, rest) = name.split_at(name.iter().position(|b| *b == b'.')?);
    let fits = label.len() <= MAX_LABEL
        && label.first().is_some_and(|b| *b != b'-')
        && label.last().is_some_and(|b| *b != b'-');
    fits.then_some(rest)
}

/// Whether a name can be handed to those who make a path or an address of it: text in which every label
/// has at least one byte, none of them a separator, a control or an asterisk.
#[cfg(feature = "lazy")]
pub(crate) fn plain_text(name: &[u8]) -> Option<&str> {
    let (mut plain, mut before) = (true, b'.');
    for byte in name {
        plain &= is_plain(*byte) | (*byte >= 0x80);
        plain &= !((*byte == b'.') & (before == b'.'));
        before = *byte;
    }
    plain &= before != b'.';
    let text = std::str::from_utf8(name).ok();
    text.filter(|_| plain || literal(name).is_some())
}

/// Go's `strings.ToLower`, for both sides of Traefik's comparison: a character becomes one character,
/// wherever it stands (std writes a final sigma differently, and two characters for U+0130).
pub(crate) fn lower(text: &str) -> String {
    text.chars().map(lower_char).collect()
}

fn lower_char(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// An IP address as a server name, in brackets or not.
fn literal(name: &[u8]) -> Option<IpAddr> {
    let inner = name.strip_prefix(b"[").and_then(|n| n.strip_suffix(b"]"));
    std::str::from_utf8(inner.unwrap_or(name))
        .ok()?
        .parse()
        .ok()
}

/// One pass decides whether a name can be looked up as it is, after lower-casing, or not at all.
const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "byte < 256")]
        let b = byte as u8;
        if is_plain(b) {
            class[byte] = 0;
        } else if b.is_ascii_uppercase() {
            class[byte] = UPPER;
        }
        byte += 1;
    }
    class
};
/// Whether a byte of a name is looked up as it is.
const fn is_plain(b: u8) -> bool {
    b.is_ascii_lowercase() | b.is_ascii_digit() | (b == b'-') | (b == b'_') | (b == b'.')
}

const UPPER: u8 = 1;
const OTHER: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: time::OffsetDateTime = time::OffsetDateTime::UNIX_EPOCH;

    /// The name, and what stands behind the wildcard.
    type Keys<S> = Option<(&'static str, S)>;

    fn wanted(policy: SelectionPolicy, query: &Query<'_>) -> Option<(String, Option<String>)> {
        let mut buffer = Buffer::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Wanted::new(policy, query, &mut buffer).map(|w| (text(w.exact), w.suffix.map(text)))
    }

    #[test]
    fn best() {
        let table: &[(&[u8], Keys<Option<&str>>)] = &[
            (b"a.b.test", Some(("a.b.test", Some(".b.test")))),
            (b"A.b.TEST.", Some(("a.b.test", Some(".b.test")))),
            (b"localhost", Some(("localhost", None))),
            (b"_x.test", Some(("_x.test", Some(".test")))),
            (b"127.0.0.1", Some(("127.0.0.1", None))),
            (b"[::1]", Some(("::1", None))),
            (b"0:0:0:0:0:0:0:1", Some(("::1", None))),
            (b"::ffff:1.2.3.4", Some(("1.2.3.4", None))),
            (b".a.test", Some((".a.test", None))),
            (b"-a.b.test", Some(("-a.b.test", None))),
            (b"*.a.test", None),
            (b"a\0.test", None),
            (b"a b.test", None),
            ("bücher.test".as_bytes(), None),
            (b"\x80\xff.test", None),
            (b"", None),
        ];
        for (name, expected) in table {
            let query = Query::new(*name, EPOCH);
            let expected = expected.map(|(e, s)| (e.to_owned(), s.map(str::to_owned)));
            assert_eq!(wanted(SelectionPolicy::Best, &query), expected, "{name:?}");
        }
        let long_label = format!("{}.a.test", "x".repeat(64));
        assert_eq!(
            wanted(SelectionPolicy::Best, &Query::new(&long_label, EPOCH)),
            Some((long_label, None))
        );
        for length in [254, 255, 65_535] {
            assert_eq!(
                wanted(
                    SelectionPolicy::Best,
                    &Query::new(&"a".repeat(length), EPOCH)
                ),
                None
            );
        }
    }

    #[cfg(feature = "lazy")]
    #[test]
    fn sources_are_asked_for_plain_names() {
        let table: &[(&[u8], bool)] = &[
            (b"a.test", true),
            (b"_x.a-b.test", true),
            (b"localhost", true),
            (b"192.0.2.7", true),
            (b"2001:db8::1", true),
            ("bücher.test".as_bytes(), true),
            (b"", false),
            (b".", false),
            (b"..", false),
            (b".a.test", false),
            (b"a..test", false),
            (b"a.test.", false),
            (b"../a.test", false),
            (b"a/b.test", false),
            (b"a\\b.test", false),
            (b"*.a.test", false),
            (b"a\0.test", false),
            (b"\xff.test", false),
        ];
        for (name, expected) in table {
            assert_eq!(plain_text(name).is_some(), *expected, "{name:?}");
        }
    }

    #[test]
    fn traefik() {
        let table: &[(&[u8], Keys<&str>)] = &[
            (b"  A.test ", Some(("a.test", ".test"))),
            (b"a.test.", Some(("a.test.", ".test."))),
            (b"localhost", Some(("localhost", ""))),
            (b"*.a.test", Some(("*.a.test", ".a.test"))),
            ("BÜCHER.test".as_bytes(), Some(("bücher.test", ".test"))),
            (b"\xff", None),
            (b"", Some(("", ""))),
        ];
        for (name, expected) in table {
            let query = Query::new(*name, EPOCH);
            let expected = expected.map(|(e, s)| (e.to_owned(), Some(s.to_owned())));
            assert_eq!(
                wanted(SelectionPolicy::Traefik, &query),
                expected,
                "{name:?}"
            );
        }
        for (length, found) in [(253, true), (254, false), (65_535, false)] {
            let name = "a".repeat(length);
            for text in [name.clone(), format!("  {name}\t")] {
                let query = Query::new(&text, EPOCH);
                let expected = found.then(|| (name.clone(), Some(String::new())));
                assert_eq!(
                    wanted(SelectionPolicy::Traefik, &query),
                    expected,
                    "{length}"
                );
            }
        }
        let query = Query::new("", EPOCH).at_address("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(
            wanted(SelectionPolicy::Traefik, &query),
            Some(("192.0.2.7".to_owned(), Some(".0.2.7".to_owned())))
        );
    }
}
