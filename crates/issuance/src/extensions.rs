//! Reading extensions, of certificates and of requests.

use core::ops::Range;

use certwright_cert_model::usage::{KeyUsage, KeyUsages};

use crate::decode::{
    BIT_STRING, BOOLEAN, DerError, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE,
    context_primitive, dotted,
};
use crate::encode::extension::id;
use crate::general_name::GeneralNames;

/// The extensions this crate understands, and where the others are; ranges count from the start of
/// the buffer they were read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) authority_key_id: Option<Range<usize>>,
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) extended_key_usage: Option<Range<usize>>,
    pub(crate) key_usage: Option<KeyUsages>,
    pub(crate) name_constraints: Option<Value>,
    pub(crate) others: Vec<Other>,
    pub(crate) subject_alt_name: Option<Value>,
    pub(crate) subject_key_id: Option<Range<usize>>,
}

/// The value of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) critical: bool,
    pub(crate) range: Range<usize>,
}

/// basicConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) ca: bool,
    pub(crate) max_path_len: Option<u64>,
}

/// An extension this crate does not interpret.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub(crate) oid: Range<usize>,
    pub(crate) critical: bool,
    pub(crate) whole: Range<usize>,
}

impl Extensions {
    /// Reads the content of an Extensions SEQUENCE.
    pub(crate) fn read(mut list: Reader<'_>) -> Result<Self, ExtensionError> {
        let input = list.input();
        let mut extensions = Self::default();
        let mut seen: Vec<&[u8]> = Vec::with_capacity(12);
        while !list.is_empty() {
            let extension = list.expect(SEQUENCE, "expected an Extension SEQUENCE")?;
            let mut fields = list.inside(&extension);
            let oid = fields.expect(OID, "expected an extension's object identifier")?;
            let critical = fields.peek() == Some(BOOLEAN) && fields.boolean()?;
            let value = fields.expect(OCTET_STRING, "expected an extension's value")?;
            fields.clone().finish()?;
            let id = oid.content(input);
            if seen.contains(&id) {
                return Err(ExtensionError::Duplicate { oid: dotted(id) });
            }
            seen.push(id);
            extensions.store(&fields.inside(&value), &extension, &oid, critical)?;
        }
        Ok(extensions)
    }

    fn store(
        &mut self,
        value: &Reader<'_>,
        extension: &Element,
        oid: &Element,
        critical: bool,
    ) -> Result<(), ExtensionError> {
        let range = value.at()..extension.end;
        match oid.content(value.input()) {
            id::AUTHORITY_KEY_IDENTIFIER => {
                self.authority_key_id = authority_key_id(value.clone())?;
            }
            id::BASIC_CONSTRAINTS => {
                self.basic_constraints = Some(basic_constraints(value.clone())?);
            }
            id::EXTENDED_KEY_USAGE => {
                check_usages(value.clone())?;
                self.extended_key_usage = Some(range);
            }
            id::KEY_USAGE => self.key_usage = Some(key_usage(value.clone())?),
            id::NAME_CONSTRAINTS => {
                self.name_constraints = Some(Value { critical, range });
            }
            id::SUBJECT_ALT_NAME => {
                let names = &value.input()[range.clone()];
                for name in GeneralNames::of_extension(names)? {
                    // Positions count from the value; the extension starts at `range.start`.
                    name.map_err(|error| shifted(error, range.start))?;
                }
                self.subject_alt_name = Some(Value { critical, range });
            }
            id::SUBJECT_KEY_IDENTIFIER => {
                let mut value = value.clone();
                let key_id = value.expect(OCTET_STRING, "expected a key identifier")?;
                value.finish()?;
                self.subject_key_id = Some(key_id.body..key_id.end);
            }
            _ => self.others.push(Other {
                oid: oid.body..oid.end,
                critical,
                whole: extension.start..extension.end,
            }),
        }
        Ok(())
    }
}

fn shifted(error: DerError, by: usize) -> DerError {
    DerError {
        at: error.at + by,
        ..error
    }
}

fn authority_key_id(mut value: Reader<'_>) -> Result<Option<Range<usize>>, DerError> {
    let sequence = value.expect(SEQUENCE, "expected an AuthorityKeyIdentifier SEQUENCE")?;
    let mut fields = value.inside(&sequence);
    value.finish()?;
    let key_id = fields.optional(context_primitive(0))?;
    Ok(key_id.map(|key_id| key_id.body..key_id.end))
}

fn basic_constraints(mut value: Reader<'_>) -> Result<BasicConstraints, DerError> {
    let sequence = value.expect(SEQUENCE, "expected a BasicConstraints SEQUENCE")?;
    let mut fields = value.inside(&sequence);
    value.finish()?;
    let ca = fields.peek() == Some(BOOLEAN) && fields.boolean()?;
    let mut max_path_len = None;
    if fields.peek() == Some(INTEGER) {
        max_path_len = Some(fields.small_integer(INTEGER)?);
    }
    fields.finish()?;
    Ok(BasicConstraints { ca, max_path_len })
}

fn check_usages(mut value: Reader<'_>) -> Result<(), DerError> {
    let sequence = value.expect(SEQUENCE, "expected an ExtKeyUsage SEQUENCE")?;
    let mut usages = value.inside(&sequence);
    value.finish()?;
    while !usages.is_empty() {
        usages.expect(OID, "expected the object identifier of a usage")?;
    }
    Ok(())
}

/// The contents of the object identifiers in an extendedKeyUsage value.
pub(crate) fn usage_oids(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut outer = Reader::new(value);
    let mut usages = outer.any().map(|sequence| outer.inside(&sequence)).ok();
    core::iter::from_fn(move || {
        let usage = usages.as_mut()?.any().ok()?;
        Some(usage.content(value))
    })
}

/// keyUsage's bits; an empty BIT STRING is an empty set, unknown bits are refused.
fn key_usage(mut value: Reader<'_>) -> Result<KeyUsages, DerError> {
    let bits = value.expect(BIT_STRING, "expected a KeyUsage BIT STRING")?;
    let wrong = DerError {
        at: bits.start,
        problem: "expected a KeyUsage BIT STRING of at most nine bits",
    };
    let content = bits.content(value.input());
    value.finish()?;
    let (unused, octets) = content.split_first().ok_or(wrong)?;
    let count = (octets.len() * 8)
        .checked_sub(usize::from(*unused))
        .filter(|count| *unused < 8 && *count <= 9)
        .ok_or(wrong)?;
    let is_set = |bit: u8| {
        let octet = octets.get(usize::from(bit / 8)).copied().unwrap_or(0);
        usize::from(bit) < count && octet & (0x80 >> (bit % 8)) != 0
    };
    Ok(KeyUsage::ALL
        .into_iter()
        .filter(|usage| is_set(usage.bit()))
        .collect())
}

/// Why extensions cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// Not DER, or not the structure RFC 5280 gives the extension.
    #[error("an extension is not what RFC 5280 defines")]
    Der(#[from] DerError),
    /// The same extension twice (RFC 5280, 4.2).
    #[error("extension {oid} occurs twice")]
    Duplicate {
        /// Its object identifier.
        oid: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Writer;
    use crate::encode::extension;

    #[test]
    fn key_usages_read_back() {
        for number in 1_u16..512 {
            let usages: KeyUsages = KeyUsage::ALL
                .into_iter()
                .filter(|usage| number & (1 << usage.bit()) != 0)
                .collect();
            let mut writer = Writer::with_capacity(8);
            extension::key_usage(&mut writer, usages);
            assert_eq!(key_usage(Reader::new(writer.written())), Ok(usages));
        }
        assert_eq!(key_usage(Reader::new(&[3, 1, 0])), Ok(KeyUsages::empty()));
        assert!(key_usage(Reader::new(&[3, 3, 0, 0, 0])).is_err());
        assert!(key_usage(Reader::new(&[3, 2, 9, 0])).is_err());
    }

    #[test]
    fn a_repeated_extension_is_refused() {
        let mut writer = Writer::with_capacity(64);
        for _ in 0..2 {
            extension::extension(&mut writer, id::BASIC_CONSTRAINTS, true, |w| {
                extension::basic_constraints(w, false, None);
            });
        }
        assert_eq!(
            Extensions::read(Reader::new(writer.written())).unwrap_err(),
            ExtensionError::Duplicate {
                oid: "2.5.29.19".to_owned()
            }
        );
    }
}
