//! Private keys in records.

use core::fmt;

use certwright_cert_model::key::KeyEncoding;
use certwright_issuance::{KeyError, KeyPair};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A private key as PEM, wiped when dropped. Serialized into records of the store only,
/// which is why the type stays in this crate.
pub(crate) struct StoredKey(Zeroizing<String>);

impl StoredKey {
    /// The key in PKCS#8.
    pub(crate) fn of(key: &KeyPair) -> Result<Self, KeyError> {
        key.to_pem(KeyEncoding::Pkcs8).map(Self)
    }

    /// The key.
    pub(crate) fn read(&self) -> Result<KeyPair, KeyError> {
        KeyPair::from_pem(self.0.as_bytes())
    }

    /// The PEM text.
    pub(crate) fn pem(&self) -> &Zeroizing<String> {
        &self.0
    }

    /// The same again: from one record into the next.
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Serialize for StoredKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StoredKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKey(..)")
    }
}
