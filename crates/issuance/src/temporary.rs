//! Certificates for the time until the real one is there
//! (`cert-manager.io/issue-temporary-certificate`).

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_cert_model::usage::{KeyUsage, Usage, Usages};
use time::OffsetDateTime;

use crate::authority::{CaError, CertificateAuthority};
use crate::bundle::SignedBundle;
use crate::certificate::CertificateError;
use crate::csr::{CsrError, CsrPolicy, Request, VerifiedCsr};
use crate::key_pair::{KeyError, KeyPair};
use crate::profile::Profile;
use crate::self_signed::self_signed;
use crate::signing::SignError;

/// The common name of the CA nobody knows.
const COMMON_NAME: &str = "cert-manager.local";

/// Signs a request with a CA that is thrown away at once: a server can start with it, and nobody
/// trusts it. There is no `ca.crt`, so the real issuance still counts as due.
///
/// # Errors
///
/// What a CA without name constraints refuses: usages, basic constraints or a lifetime that the
/// profile does not allow.
pub fn temporary(
    csr: &VerifiedCsr,
    profile: &Profile,
    now: OffsetDateTime,
) -> Result<SignedBundle, TemporaryError> {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let request = Request {
        subject: crate::name::common_name(COMMON_NAME),
        ..Request::default()
    };
    let mut ca_profile = Profile::ca(
        Usages::from_iter([Usage::Key(KeyUsage::CertSign)]),
        profile.duration,
        None,
    );
    ca_profile.backdate = profile.backdate;
    let ca_csr = request.sign(&key)?.verify(&CsrPolicy::default())?;
    let ca = self_signed(&ca_csr, &key, &ca_profile, now)?.certificate()?;
    let authority = CertificateAuthority::new(vec![ca], key, now)?;
    Ok(authority.sign(csr, profile, now)?.without_authority())
}

/// Why there is no temporary certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemporaryError {
    /// The throw-away CA could not be made.
    #[error("the temporary CA is not usable")]
    Ca(#[from] CaError),
    /// The throw-away CA's certificate could not be read.
    #[error("the temporary CA's certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// The throw-away CA's request could not be made.
    #[error("the temporary CA cannot be requested")]
    Csr(#[from] CsrError),
    /// The throw-away CA's key could not be made.
    #[error("the temporary CA has no key")]
    Key(#[from] KeyError),
    /// The certificate was not signed.
    #[error("the temporary certificate is not signed")]
    Sign(#[from] SignError),
}
