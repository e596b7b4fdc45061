//! The name of a stored value.

use core::fmt;
use core::str::FromStr;
use std::borrow::Borrow;
use std::sync::Arc;

use thiserror::Error;

/// The longest key, in bytes of UTF-8.
pub const MAX_KEY_LEN: usize = 512;

/// The name of a value: 1 to [`MAX_KEY_LEN`] bytes of UTF-8 without U+0000.
///
/// Any such text is a key, `/v1/cert/web/current` as well as `../ü *`; a slash is a
/// character like any other, and backends that make paths of keys encode what could
/// mislead. Keys sort by their bytes. A copy costs a reference count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of this text.
    ///
    /// # Errors
    /// [`InvalidKey`] if the text is empty, too long, or has U+0000 in it.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if text.len() > MAX_KEY_LEN {
            return Err(InvalidKey::TooLong { len: text.len() });
        }
        match text.find('\0') {
            Some(at) => Err(InvalidKey::Nul { at }),
            None => Ok(Self(text.into())),
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Key {
    type Error = InvalidKey;

    fn try_from(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a text is no [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The empty text.
    #[error("a key must not be empty")]
    Empty,
    /// U+0000 inside.
    #[error("a key must not contain U+0000, this one does at byte {at}")]
    Nul {
        /// Byte offset of the character.
        at: usize,
    },
    /// More than [`MAX_KEY_LEN`] bytes.
    #[error("a key may have {MAX_KEY_LEN} bytes, this one has {len}; hash the long part")]
    TooLong {
        /// Bytes of the text.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_keys() {
        for (text, expected) in [
            ("/v1/cert/web", Ok(())),
            ("..", Ok(())),
            ("ü", Ok(())),
            ("", Err(InvalidKey::Empty)),
            ("a\0b", Err(InvalidKey::Nul { at: 1 })),
            (&"x".repeat(512), Ok(())),
            (&"x".repeat(513), Err(InvalidKey::TooLong { len: 513 })),
        ] {
            assert_eq!(Key::new(text).map(|_| ()), expected, "{text}");
        }
    }
}
