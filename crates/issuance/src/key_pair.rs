//! Private keys: made, read, written, used.

mod container;
mod error;

use core::fmt;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding, RsaSize, SignatureAlgorithm};
use certwright_cert_model::pem;
use zeroize::Zeroizing;

use crate::pem_limit;
use crate::public_key::{PublicKey, PublicKeyError};
use container::Form;

pub use error::KeyError;

/// A private key with its public half.
///
/// `Debug` shows the algorithm and the public key's identifier only; there is no `Clone`; every
/// buffer that held the key is wiped.
pub struct KeyPair {
    private: Private,
    public: PublicKey,
}

enum Private {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

impl KeyPair {
    /// Makes a key: RSA with 2048, 3072, 4096 or 8192 bits, ECDSA on any of the three curves, or
    /// Ed25519.
    ///
    /// # Errors
    ///
    /// An RSA size that this library cannot generate (it can import all from 2048 to 8192 bits),
    /// or no randomness from the system.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Random;
        let private = match algorithm {
            KeyAlgorithm::Ecdsa(curve) => {
                Private::Ecdsa(EcdsaKeyPair::generate(signing(curve)).map_err(failed)?)
            }
            KeyAlgorithm::Ed25519 => Private::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            KeyAlgorithm::Rsa(size) => {
                let size = rsa_size(size)?;
                Private::Rsa(rsa::KeyPair::generate(size).map_err(failed)?)
            }
        };
        Self::new(private, algorithm)
    }

    /// Reads the private key of a PEM text: its first block, which must be `PRIVATE KEY` (PKCS#8),
    /// `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC1); OpenSSL's `EC PARAMETERS` may precede
    /// it. What follows is not looked at.
    ///
    /// # Errors
    ///
    /// No such block, content that is not what the label says, an encrypted, unsupported,
    /// inconsistent or weak key, or a text of more than [`pem_limit::PRIVATE_KEY`] bytes.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        pem_limit::check(text, pem_limit::PRIVATE_KEY)?;
        let blocks = pem::read(text)?;
        let block = blocks
            .iter()
            .find(|block| block.label() != "EC PARAMETERS")
            .ok_or(KeyError::NoKey)?;
        let form = match block.label() {
            "PRIVATE KEY" => Form::Pkcs8,
            "RSA PRIVATE KEY" => Form::Pkcs1,
            "EC PRIVATE KEY" => Form::Sec1,
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            found => {
                return Err(KeyError::Label {
                    found: found.to_owned(),
                    line: block.line(),
                });
            }
        };
        match container::recognize(block.der()) {
            Some(found) if found != form => Err(KeyError::Mislabelled {
                label: block.label().to_owned(),
                found: found.name(),
            }),
            _ => Self::from_form(block.der(), form),
        }
    }

    /// Reads a private key in DER: PKCS#8 (version 1 or 2), PKCS#1 or SEC1 with its curve.
    ///
    /// # Errors
    ///
    /// As [`KeyPair::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_form(der, container::recognize(der).unwrap_or(Form::Pkcs8))
    }

    fn from_form(der: &[u8], form: Form) -> Result<Self, KeyError> {
        let key = container::open(der, form)?;
        let rejected = |rejected: aws_lc_rs::error::KeyRejected| KeyError::Rejected {
            reason: rejected.to_string(),
        };
        let (private, algorithm) = match key {
            container::Inner::Ecdsa { curve, der } => {
                let key = EcdsaKeyPair::from_private_key_der(signing(curve), &der);
                (
                    Private::Ecdsa(key.map_err(rejected)?),
                    KeyAlgorithm::Ecdsa(curve),
                )
            }
            container::Inner::Ed25519 { seed, public } => {
                let key = match public {
                    Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
                    None => Ed25519KeyPair::from_seed_unchecked(seed),
                };
                (
                    Private::Ed25519(key.map_err(rejected)?),
                    KeyAlgorithm::Ed25519,
                )
            }
            container::Inner::Rsa { pkcs1, bits } => {
                let size = i64::try_from(bits).ok().and_then(RsaSize::from_bits);
                let size = size.ok_or(PublicKeyError::RsaSize { found: bits })?;
                let key = rsa::KeyPair::from_der(pkcs1).map_err(rejected)?;
                (Private::Rsa(key), KeyAlgorithm::Rsa(size))
            }
        };
        let pair = Self::new(private, algorithm)?;
        if pair.public.has_small_exponent() {
            return Err(KeyError::SmallExponent);
        }
        Ok(pair)
    }

    fn new(private: Private, algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let bytes = match &private {
            Private::Ecdsa(key) => key.public_key().as_ref(),
            Private::Ed25519(key) => key.public_key().as_ref(),
            Private::Rsa(key) => key.public_key().as_ref(),
        };
        let public = PublicKey::from_parts(algorithm, bytes)?;
        Ok(Self { private, public })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Algorithm and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.public.algorithm()
    }

    /// The key as PEM, as `tls.key` holds it: [`KeyEncoding::Pkcs1`] is PKCS#1 for RSA and SEC1 with
    /// its curve for ECDSA; Ed25519 is PKCS#8 version 1 always, which OpenSSL 3.0 reads as well.
    ///
    /// # Errors
    ///
    /// The cryptographic library refuses to export the key.
    pub fn to_pem(&self, encoding: KeyEncoding) -> Result<Zeroizing<String>, KeyError> {
        Ok(pem::write(
            self.pem_label(encoding),
            &self.to_der(encoding)?,
        ))
    }

    /// The label of [`KeyPair::to_pem`]'s block.
    pub fn pem_label(&self, encoding: KeyEncoding) -> &'static str {
        pem_label(self.algorithm(), encoding)
    }

    /// The key as DER: what is inside [`KeyPair::to_pem`]'s block, as `key.der` holds it.
    ///
    /// # Errors
    ///
    /// The cryptographic library refuses to export the key.
    pub fn to_der(&self, encoding: KeyEncoding) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::Export;
        let pkcs8 = match &self.private {
            Private::Ecdsa(key) if encoding == KeyEncoding::Pkcs1 => {
                let key = key.private_key();
                let sec1 = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&key).map_err(failed)?;
                return Ok(Zeroizing::new(sec1.as_ref().to_vec()));
            }
            Private::Ecdsa(key) => copy(key.to_pkcs8v1().map_err(failed)?.as_ref()),
            Private::Ed25519(key) => copy(key.to_pkcs8v1().map_err(failed)?.as_ref()),
            Private::Rsa(key) => {
                let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(key).map_err(failed)?;
                copy(pkcs8.as_ref())
            }
        };
        match &self.private {
            Private::Rsa(_) if encoding == KeyEncoding::Pkcs1 => {
                Ok(copy(container::private_key(&pkcs8)?))
            }
            _ => Ok(pkcs8),
        }
    }

    /// Signs `message`, hashing it as `algorithm` says.
    ///
    /// # Errors
    ///
    /// An algorithm that this key cannot sign with, or a failure of the cryptographic library.
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Sign;
        let random = SystemRandom::new();
        match (&self.private, algorithm) {
            (Private::Ed25519(key), SignatureAlgorithm::PureEd25519) => {
                Ok(key.try_sign(message).map_err(failed)?.as_ref().to_vec())
            }
            (Private::Ecdsa(key), _) if algorithm == self.public.signature_algorithm() => Ok(key
                .sign(&random, message)
                .map_err(failed)?
                .as_ref()
                .to_vec()),
            (Private::Ecdsa(key), _) => {
                // aws-lc-rs ties a key to one hash; only P-521 signs with another.
                let other = match (self.algorithm(), algorithm) {
                    (KeyAlgorithm::Ecdsa(Curve::P521), SignatureAlgorithm::EcdsaWithSha256) => {
                        &signature::ECDSA_P521_SHA256_ASN1_SIGNING
                    }
                    (KeyAlgorithm::Ecdsa(Curve::P521), SignatureAlgorithm::EcdsaWithSha384) => {
                        &signature::ECDSA_P521_SHA384_ASN1_SIGNING
                    }
                    (key, _) => return Err(KeyError::SignatureAlgorithm { algorithm, key }),
                };
                let pkcs8 = copy(key.to_pkcs8v1().map_err(failed)?.as_ref());
                let key = EcdsaKeyPair::from_pkcs8(other, &pkcs8).map_err(|_| KeyError::Sign)?;
                Ok(key
                    .sign(&random, message)
                    .map_err(failed)?
                    .as_ref()
                    .to_vec())
            }
            (Private::Rsa(key), _) => {
                let padding = match algorithm {
                    SignatureAlgorithm::Sha256WithRsa => &signature::RSA_PKCS1_SHA256,
                    SignatureAlgorithm::Sha384WithRsa => &signature::RSA_PKCS1_SHA384,
                    SignatureAlgorithm::Sha512WithRsa => &signature::RSA_PKCS1_SHA512,
                    _ => {
                        let key = self.algorithm();
                        return Err(KeyError::SignatureAlgorithm { algorithm, key });
                    }
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            (Private::Ed25519(_), _) => Err(KeyError::SignatureAlgorithm {
                algorithm,
                key: self.algorithm(),
            }),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// The label of a private key's PEM block, by cert-manager's rule.
pub fn pem_label(algorithm: KeyAlgorithm, encoding: KeyEncoding) -> &'static str {
    match (algorithm, encoding) {
        (KeyAlgorithm::Ecdsa(_), KeyEncoding::Pkcs1) => "EC PRIVATE KEY",
        (KeyAlgorithm::Rsa(_), KeyEncoding::Pkcs1) => "RSA PRIVATE KEY",
        (_, KeyEncoding::Pkcs8) | (KeyAlgorithm::Ed25519, _) => "PRIVATE KEY",
    }
}

/// The one hash each curve signs with by default; the key remembers it.
fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
    }
}

fn rsa_size(size: RsaSize) -> Result<rsa::KeySize, KeyError> {
    match size.bits() {
        2048 => Ok(rsa::KeySize::Rsa2048),
        3072 => Ok(rsa::KeySize::Rsa3072),
        4096 => Ok(rsa::KeySize::Rsa4096),
        8192 => Ok(rsa::KeySize::Rsa8192),
        bits => Err(KeyError::CannotGenerate { bits }),
    }
}

fn copy(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn algorithms() -> [KeyAlgorithm; 5] {
        [
            KeyAlgorithm::Rsa(RsaSize::MIN),
            KeyAlgorithm::Ecdsa(Curve::P256),
            KeyAlgorithm::Ecdsa(Curve::P384),
            KeyAlgorithm::Ecdsa(Curve::P521),
            KeyAlgorithm::Ed25519,
        ]
    }

    #[test]
    fn keys_survive_every_encoding() {
        for algorithm in algorithms() {
            let key = KeyPair::generate(algorithm).unwrap();
            for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
                let pem = key.to_pem(encoding).unwrap();
                let again = KeyPair::from_pem(pem.as_bytes()).unwrap();
                assert_eq!(again.public_key(), key.public_key(), "{algorithm}");
                let again = KeyPair::from_der(&key.to_der(encoding).unwrap()).unwrap();
                assert_eq!(*again.to_pem(encoding).unwrap(), *pem, "{algorithm}");
            }
        }
    }

    #[test]
    fn signatures_verify() {
        use SignatureAlgorithm::*;
        for algorithm in algorithms() {
            let key = KeyPair::generate(algorithm).unwrap();
            for signature_algorithm in [
                EcdsaWithSha256,
                EcdsaWithSha384,
                EcdsaWithSha512,
                PureEd25519,
                Sha256WithRsa,
                Sha384WithRsa,
                Sha512WithRsa,
            ] {
                let Ok(signature) = key.sign(signature_algorithm, b"message") else {
                    assert_ne!(signature_algorithm, key.public_key().signature_algorithm());
                    continue;
                };
                let identifier = crate::public_key::signature_identifier(signature_algorithm);
                let public = key.public_key();
                public.verify(&identifier, b"message", &signature).unwrap();
                assert!(public.verify(&identifier, b"other", &signature).is_err());
            }
        }
    }

    #[test]
    fn odd_sizes_are_refused_with_the_list() {
        let size = RsaSize::from_bits(2560).unwrap();
        let error = KeyPair::generate(KeyAlgorithm::Rsa(size)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot generate an RSA key of 2560 bits; choose 2048, 3072, 4096 or 8192, or import a key made elsewhere"
        );
    }

    #[test]
    fn labels_must_tell_the_truth() {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let sec1 = key.to_der(KeyEncoding::Pkcs1).unwrap();
        let pkcs8 = key.to_der(KeyEncoding::Pkcs8).unwrap();
        for (label, der) in [
            ("PRIVATE KEY", &sec1),
            ("RSA PRIVATE KEY", &sec1),
            ("EC PRIVATE KEY", &pkcs8),
        ] {
            let error = KeyPair::from_pem(pem::write(label, der).as_bytes()).unwrap_err();
            assert!(matches!(error, KeyError::Mislabelled { .. }), "{error}");
        }
        let text = pem::write("CERTIFICATE", b"x");
        assert!(matches!(
            KeyPair::from_pem(text.as_bytes()),
            Err(KeyError::Label { line: 1, .. })
        ));
        assert_eq!(KeyPair::from_pem(b"").unwrap_err(), KeyError::NoKey);
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
        let text = format!("{key:?}");
        assert!(
            text.starts_with("KeyPair { public: PublicKey(Ed25519, id "),
            "{text}"
        );
        assert_eq!(
            text.len(),
            "KeyPair { public: PublicKey(Ed25519, id ), .. }".len() + 40
        );
    }
}
