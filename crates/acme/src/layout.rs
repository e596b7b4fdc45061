//! Where what is in the store.

use core::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use certwright_storage::Key;
use serde::{Deserialize, Serialize};

/// The name of a certificate in the store: 32 hexadecimal digits, the same on every
/// replica, drawn from what makes it this certificate and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertId(String);

impl CertId {
    /// The name drawn from these parts, in this order.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(hash(parts))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the certificate in use is.
    pub fn current(&self) -> Key {
        self.place("certificates", "/current")
    }

    /// Where the one before is.
    pub fn previous(&self) -> Key {
        self.place("certificates", "/previous")
    }

    /// Where one is kept that the CA sent and that does not fit.
    pub fn rejected(&self) -> Key {
        self.place("certificates", "/rejected")
    }

    /// Where its journal is.
    pub fn journal(&self) -> Key {
        self.place("orders", "")
    }

    /// Where what the CA says about its renewal is.
    pub fn renewal(&self) -> Key {
        self.place("renewals", "")
    }

    /// The lease of who may order it.
    pub fn lock(&self) -> Key {
        self.place("locks", "")
    }

    /// The name in the key of a journal.
    pub(crate) fn of_journal(key: &Key) -> Option<Self> {
        let digits = key.as_str().strip_prefix(ORDERS)?;
        Some(Self(digits.to_owned()))
    }

    /// The name in the key of a certificate in use.
    pub fn of_current(key: &Key) -> Option<Self> {
        let rest = key.as_str().strip_prefix(CERTIFICATES)?;
        let digits = rest.strip_suffix("/current")?;
        Some(Self(digits.to_owned()))
    }

    fn place(&self, folder: &str, end: &str) -> Key {
        key(&format!("{ROOT}/{folder}/{}{end}", self.0))
    }
}

impl fmt::Display for CertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an answer to a challenge is shown under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shown {
    /// A token of HTTP-01.
    Token(String),
    /// A server name of TLS-ALPN-01.
    Name(String),
}

impl Shown {
    /// What the key of an answer stands for.
    pub(crate) fn of(key: &Key) -> Option<Self> {
        let rest = key.as_str().strip_prefix(CHALLENGES)?;
        match rest.split_once('/')? {
            ("http", token) => Some(Self::Token(token.to_owned())),
            ("alpn", name) => Some(Self::Name(name.to_owned())),
            _ => None,
        }
    }
}

/// What all certificates' keys start with.
pub const CERTIFICATES: &str = "/acme/v1/certificates/";
/// What all journals' keys start with.
pub const ORDERS: &str = "/acme/v1/orders/";
/// What the keys of all answers to challenges start with.
pub const CHALLENGES: &str = "/acme/v1/challenges/";
/// What the keys of answers to HTTP-01 challenges start with.
pub(crate) const HTTP_TOKENS: &str = "/acme/v1/challenges/http/";
/// What the keys of answers to TLS-ALPN-01 challenges start with.
pub(crate) const ALPN_NAMES: &str = "/acme/v1/challenges/alpn/";
const ROOT: &str = "/acme/v1";

/// An account: one per directory, binding and label.
pub(crate) fn account(directory: &str, eab_kid: Option<&str>, label: &str) -> Key {
    let hash = hash([directory, eab_kid.unwrap_or_default(), label]);
    key(&format!("{ROOT}/accounts/{hash}"))
}

/// What an account has used of its quotas.
pub(crate) fn limits(account: &Key) -> Key {
    let name = account.as_str().rsplit('/').next().unwrap_or_default();
    key(&format!("{ROOT}/limits/{name}"))
}

/// That a resolver's `acme.json` was taken over.
pub(crate) fn import(resolver: &str) -> Key {
    key(&format!("{ROOT}/imports/{}", hash([resolver])))
}

/// The lease of who registers an account.
pub(crate) fn account_lock(account: &Key) -> Key {
    let name = account.as_str().rsplit('/').next().unwrap_or_default();
    key(&format!("{ROOT}/locks/accounts/{name}"))
}

/// The lease of who places an order with an account.
pub(crate) fn new_order_lock(account: &Key) -> Key {
    let name = account.as_str().rsplit('/').next().unwrap_or_default();
    key(&format!("{ROOT}/locks/new-orders/{name}"))
}

/// The lease of who may show an answer to TLS-ALPN-01 for a server name: only one can be
/// shown.
pub(crate) fn alpn_lock(name: &str) -> Key {
    key(&format!("{ROOT}/locks/alpn/{name}"))
}

/// Who orders for these names; on one replica only, in no store.
pub(crate) fn names_turn(names: &[String]) -> Key {
    let names = hash(names.iter().map(String::as_str));
    key(&format!("{ROOT}/locks/names/{names}"))
}

/// The lease of who changes a TXT record. Its name is a name server's word, so it is hashed.
pub(crate) fn record_lock(name: &str) -> Key {
    key(&format!("{ROOT}/locks/records/{}", hash([name])))
}

/// The answer to an HTTP-01 challenge, by its token alone: two orders for one name do
/// not overwrite each other.
pub(crate) fn http_token(token: &str) -> Key {
    key(&format!("{HTTP_TOKENS}{token}"))
}

/// The answer to a TLS-ALPN-01 challenge, by server name.
pub(crate) fn alpn_name(name: &str) -> Key {
    key(&format!("{ALPN_NAMES}{name}"))
}

/// SHA-256 over the parts with their lengths, the first half of it in hexadecimal.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let digest = digest(&SHA256, &bytes);
    let half = digest.as_ref().iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}

/// Of texts that were measured: a token has at most 128 characters, a name 253.
fn key(text: &str) -> Key {
    Key::new(text).expect("a key of our own making")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_every_part_and_its_borders() {
        let one = CertId::of(["a", "bc"]);
        assert_eq!(one, CertId::of(["a", "bc"]));
        assert_ne!(one, CertId::of(["ab", "c"]));
        assert_eq!(one.as_str().len(), 32);
        assert_eq!(CertId::of_current(&one.current()), Some(one.clone()));
        assert_eq!(CertId::of_current(&one.previous()), None);
        assert_eq!(CertId::of_journal(&one.journal()), Some(one.clone()));
        assert_eq!(CertId::of_journal(&one.current()), None);
        let shown = |key: &Key| Shown::of(key);
        assert_eq!(shown(&http_token("t")), Some(Shown::Token("t".to_owned())));
        assert_eq!(shown(&alpn_name("n")), Some(Shown::Name("n".to_owned())));
        assert_eq!(shown(&one.current()), None);
        let account = |kid| account("https://ca.test/dir", kid, "");
        assert_ne!(account(None), account(Some("kid-1")));
    }
}
