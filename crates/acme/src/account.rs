//! Accounts: a key, made and stored before the CA hears of it, and what the CA calls it.

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64ct::{Base64, Base64Url, Base64UrlUnpadded, Encoding};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_issuance::{KeyError, KeyPair};
use certwright_storage::{Key, Record, RecordError, Revision, Storage, StorageError, Txn};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::layout;
use crate::protocol::{Protocol, ProtocolError};
use crate::runtime::Runtime;
use crate::secret::StoredKey;

/// The key of an account, ECDSA P-256.
pub struct AccountKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
    x: String,
    y: String,
    thumbprint: String,
}

impl AccountKey {
    /// The account key in this key pair.
    ///
    /// # Errors
    /// [`AccountError::KeyKind`] if it is not ECDSA P-256.
    pub fn new(key: &KeyPair) -> Result<Self, AccountError> {
        let found = key.algorithm();
        if found != KeyAlgorithm::Ecdsa(Curve::P256) {
            return Err(AccountError::KeyKind { found });
        }
        let pkcs8 = key.to_der(KeyEncoding::Pkcs8)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|_| AccountError::Key(KeyError::Sign))?;
        let point = pair.public_key().as_ref();
        let coordinate = |part: core::ops::Range<usize>| {
            Base64UrlUnpadded::encode_string(point.get(part).unwrap_or_default())
        };
        // An uncompressed point: 4, then the coordinates.
        let (x, y) = (coordinate(1..33), coordinate(33..65));
        // RFC 7638 section 3.2: the required members in order, nothing else.
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let digest = digest(&SHA256, jwk.as_bytes());
        let thumbprint = Base64UrlUnpadded::encode_string(digest.as_ref());
        Ok(Self {
            pkcs8,
            pair,
            x,
            y,
            thumbprint,
        })
    }

    /// The thumbprint (RFC 7638), which is public: any answer to an HTTP-01 challenge
    /// shows it.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The answer to a challenge with this token (RFC 8555 section 8.1).
    pub fn authorization(&self, token: &str) -> String {
        format!("{token}.{}", self.thumbprint)
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The coordinates of the public key, in base64url.
    pub(crate) fn point(&self) -> (&str, &str) {
        (&self.x, &self.y)
    }

    /// An ES256 signature: r and s.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signed = self.pair.sign(&SystemRandom::new(), message);
        Ok(signed.map_err(|_| KeyError::Sign)?.as_ref().to_vec())
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountKey({})", self.thumbprint)
    }
}

/// A registered account.
#[derive(Clone, Debug)]
pub struct Account {
    /// What the CA calls it.
    pub url: String,
    /// Its key.
    pub key: Arc<AccountKey>,
}

/// What a registration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The contacts, URLs such as `mailto:admin@example.org`; may be empty.
    pub contacts: Vec<String>,
    /// The binding to an account elsewhere, for CAs that ask for one.
    pub binding: Option<ExternalBinding>,
}

/// What binds an ACME account to one the CA knows its customer by (RFC 8555 section
/// 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalBinding {
    /// The CA's name of the key.
    pub kid: String,
    mac: Zeroizing<Vec<u8>>,
}

impl ExternalBinding {
    /// A binding with a MAC key in base64url, padded or not, as CAs hand it out; in
    /// base64, as some do, too.
    ///
    /// # Errors
    /// [`InvalidMac`] if it is neither, or empty.
    pub fn new(kid: &str, mac: &str) -> Result<Self, InvalidMac> {
        let text = mac.trim();
        let bare = text.trim_end_matches('=');
        let decoded = Base64UrlUnpadded::decode_vec(bare)
            .or_else(|_| Base64Url::decode_vec(text))
            .or_else(|_| Base64::decode_vec(text));
        let mac = Zeroizing::new(decoded.map_err(|_| InvalidMac)?);
        if mac.is_empty() {
            return Err(InvalidMac);
        }
        let kid = kid.to_owned();
        Ok(Self { kid, mac })
    }

    /// A binding with the MAC key itself.
    pub fn from_bytes(kid: &str, mac: Zeroizing<Vec<u8>>) -> Self {
        let kid = kid.to_owned();
        Self { kid, mac }
    }

    pub(crate) fn mac(&self) -> &[u8] {
        &self.mac
    }
}

impl fmt::Debug for ExternalBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalBinding({:?})", self.kid)
    }
}

/// A text that is no MAC key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the MAC key is not base64url; copy it again from the CA, whole")]
pub struct InvalidMac;

/// Which account of a CA is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountSpec {
    /// The directory's URL, whole: a CA's staging directory has accounts of its own.
    pub directory: String,
    /// Tells apart several accounts at one directory; usually empty.
    pub label: String,
    /// What to register with.
    pub registration: Registration,
}

impl AccountSpec {
    /// The account at this directory without contacts.
    pub fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            label: String::new(),
            registration: Registration::default(),
        }
    }

    /// Where it is stored: the contacts may change, the binding makes another account.
    pub fn place(&self) -> Key {
        let binding = self.registration.binding.as_ref();
        let kid = binding.map(|binding| binding.kid.as_str());
        layout::account(&self.directory, kid, &self.label)
    }

    /// Where what it has used of its quotas is stored.
    pub(crate) fn limits_place(&self) -> Key {
        layout::limits(&self.place())
    }

    /// The account, registered by now: with the key that is stored, or with one that is
    /// stored first. May be called by any number of replicas at once, and again after
    /// any crash: they all end with one key and one account.
    ///
    /// # Errors
    /// [`AccountError`]; what was stored by then stays and is gone on with next time.
    pub async fn ensure(
        &self,
        storage: &dyn Storage,
        protocol: &dyn Protocol,
        runtime: &dyn Runtime,
    ) -> Result<Account, AccountError> {
        let place = self.place();
        let (mut stored, made) = match Stored::read(storage, &place).await? {
            Some(stored) => (stored, false),
            None => self.create(storage, runtime, &place).await?,
        };
        let key = Arc::new(AccountKey::new(&stored.data.key.read()?)?);
        let url = match stored.data.url.clone() {
            Some(url) => url,
            None => {
                let url = self.register(protocol, &key, made).await?;
                let contacts = self.registration.contacts.clone();
                stored = stored
                    .write(storage, &place, |data| {
                        data.url = Some(url.clone());
                        data.contacts = contacts;
                    })
                    .await?;
                url
            }
        };
        let account = Account { url, key };
        if stored.data.contacts != self.registration.contacts {
            let contacts = &self.registration.contacts;
            protocol.update_contacts(&account, contacts).await?;
            let contacts = contacts.clone();
            stored
                .write(storage, &place, |data| data.contacts = contacts)
                .await?;
        }
        Ok(account)
    }

    /// Notes that the CA does not know the account any more: it is registered again, with
    /// the same key.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_url(&self, storage: &dyn Storage, url: &str) -> Result<(), AccountError> {
        let place = self.place();
        match Stored::read(storage, &place).await? {
            Some(stored) if stored.data.url.as_deref() == Some(url) => {
                stored
                    .write(storage, &place, |data| data.url = None)
                    .await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn create(
        &self,
        storage: &dyn Storage,
        runtime: &dyn Runtime,
        place: &Key,
    ) -> Result<(Stored, bool), AccountError> {
        let key = runtime.new_key(KeyAlgorithm::Ecdsa(Curve::P256)).await?;
        let binding = self.registration.binding.as_ref();
        let data = Data {
            directory: self.directory.clone(),
            label: self.label.clone(),
            eab_kid: binding.map(|binding| binding.kid.clone()),
            key: StoredKey::of(&key)?,
            url: None,
            contacts: self.registration.contacts.clone(),
        };
        let record = Record::new(KIND, VERSION, &data)?;
        let put = Txn::new().if_absent(place.clone());
        let made = match storage.txn(put.put(place.clone(), record.encode())).await {
            Ok(_) => true,
            // Another replica was faster, or it is not known whether we were: either
            // way the stored key counts, and may have been registered.
            Err(StorageError::Conflict { .. } | StorageError::Indeterminate { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        let stored = Stored::read(storage, place).await?;
        Ok((stored.ok_or(AccountError::Vanished)?, made))
    }

    /// Asks first when somebody may have registered the key before: some CAs refuse a
    /// binding that was used.
    async fn register(
        &self,
        protocol: &dyn Protocol,
        key: &AccountKey,
        made: bool,
    ) -> Result<String, AccountError> {
        if !made && let Some(url) = protocol.find_account(key).await? {
            return Ok(url);
        }
        Ok(protocol.register(key, &self.registration).await?)
    }
}

/// An account's record and when it was written.
struct Stored {
    record: Record,
    data: Data,
    revision: Revision,
}

#[derive(Debug, Serialize, Deserialize)]
struct Data {
    directory: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eab_kid: Option<String>,
    key: StoredKey,
    /// Without one the key may or may not have been registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default)]
    contacts: Vec<String>,
}

const KIND: &str = "acme-account";
const VERSION: u32 = 1;

impl Stored {
    async fn read(storage: &dyn Storage, place: &Key) -> Result<Option<Self>, AccountError> {
        let Some(entry) = storage.get(place).await? else {
            return Ok(None);
        };
        let record = Record::decode(entry.value.as_bytes(), KIND, VERSION)?;
        let data = record.read()?;
        Ok(Some(Self {
            record,
            data,
            revision: entry.revision,
        }))
    }

    /// Writes a change unless another replica wrote first, which then is what is stored.
    async fn write(
        mut self,
        storage: &dyn Storage,
        place: &Key,
        change: impl FnOnce(&mut Data),
    ) -> Result<Self, AccountError> {
        self.record.update(change)?;
        let txn = Txn::new().if_unchanged(place.clone(), self.revision);
        let txn = txn.put(place.clone(), self.record.encode());
        match storage.txn(txn).await {
            Ok(_) | Err(StorageError::Conflict { .. } | StorageError::Indeterminate { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let stored = Self::read(storage, place).await?;
        stored.ok_or(AccountError::Vanished)
    }
}

/// Why there is no account.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The key cannot be made, read or used.
    #[error("the account's key is not usable")]
    Key(#[from] KeyError),
    /// An account key of another kind.
    #[error("an account's key must be ECDSA P-256, this one is {found}")]
    KeyKind {
        /// What it is.
        found: KeyAlgorithm,
    },
    /// The CA refused, or was not reached.
    #[error("the CA did not register the account")]
    Protocol(#[from] ProtocolError),
    /// The stored account cannot be read.
    #[error("the stored account cannot be read")]
    Record(#[from] RecordError),
    /// The store failed.
    #[error("the account is not stored")]
    Storage(#[from] StorageError),
    /// Somebody removed it while it was being written.
    #[error("the stored account was removed while it was in use; do not delete accounts by hand")]
    Vanished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_macs() {
        // RFC 4648's alphabets; the last two differ in them.
        for (text, expected) in [
            ("AAEC", Some(&[0, 1, 2][..])),
            ("AAE=", Some(&[0, 1])),
            ("AAE", Some(&[0, 1])),
            (" AAE\n", Some(&[0, 1])),
            ("-_8", Some(&[0xfb, 0xff])),
            ("+/8=", Some(&[0xfb, 0xff])),
            ("", None),
            ("!", None),
        ] {
            let read = ExternalBinding::new("kid", text);
            assert_eq!(
                read.as_ref().ok().map(ExternalBinding::mac),
                expected,
                "{text:?}"
            );
        }
        let shown = format!("{:?}", ExternalBinding::new("kid-1", "AAEC"));
        assert_eq!(shown, r#"Ok(ExternalBinding("kid-1"))"#);
    }

    #[test]
    fn only_p256_signs_for_accounts() {
        let p384 = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P384)).unwrap();
        let error = AccountKey::new(&p384).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an account's key must be ECDSA P-256, this one is ECDSA P-384"
        );
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let key = AccountKey::new(&key).unwrap();
        assert_eq!(key.thumbprint().len(), 43);
        assert_eq!(key.sign(b"x").unwrap().len(), 64);
        assert_eq!(key.authorization("t"), format!("t.{}", key.thumbprint()));
    }
}
