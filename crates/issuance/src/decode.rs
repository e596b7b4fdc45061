//! Reading DER (X.690) strictly: one buffer, positions in it, no copies.

/// A cursor over part of `input`; positions count from the start of `input`.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    end: usize,
}

/// One element: where it starts, where its content starts, where both end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) tag: u8,
    pub(crate) start: usize,
    pub(crate) body: usize,
    pub(crate) end: usize,
}

impl Element {
    /// The content's bytes within the buffer the element was read from.
    pub(crate) fn content<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.body..self.end).unwrap_or_default()
    }

    /// The bytes of the whole element, header included.
    pub(crate) fn whole<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.start..self.end).unwrap_or_default()
    }
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const NUMERIC_STRING: u8 = 0x12;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const TELETEX_STRING: u8 = 0x14;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const VISIBLE_STRING: u8 = 0x1a;
pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// `[n]`, constructed.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// `[n]`, primitive.
pub(crate) const fn context_primitive(n: u8) -> u8 {
    0x80 | n
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            end: input.len(),
        }
    }

    /// A reader of the content of `element`, which was read from the same buffer.
    pub(crate) fn inside(&self, element: &Element) -> Self {
        Self {
            input: self.input,
            at: element.body,
            end: element.end,
        }
    }

    pub(crate) fn input(&self) -> &'a [u8] {
        self.input
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// The tag of the next element, if there is one.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.input[..self.end].get(self.at).copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Element, DerError> {
        let start = self.at;
        let short = DerError {
            at: start,
            problem: "the element runs past the end",
        };
        let (tag, mut body) = match self.input.get(start..self.end) {
            Some([tag, ..]) => (*tag, start + 2),
            _ => return Err(short),
        };
        if tag & 0x1f == 0x1f {
            return Err(DerError {
                at: start,
                problem: "tag numbers above 30 do not occur here",
            });
        }
        let first = *self.input[..self.end].get(start + 1).ok_or(short)?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            let octets = self.input[..self.end]
                .get(body..body + count)
                .ok_or(short)?;
            if !(1..=4).contains(&count) || octets[0] == 0 {
                return Err(DerError {
                    at: start + 1,
                    problem: "the length is not in its shortest form",
                });
            }
            length = octets
                .iter()
                .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            if length < 0x80 {
                return Err(DerError {
                    at: start + 1,
                    problem: "the length is not in its shortest form",
                });
            }
            body += count;
        }
        let end = body.checked_add(length).filter(|end| *end <= self.end);
        self.at = end.ok_or(short)?;
        Ok(Element {
            tag,
            start,
            body,
            end: self.at,
        })
    }

    /// The next element, which must have this tag; `problem` says what is expected instead.
    pub(crate) fn expect(&mut self, tag: u8, problem: &'static str) -> Result<Element, DerError> {
        if self.peek() != Some(tag) {
            return Err(DerError {
                at: self.at,
                problem,
            });
        }
        self.any()
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element>, DerError> {
        if self.peek() == Some(tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DerError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(DerError {
            at: self.at,
            problem: "bytes follow where nothing may",
        })
    }

    /// A BOOLEAN in the DER form.
    pub(crate) fn boolean(&mut self) -> Result<bool, DerError> {
        let element = self.expect(BOOLEAN, "expected a BOOLEAN")?;
        match element.content(self.input) {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(DerError {
                at: element.start,
                problem: "a BOOLEAN is 00 or ff",
            }),
        }
    }

    /// A non-negative INTEGER of at most 63 bits.
    pub(crate) fn small_integer(&mut self, tag: u8) -> Result<u64, DerError> {
        let element = self.expect(tag, "expected an INTEGER")?;
        unsigned(element.content(self.input))
            .filter(|octets| octets.len() <= 8)
            .map(|octets| {
                octets
                    .iter()
                    .fold(0, |sum, octet| sum << 8 | u64::from(*octet))
            })
            .ok_or(DerError {
                at: element.start,
                problem: "expected a small non-negative INTEGER in its shortest form",
            })
    }

    /// A BIT STRING whose bits fill whole octets.
    pub(crate) fn octet_bits(&mut self) -> Result<Element, DerError> {
        let mut element = self.expect(BIT_STRING, "expected a BIT STRING")?;
        if element.content(self.input).first() != Some(&0) {
            return Err(DerError {
                at: element.start,
                problem: "expected a BIT STRING of whole octets",
            });
        }
        element.body += 1;
        Ok(element)
    }
}

/// The magnitude of a non-negative INTEGER's content, or `None` if it is negative or padded.
pub(crate) fn unsigned(content: &[u8]) -> Option<&[u8]> {
    match content {
        [] => None,
        [0] => Some(&[]),
        [0, rest @ ..] => (rest[0] >= 0x80).then_some(rest),
        [first, ..] => (*first < 0x80).then_some(content),
    }
}

/// An object identifier's content in dotted form, for messages.
pub(crate) fn dotted(content: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut value = 0_u64;
    for octet in content {
        value = value
            .saturating_mul(128)
            .saturating_add(u64::from(octet & 0x7f));
        if octet & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (value / 40).min(2);
                arcs.extend([first, value - 40 * first]);
            } else {
                arcs.push(value);
            }
            value = 0;
        }
    }
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}

/// Bytes that are not DER, or not the structure that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (byte {at})")]
#[non_exhaustive]
pub struct DerError {
    /// Offset of the place from the start of the DER.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_strict() {
        for (der, good) in [
            (&[0x30, 0x00][..], true),
            (&[0x04, 0x01, 0xff], true),
            (&[], false),
            (&[0x30], false),
            (&[0x30, 0x01], false),
            (&[0x30, 0x80, 0x00, 0x00], false),
            (&[0x30, 0x81, 0x01, 0x00], false),
            (&[0x30, 0x82, 0x00, 0x80], false),
            (&[0x30, 0x85, 1, 1, 1, 1, 1], false),
            (&[0x1f, 0x01, 0x00], false),
        ] {
            assert_eq!(Reader::new(der).any().is_ok(), good, "{der:02x?}");
        }
        let mut long = vec![0x04, 0x81, 0x80];
        long.resize(0x83, 0);
        assert_eq!(
            Reader::new(&long).any().unwrap(),
            Element {
                tag: OCTET_STRING,
                start: 0,
                body: 3,
                end: 0x83
            }
        );
    }

    #[test]
    fn integers_are_minimal() {
        for (content, value) in [
            (&[0x00][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x00, 0x80], Some(128)),
            (&[0x00, 0x7f], None),
            (&[0x80], None),
            (&[], None),
        ] {
            let mut der = vec![INTEGER, u8::try_from(content.len()).unwrap()];
            der.extend(content);
            assert_eq!(Reader::new(&der).small_integer(INTEGER).ok(), value);
        }
    }

    #[test]
    fn oids_print() {
        assert_eq!(dotted(&[0x55, 0x1d, 0x11]), "2.5.29.17");
        assert_eq!(
            dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]),
            "1.2.840.113549"
        );
        assert_eq!(dotted(&[0x88, 0x37, 0x01]), "2.999.1");
    }
}
