//! GeneralNames as a certificate or request carries them (RFC 5280, 4.2.1.6), without copies.

use crate::decode::{DerError, OID, Reader, SEQUENCE, context};
use crate::name;

/// One general name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeneralName<'a> {
    /// directoryName: the DER of a Name.
    Directory(&'a [u8]),
    /// dNSName.
    Dns(&'a str),
    /// ediPartyName, not interpreted.
    EdiParty,
    /// rfc822Name.
    Email(&'a str),
    /// iPAddress: 4 or 16 octets.
    Ip(&'a [u8]),
    /// otherName.
    Other {
        /// The content of its type's object identifier.
        oid: &'a [u8],
    },
    /// registeredID: the content of an object identifier.
    RegisteredId(&'a [u8]),
    /// uniformResourceIdentifier.
    Uri(&'a str),
    /// x400Address, not interpreted.
    X400,
}

/// The names of a GeneralNames SEQUENCE, in order.
#[derive(Clone, Debug)]
pub struct GeneralNames<'a> {
    list: Reader<'a>,
}

impl<'a> GeneralNames<'a> {
    /// The names in the value of a subjectAltName extension.
    ///
    /// # Errors
    ///
    /// The value is no SEQUENCE; what is wrong inside it comes from the iterator.
    pub fn of_extension(value: &'a [u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(value);
        let sequence = outer.expect(SEQUENCE, "expected a GeneralNames SEQUENCE")?;
        let list = outer.inside(&sequence);
        outer.finish()?;
        if list.is_empty() {
            return Err(DerError {
                at: list.at(),
                problem: "a GeneralNames SEQUENCE cannot be empty",
            });
        }
        Ok(Self { list })
    }

    pub(crate) fn none() -> Self {
        Self {
            list: Reader::new(&[]),
        }
    }
}

impl<'a> Iterator for GeneralNames<'a> {
    type Item = Result<GeneralName<'a>, DerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_empty() {
            return None;
        }
        let name = self.list.any().and_then(|element| {
            let reader = self.list.inside(&element);
            GeneralName::read(element.tag, element.content(self.list.input()), reader)
        });
        if name.is_err() {
            self.list = Reader::new(&[]);
        }
        Some(name)
    }
}

impl<'a> GeneralName<'a> {
    /// Reads the name with this tag and content; `inside` stands before the content.
    pub(crate) fn read(
        tag: u8,
        content: &'a [u8],
        mut inside: Reader<'a>,
    ) -> Result<Self, DerError> {
        let at = inside.at();
        let text = |content: &'a [u8]| {
            core::str::from_utf8(content)
                .ok()
                .filter(|text| text.is_ascii())
                .ok_or(DerError {
                    at,
                    problem: "the name has characters outside ASCII",
                })
        };
        Ok(match tag {
            0xa0 => {
                let oid = inside.expect(OID, "expected an otherName's object identifier")?;
                inside.expect(context(0), "expected an otherName's value")?;
                let oid = oid.content(inside.input());
                inside.finish()?;
                Self::Other { oid }
            }
            0x81 => Self::Email(text(content)?),
            0x82 => Self::Dns(text(content)?),
            0xa3 => Self::X400,
            0xa4 => {
                let name = inside.expect(SEQUENCE, "expected a directoryName's Name")?;
                let whole = name.whole(inside.input());
                name::check(&inside.inside(&name))?;
                inside.finish()?;
                Self::Directory(whole)
            }
            0xa5 => Self::EdiParty,
            0x86 => Self::Uri(text(content)?),
            0x87 => Self::Ip(content),
            0x88 => Self::RegisteredId(content),
            _ => {
                return Err(DerError {
                    at,
                    problem: "expected a GeneralName, tags 0 to 8",
                });
            }
        })
    }
}
