//! Traefik's `tls` section: which certificates there are, and which one is the default.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certwright_cert_model::document::{
    Fields, Format, Node, Strictness, SyntaxError, Value, decode, parse,
};
use certwright_cert_model::violation::{FieldPath, Span, ViolationKind, Violations};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::change::ChangeSet;
use crate::default::{BoxError, DefaultEntry};
use crate::dir::DirError;
use crate::pairs::{PairError, PairLoader, PemPair};
use crate::store::CertStore;

/// The certificates of a Traefik dynamic configuration: `tls.certificates` and the default certificate
/// of `tls.stores.default` (Traefik's TLS documentation, "User-defined certificates"). What else such a
/// file holds, routers and services for example, is passed over.
///
/// ```
/// use certwright_cert_model::document::{Format, Strictness};
/// use certwright_sni_store::TlsConfig;
///
/// let text = "
/// [[tls.certificates]]
///   certFile = '/path/to/domain.cert'
///   keyFile = '/path/to/domain.key'
/// ";
/// let config = TlsConfig::parse(text, Format::Toml, Strictness::Strict)?;
/// assert_eq!(config.len(), 1);
/// # Ok::<(), certwright_sni_store::ConfigError>(())
/// ```
#[derive(Debug, Default)]
pub struct TlsConfig {
    certificates: Vec<Files>,
    default: Option<Files>,
}

/// Where a pair is: paths, or the PEM texts themselves.
struct Files {
    cert: Zeroizing<String>,
    key: Zeroizing<String>,
    place: Span,
    /// Whether it is for the default store, among others perhaps.
    ours: bool,
}

impl TlsConfig {
    /// Reads a configuration file's text. Of the documents of a YAML stream, all count.
    ///
    /// # Errors
    /// If the text is no document, or everything that is wrong with the section, by line and column.
    pub fn parse(text: &str, format: Format, strictness: Strictness) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for document in parse(text, format) {
            // Keys may stand in it as text.
            let root = Zeroizing::new(document?.root);
            let part = Self::decode(&root, strictness)?;
            config.certificates.extend(part.certificates);
            config.default = part.default.or(config.default);
        }
        Ok(config)
    }

    /// Reads a document that is parsed already.
    ///
    /// # Errors
    /// Everything that is wrong with the section.
    pub fn decode(root: &Node, strictness: Strictness) -> Result<Self, Violations> {
        let decoded = decode(root, FieldPath::default(), strictness, |root| {
            root.object(|fields| {
                let config = fields.object("tls", section);
                fields.ignore_rest();
                config
            })
        });
        Ok(decoded.into_result()?.flatten().unwrap_or_default())
    }

    /// How many pairs `tls.certificates` lists.
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// A change set with all of it, for [`CertStore::replace_all`]. Paths are taken from `base`.
    ///
    /// Ids are the places in the list, `tls.certificates[00000]`: in the order of the list, which is the
    /// order [`SelectionPolicy::Traefik`](crate::SelectionPolicy::Traefik) prefers equal identifiers in.
    /// What cannot be read or used is rejected, with file, line and reason. A configuration without a
    /// default certificate leaves the store's as it is.
    pub fn load(
        &self,
        loader: &PairLoader,
        store: &CertStore<CertifiedKey>,
        base: impl AsRef<Path>,
    ) -> ChangeSet<CertifiedKey> {
        let base = base.as_ref();
        let mut unread = ChangeSet::new();
        let mut texts = Vec::new();
        for (index, files) in self.certificates.iter().enumerate() {
            let id = format!("tls.certificates[{index:05}]");
            if !files.ours {
                unread.reject(id, OtherStoreError { place: files.place });
                continue;
            }
            match files.read(base) {
                Ok(text) => texts.push((id, text, files)),
                Err(error) => {
                    unread.reject(id, error);
                }
            }
        }
        let pairs = texts
            .iter()
            .map(|(id, (chain, key), _)| (id.as_str(), PemPair { chain, key }));
        let mut change = loader.load_all(store, pairs);
        for (id, _, files) in &texts {
            change.map_rejection(id, |error| match error.downcast::<PairError>() {
                Ok(error) => files.blame(*error).into(),
                Err(error) => error,
            });
        }
        change.merge(unread);
        if let Some(files) = &self.default {
            let current = store.current();
            let served = current.default_payload();
            match files.load(loader, base) {
                // The same certificate has the same key: nothing to publish.
                Ok(key) if served.is_some_and(|served| served.cert == key.cert) => &mut change,
                Ok(key) => change.default_entry(DefaultEntry::Given(Arc::new(key))),
                Err(error) => change.reject_default(error),
            };
        }
        change
    }
}

impl Files {
    fn load(&self, loader: &PairLoader, base: &Path) -> Result<CertifiedKey, BoxError> {
        let (chain, key) = self.read(base)?;
        let pair = PemPair {
            chain: &chain,
            key: &key,
        };
        Ok(loader
            .certified_key(pair)
            .map_err(|error| self.blame(error))?)
    }

    fn read(&self, base: &Path) -> Result<(Text, Text), DirError> {
        Ok((content(&self.cert, base)?, content(&self.key, base)?))
    }

    /// Names the file that is to blame, and where the configuration names it.
    fn blame(&self, source: PairError) -> ConfiguredPairError {
        let text = match source {
            PairError::Key(_) | PairError::KeyPem(_) | PairError::NoKey => &self.key,
            _ => &self.cert,
        };
        ConfiguredPairError {
            file: (!is_pem(text)).then(|| PathBuf::from(text.as_str())),
            place: self.place,
            source,
        }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Either text may be a private key.
        f.debug_struct("Files")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

type Text = Zeroizing<Vec<u8>>;

fn content(text: &str, base: &Path) -> Result<Text, DirError> {
    if is_pem(text) {
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    let path = base.join(text);
    match fs::read(&path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(source) => Err(DirError { path, source }),
    }
}

/// Traefik takes a text for the content if it is no file's name; no file is named like a PEM block or
/// has several lines. OpenSSL writes lines in front of a block, and a path is shown in errors.
fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ") || text.contains('\n')
}

fn section(fields: &mut Fields<'_>) -> TlsConfig {
    let listed = fields.get("certificates");
    let listed = listed.and_then(|list| list.list(|value| Some(certificate(value))));
    let default = fields.object("stores", |stores| {
        let default = stores.object("default", |store| {
            let default = store.get("defaultCertificate").and_then(pair);
            if let Some(value) = store.get("defaultGeneratedCert") {
                value.report(
                    ViolationKind::NotSupported,
                    "is issued by an ACME resolver, which this store does not run; give a defaultCertificate",
                );
            }
            default
        });
        stores.ignore_rest();
        default.flatten()
    });
    // TLS options are the server's.
    fields.get("options");
    TlsConfig {
        certificates: listed.unwrap_or_default().into_iter().flatten().collect(),
        default: default.flatten(),
    }
}

fn certificate(value: Value<'_>) -> Option<Files> {
    let place = value.node().span;
    value.object(|fields| {
        let stores = fields.texts("stores");
        // Traefik builds other stores and never selects from them.
        let ours = stores.is_empty() || stores.iter().any(|store| store == "default");
        Some(Files {
            ours,
            ..files(fields, place)?
        })
    })?
}

fn pair(value: Value<'_>) -> Option<Files> {
    let place = value.node().span;
    value.object(|fields| files(fields, place))?
}

fn files(fields: &mut Fields<'_>, place: Span) -> Option<Files> {
    let mut text = |name| {
        let value = fields.require(name)?;
        match value.node().as_text() {
            Some(text) => Some(Zeroizing::new(text.to_owned())),
            // It may be a key.
            None => value.mismatch_hidden("a path or a PEM text"),
        }
    };
    let (cert, key) = (text("certFile"), text("keyFile"));
    Some(Files {
        cert: cert?,
        key: key?,
        place,
        ours: true,
    })
}

/// Why a configuration was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no document.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// Something in the section is wrong; all of it.
    #[error(transparent)]
    Violations(#[from] Violations),
}

/// A pair that a configuration names cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, which the configuration names at {place}, cannot be used", name(file.as_deref()))]
#[non_exhaustive]
pub struct ConfiguredPairError {
    /// The file that is wrong; `None` for a text in the configuration itself.
    pub file: Option<PathBuf>,
    /// Where the configuration names the pair.
    pub place: Span,
    /// What is wrong with it.
    pub source: PairError,
}

/// A pair that a configuration names is for other stores than `default`; Traefik loads it and serves
/// nothing from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pair at {place} is for stores other than default, which nothing is served from")]
#[non_exhaustive]
pub struct OtherStoreError {
    /// Where the configuration names the pair.
    pub place: Span,
}

fn name(file: Option<&Path>) -> String {
    file.map_or_else(
        || "the PEM text".to_owned(),
        |file| file.display().to_string(),
    )
}
