//! Certificates and keys out of PEM text.

use certwright_cert_model::pem::{self, PemError};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

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

/// The tag and content of the first DER element, and what follows it (X.690 section 8.1).
fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, length) = match *der {
        [_, length @ ..=0x7f, ..] => (2, usize::from(length)),
        [_, 0x81, length, ..] => (3, usize::from(length)),
        [_, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    let (element, rest) = der.split_at_checked(header + length)?;
    Some((element[0], &element[header..], rest))
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
/// 1.2.840.10045.2.1 (RFC 5480 section 2.1.1) with tag and length.
const ID_EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
