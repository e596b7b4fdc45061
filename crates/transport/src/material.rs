//! What a transport refers to by name: Secrets, ConfigMaps, files, bundles.
//!
//! The caller reads them, wherever they are; this crate does no I/O.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use zeroize::{Zeroize, Zeroizing};

use crate::bundle::TrustBundles;
use crate::identity::Identity;
use crate::revocation::Crls;
use crate::roots::{CA_KEYS, Roots};

/// Something a transport refers to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// A ConfigMap.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A file.
    File(String),
    /// A Secret.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// PEM text that stands in the configuration itself; wiped when dropped.
    Text(String),
}

/// Everything a transport may refer to, loaded.
#[derive(Debug, Default)]
pub struct Material {
    secrets: BTreeMap<(String, String), TlsSecret>,
    config_maps: BTreeMap<(String, String), BTreeMap<String, Vec<u8>>>,
    files: BTreeMap<String, Redacted>,
    /// The roots of each trust domain, for SPIFFE.
    pub bundles: TrustBundles,
    /// The roots to use where a transport names none.
    pub system_roots: Option<Roots>,
    /// Identities to show besides those a transport names; with SPIFFE, one's own X509-SVID.
    pub identities: Vec<Identity>,
    /// Revocation lists; given, they must speak for every certificate.
    pub crls: Option<Arc<Crls>>,
}

impl Material {
    /// Adds a Secret under its namespace and name.
    pub fn insert_secret(&mut self, secret: TlsSecret) {
        self.secrets
            .insert((secret.namespace.clone(), secret.name.clone()), secret);
    }

    /// Adds a ConfigMap's data.
    pub fn insert_config_map(
        &mut self,
        namespace: impl Into<String>,
        name: impl Into<String>,
        data: BTreeMap<String, Vec<u8>>,
    ) {
        self.config_maps
            .insert((namespace.into(), name.into()), data);
    }

    /// Adds a file's bytes under the path a configuration names it by.
    pub fn insert_file(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files
            .insert(path.into(), Redacted(Zeroizing::new(bytes.into())));
    }

    /// The PEM text of roots: key `tls.ca`, else `ca.crt`, of a Secret or a ConfigMap.
    pub(crate) fn roots<'a>(&'a self, source: &'a Source) -> Found<&'a [u8]> {
        let found =
            |text: Option<&'a [u8]>| text.map_or(Found::NoKey("tls.ca or ca.crt"), Found::Here);
        match source {
            Source::Secret { namespace, name } => {
                match self.secrets.get(&(namespace.clone(), name.clone())) {
                    None => Found::Missing,
                    Some(secret) => found(CA_KEYS.iter().find_map(|key| secret.get(key))),
                }
            }
            Source::ConfigMap { namespace, name } => {
                match self.config_maps.get(&(namespace.clone(), name.clone())) {
                    None => Found::Missing,
                    Some(data) => found(
                        CA_KEYS
                            .iter()
                            .find_map(|key| data.get(*key))
                            .map(Vec::as_slice),
                    ),
                }
            }
            Source::File(_) | Source::Text(_) => self.text(source),
        }
    }

    /// The PEM text of a chain or a key: `key` of a Secret, or all of a file.
    pub(crate) fn identity<'a>(&'a self, source: &'a Source, key: &'static str) -> Found<&'a [u8]> {
        match source {
            Source::Secret { namespace, name } => {
                match self.secrets.get(&(namespace.clone(), name.clone())) {
                    None => Found::Missing,
                    Some(secret) => secret.get(key).map_or(Found::NoKey(key), Found::Here),
                }
            }
            Source::ConfigMap { .. } => Found::Missing,
            Source::File(_) | Source::Text(_) => self.text(source),
        }
    }

    fn text<'a>(&'a self, source: &'a Source) -> Found<&'a [u8]> {
        match source {
            Source::File(path) => self
                .files
                .get(path)
                .map_or(Found::Missing, |bytes| Found::Here(bytes.0.as_slice())),
            Source::Text(text) => Found::Here(text.as_bytes()),
            Source::Secret { .. } | Source::ConfigMap { .. } => Found::Missing,
        }
    }
}

/// The outcome of a look-up.
pub(crate) enum Found<T> {
    Here(T),
    Missing,
    NoKey(&'static str),
}

struct Redacted(Zeroizing<Vec<u8>>);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Text(text) = self {
            text.zeroize();
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap { namespace, name } => write!(f, "ConfigMap {namespace}/{name}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Secret { namespace, name } => write!(f, "Secret {namespace}/{name}"),
            Self::Text(_) => f.write_str("PEM text"),
        }
    }
}

impl fmt::Debug for Source {
    /// The text may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
