//! As much DER as it takes to look into a key or an OCSP response (X.690).

/// The tag and content of the first DER element, and what follows it (X.690 section 8.1).
pub(crate) fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, length) = match *der {
        [_, length @ ..=0x7f, ..] => (2, usize::from(length)),
        [_, 0x81, length, ..] => (3, usize::from(length)),
        [_, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    let (element, rest) = der.split_at_checked(header + length)?;
    Some((element[0], &element[header..], rest))
}

/// The content of the first element if it has this tag, and what follows it.
pub(crate) fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = tlv(der)?;
    (found == tag).then_some((content, rest))
}

pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
/// A constructed, context-specific tag, as `[0] EXPLICIT` writes it.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}
