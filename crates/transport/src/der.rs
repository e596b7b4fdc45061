//! Just enough DER to walk what webpki has already parsed.

/// Reads tag, length and value triples from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element as (tag, value); `None` if there is none or its length is not DER.
    pub(crate) fn element(&mut self) -> Option<(u8, &'a [u8])> {
        self.whole().map(|(tag, value, _)| (tag, value))
    }

    /// The value of the next element, which must carry `tag`.
    pub(crate) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = self.element()?;
        (found == tag).then_some(value)
    }

    /// The next element with its header, which must carry `tag`.
    pub(crate) fn with_header(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, _, whole) = self.whole()?;
        (found == tag).then_some(whole)
    }

    /// The value of the next element if it carries `tag`; otherwise nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.0.first() == Some(&tag))
            .then(|| self.value(tag))
            .flatten()
    }

    /// A time (RFC 5280, 4.1.2.5) as `YYYYMMDDHHMMSSZ`, which sorts.
    pub(crate) fn time(&mut self) -> Option<Vec<u8>> {
        match self.element()? {
            // Two digits of year: 50 to 99 are of the twentieth century.
            (UTC_TIME, time) if time.first()? >= &b'5' => Some([b"19", time].concat()),
            (UTC_TIME, time) => Some([b"20", time].concat()),
            (GENERALIZED_TIME, time) => Some(time.to_vec()),
            _ => None,
        }
    }

    /// Lengths of one to four octets: a certificate is at most 64 KiB when it comes here, a revocation list
    /// under 16 MiB.
    fn whole(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (tag, length, header) = match *self.0 {
            [tag, length @ 0..=0x7f, ..] => (tag, usize::from(length), 2),
            [tag, 0x81, length @ 0x80..=0xff, ..] => (tag, usize::from(length), 3),
            [tag, 0x82, high @ 1..=0xff, low, ..] => {
                (tag, usize::from(u16::from_be_bytes([high, low])), 4)
            }
            [tag, 0x83, high @ 1..=0xff, middle, low, ..] => {
                let low = usize::from(u16::from_be_bytes([middle, low]));
                (tag, (usize::from(high) << 16) + low, 5)
            }
            _ => return None,
        };
        let whole = self.0.get(..header + length)?;
        self.0 = &self.0[header + length..];
        Some((tag, &whole[header..], whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal_and_inside() {
        let long = |prefix: &[u8], n: usize| [prefix, &vec![0; n]].concat();
        for (bytes, length) in [
            (vec![0x04, 0x00], Some(0)),
            (vec![0x04, 0x02, 1, 2], Some(2)),
            (vec![0x04, 0x02, 1], None),
            (long(&[0x04, 0x81, 0x80], 128), Some(128)),
            (long(&[0x04, 0x81, 0x7f], 127), None),
            (long(&[0x04, 0x82, 0x01, 0x00], 256), Some(256)),
            (long(&[0x04, 0x82, 0x00, 0xff], 255), None),
            (long(&[0x04, 0x80], 4), None),
            (long(&[0x04, 0x83, 0, 0, 1], 1), None),
            (long(&[0x04, 0x83, 1, 0, 1], 0x1_0001), Some(0x1_0001)),
            (long(&[0x04, 0x83, 1, 0, 1], 0x1_0000), None),
            (long(&[0x04, 0x84, 0, 0, 0, 1], 1), None),
            (vec![0x04], None),
            (vec![], None),
        ] {
            let read = Reader::new(&bytes).value(OCTET_STRING);
            assert_eq!(read.map(<[u8]>::len), length, "{:02x?}", &bytes[..]);
        }
    }

    #[test]
    fn an_absent_optional_reads_nothing() {
        let mut reader = Reader::new(&[0x02, 0x01, 0x05]);
        assert_eq!(reader.optional(OCTET_STRING), None);
        assert_eq!(reader.value(INTEGER), Some(&[5][..]));
        assert!(reader.is_empty());
    }
}
