//! The Secret of type `kubernetes.io/tls` that holds a certificate and its key.

pub mod annotation;
mod manifest;

use core::fmt;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// The type of a Secret with a certificate and its key.
pub const TLS_TYPE: &str = "kubernetes.io/tls";
/// Key of the certificate chain, leaf first, without the root.
pub const TLS_CRT: &str = "tls.crt";
/// Key of the private key.
pub const TLS_KEY: &str = "tls.key";
/// Key of the CA certificate, if the CA is known.
pub const CA_CRT: &str = "ca.crt";
/// Key of the private key and the chain in one text.
pub const TLS_COMBINED: &str = "tls-combined.pem";
/// Key of the private key in DER.
pub const KEY_DER: &str = "key.der";
/// Key of the PKCS#12 store with the key and the chain.
pub const KEYSTORE_P12: &str = "keystore.p12";
/// Key of the PKCS#12 store with the CA certificate.
pub const TRUSTSTORE_P12: &str = "truststore.p12";
/// Key of the Java store with the key and the chain.
pub const KEYSTORE_JKS: &str = "keystore.jks";
/// Key of the Java store with the CA certificate.
pub const TRUSTSTORE_JKS: &str = "truststore.jks";

/// A TLS Secret: named data, with the labels and annotations to keep on it.
///
/// The data is wiped when dropped; `Debug` shows names and sizes only. Copying keys has a loud name:
/// [`TlsSecret::clone_with_keys`].
#[derive(Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSecret {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The Secret's type; [`TLS_TYPE`] unless one read from a document says otherwise.
    pub kind: String,
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
    /// Labels, by key.
    pub labels: BTreeMap<String, String>,
    data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl TlsSecret {
    /// An empty Secret of this name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            kind: TLS_TYPE.to_owned(),
            ..Self::default()
        }
    }

    /// The bytes under `key`, for example [`TLS_CRT`].
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|bytes| bytes.as_slice())
    }

    /// Puts bytes under `key`, replacing what was there.
    pub fn insert(&mut self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.data.insert(key.into(), Zeroizing::new(bytes.into()));
    }

    /// Takes `key` and its bytes out; whether there were any.
    pub fn remove(&mut self, key: &str) -> bool {
        self.data.remove(key).is_some()
    }

    /// Every key with its bytes, by key.
    pub fn data(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.data
            .iter()
            .map(|(key, bytes)| (key.as_str(), bytes.as_slice()))
    }

    /// A copy, private key included.
    #[must_use]
    pub fn clone_with_keys(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            kind: self.kind.clone(),
            annotations: self.annotations.clone(),
            labels: self.labels.clone(),
            data: self.data.clone(),
        }
    }
}

impl fmt::Debug for TlsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TlsSecret");
        debug
            .field("namespace", &self.namespace)
            .field("name", &self.name);
        for (key, bytes) in &self.data {
            debug.field(key, &format_args!("{} bytes", bytes.len()));
        }
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_sizes_only() {
        let mut secret = TlsSecret::new("default", "web-tls");
        secret.insert(TLS_KEY, b"secret".to_vec());
        assert_eq!(
            format!("{secret:?}"),
            "TlsSecret { namespace: \"default\", name: \"web-tls\", tls.key: 6 bytes, .. }"
        );
    }
}
