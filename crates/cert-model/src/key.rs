//! What key a certificate asks for; illegal sizes cannot be written down.

use core::fmt;

/// The algorithm and size of a private key.
///
/// Whoever makes keys and signatures has to say what becomes of a new one, so that a new variant is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on a NIST curve.
    Ecdsa(Curve),
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA with a modulus of this size.
    Rsa(RsaSize),
}

impl Default for KeyAlgorithm {
    /// RSA-2048, cert-manager's default.
    fn default() -> Self {
        Self::Rsa(RsaSize::default())
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa(size) => write!(f, "RSA {}", size.bits()),
        }
    }
}

/// A NIST prime curve; complete by definition, as cert-manager has no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256r1.
    #[default]
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// The size that `privateKey.size` names: 256, 384 or 521.
    pub fn bits(self) -> u16 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// The curve of that size, or `None`.
    pub fn from_bits(bits: i64) -> Option<Self> {
        match bits {
            256 => Some(Self::P256),
            384 => Some(Self::P384),
            521 => Some(Self::P521),
            _ => None,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P-{}", self.bits())
    }
}

/// The size of an RSA modulus: 2048 to 8192 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RsaSize(u16);

impl RsaSize {
    /// The smallest size allowed.
    pub const MIN: Self = Self(2048);
    /// The largest size allowed.
    pub const MAX: Self = Self(8192);

    /// A size of `bits`, or `None` outside 2048..=8192.
    pub fn from_bits(bits: i64) -> Option<Self> {
        let size = Self(u16::try_from(bits).ok()?);
        (Self::MIN..=Self::MAX).contains(&size).then_some(size)
    }

    /// The size in bits.
    pub fn bits(self) -> u16 {
        self.0
    }
}

impl Default for RsaSize {
    fn default() -> Self {
        Self::MIN
    }
}

/// How a private key is written into `tls.key`; complete by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyEncoding {
    /// PKCS#1 for RSA, SEC1 for ECDSA; Ed25519 has no such form and is PKCS#8.
    #[default]
    Pkcs1,
    /// PKCS#8 for every algorithm.
    Pkcs8,
}

/// What happens to the private key when a certificate is issued again; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotationPolicy {
    /// A new key for every certificate, also for the first.
    Always,
    /// The key in the Secret is used again; a new one is made only if there is none.
    Never,
}

/// The signature algorithm of a request (`spec.signatureAlgorithm`). `Display` writes its name.
///
/// Whoever signs has to say what becomes of a new one, so that a new variant is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are cert-manager's own")]
pub enum SignatureAlgorithm {
    EcdsaWithSha256,
    EcdsaWithSha384,
    EcdsaWithSha512,
    PureEd25519,
    Sha256WithRsa,
    Sha384WithRsa,
    Sha512WithRsa,
}

impl SignatureAlgorithm {
    /// All seven.
    pub const ALL: [Self; 7] = [
        Self::EcdsaWithSha256,
        Self::EcdsaWithSha384,
        Self::EcdsaWithSha512,
        Self::PureEd25519,
        Self::Sha256WithRsa,
        Self::Sha384WithRsa,
        Self::Sha512WithRsa,
    ];

    /// The name in cert-manager's API, for example `SHA256WithRSA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaWithSha256 => "ECDSAWithSHA256",
            Self::EcdsaWithSha384 => "ECDSAWithSHA384",
            Self::EcdsaWithSha512 => "ECDSAWithSHA512",
            Self::PureEd25519 => "PureEd25519",
            Self::Sha256WithRsa => "SHA256WithRSA",
            Self::Sha384WithRsa => "SHA384WithRSA",
            Self::Sha512WithRsa => "SHA512WithRSA",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// The key that makes such signatures, by the name `privateKey.algorithm` has for it.
    pub const fn key_algorithm(self) -> &'static str {
        match self {
            Self::EcdsaWithSha256 | Self::EcdsaWithSha384 | Self::EcdsaWithSha512 => "ECDSA",
            Self::PureEd25519 => "Ed25519",
            Self::Sha256WithRsa | Self::Sha384WithRsa | Self::Sha512WithRsa => "RSA",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The key a specification asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySpec {
    /// Algorithm and size.
    pub algorithm: KeyAlgorithm,
    /// How `tls.key` is written.
    pub encoding: KeyEncoding,
    /// What happens at the next issue.
    pub rotation: RotationPolicy,
}
