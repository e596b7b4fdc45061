//! OCSP responses that travel with a certificate (RFC 6960, stapled as in RFC 8446 section 4.4.2.1).

use std::sync::Arc;

use certwright_cert_model::CertificateFacts;
use rustls::sign::CertifiedKey;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::change::{ChangeSet, Report};
use crate::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, context, expect, tlv,
};
use crate::store::CertStore;

impl CertStore<CertifiedKey> {
    /// Serves the entry with this OCSP response (DER) from now on, with the same key and chain. The entry
    /// keeps its fingerprint: reloading the unchanged pair keeps the staple, a new pair comes without one.
    ///
    /// The response must name the certificate's serial number, call it good and be current. Its signature
    /// is left to the clients, who check it anyway.
    ///
    /// # Errors
    /// If the response is not one to serve with this certificate; a staple that is there stays.
    pub fn staple(
        &self,
        id: &str,
        response: &[u8],
        now: OffsetDateTime,
    ) -> Result<Report, StapleError> {
        let entry = self.entry(id).ok_or(StapleError::NoEntry)?;
        let certified = entry.payload();
        check(response, certified, now)?;
        let mut change = ChangeSet::new();
        change.set_payload(&entry, with_staple(certified, Some(response.to_vec())));
        Ok(self.apply(change))
    }

    /// Serves every certificate without its staple whose staple has run out or does not fit it. To be
    /// called now and then, as a handshake does not look into what it staples.
    pub fn drop_expired_staples(&self, now: OffsetDateTime) -> Report {
        let mut change = ChangeSet::new();
        for entry in self.entries() {
            let certified = entry.payload();
            if let Some(staple) = &certified.ocsp
                && check(staple, certified, now).is_err()
            {
                change.set_payload(&entry, with_staple(certified, None));
            }
        }
        self.apply(change)
    }
}

/// Why an OCSP response is not stapled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StapleError {
    /// Its time is over.
    #[error("the OCSP response was good until {until}; fetch a new one")]
    Expired {
        /// Its nextUpdate.
        until: OffsetDateTime,
    },
    /// It is about other certificates.
    #[error("the OCSP response does not name the certificate's serial number {serial}")]
    Foreign {
        /// The serial number, in hexadecimal.
        serial: String,
    },
    /// It is no OCSP response.
    #[error("not a DER-encoded OCSP response with a basic response in it")]
    Malformed,
    /// There is no entry with this id.
    #[error("the store has no entry with this id")]
    NoEntry,
    /// Nobody could tell when to drop it.
    #[error("the OCSP response has no nextUpdate, hence no end")]
    NoNextUpdate,
    /// The responder says something else than good.
    #[error("the authority does not call the certificate good: it is {status}; replace it")]
    NotGood {
        /// `revoked` or `unknown`.
        status: &'static str,
    },
    /// The responder did not answer the question.
    #[error("the responder answered with status {status} instead of a response")]
    NotSuccessful {
        /// The OCSPResponseStatus, from 1.
        status: u8,
    },
    /// Its time has not come.
    #[error("the OCSP response is good from {from}; compare the clocks")]
    NotYetValid {
        /// Its thisUpdate.
        from: OffsetDateTime,
    },
}

fn with_staple(certified: &CertifiedKey, staple: Option<Vec<u8>>) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey {
        cert: certified.cert.clone(),
        key: certified.key.clone(),
        ocsp: staple,
    })
}

/// Whether the response can be served with the certificate.
fn check(
    response: &[u8],
    certified: &CertifiedKey,
    now: OffsetDateTime,
) -> Result<(), StapleError> {
    let leaf = certified.cert.first();
    // Payloads that do not come from a loader need not be certificates.
    let facts = leaf.and_then(|leaf| CertificateFacts::from_der(leaf).ok());
    let facts = facts.ok_or_else(|| StapleError::Foreign {
        serial: String::new(),
    })?;
    let single = find(response, &facts.serial)?.ok_or_else(|| StapleError::Foreign {
        serial: facts.serial_text(),
    })?;
    match single.status {
        GOOD => {}
        REVOKED => return Err(StapleError::NotGood { status: "revoked" }),
        _ => return Err(StapleError::NotGood { status: "unknown" }),
    }
    let until = single.next_update.ok_or(StapleError::NoNextUpdate)?;
    if now < single.this_update {
        return Err(StapleError::NotYetValid {
            from: single.this_update,
        });
    }
    if now > until {
        return Err(StapleError::Expired { until });
    }
    Ok(())
}

/// What a response says about one certificate.
struct Single {
    /// The tag of the CertStatus.
    status: u8,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
}

/// RFC 6960 section 4.2.1, CertStatus: `good [0] IMPLICIT NULL`.
const GOOD: u8 = 0x80;
/// `revoked [1] IMPLICIT RevokedInfo`.
const REVOKED: u8 = 0xa1;
/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// What the response says about this serial number, if anything.
fn find(response: &[u8], serial: &[u8]) -> Result<Option<Single>, StapleError> {
    let status = response_status(response).ok_or(StapleError::Malformed)?;
    if status != 0 {
        return Err(StapleError::NotSuccessful { status });
    }
    let mut singles = singles(response).ok_or(StapleError::Malformed)?;
    while !singles.is_empty() {
        let (single, rest) = expect(singles, SEQUENCE).ok_or(StapleError::Malformed)?;
        singles = rest;
        let (found, single) = read_single(single).ok_or(StapleError::Malformed)?;
        if trimmed(found) == trimmed(serial) {
            return Ok(Some(single));
        }
    }
    Ok(None)
}

fn response_status(response: &[u8]) -> Option<u8> {
    let (response, _) = expect(response, SEQUENCE)?;
    match expect(response, ENUMERATED)? {
        ([status], _) => Some(*status),
        _ => None,
    }
}

/// The content of `responses` in RFC 6960 section 4.2.1.
fn singles(response: &[u8]) -> Option<&[u8]> {
    let (response, _) = expect(response, SEQUENCE)?;
    let (_, bytes) = expect(response, ENUMERATED)?;
    let (bytes, _) = expect(bytes, context(0))?;
    let (bytes, _) = expect(bytes, SEQUENCE)?;
    let (kind, bytes) = expect(bytes, OID)?;
    let (basic, _) = expect(bytes, OCTET_STRING).filter(|_| kind == BASIC)?;
    let (basic, _) = expect(basic, SEQUENCE)?;
    let (data, _) = expect(basic, SEQUENCE)?;
    let after_version = expect(data, context(0)).map_or(data, |(_, rest)| rest);
    let (_responder, _, rest) = tlv(after_version)?;
    let (_produced_at, rest) = expect(rest, GENERALIZED_TIME)?;
    let (singles, _) = expect(rest, SEQUENCE)?;
    Some(singles)
}

fn read_single(single: &[u8]) -> Option<(&[u8], Single)> {
    let (id, rest) = expect(single, SEQUENCE)?;
    let (status, _, rest) = tlv(rest)?;
    let (this_update, rest) = expect(rest, GENERALIZED_TIME)?;
    let next_update = match expect(rest, context(0)) {
        Some((next, _)) => Some(instant(expect(next, GENERALIZED_TIME)?.0)?),
        None => None,
    };
    let (_algorithm, id) = expect(id, SEQUENCE)?;
    let (_name_hash, id) = expect(id, OCTET_STRING)?;
    let (_key_hash, id) = expect(id, OCTET_STRING)?;
    let (serial, _) = expect(id, INTEGER)?;
    let single = Single {
        status,
        this_update: instant(this_update)?,
        next_update,
    };
    Some((serial, single))
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5.2).
fn instant(text: &[u8]) -> Option<OffsetDateTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| text[at..at + 2].parse::<u8>().ok();
    let month = Month::try_from(two(4)?).ok()?;
    let date = Date::from_calendar_date(text[..4].parse().ok()?, month, two(6)?).ok()?;
    let time = Time::from_hms(two(8)?, two(10)?, two(12)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

fn trimmed(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], &content].concat()
    }

    fn single(serial: &[u8], status: &[u8], next: Option<&[u8]>) -> Vec<u8> {
        let hash = wrap(OCTET_STRING, &[&[7; 20]]);
        let algorithm = wrap(SEQUENCE, &[]);
        let id = wrap(
            SEQUENCE,
            &[&algorithm, &hash, &hash, &wrap(INTEGER, &[serial])],
        );
        let this = wrap(GENERALIZED_TIME, &[b"20260101000000Z"]);
        let next = next.map_or_else(Vec::new, |next| {
            wrap(context(0), &[&wrap(GENERALIZED_TIME, &[next])])
        });
        wrap(SEQUENCE, &[&id, status, &this, &next])
    }

    fn response(singles: &[&[u8]]) -> Vec<u8> {
        let responder = wrap(context(2), &[&wrap(OCTET_STRING, &[&[7; 20]])]);
        let produced = wrap(GENERALIZED_TIME, &[b"20260101000000Z"]);
        let data = wrap(SEQUENCE, &[&responder, &produced, &wrap(SEQUENCE, singles)]);
        let basic = wrap(SEQUENCE, &[&data]);
        let bytes = wrap(
            SEQUENCE,
            &[&wrap(OID, &[BASIC]), &wrap(OCTET_STRING, &[&basic])],
        );
        wrap(
            SEQUENCE,
            &[&[ENUMERATED, 1, 0], &wrap(context(0), &[&bytes])],
        )
    }

    #[test]
    fn the_certificates_own_single_response_counts() {
        let good = [GOOD, 0];
        let next = Some(&b"20260108000000Z"[..]);
        let other = single(&[5], &[0x82, 0], next);
        let ours = single(&[0, 0xc1], &good, next);
        let both = response(&[&other, &ours]);
        let found = find(&both, &[0xc1]).unwrap().unwrap();
        assert_eq!(found.status, GOOD);
        let at = |text: &[u8]| instant(text).unwrap();
        assert_eq!(found.this_update, at(b"20260101000000Z"));
        assert_eq!(found.next_update, Some(at(b"20260108000000Z")));
        assert_eq!(find(&both, &[5]).unwrap().unwrap().status, 0x82);
        assert!(find(&both, &[6]).unwrap().is_none());
        let endless = response(&[&single(&[6], &good, None)]);
        assert!(find(&endless, &[6]).unwrap().unwrap().next_update.is_none());
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let later = wrap(SEQUENCE, &[&[ENUMERATED, 1, 3]]);
        assert!(matches!(
            find(&later, &[1]),
            Err(StapleError::NotSuccessful { status: 3 })
        ));
        let whole = response(&[&single(&[1], &[GOOD, 0], Some(b"20260108000000Z"))]);
        for length in 0..whole.len() {
            assert!(
                matches!(find(&whole[..length], &[1]), Err(StapleError::Malformed)),
                "{length}"
            );
        }
        // Whatever a byte is turned into, it is read or refused.
        for at in 0..whole.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x82, 0xff] {
                let mut other = whole.clone();
                other[at] = byte;
                let _read_or_refused = find(&other, &[1]);
            }
        }
        for time in [
            &b"20260108000000"[..],
            b"20261308000000Z",
            b"20260108000000.5Z",
            b"2026010800000+Z",
            b"",
        ] {
            assert_eq!(instant(time), None, "{time:?}");
        }
    }
}
