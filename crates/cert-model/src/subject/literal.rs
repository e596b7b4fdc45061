use core::fmt;
use core::str::FromStr;

use super::{Attribute, Rdn, Subject, attribute};
use crate::oid::Oid;

/// A subject written as text (`spec.literalSubject`), `CN=web,O=Example,C=GB`: the form of RFC 4514 as
/// cert-manager reads it.
///
/// The last RDN of the text is the first of the certificate; `;` separates like `,`; attribute types
/// are case-sensitive short names or object identifiers; `#` starts the hexadecimal digits of one BER
/// element, of which only the content is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiteralSubject(Vec<Vec<LiteralAttribute>>);

/// One attribute of a [`LiteralSubject`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiteralAttribute {
    /// The attribute's type as it is written.
    pub name: String,
    /// The type's object identifier, if the type is known.
    pub oid: Option<Oid>,
    /// The value, without escapes.
    pub value: String,
}

impl LiteralSubject {
    /// The RDNs in the order of the certificate, most significant first.
    pub fn rdns(&self) -> impl ExactSizeIterator<Item = &[LiteralAttribute]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// The attribute types that are neither a known name nor an object identifier.
    pub fn unknown_types(&self) -> impl Iterator<Item = &str> {
        let attributes = self.0.iter().flatten();
        attributes
            .filter(|attribute| attribute.oid.is_none())
            .map(|attribute| attribute.name.as_str())
    }

    /// The name, without attributes of unknown types.
    pub fn to_subject(&self) -> Subject {
        let attribute = |attribute: &LiteralAttribute| {
            Some(Attribute::new(attribute.oid.clone()?, &attribute.value))
        };
        let rdn =
            |rdn: &Vec<LiteralAttribute>| Rdn::new(rdn.iter().filter_map(attribute).collect());
        Subject::new(self.0.iter().filter_map(rdn).collect())
    }
}

impl FromStr for LiteralSubject {
    type Err = LiteralSubjectError;

    fn from_str(text: &str) -> Result<Self, LiteralSubjectError> {
        let mut rdns = Vec::new();
        if text.trim().is_empty() {
            return Ok(Self(rdns));
        }
        let mut rdn = Vec::new();
        let mut scanner = Scanner { text, at: 0 };
        loop {
            let (attribute, separator) = scanner.attribute()?;
            rdn.push(attribute);
            if separator != Some(b'+') {
                rdns.push(core::mem::take(&mut rdn));
            }
            if separator.is_none() {
                rdns.reverse();
                return Ok(Self(rdns));
            }
        }
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    /// One attribute and the separator behind it; `None` at the end of the text.
    fn attribute(&mut self) -> Result<(LiteralAttribute, Option<u8>), LiteralSubjectError> {
        let start = self.at;
        let mut equals = None;
        let mut separator = None;
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'\\' => self.at += 1,
                b'=' if equals.is_none() => equals = Some(self.at),
                b',' | b';' | b'+' => {
                    separator = Some(*byte);
                    break;
                }
                _ => {}
            }
            self.at += 1;
        }
        // A backslash may have been the last byte.
        let end = self.at.min(bytes.len());
        self.at = end + 1;
        let equals = equals.ok_or(LiteralSubjectError::Incomplete { at: start })?;
        let name = self.unescaped(start, equals)?;
        if name.is_empty() {
            return Err(LiteralSubjectError::Incomplete { at: start });
        }
        let (from, to) = self.stripped(equals + 1, end);
        let value = if bytes.get(from) == Some(&b'#') && from < to {
            self.element(from + 1, to)?
        } else {
            self.unescaped(from, to)?
        };
        let oid = match attribute::oid_of(&name) {
            Some(oid) => Some(Oid::known(oid)),
            None => name.parse().ok(),
        };
        Ok((LiteralAttribute { name, oid, value }, separator))
    }

    /// The range without outer spaces; an escaped one at the end belongs to the value.
    fn stripped(&self, mut from: usize, mut to: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        while from < to && bytes[from] == b' ' {
            from += 1;
        }
        while from < to && bytes[to - 1] == b' ' {
            let before = bytes[from..to - 1].iter().rev();
            if before.take_while(|b| **b == b'\\').count() % 2 == 1 {
                break;
            }
            to -= 1;
        }
        (from, to)
    }

    fn unescaped(&self, from: usize, to: usize) -> Result<String, LiteralSubjectError> {
        let (from, to) = self.stripped(from, to);
        let bytes = &self.text.as_bytes()[..to];
        let mut value = Vec::with_capacity(to - from);
        let mut at = from;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => {
                    let (byte, length) =
                        escape(&bytes[at + 1..]).ok_or(LiteralSubjectError::Escape { at })?;
                    value.push(byte);
                    at += length;
                }
                b'"' | b';' | b'<' | b'>' | 0 => {
                    let found = char::from(*byte);
                    return Err(LiteralSubjectError::Unescaped { at, found });
                }
                _ => value.push(*byte),
            }
            at += 1;
        }
        String::from_utf8(value).map_err(|_| LiteralSubjectError::Utf8 { at: from })
    }

    /// The content of the BER element in these hexadecimal digits.
    fn element(&self, from: usize, to: usize) -> Result<String, LiteralSubjectError> {
        let digits = &self.text.as_bytes()[from..to];
        let octets: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => hex(*high, *low),
                _ => None,
            })
            .collect();
        let octets = octets.ok_or(LiteralSubjectError::Hex { at: from })?;
        let ber = LiteralSubjectError::Ber { at: from };
        let (content, rest) = content(&octets).ok_or(ber)?;
        if !rest.is_empty() {
            return Err(LiteralSubjectError::Trailing { at: from });
        }
        String::from_utf8(content.to_vec()).map_err(|_| LiteralSubjectError::Utf8 { at: from })
    }
}

/// The byte behind a backslash, and how many bytes stand for it.
fn escape(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes {
        [byte, ..] if b" \"#+,;<=>\\".contains(byte) => Some((*byte, 1)),
        [high, low, ..] => Some((hex(*high, *low)?, 2)),
        _ => None,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// The content of a primitive element of definite length, and what follows it.
fn content(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, mut rest) = octets.split_first()?;
    if tag & 0x20 != 0 {
        return None;
    }
    if tag & 0x1f == 0x1f {
        let more = rest.iter().take_while(|b| **b & 0x80 != 0).count();
        rest = rest.get(more + 1..)?;
    }
    let (first, rest) = rest.split_first()?;
    let count = usize::from(first & 0x7f);
    if first & 0x80 == 0 {
        return rest.split_at_checked(count);
    }
    if !(1..=4).contains(&count) {
        return None;
    }
    let (length, rest) = rest.split_at_checked(count)?;
    let length = length.iter().try_fold(0_usize, |sum, b| {
        sum.checked_mul(256)?.checked_add(usize::from(*b))
    })?;
    rest.split_at_checked(length)
}

impl fmt::Display for LiteralSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rdn) in self.0.iter().rev().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            for (j, attribute) in rdn.iter().enumerate() {
                f.write_str(if j > 0 { "+" } else { "" })?;
                write!(
                    f,
                    "{}={}",
                    Escaped(&attribute.name),
                    Escaped(&attribute.value)
                )?;
            }
        }
        Ok(())
    }
}

/// A text with the escapes of RFC 4514, 2.4.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.chars().count().saturating_sub(1);
        for (i, c) in self.0.chars().enumerate() {
            match c {
                '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\' => write!(f, "\\{c}")?,
                '#' if i == 0 => f.write_str("\\#")?,
                ' ' if i == 0 || i == last => f.write_str("\\ ")?,
                c if c.is_control() => {
                    let mut buffer = [0; 4];
                    for byte in c.encode_utf8(&mut buffer).bytes() {
                        write!(f, "\\{byte:02x}")?;
                    }
                }
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Why a text is not a subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LiteralSubjectError {
    /// The digits are not one primitive BER element.
    #[error("the digits at byte {at} are not one BER element")]
    Ber {
        /// Byte offset of the first digit.
        at: usize,
    },
    /// A backslash without a special character or two hexadecimal digits behind it.
    #[error("'\\' at byte {at} must be followed by a special character or two hexadecimal digits")]
    Escape {
        /// Byte offset of the backslash.
        at: usize,
    },
    /// `#` without pairs of hexadecimal digits behind it.
    #[error("'#' must be followed by pairs of hexadecimal digits, at byte {at}")]
    Hex {
        /// Byte offset of the first digit.
        at: usize,
    },
    /// An attribute without a type or without `=`.
    #[error("expected an attribute like CN=name at byte {at}")]
    Incomplete {
        /// Byte offset of the attribute.
        at: usize,
    },
    /// More digits than the BER element has.
    #[error("octets follow the BER element at byte {at}")]
    Trailing {
        /// Byte offset of the first digit.
        at: usize,
    },
    /// A special character without a backslash.
    #[error("{found:?} at byte {at} needs a '\\' in front")]
    Unescaped {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// Escaped bytes that are not text.
    #[error("the value at byte {at} is not UTF-8")]
    Utf8 {
        /// Byte offset of the value.
        at: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<(String, String)>>, LiteralSubjectError> {
        let subject: LiteralSubject = text.parse()?;
        let again: LiteralSubject = subject.to_string().parse().unwrap();
        assert_eq!(again, subject, "{text} printed as {subject}");
        let pair = |a: &LiteralAttribute| (a.name.clone(), a.value.clone());
        Ok(subject
            .rdns()
            .map(|rdn| rdn.iter().map(pair).collect())
            .collect())
    }

    #[test]
    fn grammar() {
        use LiteralSubjectError as E;
        type Rdns = &'static [&'static [(&'static str, &'static str)]];
        let cases: [(&str, Result<Rdns, E>); 26] = [
            ("", Ok(&[])),
            (" ", Ok(&[])),
            (
                "CN=a,O=b;C=c",
                Ok(&[&[("C", "c")], &[("O", "b")], &[("CN", "a")]]),
            ),
            (
                "CN = a + O = b , C=c",
                Ok(&[&[("C", "c")], &[("CN", "a"), ("O", "b")]]),
            ),
            ("CN=", Ok(&[&[("CN", "")]])),
            ("CN=a=b", Ok(&[&[("CN", "a=b")]])),
            ("CN=\\ a\\ ", Ok(&[&[("CN", " a ")]])),
            ("CN=a\\\\ ", Ok(&[&[("CN", "a\\")]])),
            ("CN=\\c3\\a9\\,", Ok(&[&[("CN", "\u{e9},")]])),
            ("CN=a#b", Ok(&[&[("CN", "a#b")]])),
            ("CN=\\#01", Ok(&[&[("CN", "#01")]])),
            ("1.2.3=#04024869", Ok(&[&[("1.2.3", "Hi")]])),
            ("O=#0481024869", Ok(&[&[("O", "Hi")]])),
            ("E=x", Ok(&[&[("E", "x")]])),
            ("CN", Err(E::Incomplete { at: 0 })),
            ("CN=a,", Err(E::Incomplete { at: 5 })),
            ("CN=a,,O=b", Err(E::Incomplete { at: 5 })),
            ("=a", Err(E::Incomplete { at: 0 })),
            ("CN=a\"b", Err(E::Unescaped { at: 4, found: '"' })),
            ("CN=a\\", Err(E::Escape { at: 4 })),
            ("CN=a\\zz", Err(E::Escape { at: 4 })),
            ("CN=#0401", Err(E::Ber { at: 4 })),
            ("CN=#", Err(E::Ber { at: 4 })),
            ("CN=#040", Err(E::Hex { at: 4 })),
            ("CN=#0c016162", Err(E::Trailing { at: 4 })),
            ("CN=\\ff", Err(E::Utf8 { at: 3 })),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|rdns| {
                let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
                rdns.iter()
                    .map(|rdn| rdn.iter().map(pair).collect())
                    .collect()
            });
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn unknown_types_are_named() {
        let subject: LiteralSubject = "cn=a,CN=b,OID.2.5.4.3=c,2.5.4.42=d".parse().unwrap();
        assert_eq!(
            subject.unknown_types().collect::<Vec<_>>(),
            ["OID.2.5.4.3", "cn"]
        );
        let subject = subject.to_subject();
        assert_eq!(
            subject.values(attribute::COMMON_NAME).collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!(subject.to_string(), "CN=b,2.5.4.42=d");
    }
}
