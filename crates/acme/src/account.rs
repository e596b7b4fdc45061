//! Accounts: a key, made and stored before the CA hears of it, and what the CA calls it.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_issuance::{KeyError, KeyPair};
use certwright_storage::{Key, Record, RecordError, Revision, Storage, StorageError, Txn};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::layout;
use crate::protocol::{Protocol, ProtocolError};
use crate::runtime::Runtime;
use crate::secret::StoredKey;

/// The key of an account: ECDSA P-256 or P-384, or RSA.
pub struct AccountKey {
    signing: Signing,
    jwk: BTreeMap<&'static str, String>,
    thumbprint: String,
}

enum Signing {
    Es256(EcdsaKeyPair, Zeroizing<Vec<u8>>),
    Es384(EcdsaKeyPair),
    Rs256(rsa::KeyPair),
}

impl AccountKey {
    /// The account key in this key pair.
    ///
    /// # Errors
    /// [`AccountError::KeyKind`] if it is neither ECDSA P-256 or P-384 nor RSA.
    pub fn new(key: &KeyPair) -> Result<Self, AccountError> {
        let pkcs8 = key.to_der(KeyEncoding::Pkcs8)?;
        let refused = |_| AccountError::Key(KeyError::Sign);
        let (signing, jwk) = match key.algorithm() {
            KeyAlgorithm::Ecdsa(Curve::P256) => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8);
                let pair = pair.map_err(refused)?;
                let jwk = ec_jwk("P-256", &pair);
                (Signing::Es256(pair, pkcs8), jwk)
            }
            KeyAlgorithm::Ecdsa(Curve::P384) => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8);
                let pair = pair.map_err(refused)?;
                let jwk = ec_jwk("P-384", &pair);
                (Signing::Es384(pair), jwk)
            }
            KeyAlgorithm::Rsa(_) => {
                let pair = rsa::KeyPair::from_pkcs8(&pkcs8).map_err(refused)?;
                let public = pair.public_key();
                let number = |value: &[u8]| Base64UrlUnpadded::encode_string(value);
                let jwk = [
                    ("kty", "RSA".to_owned()),
                    (
                        "n",
                        number(public.modulus().big_endian_without_leading_zero()),
                    ),
                    (
                        "e",
                        number(public.exponent().big_endian_without_leading_zero()),
                    ),
                ];
                (Signing::Rs256(pair), jwk.into())
            }
            found => return Err(AccountError::KeyKind { found }),
        };
        // RFC 7638 section 3: the required members in the order of their names, nothing else.
        let digest = digest(&SHA256, json!(jwk).to_string().as_bytes());
        let thumbprint = Base64UrlUnpadded::encode_string(digest.as_ref());
        Ok(Self {
            signing,
            jwk,
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

    /// The key in PKCS#8 if it is ECDSA P-256, which is all that instant-acme signs with.
    pub(crate) fn es256_pkcs8(&self) -> Option<&[u8]> {
        match &self.signing {
            Signing::Es256(_, pkcs8) => Some(pkcs8),
            Signing::Es384(_) | Signing::Rs256(_) => None,
        }
    }

    /// The public key as a JSON Web Key (RFC 7517).
    pub(crate) fn jwk(&self) -> Json {
        json!(self.jwk)
    }

    /// What its signatures are called (RFC 7518 section 3.1).
    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.signing {
            Signing::Es256(..) => "ES256",
            Signing::Es384(_) => "ES384",
            Signing::Rs256(_) => "RS256",
        }
    }

    /// A signature as JWS has it: r and s for ECDSA, PKCS#1 v1.5 for RSA.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.signing {
            Signing::Es256(pair, _) | Signing::Es384(pair) => {
                let signed = pair.sign(&random, message);
                Ok(signed.map_err(|_| KeyError::Sign)?.as_ref().to_vec())
            }
            Signing::Rs256(pair) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signed)
                    .map_err(|_| KeyError::Sign)?;
                Ok(signed)
            }
        }
    }
}

/// RFC 7518 section 6.2.1.
fn ec_jwk(curve: &str, pair: &EcdsaKeyPair) -> BTreeMap<&'static str, String> {
    // An uncompressed point: 4, then the coordinates.
    let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    [
        ("kty", "EC".to_owned()),
        ("crv", curve.to_owned()),
        ("x", Base64UrlUnpadded::encode_string(x)),
        ("y", Base64UrlUnpadded::encode_string(y)),
    ]
    .into()
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
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Registration {
    /// The contacts, URLs such as `mailto:admin@example.org`; may be empty.
    pub contacts: Vec<String>,
    /// The binding to an account elsewhere, for CAs that ask for one.
    pub binding: Option<ExternalBinding>,
}

/// What binds an ACME account to one the CA knows its customer by (RFC 8555 section
/// 7.3.4).
#[derive(Clone)]
pub struct ExternalBinding {
    /// The CA's name of the key.
    pub kid: String,
    mac: Zeroizing<Vec<u8>>,
}

impl ExternalBinding {
    /// A binding with a MAC key in base64url, padded or not, as CAs hand it out.
    ///
    /// # Errors
    /// [`InvalidMac`] if it is not, as in the other alphabet of base64, or empty.
    pub fn new(kid: &str, mac: &str) -> Result<Self, InvalidMac> {
        let text = mac.trim();
        if let Some(found) = text.chars().find(|letter| ['+', '/'].contains(letter)) {
            return Err(InvalidMac::Alphabet { found });
        }
        let bare = text.trim_end_matches('=');
        let decoded = Base64UrlUnpadded::decode_vec(bare);
        let mac = Zeroizing::new(decoded.map_err(|_| InvalidMac::Text)?);
        if mac.is_empty() {
            return Err(InvalidMac::Empty);
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
#[non_exhaustive]
pub enum InvalidMac {
    /// The other alphabet of base64: a key that was encoded again on its way may be
    /// another key.
    #[error(
        "the MAC key has {found:?} in it, so it is base64 and not base64url; write - for + and _ for /, if that is how the CA made it"
    )]
    Alphabet {
        /// The first letter base64url does not have.
        found: char,
    },
    /// Nothing.
    #[error("the MAC key is empty; copy it from the CA")]
    Empty,
    /// Something else.
    #[error("the MAC key is not base64url; copy it again from the CA, whole")]
    Text,
}

/// Which account of a CA is meant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountSpec {
    /// The directory's URL, whole: a CA's staging directory has accounts of its own.
    pub directory: String,
    /// Tells apart several accounts at one directory; usually empty.
    pub label: String,
    /// Which key a new account gets: ECDSA P-256, which every CA must take (RFC 8555
    /// section 6.2), ECDSA P-384 or RSA. An account that is stored keeps its own.
    pub key: KeyAlgorithm,
    /// What to register with.
    pub registration: Registration,
}

impl AccountSpec {
    /// The account at this directory with an ECDSA P-256 key and without contacts.
    pub fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            label: String::new(),
            key: KeyAlgorithm::Ecdsa(Curve::P256),
            registration: Registration::default(),
        }
    }

    /// Where it is stored: the contacts may change, the binding makes another account.
    pub fn place(&self) -> Key {
        let binding = self.registration.binding.as_ref();
        let kid = binding.map(|binding| binding.kid.as_str());
        layout::account(&self.directory, kid, &self.label)
    }

    /// The lease of who registers it.
    pub(crate) fn lock(&self) -> Key {
        layout::account_lock(&self.place())
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
        let (stored, made) = match Stored::read(storage, &place).await? {
            Some(stored) => (stored, false),
            None => self.create(storage, runtime, &place).await?,
        };
        let key = Arc::new(AccountKey::new(&stored.data.key.read()?)?);
        let url = match stored.data.url.clone() {
            Some(url) => url,
            None => {
                let url = self.register(protocol, &key, made).await?;
                let contacts = self.registration.contacts.clone();
                stored
                    .write(storage, &place, |data| {
                        data.url = Some(url.clone());
                        data.contacts = contacts;
                    })
                    .await?;
                url
            }
        };
        Ok(Account { url, key })
    }

    /// The account as it is stored; `None` unless it is registered.
    ///
    /// # Errors
    /// The store's, or a record or key that cannot be read.
    pub async fn known(&self, storage: &dyn Storage) -> Result<Option<Account>, AccountError> {
        let stored = Stored::read(storage, &self.place()).await?;
        let Some((stored, url)) = stored.and_then(|mut stored| {
            let url = stored.data.url.take()?;
            Some((stored, url))
        }) else {
            return Ok(None);
        };
        let key = Arc::new(AccountKey::new(&stored.data.key.read()?)?);
        Ok(Some(Account { url, key }))
    }

    /// Tells the CA the contacts, if they are others than it was told last.
    ///
    /// # Errors
    /// [`AccountError::Protocol`] if the CA refuses them, such as an address at a domain
    /// without mail; the account goes on with those it has.
    pub async fn update_contacts(
        &self,
        storage: &dyn Storage,
        protocol: &dyn Protocol,
        account: &Account,
    ) -> Result<(), AccountError> {
        let place = self.place();
        let contacts = &self.registration.contacts;
        match Stored::read(storage, &place).await? {
            Some(stored) if stored.data.contacts != *contacts => {
                protocol.update_contacts(account, contacts).await?;
                let contacts = contacts.clone();
                stored
                    .write(storage, &place, |data| data.contacts = contacts)
                    .await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Stores an account that was registered elsewhere, unless there is one already. Whether
    /// the stored one has this key.
    ///
    /// # Errors
    /// [`AccountError::KeyKind`] for a key that cannot sign, [`AccountError::Storage`] and
    /// [`AccountError::Record`] as of [`AccountSpec::ensure`].
    pub async fn adopt(
        &self,
        storage: &dyn Storage,
        key: &KeyPair,
        url: &str,
        contacts: &[String],
    ) -> Result<bool, AccountError> {
        let ours = AccountKey::new(key)?;
        let place = self.place();
        self.put_new(storage, &place, key, Some(url), contacts)
            .await?;
        let stored = Stored::read(storage, &place).await?;
        let stored = stored.ok_or(AccountError::Vanished)?.data.key.read()?;
        Ok(AccountKey::new(&stored)?.thumbprint == ours.thumbprint)
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
        let key = runtime.new_key(self.key).await?;
        // One that cannot sign is not stored.
        AccountKey::new(&key)?;
        let contacts = &self.registration.contacts;
        let made = self.put_new(storage, place, &key, None, contacts).await?;
        let stored = Stored::read(storage, place).await?;
        Ok((stored.ok_or(AccountError::Vanished)?, made))
    }

    /// Stores an account unless there is one; whether it is certain that it did.
    async fn put_new(
        &self,
        storage: &dyn Storage,
        place: &Key,
        key: &KeyPair,
        url: Option<&str>,
        contacts: &[String],
    ) -> Result<bool, AccountError> {
        let binding = self.registration.binding.as_ref();
        let data = Data {
            directory: self.directory.clone(),
            label: self.label.clone(),
            eab_kid: binding.map(|binding| binding.kid.clone()),
            key: StoredKey::of(key)?,
            url: url.map(str::to_owned),
            contacts: contacts.to_vec(),
        };
        let record = Record::new(KIND, VERSION, &data)?;
        let put = Txn::new().if_absent(place.clone());
        match storage.txn(put.put(place.clone(), record.encode())).await {
            Ok(_) => Ok(true),
            // Another replica was faster, or it is not known whether we were: either
            // way the stored key counts, and may have been registered.
            Err(StorageError::Conflict { .. } | StorageError::Indeterminate { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
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
    #[error("an account's key must be ECDSA P-256 or P-384, or RSA; this one is {found}")]
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
        // RFC 4648 section 5.
        for (text, expected) in [
            ("AAEC", Some(&[0, 1, 2][..])),
            ("AAE=", Some(&[0, 1])),
            ("AAE", Some(&[0, 1])),
            (" AAE\n", Some(&[0, 1])),
            ("-_8", Some(&[0xfb, 0xff])),
            ("+/8=", None),
            ("-/8", None),
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
        for (text, expected) in [
            (
                "AA/C",
                "the MAC key has '/' in it, so it is base64 and not base64url; write - for + and _ for /, if that is how the CA made it",
            ),
            ("==", "the MAC key is empty; copy it from the CA"),
            (
                "A!",
                "the MAC key is not base64url; copy it again from the CA, whole",
            ),
        ] {
            let error = ExternalBinding::new("kid", text).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let shown = format!("{:?}", ExternalBinding::new("kid-1", "AAEC"));
        assert_eq!(shown, r#"Ok(ExternalBinding("kid-1"))"#);
    }

    #[test]
    fn keys_sign_as_jws_has_it() {
        use aws_lc_rs::signature::{
            ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
            UnparsedPublicKey, VerificationAlgorithm,
        };
        let rsa = KeyAlgorithm::Rsa(certwright_cert_model::key::RsaSize::MIN);
        let cases: [(_, &dyn VerificationAlgorithm, _, _); 3] = [
            (
                KeyAlgorithm::Ecdsa(Curve::P256),
                &ECDSA_P256_SHA256_FIXED,
                "ES256",
                64,
            ),
            (
                KeyAlgorithm::Ecdsa(Curve::P384),
                &ECDSA_P384_SHA384_FIXED,
                "ES384",
                96,
            ),
            (rsa, &RSA_PKCS1_2048_8192_SHA256, "RS256", 256),
        ];
        for (algorithm, verification, name, length) in cases {
            let pair = KeyPair::generate(algorithm).unwrap();
            let key = AccountKey::new(&pair).unwrap();
            assert_eq!(key.algorithm(), name);
            assert_eq!(key.thumbprint().len(), 43);
            assert_eq!(key.authorization("t"), format!("t.{}", key.thumbprint()));
            assert_eq!(key.es256_pkcs8().is_some(), name == "ES256");
            let signature = key.sign(b"x").unwrap();
            assert_eq!(signature.len(), length);
            let part = |name: &str| {
                let jwk = key.jwk();
                Base64UrlUnpadded::decode_vec(jwk[name].as_str().unwrap()).unwrap()
            };
            match algorithm {
                KeyAlgorithm::Rsa(_) => {
                    let parts = rsa::PublicKeyComponents {
                        n: part("n"),
                        e: part("e"),
                    };
                    let checked = parts.verify(&RSA_PKCS1_2048_8192_SHA256, b"x", &signature);
                    checked.unwrap();
                }
                _ => {
                    let point = [vec![4], part("x"), part("y")].concat();
                    let public = UnparsedPublicKey::new(verification, point);
                    public.verify(b"x", &signature).unwrap();
                }
            }
        }
        let p521 = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P521)).unwrap();
        assert_eq!(
            AccountKey::new(&p521).unwrap_err().to_string(),
            "an account's key must be ECDSA P-256 or P-384, or RSA; this one is ECDSA P-521"
        );
    }

    #[test]
    fn the_jwk_of_an_rsa_key_is_in_order_for_its_thumbprint() {
        let pair = KeyPair::generate(KeyAlgorithm::Rsa(Default::default())).unwrap();
        let key = AccountKey::new(&pair).unwrap();
        let text = key.jwk().to_string();
        assert!(
            text.starts_with(r#"{"e":"AQAB","kty":"RSA","n":""#),
            "{text}"
        );
    }
}
