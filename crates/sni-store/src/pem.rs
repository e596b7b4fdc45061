//! Blocks out of PEM text (RFC 7468).

use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivateSec1KeyDer};
use x509_parser::asn1_rs::{Any, FromDer as _, Tag};

/// Every certificate of the text, in order.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// The first private key of the text: PKCS #8, PKCS #1 or SEC1; `None` if there is none.
pub(crate) fn private_key(pem: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, String> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(Some(key)),
        Err(Error::NoItemsFound) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// An elliptic curve key out of its PKCS #8 wrapping (RFC 5208 section 5, RFC 5915 section 3).
///
/// rustls' providers try a PKCS #8 key as RSA first and check all of it on the way; told that it is an
/// elliptic curve key they load it in half the time.
pub(crate) fn unwrapped(key: &PrivateKeyDer<'_>) -> Option<PrivateKeyDer<'static>> {
    let PrivateKeyDer::Pkcs8(key) = key else {
        return None;
    };
    let (_, outer) = Any::from_der(key.secret_pkcs8_der()).ok()?;
    let (rest, _version) = Any::from_der(outer.data).ok()?;
    let (rest, algorithm) = Any::from_der(rest).ok()?;
    let (_, inner) = Any::from_der(rest).ok()?;
    let is_ec = algorithm.data.starts_with(&ID_EC_PUBLIC_KEY) && inner.tag() == Tag::OctetString;
    is_ec.then(|| PrivateSec1KeyDer::from(inner.data.to_vec()).into())
}

/// 1.2.840.10045.2.1 (RFC 5480 section 2.1.1) with tag and length.
const ID_EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
