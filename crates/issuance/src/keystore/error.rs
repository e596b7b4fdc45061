use crate::certificate::CertificateError;
use crate::key_pair::KeyError;

/// Why a keystore cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The key's alias is that of a CA's entry, which would replace the key.
    #[error("the alias {alias:?} is that of a CA's own entry; choose another for the key")]
    AliasClash {
        /// The alias, as Java sees it.
        alias: String,
    },
    /// An alias that the format has no room for.
    #[error("the alias has {found} bytes, more than the {max} a JKS store has room for")]
    AliasTooLong {
        /// Its length in Java's encoding.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// Certificates in the Secret that cannot be read.
    #[error("{name} cannot be read")]
    Certificate {
        /// The Secret's key that holds them.
        name: &'static str,
        /// Why.
        source: CertificateError,
    },
    /// The cryptographic library failed to encrypt.
    #[error("the cryptographic library failed to encrypt the store")]
    Encrypt,
    /// The private key is not that of the first certificate.
    #[error("the private key is not the certificate's")]
    ForeignKey,
    /// The private key cannot be read or exported.
    #[error("the private key cannot be put into a keystore")]
    Key(#[source] KeyError),
    /// The Secret lacks what goes into a keystore.
    #[error("the Secret has no {name}")]
    Missing {
        /// The Secret's key.
        name: &'static str,
    },
    /// A key without a certificate, or a trust store without a CA.
    #[error("there is no certificate to put into the keystore")]
    NoCertificate,
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    Random,
    /// A certificate or key that the format has no room for.
    #[error("an entry has {found} bytes, more than a JKS store has room for")]
    TooLarge {
        /// Its length.
        found: usize,
    },
}

/// Why a keystore has no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The reference leads to an empty value.
    #[error("the keystore password under {key:?} of Secret {secret:?} is empty")]
    Empty {
        /// The Secret's name.
        secret: String,
        /// The key within it.
        key: String,
    },
    /// The reference leads nowhere.
    #[error("there is no keystore password under {key:?} of Secret {secret:?}")]
    Missing {
        /// The Secret's name.
        secret: String,
        /// The key within it.
        key: String,
    },
    /// The reference leads to something that is not text.
    #[error("the keystore password under {key:?} of Secret {secret:?} is not UTF-8 from byte {at}")]
    NotText {
        /// The Secret's name.
        secret: String,
        /// The key within it.
        key: String,
        /// Where the text ends.
        at: usize,
    },
}
