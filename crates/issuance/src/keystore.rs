//! Keystores: a key with its certificates, or CAs to trust, in one file under a password.
//!
//! [`Pkcs12`] (RFC 7292) and [`Jks`] write stores that OpenSSL, GnuTLS and Java read. A Secret gets those
//! that its specification asks for through [`SecretKeystores`], which also tells when they are out of date.
//!
//! ```
//! use certwright_cert_model::key::{Curve, KeyAlgorithm};
//! use certwright_cert_model::output::Pkcs12Profile;
//! use certwright_issuance::keystore::{Contents, KeyEntry, Pkcs12};
//! # use certwright_issuance::{CsrPolicy, KeyPair, Profile, csr::Request, self_signed};
//! # use time::{Duration, OffsetDateTime};
//! # let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
//! # let csr = Request::new("localhost", &["localhost"])?.sign(&key)?.verify(&CsrPolicy::default())?;
//! # let usages = ["server auth".parse()?].into_iter().collect();
//! # let profile = Profile::leaf(usages, Duration::days(90));
//! # let chain = [self_signed(&csr, &key, &profile, OffsetDateTime::UNIX_EPOCH)?.certificate()?];
//! let store = Pkcs12 {
//!     profile: Pkcs12Profile::Modern2023,
//!     password: "correct horse battery staple",
//!     contents: Contents::Key(KeyEntry { alias: None, key: &key, chain: &chain, authorities: &[] }),
//! };
//! let written = store.write()?;
//! assert!(store.matches(&written)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a keystore is worth
//!
//! **Treat every store as you treat the private key in it.** The password is a hurdle, not a lock:
//!
//! - **JKS is broken.** The key is masked with SHA-1 of the password and a salt, once: whoever has the
//!   file tries hundreds of millions of passwords a second on one machine. The certificates are in the
//!   clear. Java itself has called the format proprietary and moved to PKCS#12 in 2017 (JEP 229).
//! - **`LegacyRC2` and `LegacyDES`**, of which the first is the default because cert-manager's is, check
//!   the password with *one* round of SHA-1, which is as fast to guess as JKS. RC2 with 40 bits, around
//!   the certificates, falls to trying all keys, whatever the password. OpenSSL 3 reads `LegacyRC2` with `-legacy`
//!   only. Write `Modern2023` unless a reader is too old for it.
//! - **`Modern2023` and `Modern2026`** use AES-256 and 2048 rounds of PBKDF2, so a random password of 128
//!   bits holds and one that people remember does not. `Modern2026` needs OpenSSL 3.4 or Java 26.

mod error;
mod jks;
mod pkcs12;
mod secret;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::key_pair::KeyPair;

pub use error::{KeystoreError, PasswordError};
pub use jks::Jks;
pub use pkcs12::Pkcs12;
pub use secret::SecretKeystores;

/// What a keystore holds.
///
/// Complete by definition: those are the stores that cert-manager writes.
#[derive(Clone, Copy, Debug)]
pub enum Contents<'a> {
    /// A private key with its certificates: `keystore.p12`, `keystore.jks`.
    Key(KeyEntry<'a>),
    /// The CAs to trust: `truststore.p12`, `truststore.jks`.
    Trust(&'a [Certificate]),
}

/// A private key with its certificates.
#[derive(Clone, Copy, Debug)]
pub struct KeyEntry<'a> {
    /// What the entry is called; Java turns it into lower case. Without one it is `certificate` in a JKS
    /// store, and has no name in a PKCS#12 store (`friendlyName`), where Java calls it `1`.
    pub alias: Option<&'a str>,
    /// The private key.
    pub key: &'a KeyPair,
    /// The key's certificate, followed by each one's issuer.
    pub chain: &'a [Certificate],
    /// The CAs above, which stand in the store beside the entry.
    pub authorities: &'a [Certificate],
}

impl Contents<'_> {
    /// There is a certificate, and the key is that of the first.
    fn check(&self) -> Result<(), KeystoreError> {
        let first = match self {
            Self::Key(entry) => entry.chain.first(),
            Self::Trust(authorities) => authorities.first(),
        };
        let first = first.ok_or(KeystoreError::NoCertificate)?;
        match self {
            Self::Key(entry) if first.spki_der() != entry.key.public_key().spki_der() => {
                Err(KeystoreError::ForeignKey)
            }
            _ => Ok(()),
        }
    }
}

/// SHA-1 of the parts, one after the other; passwords are among them. (Only copies of ours can be wiped: aws-lc-rs
/// hands out digests by value.)
fn sha1(parts: &[&[u8]]) -> Zeroizing<[u8; 20]> {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut hash = Zeroizing::new([0; 20]);
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// A text in UTF-16, big endian: a Java string's characters, and a BMPString's.
fn utf16(text: &str) -> impl Iterator<Item = u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes)
}

/// The parameters of an AlgorithmIdentifier that has none.
const NULL: &[u8] = &[5, 0];
