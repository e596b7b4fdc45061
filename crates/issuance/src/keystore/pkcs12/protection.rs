//! The ciphers and MACs of PKCS#12: what they compute, and the identifiers that say so.

use core::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{digest, hmac, iv::FixedLength, pbkdf2};
use certwright_cert_model::output::Pkcs12Profile;
use des::TdesEde3;
use des::cipher::consts::U8;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use rc2::Rc2;
use zeroize::Zeroizing;

use super::super::{KeystoreError, NULL, utf16};
use super::inside;
use super::kdf::{self, Purpose};
use crate::decode::{OCTET_STRING, OID, SEQUENCE};
use crate::encode::Writer;

/// The algorithms of a profile.
pub(super) struct Protection {
    pub(super) certificates: Cipher,
    pub(super) key: Cipher,
    pub(super) mac: Mac,
}

impl Protection {
    pub(super) fn of(profile: Pkcs12Profile) -> Self {
        let (certificates, key, mac) = match profile {
            Pkcs12Profile::LegacyDes => (Cipher::TripleDes, Cipher::TripleDes, Mac::Sha1),
            Pkcs12Profile::LegacyRc2 => (Cipher::Rc2, Cipher::TripleDes, Mac::Sha1),
            Pkcs12Profile::Modern2023 => (Cipher::Aes256, Cipher::Aes256, Mac::Sha256),
            Pkcs12Profile::Modern2026 => (Cipher::Aes256, Cipher::Aes256, Mac::Pbmac1),
        };
        Self {
            certificates,
            key,
            mac,
        }
    }
}

/// A password in the two forms that the algorithms take.
pub(super) struct Password<'a> {
    utf8: &'a [u8],
    /// With two zero octets at the end (RFC 7292, appendix B.1).
    utf16: Zeroizing<Vec<u8>>,
}

impl<'a> Password<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // Room for all of it at once: growing would leave copies behind.
        let mut form = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
        form.extend(utf16(text).chain([0, 0]));
        Self {
            utf8: text.as_bytes(),
            utf16: form,
        }
    }

    fn pbkdf2(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, ROUNDS, salt, self.utf8, key.as_mut());
        key
    }
}

/// The random octets of one use of a password; an algorithm takes as many of each as it needs.
#[derive(Default)]
pub(super) struct Seed {
    pub(super) salt: [u8; 16],
    pub(super) iv: [u8; 16],
}

/// How something is encrypted.
#[derive(Clone, Copy)]
pub(super) enum Cipher {
    /// PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC (RFC 8018).
    Aes256,
    /// pbeWithSHAAnd40BitRC2-CBC.
    Rc2,
    /// pbeWithSHAAnd3-KeyTripleDES-CBC.
    TripleDes,
}

impl Cipher {
    pub(super) fn encrypt(
        self,
        password: &Password<'_>,
        seed: &Seed,
        plain: &[u8],
    ) -> Result<Vec<u8>, KeystoreError> {
        let block = match self {
            Self::Aes256 => 16,
            Self::Rc2 | Self::TripleDes => 8,
        };
        let padding = block - plain.len() % block;
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + padding));
        text.extend_from_slice(plain);
        text.resize(plain.len() + padding, padding.to_le_bytes()[0]);
        match self {
            Self::Aes256 => {
                let key = password.pbkdf2(&seed.salt);
                let failed = |_| KeystoreError::Encrypt;
                let key = UnboundCipherKey::new(&AES_256, key.as_ref()).map_err(failed)?;
                let iv = EncryptionContext::Iv128(FixedLength::from(&seed.iv));
                let key = EncryptingKey::cbc(key).map_err(failed)?;
                key.less_safe_encrypt(&mut text, iv).map_err(failed)?;
            }
            Self::Rc2 => {
                let (key, iv) = pbe::<5>(password, seed);
                let cipher = Rc2::new_with_eff_key_len(key.as_ref(), 40);
                chain_blocks(&cipher, iv, &mut text);
            }
            Self::TripleDes => {
                let (key, iv) = pbe::<24>(password, seed);
                let cipher = TdesEde3::new((&*key).into());
                chain_blocks(&cipher, iv, &mut text);
            }
        }
        Ok(core::mem::take(&mut *text))
    }

    /// Writes the AlgorithmIdentifier.
    pub(super) fn write(self, w: &mut Writer, seed: &Seed) {
        let old = match self {
            Self::Aes256 => {
                w.nest(SEQUENCE, |w| {
                    w.nest(SEQUENCE, |w| {
                        w.nest(SEQUENCE, |w| {
                            w.element(OCTET_STRING, &seed.iv);
                            w.element(OID, AES256_CBC);
                        });
                        write_pbkdf2(w, &seed.salt, None);
                    });
                    w.element(OID, PBES2);
                });
                return;
            }
            Self::Rc2 => PBE_SHA1_RC2_40,
            Self::TripleDes => PBE_SHA1_3DES,
        };
        w.nest(SEQUENCE, |w| {
            w.nest(SEQUENCE, |w| {
                write_rounds(w);
                w.element(OCTET_STRING, &seed.salt[..LEGACY_SALT]);
            });
            w.element(OID, old);
        });
    }

    /// Reads the seed out of the content of an AlgorithmIdentifier of this cipher.
    pub(super) fn read(self, algorithm: &[u8], seed: &mut Seed) -> Option<()> {
        let parameters = inside(algorithm, &[1])?;
        match self {
            Self::Aes256 => {
                copy(&mut seed.salt, inside(parameters, &[0, 1, 0])?)?;
                copy(&mut seed.iv, inside(parameters, &[1, 1])?)
            }
            Self::Rc2 | Self::TripleDes => {
                copy(&mut seed.salt[..LEGACY_SALT], inside(parameters, &[0])?)
            }
        }
    }
}

/// How a store's integrity is protected.
#[derive(Clone, Copy)]
pub(super) enum Mac {
    /// PBMAC1 with PBKDF2-HMAC-SHA-256 and HMAC-SHA-256 (RFC 9579).
    Pbmac1,
    Sha1,
    Sha256,
}

impl Mac {
    pub(super) fn of(self, password: &Password<'_>, seed: &Seed, message: &[u8]) -> hmac::Tag {
        let (hash, algorithm, rounds) = match self {
            Self::Pbmac1 => {
                let key = password.pbkdf2(&seed.salt);
                return hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), message);
            }
            Self::Sha1 => {
                let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
                (hash, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 1)
            }
            Self::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256, ROUNDS.get()),
        };
        let mut key = Zeroizing::new(vec![0; hash.output_len()]);
        let salt = &seed.salt[..self.salt_length()];
        kdf::derive(hash, Purpose::Mac, &password.utf16, salt, rounds, &mut key);
        hmac::sign(&hmac::Key::new(algorithm, &key), message)
    }

    /// Writes the MacData.
    pub(super) fn write(self, w: &mut Writer, seed: &Seed, mac: &hmac::Tag) {
        w.nest(SEQUENCE, |w| {
            match self {
                // Salt and rounds are in the parameters of PBMAC1 and ignored here; the placeholder is that
                // of the examples in RFC 9579.
                Self::Pbmac1 => w.element(OCTET_STRING, b"NOT USED"),
                // One round is the default, which DER leaves out.
                Self::Sha1 => w.element(OCTET_STRING, &seed.salt[..LEGACY_SALT]),
                Self::Sha256 => {
                    write_rounds(w);
                    w.element(OCTET_STRING, &seed.salt);
                }
            }
            w.nest(SEQUENCE, |w| {
                w.element(OCTET_STRING, mac.as_ref());
                w.nest(SEQUENCE, |w| match self {
                    Self::Pbmac1 => {
                        w.nest(SEQUENCE, |w| {
                            write_identifier(w, HMAC_SHA256);
                            // RFC 9579, 5: the key's length must be there.
                            write_pbkdf2(w, &seed.salt, Some(32));
                        });
                        w.element(OID, PBMAC1);
                    }
                    Self::Sha1 => write_without_parameters(w, SHA1),
                    Self::Sha256 => write_without_parameters(w, SHA256),
                });
            });
        });
    }

    /// Reads the salt out of the content of a MacData of this kind.
    pub(super) fn read(self, data: &[u8], seed: &mut Seed) -> Option<()> {
        let path: &[usize] = match self {
            Self::Pbmac1 => &[0, 0, 1, 0, 1, 0],
            Self::Sha1 | Self::Sha256 => &[1],
        };
        copy(&mut seed.salt[..self.salt_length()], inside(data, path)?)
    }

    fn salt_length(self) -> usize {
        match self {
            Self::Sha1 => LEGACY_SALT,
            Self::Pbmac1 | Self::Sha256 => 16,
        }
    }
}

fn copy(to: &mut [u8], from: &[u8]) -> Option<()> {
    (to.len() == from.len()).then(|| to.copy_from_slice(from))
}

/// Key and initial vector of the old ciphers.
fn pbe<const N: usize>(password: &Password<'_>, seed: &Seed) -> (Zeroizing<[u8; N]>, [u8; 8]) {
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let (mut key, mut iv) = (Zeroizing::new([0; N]), [0; 8]);
    let salt = &seed.salt[..LEGACY_SALT];
    for (purpose, out) in [(Purpose::Key, key.as_mut_slice()), (Purpose::Iv, &mut iv)] {
        kdf::derive(hash, purpose, &password.utf16, salt, ROUNDS.get(), out);
    }
    (key, iv)
}

/// Cipher block chaining over whole blocks.
fn chain_blocks(cipher: &impl BlockCipherEncrypt<BlockSize = U8>, iv: [u8; 8], text: &mut [u8]) {
    let mut previous = iv;
    for block in text.as_chunks_mut().0 {
        for (byte, mask) in block.iter_mut().zip(previous) {
            *byte ^= mask;
        }
        cipher.encrypt_block(block.into());
        previous = *block;
    }
}

/// PBKDF2 with HMAC-SHA-256, its AlgorithmIdentifier.
fn write_pbkdf2(w: &mut Writer, salt: &[u8; 16], key_length: Option<u8>) {
    w.nest(SEQUENCE, |w| {
        w.nest(SEQUENCE, |w| {
            write_identifier(w, HMAC_SHA256);
            if let Some(length) = key_length {
                w.unsigned(&[length]);
            }
            write_rounds(w);
            w.element(OCTET_STRING, salt);
        });
        w.element(OID, PBKDF2);
    });
}

/// An AlgorithmIdentifier without parameters, which is NULL for these (RFC 8018, appendix B.1.2).
fn write_identifier(w: &mut Writer, oid: &[u8]) {
    w.nest(SEQUENCE, |w| write_without_parameters(w, oid));
}

fn write_without_parameters(w: &mut Writer, oid: &[u8]) {
    w.bytes(NULL);
    w.element(OID, oid);
}

fn write_rounds(w: &mut Writer) {
    w.unsigned(&ROUNDS.get().to_be_bytes());
}

/// Rounds of every key derivation but that of the SHA-1 MAC.
const ROUNDS: NonZeroU32 = NonZeroU32::new(2048).unwrap();
/// Octets of the legacy profiles' salts.
const LEGACY_SALT: usize = 8;

/// 1.2.840.113549.1.12.1.3
const PBE_SHA1_3DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 3];
/// 1.2.840.113549.1.12.1.6
const PBE_SHA1_RC2_40: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1, 6];
/// 1.2.840.113549.1.5.12
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// 1.2.840.113549.1.5.13
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
/// 1.2.840.113549.1.5.14
const PBMAC1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 14];
/// 1.2.840.113549.2.9
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
/// 1.3.14.3.2.26
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
/// 2.16.840.1.101.3.4.1.42
const AES256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
