//! Public keys: what a SubjectPublicKeyInfo says, and signatures made with its private half.

use core::fmt;
use core::ops::Range;

use aws_lc_rs::digest;
use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize, SignatureAlgorithm};
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use webpki::aws_lc_rs as verify;

use crate::decode::{BIT_STRING, DerError, INTEGER, OID, Reader, SEQUENCE, dotted, unsigned};
use crate::encode::Writer;

/// A public key with the DER of its SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
///
/// RSA has 2048 to 8192 bits and an odd exponent above 1; EC points are uncompressed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    /// Where the content of the AlgorithmIdentifier is in `spki`.
    identifier: Range<usize>,
    /// Where the key itself starts in `spki`; it ends where `spki` does.
    key_at: usize,
    algorithm: KeyAlgorithm,
    exponent: RsaExponent,
}

/// Whether an RSA exponent is one that today's rules allow in new keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RsaExponent {
    /// At least 65537, or the key is not RSA.
    Common,
    /// 3 to 65535.
    Small,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo. The algorithm is taken from here and nowhere else.
    ///
    /// # Errors
    ///
    /// Not DER, an algorithm or curve other than RSA, P-256, P-384, P-521 and Ed25519, or a key
    /// that is too weak.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, PublicKeyError> {
        let mut outer = Reader::new(spki);
        let sequence = outer.expect(SEQUENCE, "expected a SubjectPublicKeyInfo SEQUENCE")?;
        let mut fields = outer.inside(&sequence);
        outer.finish()?;
        let identifier = fields.expect(SEQUENCE, "expected an AlgorithmIdentifier SEQUENCE")?;
        let key = fields.octet_bits()?;
        fields.clone().finish()?;
        let mut exponent = RsaExponent::Common;
        let content = identifier.content(spki);
        let bytes = key.content(spki);
        let algorithm = if content == alg_id::RSA_ENCRYPTION.as_ref() {
            let (bits, small) = read_rsa(Reader::new(bytes))?;
            exponent = small;
            KeyAlgorithm::Rsa(bits)
        } else if content == alg_id::ED25519.as_ref() {
            point_length(bytes, KeyAlgorithm::Ed25519, 32)?;
            KeyAlgorithm::Ed25519
        } else if let Some((curve, _)) = CURVES.iter().find(|(_, id)| content == id.as_ref()) {
            let algorithm = KeyAlgorithm::Ecdsa(*curve);
            let coordinate = usize::from(curve.bits()).div_ceil(8);
            point_length(bytes, algorithm, 1 + 2 * coordinate)?;
            if bytes.first() != Some(&4) {
                return Err(PublicKeyError::Point { algorithm });
            }
            algorithm
        } else {
            let mut identifier = fields.inside(&identifier);
            let oid = identifier.expect(OID, "expected an object identifier")?;
            return Err(PublicKeyError::Algorithm {
                oid: dotted(oid.content(spki)),
                parameters: match identifier.optional(OID)? {
                    Some(curve) => format!(" with curve {}", dotted(curve.content(spki))),
                    None => String::new(),
                },
            });
        };
        Ok(Self {
            spki: spki.to_vec(),
            identifier: identifier.body..identifier.end,
            key_at: key.body,
            algorithm,
            exponent,
        })
    }

    /// A key of known algorithm, from the bytes of its BIT STRING.
    pub(crate) fn from_parts(algorithm: KeyAlgorithm, key: &[u8]) -> Result<Self, PublicKeyError> {
        let identifier = match algorithm {
            KeyAlgorithm::Rsa(_) => alg_id::RSA_ENCRYPTION,
            KeyAlgorithm::Ed25519 => alg_id::ED25519,
            KeyAlgorithm::Ecdsa(Curve::P256) => alg_id::ECDSA_P256,
            KeyAlgorithm::Ecdsa(Curve::P384) => alg_id::ECDSA_P384,
            KeyAlgorithm::Ecdsa(Curve::P521) => alg_id::ECDSA_P521,
        };
        let mut writer = Writer::with_capacity(key.len() + 40);
        writer.nest(SEQUENCE, |w| {
            w.nest(BIT_STRING, |w| {
                w.bytes(key);
                w.bytes(&[0]);
            });
            w.element(SEQUENCE, identifier.as_ref());
        });
        Self::from_spki_der(writer.written())
    }

    /// The DER of the SubjectPublicKeyInfo; two keys are the same if and only if this is.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Algorithm and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Whether this is an RSA key with an exponent below 65537, which no new key should have.
    pub fn has_small_exponent(&self) -> bool {
        self.exponent == RsaExponent::Small
    }

    /// The key identifier: the first 160 bits of the SHA-256 of the key's bits (RFC 7093, 2, method 1).
    pub fn key_id(&self) -> [u8; 20] {
        let hash = digest::digest(&digest::SHA256, self.key_bytes());
        let mut id = [0; 20];
        id.copy_from_slice(&hash.as_ref()[..20]);
        id
    }

    /// The algorithm this key's private half signs certificates with, as cert-manager chooses it:
    /// the hash grows with the key.
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        signature_algorithm_of(self.algorithm)
    }

    pub(crate) fn key_bytes(&self) -> &[u8] {
        &self.spki[self.key_at..]
    }

    /// Checks a signature; `identifier` is the content of the AlgorithmIdentifier beside it.
    pub(crate) fn verify(
        &self,
        identifier: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let key_identifier = &self.spki[self.identifier.clone()];
        let algorithm = ALGORITHMS.iter().find(|algorithm| {
            algorithm.signature_alg_id().as_ref() == identifier
                && algorithm.public_key_alg_id().as_ref() == key_identifier
        });
        let Some(algorithm) = algorithm else {
            let oid = Reader::new(identifier).any();
            return Err(SignatureError::Algorithm {
                found: oid.map_or_else(|_| String::new(), |oid| dotted(oid.content(identifier))),
                key: self.algorithm,
            });
        };
        algorithm
            .verify_signature(self.key_bytes(), message, signature)
            .map_err(|_| SignatureError::Wrong)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, id ", self.algorithm)?;
        for octet in self.key_id() {
            write!(f, "{octet:02x}")?;
        }
        f.write_str(")")
    }
}

/// The signature algorithm cert-manager chooses for a key: for RSA, ECDSA and Ed25519 alike the
/// hash that matches the key's strength.
pub fn signature_algorithm_of(key: KeyAlgorithm) -> SignatureAlgorithm {
    match key {
        KeyAlgorithm::Ecdsa(Curve::P256) => SignatureAlgorithm::EcdsaWithSha256,
        KeyAlgorithm::Ecdsa(Curve::P384) => SignatureAlgorithm::EcdsaWithSha384,
        KeyAlgorithm::Ecdsa(Curve::P521) => SignatureAlgorithm::EcdsaWithSha512,
        KeyAlgorithm::Ed25519 => SignatureAlgorithm::PureEd25519,
        KeyAlgorithm::Rsa(size) => match size.bits() {
            4096.. => SignatureAlgorithm::Sha512WithRsa,
            3072.. => SignatureAlgorithm::Sha384WithRsa,
            _ => SignatureAlgorithm::Sha256WithRsa,
        },
    }
}

/// The content of the AlgorithmIdentifier of a signature.
pub(crate) fn signature_identifier(algorithm: SignatureAlgorithm) -> AlgorithmIdentifier {
    match algorithm {
        SignatureAlgorithm::EcdsaWithSha256 => alg_id::ECDSA_SHA256,
        SignatureAlgorithm::EcdsaWithSha384 => alg_id::ECDSA_SHA384,
        SignatureAlgorithm::EcdsaWithSha512 => alg_id::ECDSA_SHA512,
        SignatureAlgorithm::PureEd25519 => alg_id::ED25519,
        SignatureAlgorithm::Sha256WithRsa => alg_id::RSA_PKCS1_SHA256,
        SignatureAlgorithm::Sha384WithRsa => alg_id::RSA_PKCS1_SHA384,
        SignatureAlgorithm::Sha512WithRsa => alg_id::RSA_PKCS1_SHA512,
    }
}

const CURVES: [(Curve, AlgorithmIdentifier); 3] = [
    (Curve::P256, alg_id::ECDSA_P256),
    (Curve::P384, alg_id::ECDSA_P384),
    (Curve::P521, alg_id::ECDSA_P521),
];

/// Every signature we accept: no SHA-1, no RSA below 2048 bits.
pub(crate) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    verify::ECDSA_P256_SHA256,
    verify::ECDSA_P256_SHA384,
    verify::ECDSA_P256_SHA512,
    verify::ECDSA_P384_SHA256,
    verify::ECDSA_P384_SHA384,
    verify::ECDSA_P384_SHA512,
    verify::ECDSA_P521_SHA256,
    verify::ECDSA_P521_SHA384,
    verify::ECDSA_P521_SHA512,
    verify::ED25519,
    verify::RSA_PKCS1_2048_8192_SHA256,
    verify::RSA_PKCS1_2048_8192_SHA384,
    verify::RSA_PKCS1_2048_8192_SHA512,
    verify::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    verify::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    verify::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Size and exponent of an RSAPublicKey (RFC 8017, A.1.1).
fn read_rsa(mut outer: Reader<'_>) -> Result<(RsaSize, RsaExponent), PublicKeyError> {
    let input = outer.input();
    let sequence = outer.expect(SEQUENCE, "expected an RSAPublicKey SEQUENCE")?;
    let mut fields = outer.inside(&sequence);
    outer.finish()?;
    let mut number = |problem| {
        let element = fields.expect(INTEGER, problem)?;
        unsigned(element.content(input)).ok_or(DerError {
            at: element.start,
            problem,
        })
    };
    let modulus = number("expected the modulus, a positive INTEGER in its shortest form")?;
    let exponent = number("expected the exponent, a positive INTEGER in its shortest form")?;
    fields.finish()?;
    let leading = modulus.first().map_or(0, |octet| octet.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(leading as usize);
    let size = i64::try_from(bits).ok().and_then(RsaSize::from_bits);
    let size = size.ok_or(PublicKeyError::RsaSize { found: bits })?;
    let small = exponent.len() <= 4;
    let value = exponent
        .iter()
        .fold(0_u64, |sum, octet| sum.wrapping_shl(8) | u64::from(*octet));
    match value {
        _ if value % 2 == 0 || (small && value < 3) => Err(PublicKeyError::RsaExponent),
        ..65537 if small => Ok((size, RsaExponent::Small)),
        _ => Ok((size, RsaExponent::Common)),
    }
}

fn point_length(
    key: &[u8],
    algorithm: KeyAlgorithm,
    expected: usize,
) -> Result<(), PublicKeyError> {
    if key.len() == expected {
        Ok(())
    } else {
        Err(PublicKeyError::Point { algorithm })
    }
}

/// Why a public key is not one we work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Another algorithm or curve.
    #[error(
        "key algorithm {oid}{parameters} is not supported; use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519"
    )]
    Algorithm {
        /// The algorithm's object identifier.
        oid: String,
        /// The curve, as text for the message.
        parameters: String,
    },
    /// The bytes are not a SubjectPublicKeyInfo.
    #[error("the public key is not a DER SubjectPublicKeyInfo")]
    Der(#[from] DerError),
    /// The key's bytes are no uncompressed point of the algorithm.
    #[error("the public key is not an uncompressed {algorithm} point")]
    Point {
        /// The algorithm.
        algorithm: KeyAlgorithm,
    },
    /// An RSA exponent that is even or 1.
    #[error("the RSA exponent is even or below 3; make a new key with exponent 65537")]
    RsaExponent,
    /// An RSA modulus that is too small or too large.
    #[error("the RSA key has {found} bits, not 2048 to 8192")]
    RsaSize {
        /// Bits of the modulus.
        found: usize,
    },
}

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The algorithm is unknown, broken (SHA-1, MD5) or of another kind of key.
    #[error(
        "signature algorithm {found} is not accepted with an {key} key; sign with SHA-256 or better"
    )]
    Algorithm {
        /// The algorithm's object identifier.
        found: String,
        /// The key it was to be checked with.
        key: KeyAlgorithm,
    },
    /// The signature was not made by this key over these bytes.
    #[error("the signature does not verify with the key")]
    Wrong,
}
