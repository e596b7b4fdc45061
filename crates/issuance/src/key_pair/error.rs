use certwright_cert_model::key::{KeyAlgorithm, SignatureAlgorithm};
use certwright_cert_model::pem::PemError;

use crate::decode::DerError;
use crate::pem_limit;
use crate::public_key::PublicKeyError;

/// Why a private key cannot be made, read, written or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// An RSA size that can be imported but not generated.
    #[error(
        "cannot generate an RSA key of {bits} bits; choose 2048, 3072, 4096 or 8192, or import a key made elsewhere"
    )]
    CannotGenerate {
        /// The size asked for.
        bits: u16,
    },
    /// The bytes are not the container they should be.
    #[error("the private key is not valid DER")]
    Der(#[from] DerError),
    /// The key is protected by a password.
    #[error("the private key is encrypted; decrypt it first, for example with openssl pkcs8")]
    Encrypted,
    /// The cryptographic library refuses to export the key.
    #[error("the private key cannot be exported")]
    Export,
    /// The first PEM block is something else.
    #[error(
        "the first PEM block (line {line}) is {found:?}, not PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY"
    )]
    Label {
        /// The label found.
        found: String,
        /// The line of its `BEGIN`.
        line: usize,
    },
    /// The text is longer than any private key of this kind.
    #[error("the text has {found} bytes, more than the {max} a private key may have")]
    TooLong {
        /// The text's length.
        found: usize,
        /// The most allowed.
        max: usize,
    },
    /// The label promises another container than the block holds.
    #[error("the PEM block is labelled {label} but holds {found}")]
    Mislabelled {
        /// The label.
        label: String,
        /// What the bytes are.
        found: &'static str,
    },
    /// A SEC1 key without its curve.
    #[error("the EC key does not name its curve; convert it with openssl pkcs8 -topk8")]
    NoCurve,
    /// The text has no PEM block.
    #[error("the text has no PEM block")]
    NoKey,
    /// The text is not PEM.
    #[error("the private key is not valid PEM")]
    Pem(#[from] PemError),
    /// The public half is not acceptable.
    #[error("the key is not acceptable")]
    Public(#[from] PublicKeyError),
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    Random,
    /// The cryptographic library found the key inconsistent.
    #[error("the private key was rejected: {reason}")]
    Rejected {
        /// Its word for why.
        reason: String,
    },
    /// The cryptographic library failed to sign.
    #[error("signing failed")]
    Sign,
    /// The key cannot sign with this algorithm.
    #[error(
        "{algorithm:?} cannot be made with an {key} key; leave signatureAlgorithm unset, or choose the curve's own hash"
    )]
    SignatureAlgorithm {
        /// The algorithm asked for.
        algorithm: SignatureAlgorithm,
        /// The key.
        key: KeyAlgorithm,
    },
    /// An RSA exponent below 65537.
    #[error("the RSA exponent is below 65537; make a new key")]
    SmallExponent,
}

impl From<pem_limit::TooLong> for KeyError {
    fn from(error: pem_limit::TooLong) -> Self {
        Self::TooLong {
            found: error.found,
            max: error.max,
        }
    }
}
