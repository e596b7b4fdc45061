//! Values sealed before they reach the store: AES-256-GCM, with key rotation.

mod storage;

use core::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, RandomizedNonceKey};
use aws_lc_rs::rand;
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::storage::SealedStorage;

use crate::{Key, Value};

/// The most a sealed value is longer than the value.
pub const MAX_OVERHEAD: usize = 128;

/// The longest name of a key.
const MAX_ID: usize = 64;
const MARK: &str = "certwright sealed 1 key=";

/// A key of 256 bits that seals values, and its name, which is stored with them.
pub struct WrappingKey {
    id: String,
    key: RandomizedNonceKey,
}

impl WrappingKey {
    /// A key of these bytes.
    ///
    /// Nonces are random: change the key before it sealed 2^32 values
    /// ([NIST SP 800-38D](https://csrc.nist.gov/pubs/sp/800/38/d/final), section 8.3).
    ///
    /// # Errors
    /// [`InvalidKeyId`] if the name is not 1 to 64 letters, digits, `-`, `_` and `.`.
    pub fn new(id: &str, bytes: &Zeroizing<[u8; 32]>) -> Result<Self, InvalidKeyId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let invalid = || InvalidKeyId { id: id.to_owned() };
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(plain) {
            return Err(invalid());
        }
        // Fails for other lengths only.
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes[..]).map_err(|_| invalid())?;
        let id = id.to_owned();
        Ok(Self { id, key })
    }

    /// The name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Random bytes for a new [`WrappingKey`], to be kept where only replicas can read them.
///
/// # Errors
/// [`NoRandomness`] if the system has none.
pub fn random_key() -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut bytes[..]).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappingKey({:?})", self.id)
    }
}

/// The key that seals from now on, and those that sealed before.
///
/// ```
/// use certwright_storage::key_wrap::{KeyRing, WrappingKey, random_key};
/// use certwright_storage::{Key, Value};
///
/// let place = Key::new("/v1/acct/1")?;
/// let old = random_key()?;
/// let ring = KeyRing::new(WrappingKey::new("2026-01", &old)?);
/// let sealed = ring.seal(&place, &Value::from("private"))?;
///
/// let ring = KeyRing::new(WrappingKey::new("2026-07", &random_key()?)?)
///     .with_former(WrappingKey::new("2026-01", &old)?);
/// assert_eq!(ring.open(&place, &sealed)?, Value::from("private"));
/// assert!(!ring.is_current(&sealed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A value is sealed for its place: under another key of the store it does not open. It
/// is not sealed for its time: an older value, put back under the same key, does.
#[derive(Debug)]
pub struct KeyRing {
    current: WrappingKey,
    former: Vec<WrappingKey>,
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(current: WrappingKey) -> Self {
        let former = Vec::new();
        Self { current, former }
    }

    /// Opens with this key as well.
    #[must_use]
    pub fn with_former(mut self, key: WrappingKey) -> Self {
        self.former.push(key);
        self
    }

    /// Seals a value for its place.
    ///
    /// # Errors
    /// [`UnsealError::NotSealed`] if the library refuses, for want of randomness.
    pub fn seal(&self, place: &Key, value: &Value) -> Result<Value, UnsealError> {
        let line = format!("{MARK}{}\n", self.current.id);
        let aad = Aad::from(bound(&line, place));
        // Sealed in place, so that the clear text is overwritten; of sufficient size, so
        // that it is not left behind by growing.
        let mut text = Vec::with_capacity(value.len() + MAX_OVERHEAD);
        text.extend_from_slice(value.as_bytes());
        let mut text = Zeroizing::new(text);
        let sealed = self.current.key.seal_in_place_append_tag(aad, &mut *text);
        let nonce = sealed.map_err(|_| UnsealError::NotSealed)?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        Ok([line.as_bytes(), nonce, &text].concat().into())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`UnsealError`] if it is in clear, sealed with a key not in the ring, or was
    /// changed or moved.
    pub fn open(&self, place: &Key, sealed: &Value) -> Result<Value, UnsealError> {
        let (id, line, rest) = split(sealed)?;
        let mut keys = core::iter::once(&self.current).chain(&self.former);
        let key = keys.find(|key| key.id == id);
        let key = key.ok_or_else(|| UnsealError::UnknownKey { id: id.to_owned() })?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(UnsealError::Changed)?;
        let nonce = aws_lc_rs::aead::Nonce::from(nonce);
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(bound(line, place));
        let opened = key.key.open_in_place(nonce, aad, &mut text);
        let len = opened.map_err(|_| UnsealError::Changed)?.len();
        text.truncate(len);
        Ok(text.into())
    }

    /// Whether it is sealed with the current key.
    pub fn is_current(&self, sealed: &Value) -> bool {
        split(sealed).is_ok_and(|(id, ..)| id == self.current.id)
    }
}

/// Why a value cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// It was changed, or is at another place than it was sealed for.
    #[error("it was changed, moved from another key, or sealed with another key of that name")]
    Changed,
    /// It is in clear, or could not be sealed.
    #[error("it is not sealed")]
    NotSealed,
    /// The key is not in the ring.
    #[error("it is sealed with key {id}, which is not in the ring")]
    UnknownKey {
        /// The key's name.
        id: String,
    },
}

/// A text that is no name of a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{id:?} is no name of a key: use 1 to 64 letters, digits, '-', '_' and '.'")]
#[non_exhaustive]
pub struct InvalidKeyId {
    /// The text.
    pub id: String,
}

/// The system has no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

/// The name of the key, the first line, and what follows.
fn split(sealed: &Value) -> Result<(&str, &str, &[u8]), UnsealError> {
    let bytes = sealed.as_bytes();
    let longest = MARK.len() + MAX_ID + 1;
    let end = bytes.iter().take(longest).position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.ok_or(UnsealError::NotSealed)? + 1);
    let line = core::str::from_utf8(line).map_err(|_| UnsealError::NotSealed)?;
    let id = line.strip_prefix(MARK).ok_or(UnsealError::NotSealed)?;
    Ok((id.trim_end(), line, rest))
}

/// What is authenticated with a value: no key contains the separator.
fn bound(line: &str, place: &Key) -> Vec<u8> {
    [line.as_bytes(), &[0], place.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(id: &str, byte: u8) -> KeyRing {
        KeyRing::new(WrappingKey::new(id, &Zeroizing::new([byte; 32])).unwrap())
    }

    #[test]
    fn every_change_is_noticed() {
        let place = Key::new("a").unwrap();
        let ring = ring("k1", 1);
        let sealed = ring.seal(&place, &Value::from("private")).unwrap();
        assert_eq!(ring.open(&place, &sealed), Ok(Value::from("private")));
        let again = ring.seal(&place, &Value::from("private")).unwrap();
        assert_ne!(again, sealed, "the same text twice");
        for at in 0..sealed.len() {
            let mut changed = sealed.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(ring.open(&place, &changed.into()).is_err(), "byte {at}");
            let cut = &sealed.as_bytes()[..at];
            assert!(ring.open(&place, &cut.into()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn refusals() {
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        let one = ring("k1", 1);
        let sealed = one.seal(&a, &Value::from("")).unwrap();
        assert!(sealed.len() <= MAX_OVERHEAD);
        assert_eq!(one.open(&b, &sealed), Err(UnsealError::Changed));
        assert_eq!(ring("k1", 2).open(&a, &sealed), Err(UnsealError::Changed));
        let id = "k1".to_owned();
        assert_eq!(
            ring("k2", 1).open(&a, &sealed),
            Err(UnsealError::UnknownKey { id })
        );
        assert_eq!(
            one.open(&a, &Value::from("clear")),
            Err(UnsealError::NotSealed)
        );
        for id in ["", "a b", "a\n", &"x".repeat(65)] {
            assert!(
                WrappingKey::new(id, &Zeroizing::new([0; 32])).is_err(),
                "{id}"
            );
        }
        assert_eq!(
            format!("{one:?}"),
            r#"KeyRing { current: WrappingKey("k1"), former: [] }"#
        );
    }
}
