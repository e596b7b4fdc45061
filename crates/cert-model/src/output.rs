//! What a TLS Secret holds beyond `tls.crt`, `tls.key` and `ca.crt`.

use core::fmt;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// An additional format of the key and the certificate (`spec.additionalOutputFormats`).
///
/// Whoever writes Secrets has to write a new one, so that a new variant is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputFormat {
    /// `tls-combined.pem`: the key, a newline, the chain.
    CombinedPem,
    /// `key.der`: the bytes inside `tls.key`.
    Der,
}

/// The keystores to keep in the Secret (`spec.keystores`); one whose `create` is false is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keystores {
    /// `keystore.jks` and `truststore.jks`.
    pub jks: Option<JksKeystore>,
    /// `keystore.p12` and `truststore.p12`.
    pub pkcs12: Option<Pkcs12Keystore>,
}

/// A Java keystore.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JksKeystore {
    /// The key entry's alias; `certificate` by default, never `ca`.
    pub alias: String,
    /// What the store is locked with.
    pub password: KeystorePassword,
}

/// A PKCS#12 keystore (RFC 7292).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pkcs12Keystore {
    /// Which algorithms it uses.
    pub profile: Pkcs12Profile,
    /// What the store is locked with.
    pub password: KeystorePassword,
}

/// Where a keystore's password comes from; complete by definition.
#[derive(Clone, PartialEq, Eq)]
pub enum KeystorePassword {
    /// The specification itself; never empty.
    Literal(Zeroizing<String>),
    /// A key of a Secret in the Certificate's namespace.
    SecretKey {
        /// The Secret's name.
        name: String,
        /// The key within it.
        key: String,
    },
}

impl fmt::Debug for KeystorePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(redacted)"),
            Self::SecretKey { name, key } => write!(f, "SecretKey({name}/{key})"),
        }
    }
}

/// The algorithms of a PKCS#12 keystore, by cert-manager's names. `Display` writes them.
///
/// Whoever writes keystores has to write a new one, so that a new variant is a breaking change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pkcs12Profile {
    /// 3DES and HMAC-SHA1.
    LegacyDes,
    /// RC2-40, 3DES and HMAC-SHA1: the default because it is cert-manager's; the oldest readers understand
    /// it, OpenSSL 3 with `-legacy` only.
    #[default]
    LegacyRc2,
    /// AES-256-CBC and HMAC-SHA256.
    Modern2023,
    /// AES-256-CBC and PBMAC1 (RFC 9579).
    Modern2026,
}

impl Pkcs12Profile {
    /// The profile of this name; the empty name is the default's.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "LegacyDES" => Self::LegacyDes,
            "" | "LegacyRC2" => Self::LegacyRc2,
            "Modern2023" => Self::Modern2023,
            "Modern2026" => Self::Modern2026,
            _ => return None,
        })
    }

    /// The name in cert-manager's API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LegacyDes => "LegacyDES",
            Self::LegacyRc2 => "LegacyRC2",
            Self::Modern2023 => "Modern2023",
            Self::Modern2026 => "Modern2026",
        }
    }

    /// Whether SHA-1 and outdated ciphers protect the key.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::LegacyDes | Self::LegacyRc2)
    }
}

impl fmt::Display for Pkcs12Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Labels and annotations to keep on the Secret (`spec.secretTemplate`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretTemplate {
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
    /// Labels, by key.
    pub labels: BTreeMap<String, String>,
}
