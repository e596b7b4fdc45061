//! A certificate of our own making, for names nobody gave us one for.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};

use crate::default::{DefaultEntry, DefaultMaker};

/// A self-signed certificate with a fresh P-256 key, valid for ten years from an hour before
/// `now`, for a name nobody asks for: clients that verify refuse it, the others learn that nothing is
/// configured for the name they sent (Traefik's documentation, "Self-Signed Default TLS Certificate").
///
/// # Errors
/// If the provider cannot use a P-256 key.
pub fn self_signed(
    provider: &CryptoProvider,
    now: OffsetDateTime,
) -> Result<CertifiedKey, SelfSignedError> {
    let made = |error: rcgen::Error| SelfSignedError::Make(error.to_string());
    let key = KeyPair::generate().map_err(made)?;
    let mut params = CertificateParams::new([NAME.to_owned()]).map_err(made)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "certwright default certificate");
    // Clocks of clients differ.
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::days(VALID_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).map_err(made)?;
    let key = provider
        .key_provider
        .load_private_key(PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .map_err(|error| SelfSignedError::Key(error.to_string()))?;
    Ok(CertifiedKey::new(vec![certificate.into()], key))
}

impl DefaultEntry<CertifiedKey> {
    /// A [`self_signed`] certificate, made when the first configuration is applied.
    pub fn self_signed(provider: Arc<CryptoProvider>, clock: Arc<dyn TimeProvider>) -> Self {
        Self::OnDemand(DefaultMaker::new(move || {
            let now = clock.current_time().ok_or(SelfSignedError::Clock)?;
            let seconds = i64::try_from(now.as_secs()).map_err(|_| SelfSignedError::Clock)?;
            let now =
                OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| SelfSignedError::Clock)?;
            self_signed(&provider, now)
        }))
    }
}

/// Why no self-signed certificate was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelfSignedError {
    /// The clock tells no time a certificate can hold.
    #[error("the clock has no usable time")]
    Clock,
    /// The provider refuses the key.
    #[error("the crypto provider cannot use a P-256 key: {0}")]
    Key(String),
    /// The certificate could not be written.
    #[error("the certificate could not be made: {0}")]
    Make(String),
}

/// Long enough that no process outlives it; what it says is not verified anyway.
const VALID_DAYS: i64 = 3650;
/// RFC 6761 section 6.4: never resolves.
const NAME: &str = "certwright-default.invalid";
