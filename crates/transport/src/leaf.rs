//! What the identity rules need from a certificate, as raw bytes.
//!
//! webpki's own name iterators skip names they cannot read, so they cannot be used to count.

use core::time::Duration;

use rustls_pki_types::UnixTime;
use time::Date;

use crate::der::{BIT_STRING, BOOLEAN, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};

/// The parts of a certificate the identity rules look at (RFC 5280, 4.1 and 4.2.1).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// The issuer's name, with its header.
    pub(crate) issuer: &'a [u8],
    /// Beginning and end of the validity.
    validity: &'a [u8],
    /// The entries of the subject alternative names.
    names: &'a [u8],
    /// The key usage bits, or `None` without the extension.
    pub(crate) key_usage: Option<KeyUsage>,
    /// The `cA` flag, or `None` without basic constraints.
    pub(crate) is_ca: Option<bool>,
}

/// The first octet of a key usage: every bit the rules ask for is in it (RFC 5280, 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyUsage(u8);

/// One subject alternative name in its raw form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawName<'a> {
    Dns(&'a [u8]),
    Other,
    Uri(&'a [u8]),
}

impl<'a> Facts<'a> {
    /// Walks a certificate; `None` if it is not one.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Reader::new(Reader::new(der).value(SEQUENCE)?);
        let mut tbs = Reader::new(certificate.value(SEQUENCE)?);
        tbs.optional(0xa0);
        tbs.value(INTEGER)?;
        tbs.value(SEQUENCE)?;
        let mut facts = Self {
            issuer: tbs.with_header(SEQUENCE)?,
            ..Self::default()
        };
        facts.validity = tbs.value(SEQUENCE)?;
        tbs.value(SEQUENCE)?;
        tbs.value(SEQUENCE)?;
        while !tbs.is_empty() {
            let (tag, value) = tbs.element()?;
            if tag == 0xa3 {
                facts.read_extensions(Reader::new(Reader::new(value).value(SEQUENCE)?))?;
            }
        }
        Some(facts)
    }

    fn read_extensions(&mut self, mut extensions: Reader<'a>) -> Option<()> {
        while !extensions.is_empty() {
            let mut extension = Reader::new(extensions.value(SEQUENCE)?);
            let oid = extension.value(OBJECT_IDENTIFIER)?;
            extension.optional(BOOLEAN);
            let mut value = Reader::new(extension.value(OCTET_STRING)?);
            match oid {
                KEY_USAGE => self.key_usage = Some(KeyUsage::read(value.value(BIT_STRING)?)?),
                SUBJECT_ALT_NAME => self.names = value.value(SEQUENCE)?,
                BASIC_CONSTRAINTS => {
                    let mut constraints = Reader::new(value.value(SEQUENCE)?);
                    self.is_ca = Some(constraints.optional(BOOLEAN) == Some(&[0xff]));
                }
                _ => {}
            }
        }
        Some(())
    }

    /// The end of the validity; `None` if it is no time, or before 1970.
    pub(crate) fn not_after(self) -> Option<UnixTime> {
        let mut validity = Reader::new(self.validity);
        validity.time()?;
        let time = validity.time()?;
        let [digits @ .., b'Z'] = time.as_slice() else {
            return None;
        };
        let digits = core::str::from_utf8(digits).ok()?;
        if digits.len() != 14 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let part = |range: core::ops::Range<usize>| digits.get(range)?.parse::<u8>().ok();
        let year = digits.get(..4)?.parse().ok()?;
        let date =
            Date::from_calendar_date(year, part(4..6)?.try_into().ok()?, part(6..8)?).ok()?;
        let time = date
            .with_hms(part(8..10)?, part(10..12)?, part(12..14)?)
            .ok()?;
        let seconds = u64::try_from(time.assume_utc().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }

    /// Every subject alternative name in order; `None` in place of one that is not DER or of no kind there
    /// is (RFC 5280, 4.2.1.6), which another reader may take for a URI.
    pub(crate) fn names(self) -> impl Iterator<Item = Option<RawName<'a>>> {
        let mut names = Reader::new(self.names);
        let mut broken = false;
        core::iter::from_fn(move || {
            if names.is_empty() || broken {
                return None;
            }
            let Some((tag, value)) = names.element() else {
                broken = true;
                return Some(None);
            };
            Some(Some(match tag {
                0x82 => RawName::Dns(value),
                0x86 => RawName::Uri(value),
                0x81 | 0x87 | 0x88 | 0xa0 | 0xa3 | 0xa4 | 0xa5 => RawName::Other,
                _ => return Some(None),
            }))
        })
    }

    /// The URI names.
    pub(crate) fn uris(self) -> impl Iterator<Item = &'a [u8]> {
        self.names().filter_map(|name| match name {
            Some(RawName::Uri(uri)) => Some(uri),
            Some(RawName::Dns(_) | RawName::Other) | None => None,
        })
    }
}

impl KeyUsage {
    /// Bits that are unused must not be set (X.690, 11.2.1): they would be read as rights.
    fn read(bits: &[u8]) -> Option<Self> {
        let (&unused, bits) = bits.split_first()?;
        let last = bits.last().copied().unwrap_or(0);
        let is_der = match bits {
            [] => unused == 0,
            _ => unused < 8 && last.trailing_zeros() >= u32::from(unused),
        };
        is_der.then(|| Self(bits.first().copied().unwrap_or(0)))
    }

    pub(crate) fn digital_signature(self) -> bool {
        self.0 & 0x80 != 0
    }

    pub(crate) fn key_cert_sign(self) -> bool {
        self.0 & 0x04 != 0
    }

    pub(crate) fn crl_sign(self) -> bool {
        self.0 & 0x02 != 0
    }
}

const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_certificate() {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(rcgen::SanType::URI("spiffe://td/a".try_into().unwrap()));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::DigitalSignature,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let facts = Facts::read(certificate.der()).unwrap();
        let usage = facts.key_usage.unwrap();
        assert!(facts.is_ca == Some(true) && usage.digital_signature() && usage.crl_sign());
        assert!(!usage.key_cert_sign());
        assert_eq!(
            facts.names().collect::<Vec<_>>(),
            [
                Some(RawName::Dns(b"a.test")),
                Some(RawName::Uri(b"spiffe://td/a"))
            ]
        );
        for end in 0..certificate.der().len() {
            assert!(Facts::read(&certificate.der()[..end]).is_none());
        }
    }

    #[test]
    fn the_end_of_validity() {
        let validity = |times: &[&str]| -> Vec<u8> {
            let element = |time: &&str| {
                let tag = if time.len() == 13 { 0x17 } else { 0x18 };
                [&[tag, u8::try_from(time.len()).unwrap()], time.as_bytes()].concat()
            };
            times.iter().flat_map(element).collect()
        };
        for (end, seconds) in [
            ("260615000000Z", Some(1_781_481_600)),
            ("20260615000001Z", Some(1_781_481_601)),
            ("991231235959Z", Some(946_684_799)),
            ("99991231235959Z", Some(253_402_300_799)),
            ("500101000000Z", None),
            ("19691231235959Z", None),
            ("261315000000Z", None),
            ("260615240000Z", None),
            ("2606150000+1Z", None),
            ("202606150000000", None),
            ("20260615000000.5Z", None),
        ] {
            let validity = validity(&["260101000000Z", end]);
            let facts = Facts {
                validity: &validity,
                ..Facts::default()
            };
            let found = facts.not_after().map(|end| end.as_secs());
            assert_eq!(found, seconds, "{end}");
        }
        assert_eq!(Facts::default().not_after(), None);
    }

    #[test]
    fn names_are_of_the_kinds_there_are() {
        for tag in 0..=u8::MAX {
            let names = [tag, 1, b'a'];
            let facts = Facts {
                names: &names,
                ..Facts::default()
            };
            let is_known = [0x81, 0x82, 0x86, 0x87, 0x88, 0xa0, 0xa3, 0xa4, 0xa5].contains(&tag);
            let read: Vec<_> = facts.names().collect();
            assert_eq!((read.len(), read[0].is_some()), (1, is_known), "{tag:02x}");
        }
    }

    #[test]
    fn key_usage_is_der() {
        for (bits, usage) in [
            (&[7, 0x80][..], Some(0x80)),
            (&[1, 0x06], Some(0x06)),
            (&[0, 0xff], Some(0xff)),
            (&[7, 0x06, 0x80], Some(0x06)),
            (&[0], Some(0)),
            (&[7, 0x84], None),
            (&[7, 0x04], None),
            (&[8, 0x00], None),
            (&[1], None),
            (&[], None),
        ] {
            assert_eq!(KeyUsage::read(bits), usage.map(KeyUsage), "{bits:02x?}");
        }
    }

    #[test]
    fn a_name_that_is_not_der_ends_the_walk_visibly() {
        let facts = Facts {
            names: &[0x86, 0x01, b'a', 0x86, 0x05, b'b'],
            ..Facts::default()
        };
        assert_eq!(
            facts.names().collect::<Vec<_>>(),
            [Some(RawName::Uri(b"a")), None]
        );
    }
}
