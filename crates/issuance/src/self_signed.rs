//! Certificates that are their own issuer: cert-manager's SelfSigned, for roots and for leaves.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::bundle::SignedBundle;
use crate::csr::VerifiedCsr;
use crate::encode::tbs::EMPTY_NAME;
use crate::key_pair::KeyPair;
use crate::profile::Profile;
use crate::serial::Serial;
use crate::signing::{self, SignError, Signer, ToBeSigned};

/// Signs a request with its own key. `tls.crt` and `ca.crt` of the result are both the certificate.
///
/// # Errors
///
/// A key that is not the request's, an empty subject, usages, basic constraints or a lifetime that
/// the profile does not allow.
pub fn self_signed(
    csr: &VerifiedCsr,
    key: &KeyPair,
    profile: &Profile,
    now: OffsetDateTime,
) -> Result<SignedBundle, SignError> {
    prepare_self_signed(csr, profile, now, Serial::random()?)?.sign(key)
}

/// The first half of [`self_signed`].
///
/// # Errors
///
/// As [`self_signed`].
pub fn prepare_self_signed(
    csr: &VerifiedCsr,
    profile: &Profile,
    now: OffsetDateTime,
    serial: Serial,
) -> Result<ToBeSigned, SignError> {
    if csr.subject_der() == EMPTY_NAME {
        return Err(SignError::NamelessIssuer);
    }
    let signer = Signer::new(csr.subject_der(), csr.public_key().clone(), csr.key_id());
    signing::prepare(Arc::new(signer), None, csr, profile, now, serial)
}
