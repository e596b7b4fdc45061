//! Distinguished names as DER: structure, comparison (RFC 5280, 7.1), text for messages.

use certwright_cert_model::subject::{self, Subject};

use crate::decode::{
    BMP_STRING, DerError, Element, IA5_STRING, NUMERIC_STRING, OID, PRINTABLE_STRING, Reader,
    SEQUENCE, SET, TELETEX_STRING, UNIVERSAL_STRING, UTF8_STRING, VISIBLE_STRING, dotted,
};

/// The common name's type.
pub(crate) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// PKCS#9's emailAddress.
pub(crate) const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

/// A subject of a common name only.
pub(crate) fn common_name(value: &str) -> Subject {
    // Neither step can fail: the object identifier is one, and the RDN has an attribute.
    let oid = "2.5.4.3".parse().ok();
    let attributes = oid.map(|oid| vec![subject::Attribute::new(oid, value)]);
    let rdn = attributes.and_then(subject::Rdn::new);
    Subject::new(rdn.into_iter().collect())
}

/// Checks that the content of a Name is a list of non-empty RDNs.
pub(crate) fn check(rdns: &Reader<'_>) -> Result<(), DerError> {
    let mut rdns = rdns.clone();
    while !rdns.is_empty() {
        let rdn = rdns.expect(SET, "expected an RDN, a SET")?;
        let mut attributes = rdns.inside(&rdn);
        if attributes.is_empty() {
            return Err(DerError {
                at: rdn.start,
                problem: "an RDN cannot be empty",
            });
        }
        while !attributes.is_empty() {
            let attribute = attributes.expect(SEQUENCE, "expected an attribute, a SEQUENCE")?;
            let mut fields = attributes.inside(&attribute);
            fields.expect(OID, "expected an attribute's object identifier")?;
            fields.any()?;
            fields.finish()?;
        }
    }
    Ok(())
}

/// One attribute of a name.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
}

/// How letters compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Only ASCII letters lose their case, as OpenSSL has it: fewer names are equal.
    Ascii,
    /// Every letter does, as RFC 4518 has it: more names are equal.
    Unicode,
}

/// The RDNs of a Name; an empty iterator for anything that is not one.
pub(crate) fn rdns(name: &[u8]) -> impl Iterator<Item = Rdn<'_>> {
    elements(Reader::new(name), name).map(move |element| Rdn { name, set: element })
}

/// One RDN.
#[derive(Clone, Copy)]
pub(crate) struct Rdn<'a> {
    name: &'a [u8],
    set: Element,
}

impl<'a> Rdn<'a> {
    pub(crate) fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        let set = self.set.whole(self.name);
        elements(Reader::new(set), set).filter_map(move |sequence| {
            let sequence = sequence.content(set);
            let mut fields = Reader::new(sequence);
            let oid = fields.any().ok()?;
            let value = fields.any().ok()?;
            Some(Attribute {
                oid: oid.content(sequence),
                tag: value.tag,
                value: value.content(sequence),
            })
        })
    }

    /// Whether both hold the same attributes, in any order.
    pub(crate) fn matches(self, other: Self, fold: Fold) -> bool {
        self.attributes().count() == other.attributes().count()
            && self
                .attributes()
                .all(|one| other.attributes().any(|two| one.matches(two, fold)))
            && other
                .attributes()
                .all(|one| self.attributes().any(|two| one.matches(two, fold)))
    }
}

/// The elements inside the one outer element of `der`.
fn elements<'a>(mut outer: Reader<'a>, _der: &'a [u8]) -> impl Iterator<Item = Element> + use<'a> {
    let mut inside = outer.any().map(|element| outer.inside(&element)).ok();
    core::iter::from_fn(move || {
        let reader = inside.as_mut()?;
        if reader.is_empty() {
            return None;
        }
        reader.any().ok()
    })
}

impl<'a> Attribute<'a> {
    fn matches(self, other: Self, fold: Fold) -> bool {
        if self.oid != other.oid {
            return false;
        }
        match (self.chars(), other.chars()) {
            (Some(one), Some(two)) => folded(one, fold).eq(folded(two, fold)),
            _ => self.tag == other.tag && self.value == other.value,
        }
    }

    /// Whether the value is a string whose bytes are not text of its type, or holds a NUL: what one
    /// program reads to its end, another reads to there.
    pub(crate) fn is_broken_text(self) -> bool {
        match self.chars() {
            Some(mut chars) => chars.any(|c| c == '\0'),
            None => matches!(
                self.tag,
                UTF8_STRING
                    | NUMERIC_STRING
                    | PRINTABLE_STRING
                    | IA5_STRING
                    | VISIBLE_STRING
                    | BMP_STRING
                    | UNIVERSAL_STRING
            ),
        }
    }

    /// The characters, if the value is a string.
    pub(crate) fn chars(self) -> Option<Chars<'a>> {
        match self.tag {
            UTF8_STRING | NUMERIC_STRING | PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => {
                core::str::from_utf8(self.value)
                    .ok()
                    .map(|text| Chars::Text(text.chars()))
            }
            TELETEX_STRING => Some(Chars::Wide(self.value.chunks_exact(1))),
            BMP_STRING if self.value.len().is_multiple_of(2) => {
                Some(Chars::Wide(self.value.chunks_exact(2)))
            }
            UNIVERSAL_STRING if self.value.len().is_multiple_of(4) => {
                Some(Chars::Wide(self.value.chunks_exact(4)))
            }
            _ => None,
        }
    }
}

/// The characters of an attribute.
#[derive(Clone)]
pub(crate) enum Chars<'a> {
    Text(core::str::Chars<'a>),
    Wide(core::slice::ChunksExact<'a, u8>),
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Text(chars) => chars.next(),
            Self::Wide(chunks) => {
                let chunk = chunks.next()?;
                let code = chunk
                    .iter()
                    .fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet));
                Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
        }
    }
}

/// Lower case, without leading and trailing blanks, inner runs of blanks as one.
fn folded(chars: Chars<'_>, fold: Fold) -> impl Iterator<Item = char> {
    let mut chars = chars.peekable();
    let mut started = false;
    let collapsed = core::iter::from_fn(move || {
        let mut blank = false;
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
            blank = true;
        }
        chars.peek()?;
        if blank && started {
            // The blank comes out now, the letter next time; `started` keeps one blank only.
            started = false;
            return Some(' ');
        }
        started = true;
        chars.next()
    });
    let lower = move |c: char| {
        let unicode = (fold == Fold::Unicode).then(|| c.to_lowercase());
        let ascii = (fold == Fold::Ascii).then(|| c.to_ascii_lowercase());
        unicode.into_iter().flatten().chain(ascii)
    };
    collapsed.flat_map(lower)
}

/// A name as RFC 4514 writes it, for messages: most specific attribute first.
pub(crate) fn display(name: &[u8]) -> String {
    let mut parts: Vec<String> = rdns(name)
        .map(|rdn| {
            let attributes = rdn.attributes().map(|attribute| {
                let value = match attribute.chars() {
                    Some(chars) => chars.collect(),
                    None => format!("{:02x?}", attribute.value),
                };
                format!("{}={value}", keyword(attribute.oid))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn keyword(oid: &[u8]) -> String {
    let known = match oid {
        COMMON_NAME => "CN",
        EMAIL_ADDRESS => "emailAddress",
        [0x55, 4, 5] => "SERIALNUMBER",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        _ => return dotted(oid),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::element;

    fn name(tag: u8, values: &[&[u8]]) -> Vec<u8> {
        let rdns: Vec<u8> = values
            .iter()
            .flat_map(|value| {
                let fields = [element(OID, &[0x55, 4, 10]), element(tag, value)].concat();
                element(SET, &element(SEQUENCE, &fields))
            })
            .collect();
        element(SEQUENCE, &rdns)
    }

    fn equal(one: &[u8], two: &[u8], fold: Fold) -> bool {
        let (one, two) = (rdns(one).next().unwrap(), rdns(two).next().unwrap());
        one.matches(two, fold)
    }

    #[test]
    fn case_blanks_and_string_types_do_not_matter() {
        let utf8 = |value: &str| name(UTF8_STRING, &[value.as_bytes()]);
        for (one, two, same) in [
            ("Acme", "ACME", true),
            ("Acme Inc", " acme   inc ", true),
            ("AcmeInc", "Acme Inc", false),
            ("Acme", "Acme2", false),
            ("", "", true),
        ] {
            assert_eq!(
                equal(&utf8(one), &utf8(two), Fold::Ascii),
                same,
                "{one} {two}"
            );
        }
        let printable = name(PRINTABLE_STRING, &[b"Acme"]);
        let wide = name(BMP_STRING, &[b"\0A\0c\0m\0e"]);
        assert!(equal(&printable, &utf8("acme"), Fold::Ascii));
        assert!(equal(&wide, &utf8("acme"), Fold::Ascii));
        let (lower, upper) = (utf8("b\u{fc}cher"), utf8("B\u{dc}CHER"));
        assert!(equal(&lower, &upper, Fold::Unicode));
        assert!(!equal(&lower, &upper, Fold::Ascii));
    }

    #[test]
    fn names_print_as_rfc_4514_does() {
        assert_eq!(display(&name(UTF8_STRING, &[b"a", b"b"])), "O=b,O=a");
    }
}
