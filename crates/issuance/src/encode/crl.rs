//! The signed part of a revocation list (RFC 5280, 5.1).

use super::Writer;
use super::extension::{self, id};
use crate::crl::Revoked;
use crate::decode::{INTEGER, SEQUENCE, context};
use crate::validity::write_time;

/// What a revocation list says. Everything constant per issuer is DER already.
pub(crate) struct List<'a> {
    /// The signature's AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    pub(crate) issuer: &'a [u8],
    /// Seconds since 1970, as is `next_update`.
    pub(crate) this_update: i64,
    pub(crate) next_update: i64,
    pub(crate) revoked: &'a [Revoked],
    /// The whole authorityKeyIdentifier extension.
    pub(crate) authority_key_id: &'a [u8],
    pub(crate) number: u64,
}

impl List<'_> {
    /// The DER of the TBSCertList.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.issuer.len() + 160 + 56 * self.revoked.len());
        writer.nest(SEQUENCE, |w| {
            w.nest(context(0), |w| {
                w.nest(SEQUENCE, |w| {
                    extension::extension(w, id::CRL_NUMBER, false, |w| {
                        w.unsigned(&self.number.to_be_bytes());
                    });
                    w.bytes(self.authority_key_id);
                });
            });
            // An empty list is left out (5.1.2.6).
            if !self.revoked.is_empty() {
                w.nest(SEQUENCE, |w| {
                    for revoked in self.revoked.iter().rev() {
                        write_entry(w, revoked);
                    }
                });
            }
            write_time(w, self.next_update);
            write_time(w, self.this_update);
            w.bytes(self.issuer);
            w.bytes(self.algorithm);
            w.element(INTEGER, &[1]);
        });
        writer.into_vec()
    }
}

fn write_entry(w: &mut Writer, revoked: &Revoked) {
    w.nest(SEQUENCE, |w| {
        if let Some(reason) = revoked.reason {
            w.bytes(&[reason.code()]);
            w.bytes(REASON);
        }
        write_time(w, revoked.at.unix_timestamp());
        w.unsigned(revoked.serial.as_be_bytes());
    });
}

/// The extensions of an entry up to the code of the reasonCode, which is all they have (5.3.1).
const REASON: &[u8] = &[0x30, 12, 0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 0x0a, 1];
