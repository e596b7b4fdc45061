//! Certificates and keys out of PEM text.

use std::sync::Arc;

use certwright_cert_model::pem::{self, PemError};
use rustls::crypto::KeyProvider;
use rustls::sign::SigningKey;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use crate::der::{OCTET_STRING, SEQUENCE, tlv};

/// Every certificate of the text, in order.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let blocks = pem::read(text)?.into_iter();
    Ok(blocks
        .filter(|block| block.label() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.der().to_vec()))
        .collect())
}

/// The first private key of the text.
pub(crate) fn private_key(text: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, PemError> {
    let mut blocks = pem::read(text)?.into_iter();
    Ok(blocks.find_map(|block| {
        let der = || block.der().to_vec();
        Some(match block.label() {
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(der()).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der()).into(),
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der()).into(),
            _ => return None,
        })
    }))
}

/// The key as the provider's own, an elliptic curve key the quick way.
pub(crate) fn load_key(
    provider: &dyn KeyProvider,
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    if let Some(unwrapped) = unwrapped(key)
        && let Ok(loaded) = provider.load_private_key(unwrapped)
    {
        return Ok(loaded);
    }
    provider.load_private_key(key.clone_key())
}

/// An elliptic curve key out of its PKCS #8 wrapping (RFC 5208 section 5, RFC 5915 section 3).
///
/// rustls' providers try a PKCS #8 key as RSA first and check all of it on the way; told that it is an
/// elliptic curve key they load it in half the time.
pub(crate) fn unwrapped(key: &PrivateKeyDer<'_>) -> Option<PrivateKeyDer<'static>> {
    let PrivateKeyDer::Pkcs8(key) = key else {
        return None;
    };
    let (SEQUENCE, content, _) = tlv(key.secret_pkcs8_der())? else {
        return None;
    };
    let (_version, _, rest) = tlv(content)?;
    let (_, algorithm, rest) = tlv(rest)?;
    let (OCTET_STRING, inner, _) = tlv(rest)? else {
        return None;
    };
    let is_ec = algorithm.starts_with(&ID_EC_PUBLIC_KEY);
    is_ec.then(|| PrivateSec1KeyDer::from(inner.to_vec()).into())
}

/// 1.2.840.10045.2.1 (RFC 5480 section 2.1.1) with tag and length.
const ID_EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
