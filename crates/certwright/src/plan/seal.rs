use core::fmt;

use aws_lc_rs::hmac;
use certwright_issuance::Certificate;

use crate::annotation;

/// Knows the certificates that a CA signed without verifying them again: hashing is some fifty times faster than a
/// signature's verification.
///
/// What it knows them by is written on their Secrets, and only who has the CA's private key can write it: whoever
/// edits a Secret may lose the mark, and then the signature is verified, but cannot forge it.
pub(crate) struct Seal(hmac::Key);

impl Seal {
    /// The seal of a CA with this private key, as it is stored. The same key stored otherwise is another seal.
    pub(crate) fn of_key(stored: &[u8]) -> Self {
        // The key itself authenticates nothing but what it becomes.
        let key = hmac::Key::new(hmac::HMAC_SHA256, stored);
        let derived = hmac::sign(&key, b"certwright seal of issued certificates");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The mark of a certificate whose signature was verified.
    pub(crate) fn mark(&self, leaf: &Certificate) -> String {
        annotation::hex(hmac::sign(&self.0, leaf.der()).as_ref())
    }

    /// Whether this is the mark of that certificate.
    pub(super) fn holds(&self, mark: &str, leaf: &Certificate) -> bool {
        annotation::unhex(mark).is_some_and(|mark| hmac::verify(&self.0, leaf.der(), &mark).is_ok())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}
