//! Keys to and from rcgen; the only place that knows it.

use certwright_cert_model::key::{KeyEncoding, SignatureAlgorithm};
use rcgen::{PublicKeyData, SigningKey};

use crate::bundle::SignedBundle;
use crate::key_pair::{KeyError, KeyPair};
use crate::public_key::PublicKey;
use crate::signing::{SignError, ToBeSigned};

/// A key made by rcgen.
///
/// # Errors
///
/// As [`KeyPair::from_der`]; a remote key of rcgen has no bytes to import, sign with
/// [`sign_with`] then.
pub fn import(key: &rcgen::KeyPair) -> Result<KeyPair, KeyError> {
    let der = zeroize::Zeroizing::new(key.serialize_der());
    KeyPair::from_der(&der)
}

/// A copy of a key for rcgen, which signs with the hash this crate would choose.
///
/// # Errors
///
/// The key cannot be exported, or rcgen refuses it.
pub fn export(key: &KeyPair) -> Result<rcgen::KeyPair, KeyError> {
    let der = key.to_der(KeyEncoding::Pkcs8)?;
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(der.as_slice());
    rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm(key.public_key())).map_err(
        |error| KeyError::Rejected {
            reason: error.to_string(),
        },
    )
}

/// The second half of signing with a key that only rcgen knows, for example one in an HSM.
///
/// # Errors
///
/// A key that is not the issuer's, one that fails to sign or signs otherwise than
/// [`ToBeSigned::algorithm`] says, or whatever the pre-flight finds.
pub fn sign_with(waiting: ToBeSigned, key: &impl SigningKey) -> Result<SignedBundle, SignError> {
    let signature = key.sign(waiting.bytes()).map_err(|error| {
        SignError::Key(KeyError::Rejected {
            reason: error.to_string(),
        })
    })?;
    waiting.complete(&signature)
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        self.public_key().key_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        algorithm(self.public_key())
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        KeyPair::sign(self, self.public_key().signature_algorithm(), message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

fn algorithm(key: &PublicKey) -> &'static rcgen::SignatureAlgorithm {
    match key.signature_algorithm() {
        SignatureAlgorithm::EcdsaWithSha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        SignatureAlgorithm::EcdsaWithSha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        SignatureAlgorithm::EcdsaWithSha512 => &rcgen::PKCS_ECDSA_P521_SHA512,
        SignatureAlgorithm::PureEd25519 => &rcgen::PKCS_ED25519,
        SignatureAlgorithm::Sha256WithRsa => &rcgen::PKCS_RSA_SHA256,
        SignatureAlgorithm::Sha384WithRsa => &rcgen::PKCS_RSA_SHA384,
        SignatureAlgorithm::Sha512WithRsa => &rcgen::PKCS_RSA_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize};

    #[test]
    fn keys_go_both_ways() {
        for algorithm in [
            KeyAlgorithm::Rsa(RsaSize::MIN),
            KeyAlgorithm::Ecdsa(Curve::P256),
            KeyAlgorithm::Ecdsa(Curve::P384),
            KeyAlgorithm::Ecdsa(Curve::P521),
            KeyAlgorithm::Ed25519,
        ] {
            let key = KeyPair::generate(algorithm).unwrap();
            let theirs = export(&key).unwrap();
            assert_eq!(
                theirs.subject_public_key_info(),
                key.public_key().spki_der()
            );
            assert_eq!(import(&theirs).unwrap().public_key(), key.public_key());
        }
    }
}
