//! OCSP responses that travel with a certificate (RFC 6960, stapled as in RFC 8446 section 4.4.2.1).

use std::sync::Arc;

use rustls::sign::CertifiedKey;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::change::{ChangeSet, Report};
use crate::der::{
    BIT_STRING, BOOLEAN, ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE,
    context, expect, tlv,
};
use crate::entry::{Entry, EntryId};
use crate::store::CertStore;

impl CertStore<CertifiedKey> {
    /// Serves the entry with this OCSP response (DER) from now on, with the same key and chain. The entry
    /// keeps its fingerprint: reloading the unchanged pair keeps the staple, a new pair comes without one.
    ///
    /// The response must name the certificate by its serial number, its issuer's name and, where the
    /// chain has the issuer, its issuer's key (RFC 6960 section 4.1.1), call it good and be current. Its
    /// signature is left to the clients, who check it anyway.
    ///
    /// # Errors
    /// If the response is not one to serve with this certificate, or the entry was replaced meanwhile; a
    /// staple that is there stays.
    pub fn staple(
        &self,
        id: &str,
        response: &[u8],
        now: OffsetDateTime,
    ) -> Result<Stapled, StapleError> {
        let entry = self.entry(id).ok_or(StapleError::NoEntry)?;
        self.staple_to(&entry, response, now)
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

    /// The certificates that clients refuse as they are served now, by ascending id: those that demand a
    /// staple (RFC 7633, `status_request`) and have none. To be asked after loading, and before clients
    /// do.
    pub fn awaiting_staples(&self) -> Vec<EntryId> {
        let entries = self.entries();
        let awaiting = entries
            .iter()
            .filter(|entry| entry.payload().ocsp.is_none() && demands_staple(entry.payload()));
        awaiting.map(|entry| entry.id().clone()).collect()
    }

    fn staple_to(
        &self,
        entry: &Arc<Entry<CertifiedKey>>,
        response: &[u8],
        now: OffsetDateTime,
    ) -> Result<Stapled, StapleError> {
        let certified = entry.payload();
        let until = check(response, certified, now)?;
        let mut change = ChangeSet::new();
        change.set_payload(entry, with_staple(certified, Some(response.to_vec())));
        let report = self.apply(change);
        // The only other end of it is that the entry is not there any more.
        if !report.replaced.contains(entry.id()) {
            return Err(StapleError::Replaced);
        }
        Ok(Stapled { report, until })
    }
}

/// What came of [`CertStore::staple`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Stapled {
    /// The new generation.
    pub report: Report,
    /// The last second the response is good for, its nextUpdate: have a new one well before.
    pub until: OffsetDateTime,
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
    #[error(
        "the OCSP response is not about the certificate with serial number {serial}: {differs}"
    )]
    Foreign {
        /// The certificate's serial number, in hexadecimal.
        serial: String,
        /// What of the response is another than the certificate's: its serial number, issuer's name or
        /// issuer's key; or the hash of these, if it is neither SHA-1 nor SHA-2.
        differs: &'static str,
    },
    /// It is no OCSP response.
    #[error("not a DER-encoded OCSP response with a basic response in it")]
    Malformed,
    /// What the entry serves cannot be read as a certificate.
    #[error("the entry serves no X.509 certificate")]
    NoCertificate,
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
    /// Another certificate may be there by now, or none.
    #[error("the entry was replaced or removed meanwhile; fetch a response for the new one")]
    Replaced,
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

/// Until when the response can be served with the certificate.
fn check(
    response: &[u8],
    certified: &CertifiedKey,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, StapleError> {
    // Payloads that do not come from a loader need not be certificates.
    let subject = Subject::of(certified).ok_or(StapleError::NoCertificate)?;
    let single = find(response, &subject)?;
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
    Ok(until)
}

/// What a response names a certificate by.
struct Subject<'c> {
    serial: &'c [u8],
    /// The issuer's Name, DER.
    issuer: &'c [u8],
    /// The issuer's public key, the bits alone, if its certificate is in the chain.
    issuer_key: Option<&'c [u8]>,
}

impl<'c> Subject<'c> {
    fn of(certified: &'c CertifiedKey) -> Option<Self> {
        let leaf = Certificate::read(certified.cert.first()?)?;
        let above = certified.cert.get(1).and_then(|der| Certificate::read(der));
        Some(Self {
            serial: leaf.serial,
            issuer: leaf.issuer,
            issuer_key: above
                .filter(|above| above.subject == leaf.issuer)
                .map(|above| above.key),
        })
    }

    fn serial_text(&self) -> String {
        let pairs: Vec<_> = self.serial.iter().map(|b| format!("{b:02x}")).collect();
        pairs.join(":")
    }
}

/// The parts of a certificate that a CertID is made from, and what follows them (RFC 5280 section 4.1).
struct Certificate<'c> {
    serial: &'c [u8],
    issuer: &'c [u8],
    subject: &'c [u8],
    key: &'c [u8],
    after_key: &'c [u8],
}

impl<'c> Certificate<'c> {
    fn read(der: &'c [u8]) -> Option<Self> {
        let (certificate, _) = expect(der, SEQUENCE)?;
        let (tbs, _) = expect(certificate, SEQUENCE)?;
        let after_version = expect(tbs, context(0)).map_or(tbs, |(_, rest)| rest);
        let (serial, rest) = expect(after_version, INTEGER)?;
        let (_algorithm, rest) = expect(rest, SEQUENCE)?;
        let (issuer, rest) = whole(rest)?;
        let (_validity, rest) = expect(rest, SEQUENCE)?;
        let (subject, rest) = whole(rest)?;
        let (key_info, after_key) = expect(rest, SEQUENCE)?;
        let (_algorithm, bits) = expect(key_info, SEQUENCE)?;
        let (bits, _) = expect(bits, BIT_STRING)?;
        // The first octet counts the bits that are not used (X.690 section 8.6.2).
        let (_unused, key) = bits.split_first()?;
        Some(Self {
            serial,
            issuer,
            subject,
            key,
            after_key,
        })
    }
}

/// Whether the leaf has the TLS feature `status_request`.
fn demands_staple(certified: &CertifiedKey) -> bool {
    let leaf = certified
        .cert
        .first()
        .and_then(|der| Certificate::read(der));
    leaf.and_then(|leaf| has_status_request(leaf.after_key))
        .unwrap_or_default()
}

/// `None` without the extension (RFC 5280 section 4.1, RFC 7633 section 4).
fn has_status_request(after_key: &[u8]) -> Option<bool> {
    let mut rest = after_key;
    // The unique identifiers, which nobody has.
    let extensions = loop {
        let (tag, content, after) = tlv(rest)?;
        if tag == context(3) {
            break content;
        }
        rest = after;
    };
    let (mut extensions, _) = expect(extensions, SEQUENCE)?;
    loop {
        let (extension, after) = expect(extensions, SEQUENCE)?;
        extensions = after;
        let (id, value) = expect(extension, OID)?;
        if id != TLS_FEATURE {
            continue;
        }
        let value = expect(value, BOOLEAN).map_or(value, |(_critical, rest)| rest);
        let (value, _) = expect(value, OCTET_STRING)?;
        let (mut features, _) = expect(value, SEQUENCE)?;
        while let Some((feature, after)) = expect(features, INTEGER) {
            if feature == STATUS_REQUEST {
                return Some(true);
            }
            features = after;
        }
        return Some(false);
    }
}

/// The first element with its tag and length, and what follows it.
fn whole(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = tlv(der)?;
    Some(der.split_at(der.len() - rest.len()))
}

/// RFC 6960 section 4.1.1, CertID.
struct CertId<'r> {
    algorithm: &'r [u8],
    issuer_name: &'r [u8],
    issuer_key: &'r [u8],
    serial: &'r [u8],
}

/// In the order they are looked at: of several wrong answers, the one that went furthest tells most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Serial,
    Hash,
    IssuerName,
    IssuerKey,
}

impl CertId<'_> {
    fn difference(&self, subject: &Subject<'_>) -> Option<Difference> {
        if trimmed(self.serial) != trimmed(subject.serial) {
            return Some(Difference::Serial);
        }
        let Some(hash) = hash(self.algorithm) else {
            return Some(Difference::Hash);
        };
        if hash(subject.issuer) != self.issuer_name {
            return Some(Difference::IssuerName);
        }
        match subject.issuer_key {
            Some(key) if hash(key) != self.issuer_key => Some(Difference::IssuerKey),
            _ => None,
        }
    }
}

impl Difference {
    fn text(self) -> &'static str {
        match self {
            Self::Serial => "its serial number is another",
            Self::Hash => "its issuer is hashed with neither SHA-1 nor SHA-2",
            Self::IssuerName => "its issuer's name is another",
            Self::IssuerKey => "its issuer's key is another",
        }
    }
}

type Hash = fn(&[u8]) -> Vec<u8>;

/// The function of an AlgorithmIdentifier's object identifier (RFC 5754 section 2, RFC 3370 section 2.1).
fn hash(algorithm: &[u8]) -> Option<Hash> {
    const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    if algorithm == SHA1 {
        return Some(|bytes| Sha1::digest(bytes).to_vec());
    }
    match algorithm.strip_prefix(SHA2)? {
        [1] => Some(|bytes| Sha256::digest(bytes).to_vec()),
        [2] => Some(|bytes| Sha384::digest(bytes).to_vec()),
        [3] => Some(|bytes| Sha512::digest(bytes).to_vec()),
        _ => None,
    }
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

/// id-pe-tlsfeature, 1.3.6.1.5.5.7.1.24.
const TLS_FEATURE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x18];
/// The number of the TLS extension (RFC 6066 section 1.1).
const STATUS_REQUEST: &[u8] = &[5];

/// What the response says about this certificate.
fn find(response: &[u8], subject: &Subject<'_>) -> Result<Single, StapleError> {
    let status = response_status(response).ok_or(StapleError::Malformed)?;
    if status != 0 {
        return Err(StapleError::NotSuccessful { status });
    }
    let mut singles = singles(response).ok_or(StapleError::Malformed)?;
    let mut nearest = Difference::Serial;
    while !singles.is_empty() {
        let (single, rest) = expect(singles, SEQUENCE).ok_or(StapleError::Malformed)?;
        singles = rest;
        let (id, single) = read_single(single).ok_or(StapleError::Malformed)?;
        match id.difference(subject) {
            None => return Ok(single),
            Some(difference) => nearest = nearest.max(difference),
        }
    }
    Err(StapleError::Foreign {
        serial: subject.serial_text(),
        differs: nearest.text(),
    })
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

fn read_single(single: &[u8]) -> Option<(CertId<'_>, Single)> {
    let (id, rest) = expect(single, SEQUENCE)?;
    let (status, _, rest) = tlv(rest)?;
    let (this_update, rest) = expect(rest, GENERALIZED_TIME)?;
    let next_update = match expect(rest, context(0)) {
        Some((next, _)) => Some(instant(expect(next, GENERALIZED_TIME)?.0)?),
        None => None,
    };
    let (algorithm, id) = expect(id, SEQUENCE)?;
    let (algorithm, _parameters) = expect(algorithm, OID)?;
    let (issuer_name, id) = expect(id, OCTET_STRING)?;
    let (issuer_key, id) = expect(id, OCTET_STRING)?;
    let (serial, _) = expect(id, INTEGER)?;
    let id = CertId {
        algorithm,
        issuer_name,
        issuer_key,
        serial,
    };
    let single = Single {
        status,
        this_update: instant(this_update)?,
        next_update,
    };
    Some((id, single))
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
    use crate::pairs::{PairLoader, PemPair};
    use crate::select::SelectionPolicy;

    fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], &content].concat()
    }

    const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];

    fn single(serial: &[u8], status: &[u8], next: Option<&[u8]>) -> Vec<u8> {
        single_of(SHA1, [b"name", b"key"], serial, status, next)
    }

    fn single_of(
        algorithm: &[u8],
        [name, key]: [&[u8]; 2],
        serial: &[u8],
        status: &[u8],
        next: Option<&[u8]>,
    ) -> Vec<u8> {
        let hash = |of| {
            let digest = hash(algorithm).map_or_else(Vec::new, |hash| hash(of));
            wrap(OCTET_STRING, &[&digest])
        };
        let algorithm = wrap(SEQUENCE, &[&wrap(OID, &[algorithm])]);
        let serial = wrap(INTEGER, &[serial]);
        let id = wrap(SEQUENCE, &[&algorithm, &hash(name), &hash(key), &serial]);
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

    fn subject(serial: &[u8]) -> Subject<'_> {
        Subject {
            serial,
            issuer: b"name",
            issuer_key: Some(b"key"),
        }
    }

    #[test]
    fn every_part_of_the_cert_id_counts() {
        let sha2 = |last| [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last];
        let name: &[u8] = b"name";
        let key: &[u8] = b"key";
        let differs = |algorithm: &[u8], issuer, serial: &[u8], subject: &Subject<'_>| {
            let next = Some(&b"20260108000000Z"[..]);
            let other = single(&[9], &[GOOD, 0], next);
            let single = single_of(algorithm, issuer, serial, &[GOOD, 0], next);
            match find(&response(&[&single, &other]), subject) {
                Ok(_) => None,
                Err(StapleError::Foreign { serial, differs }) => {
                    assert_eq!(serial, "01");
                    Some(differs)
                }
                Err(other) => panic!("{other}"),
            }
        };
        let whole = subject(&[1]);
        for algorithm in [SHA1, &sha2(1), &sha2(2), &sha2(3)] {
            assert_eq!(differs(algorithm, [name, key], &[1], &whole), None);
            assert_eq!(
                differs(algorithm, [b"nome", key], &[1], &whole),
                Some("its issuer's name is another")
            );
            assert_eq!(
                differs(algorithm, [name, b"kay"], &[1], &whole),
                Some("its issuer's key is another")
            );
        }
        assert_eq!(
            differs(&sha2(4), [name, key], &[1], &whole),
            Some("its issuer is hashed with neither SHA-1 nor SHA-2")
        );
        assert_eq!(
            differs(SHA1, [name, key], &[2], &whole),
            Some("its serial number is another")
        );
        // Without the issuer's certificate its name must do.
        let alone = Subject {
            issuer_key: None,
            ..subject(&[1])
        };
        assert_eq!(differs(SHA1, [name, b"kay"], &[1], &alone), None);
    }

    #[test]
    fn an_entry_replaced_meanwhile_is_not_stapled() {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (chain, key) = (cert.pem(), signing_key.serialize_pem());
        let load = |chain: &str| {
            let pair = PemPair {
                chain: chain.as_bytes(),
                key: key.as_bytes(),
            };
            PairLoader::new(provider.clone()).load("a", pair).unwrap()
        };
        let store = CertStore::new(SelectionPolicy::Best);
        store.apply(load(&chain));
        let entry = store.entry("a").unwrap();
        let subject = Subject::of(entry.payload()).unwrap();
        let next = Some(&b"20260108000000Z"[..]);
        let names = [subject.issuer, b"any key"];
        let good = single_of(SHA1, names, subject.serial, &[GOOD, 0], next);
        let good = response(&[&good]);
        let now = instant(b"20260102000000Z").unwrap();
        let stapled = store.staple("a", &good, now).unwrap();
        assert_eq!(stapled.until, instant(b"20260108000000Z").unwrap());
        assert_eq!(stapled.report.replaced.len(), 1);

        let entry = store.entry("a").unwrap();
        store.apply(load(&format!("{chain}\n")));
        let late = store.staple_to(&entry, &good, now);
        assert_eq!(late.unwrap_err(), StapleError::Replaced);
        let mut gone = ChangeSet::new();
        gone.remove("a");
        store.apply(gone);
        let late = store.staple_to(&entry, &good, now);
        assert_eq!(late.unwrap_err(), StapleError::Replaced);
        assert!(store.entry("a").is_none());
    }

    #[test]
    fn the_certificates_own_single_response_counts() {
        let good = [GOOD, 0];
        let next = Some(&b"20260108000000Z"[..]);
        let other = single(&[5], &[0x82, 0], next);
        let ours = single(&[0, 0xc1], &good, next);
        let both = response(&[&other, &ours]);
        let found = find(&both, &subject(&[0xc1])).unwrap();
        assert_eq!(found.status, GOOD);
        let at = |text: &[u8]| instant(text).unwrap();
        assert_eq!(found.this_update, at(b"20260101000000Z"));
        assert_eq!(found.next_update, Some(at(b"20260108000000Z")));
        assert_eq!(find(&both, &subject(&[5])).unwrap().status, 0x82);
        assert!(find(&both, &subject(&[6])).is_err());
        let endless = response(&[&single(&[6], &good, None)]);
        assert!(
            find(&endless, &subject(&[6]))
                .unwrap()
                .next_update
                .is_none()
        );
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let later = wrap(SEQUENCE, &[&[ENUMERATED, 1, 3]]);
        assert!(matches!(
            find(&later, &subject(&[1])),
            Err(StapleError::NotSuccessful { status: 3 })
        ));
        let whole = response(&[&single(&[1], &[GOOD, 0], Some(b"20260108000000Z"))]);
        for length in 0..whole.len() {
            assert!(
                matches!(
                    find(&whole[..length], &subject(&[1])),
                    Err(StapleError::Malformed)
                ),
                "{length}"
            );
        }
        // Whatever a byte is turned into, it is read or refused.
        for at in 0..whole.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x82, 0xff] {
                let mut other = whole.clone();
                other[at] = byte;
                let _read_or_refused = find(&other, &subject(&[1]));
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
