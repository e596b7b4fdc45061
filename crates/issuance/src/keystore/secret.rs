//! The keystores beside the PEM files of a Secret.

use core::fmt;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::output::{KeystorePassword, Keystores, Pkcs12Profile};
use certwright_cert_model::secret::{
    CA_CRT, KEYSTORE_JKS, KEYSTORE_P12, TLS_CRT, TLS_KEY, TRUSTSTORE_JKS, TRUSTSTORE_P12,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Contents, Jks, KeyEntry, KeystoreError, PasswordError, Pkcs12};
use crate::bundle::KEYSTORES;
use crate::certificate::Certificate;
use crate::key_pair::KeyPair;

/// The keystores a Secret is to hold (`spec.keystores`), with their passwords at hand.
///
/// They hold what `tls.key`, `tls.crt` and `ca.crt` of the same Secret hold: `keystore.p12` and
/// `keystore.jks` the key, the chain and the CA, `truststore.p12` and `truststore.jks` the CA, if there is
/// a `ca.crt`.
///
/// ```
/// use certwright_cert_model::TlsSecret;
/// use certwright_issuance::keystore::SecretKeystores;
/// # use certwright_cert_model::output::Keystores;
/// # use time::OffsetDateTime;
/// # let (spec_keystores, now) = (Keystores::default(), OffsetDateTime::UNIX_EPOCH);
/// # let passwords = TlsSecret::new("default", "passwords");
/// # let mut secret = TlsSecret::new("default", "web-tls");
/// let stores = SecretKeystores::resolve(&spec_keystores, |name, key| {
///     (name == passwords.name).then(|| passwords.get(key)).flatten()
/// })?;
/// if !stores.outdated(&secret)?.is_empty() {
///     stores.write(&mut secret, now)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct SecretKeystores {
    /// The key's alias and the password.
    jks: Option<(String, Zeroizing<String>)>,
    pkcs12: Option<(Pkcs12Profile, Zeroizing<String>)>,
}

impl SecretKeystores {
    /// Looks up the passwords: `lookup` gets the name of a Secret, in the Certificate's namespace, and a
    /// key within it, and is not asked about passwords that the specification itself has. What it finds
    /// is taken as it is, a newline at its end included.
    ///
    /// # Errors
    ///
    /// A password that is not there, is empty, or is not text.
    pub fn resolve<'a>(
        keystores: &Keystores,
        lookup: impl Fn(&str, &str) -> Option<&'a [u8]>,
    ) -> Result<Self, PasswordError> {
        let password = |password: &KeystorePassword| resolve(password, &lookup);
        let jks = keystores.jks.as_ref();
        let jks = jks.map(|jks| Ok((jks.alias.clone(), password(&jks.password)?)));
        let pkcs12 = keystores.pkcs12.as_ref();
        let pkcs12 = pkcs12.map(|store| Ok((store.profile, password(&store.password)?)));
        Ok(Self {
            jks: jks.transpose()?,
            pkcs12: pkcs12.transpose()?,
        })
    }

    /// Whether there is to be no keystore.
    pub fn is_empty(&self) -> bool {
        self.jks.is_none() && self.pkcs12.is_none()
    }

    /// Makes the keystores from the Secret's `tls.key`, `tls.crt` and `ca.crt`, and takes out those that
    /// are not to be there. Java will see `now` as the time of their making.
    ///
    /// # Errors
    ///
    /// A Secret without key or certificate, or with ones that cannot be read or do not belong together;
    /// an alias that a CA has. The Secret is then as it was.
    pub fn write(&self, secret: &mut TlsSecret, now: OffsetDateTime) -> Result<(), KeystoreError> {
        let mut written = Vec::new();
        if !self.is_empty() {
            let parts = Parts::of(secret)?;
            for (name, store) in self.stores(&parts) {
                written.push((name, store.write(now)?));
            }
        }
        for name in KEYSTORES {
            secret.remove(name);
        }
        for (name, store) in written {
            secret.insert(name, store);
        }
        Ok(())
    }

    /// Which keystores [`SecretKeystores::write`] would replace, add or take out, by their keys in the
    /// Secret: those of another password, profile, alias, key, certificate or CA, those that are missing
    /// and those that are not wanted any more.
    ///
    /// Nothing is remembered for this: each store is made once more with the salts of the stored one, and
    /// compared with it. So no fingerprint of a password lies about, a store that somebody has replaced
    /// is noticed, and no store is ever parsed. It costs what writing costs, which is some milliseconds for
    /// each PKCS#12 store.
    ///
    /// # Errors
    ///
    /// As [`SecretKeystores::write`].
    pub fn outdated(&self, secret: &TlsSecret) -> Result<Vec<&'static str>, KeystoreError> {
        let mut outdated = Vec::new();
        let mut wanted = Vec::new();
        if !self.is_empty() {
            let parts = Parts::of(secret)?;
            for (name, store) in self.stores(&parts) {
                wanted.push(name);
                let current = match secret.get(name) {
                    Some(stored) => store.matches(stored)?,
                    None => false,
                };
                if !current {
                    outdated.push(name);
                }
            }
        }
        let unwanted = |name: &&str| !wanted.contains(name) && secret.get(name).is_some();
        outdated.extend(KEYSTORES.into_iter().filter(unwanted));
        Ok(outdated)
    }

    /// Every store that is to be there, by its key in the Secret.
    fn stores<'a>(&'a self, parts: &'a Parts) -> Vec<(&'static str, Store<'a>)> {
        let contents = |alias| {
            let entry = KeyEntry {
                alias,
                key: &parts.key,
                chain: &parts.chain,
                authorities: &parts.authorities,
            };
            let trust = Contents::Trust(&parts.authorities);
            (
                Contents::Key(entry),
                (!parts.authorities.is_empty()).then_some(trust),
            )
        };
        let mut stores = Vec::new();
        if let Some((alias, password)) = &self.jks {
            let store = |contents| Store::Jks(Jks { password, contents });
            let (key, trust) = contents(Some(alias.as_str()));
            stores.push((KEYSTORE_JKS, store(key)));
            stores.extend(trust.map(|trust| (TRUSTSTORE_JKS, store(trust))));
        }
        if let Some((profile, password)) = &self.pkcs12 {
            let store = |contents| {
                Store::Pkcs12(Pkcs12 {
                    profile: *profile,
                    password,
                    contents,
                })
            };
            let (key, trust) = contents(None);
            stores.push((KEYSTORE_P12, store(key)));
            stores.extend(trust.map(|trust| (TRUSTSTORE_P12, store(trust))));
        }
        stores
    }
}

impl fmt::Debug for SecretKeystores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeystores")
            .field("jks", &self.jks.as_ref().map(|(alias, _)| alias))
            .field("pkcs12", &self.pkcs12.as_ref().map(|(profile, _)| profile))
            .finish_non_exhaustive()
    }
}

fn resolve<'a>(
    password: &KeystorePassword,
    lookup: impl Fn(&str, &str) -> Option<&'a [u8]>,
) -> Result<Zeroizing<String>, PasswordError> {
    let (name, key) = match password {
        KeystorePassword::Literal(password) => return Ok(password.clone()),
        KeystorePassword::SecretKey { name, key } => (name, key),
    };
    let (secret, key) = (name.clone(), key.clone());
    match lookup(&secret, &key) {
        None => Err(PasswordError::Missing { secret, key }),
        Some([]) => Err(PasswordError::Empty { secret, key }),
        Some(octets) => match core::str::from_utf8(octets) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(error) => Err(PasswordError::NotText {
                secret,
                key,
                at: error.valid_up_to(),
            }),
        },
    }
}

/// What a Secret's keystores are made of.
struct Parts {
    key: KeyPair,
    chain: Vec<Certificate>,
    authorities: Vec<Certificate>,
}

impl Parts {
    fn of(secret: &TlsSecret) -> Result<Self, KeystoreError> {
        let part = |name| secret.get(name).ok_or(KeystoreError::Missing { name });
        let read = |name, text| {
            Certificate::read_pem(text)
                .map_err(|source| KeystoreError::Certificate { name, source })
        };
        let key = KeyPair::from_pem(part(TLS_KEY)?).map_err(KeystoreError::Key)?;
        let chain = read(TLS_CRT, part(TLS_CRT)?)?;
        let mut authorities: Vec<Certificate> = Vec::new();
        if let Some(text) = secret.get(CA_CRT) {
            for authority in read(CA_CRT, text)? {
                if !authorities.contains(&authority) {
                    authorities.push(authority);
                }
            }
        }
        Ok(Self {
            key,
            chain,
            authorities,
        })
    }
}

enum Store<'a> {
    Jks(Jks<'a>),
    Pkcs12(Pkcs12<'a>),
}

impl Store<'_> {
    fn write(&self, now: OffsetDateTime) -> Result<Vec<u8>, KeystoreError> {
        match self {
            Self::Jks(store) => store.write(now),
            Self::Pkcs12(store) => store.write(),
        }
    }

    fn matches(&self, stored: &[u8]) -> Result<bool, KeystoreError> {
        match self {
            Self::Jks(store) => store.matches(stored),
            Self::Pkcs12(store) => store.matches(stored),
        }
    }
}
