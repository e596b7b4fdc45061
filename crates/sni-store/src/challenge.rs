//! Certificates that answer ACME's TLS-ALPN-01 challenge, apart from those that serve.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::pattern::{Pattern, PatternError};

/// The protocol a challenge is asked with; see RFC 8737 section 4.
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Challenge certificates by host name, for hellos that offer [`ACME_TLS_ALPN`] alone (RFC 8737 section 3).
///
/// An ACME client's sink puts its answers in by name and takes them out by name again.
///
/// A store never holds one and this map never serves: neither can be taken for the other. Cloning makes
/// another handle to the same map.
pub struct Challenges<T> {
    by_host: Arc<ArcSwap<HashMap<Pattern, Arc<T>>>>,
}

impl<T> Challenges<T> {
    /// No challenge pending.
    pub fn new() -> Self {
        Self {
            by_host: Arc::new(ArcSwap::from_pointee(HashMap::new())),
        }
    }

    /// Answers for `host` (for an IP address its reverse-mapped name, RFC 8738 section 6) from now on.
    ///
    /// # Errors
    /// If `host` is no single host name.
    pub fn insert(&self, host: &str, payload: T) -> Result<(), PatternError> {
        let host = single_host(host)?;
        let payload = Arc::new(payload);
        self.by_host.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.insert(host.clone(), payload.clone());
            map
        });
        Ok(())
    }

    /// Stops answering for `host`; what was never there is no matter.
    pub fn remove(&self, host: &str) {
        let Ok(host) = single_host(host) else { return };
        self.by_host.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.remove(&host);
            map
        });
    }

    /// The answer for a server name.
    pub fn get(&self, host: &str) -> Option<Arc<T>> {
        self.by_host.load().get(&single_host(host).ok()?).cloned()
    }
}

/// Whether a client's protocols ask for a challenge: this one, alone.
pub fn is_challenge<'a>(mut protocols: impl Iterator<Item = &'a [u8]>) -> bool {
    protocols.next() == Some(ACME_TLS_ALPN) && protocols.next().is_none()
}

impl<T> Clone for Challenges<T> {
    fn clone(&self) -> Self {
        Self {
            by_host: self.by_host.clone(),
        }
    }
}

impl<T> Default for Challenges<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Challenges<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_host.load().keys()).finish()
    }
}

fn single_host(text: &str) -> Result<Pattern, PatternError> {
    let pattern: Pattern = text.parse()?;
    if pattern.suffix().is_some() {
        return Err(PatternError::Wildcard);
    }
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_one_host_until_removed() {
        let challenges = Challenges::new();
        challenges.insert("A.test", 1).unwrap();
        challenges.insert("7.2.0.192.in-addr.arpa", 2).unwrap();
        assert_eq!(challenges.get("a.TEST.").as_deref(), Some(&1));
        assert_eq!(
            challenges.get("7.2.0.192.in-addr.arpa").as_deref(),
            Some(&2)
        );
        assert_eq!(challenges.get("b.a.test"), None);
        challenges.clone().remove("a.test");
        assert_eq!(challenges.get("a.test"), None);
        assert_eq!(
            challenges.insert("*.a.test", 3),
            Err(PatternError::Wildcard)
        );
    }

    #[test]
    fn only_alone() {
        let table: &[(&[&[u8]], bool)] = &[
            (&[b"acme-tls/1"], true),
            (&[b"acme-tls/1", b"h2"], false),
            (&[b"h2", b"acme-tls/1"], false),
            (&[b"h2"], false),
            (&[], false),
        ];
        for (protocols, expected) in table {
            assert_eq!(is_challenge(protocols.iter().copied()), *expected);
        }
    }
}
