//! A directory of certificates and keys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;

use crate::cert_dir::CertDir;
use crate::change::{ChangeSet, Report};
use crate::pairs::PairLoader;
use crate::resolver::Resolver;
use crate::select::SelectionPolicy;
use crate::store::CertStore;

impl PairLoader {
    /// A change set with every pair of a directory, the whole of it: give it to
    /// [`CertStore::replace_all`], again whenever the files have changed.
    ///
    /// A pair is `NAME.crt` or `NAME.pem` with `NAME.key` beside it, or a `.pem` that holds both, with
    /// `NAME` for an id; or a subdirectory `NAME` with `tls.crt` and `tls.key` (a mounted Secret) or
    /// `fullchain.pem` and `privkey.pem` (certbot). Names that begin with a dot are passed over. What
    /// cannot be used is rejected, also what is no regular file or larger than 1 MiB, and leaves what was
    /// served under its id. Of several
    /// pairs with one `NAME` the first counts (the subdirectory, then `.crt`, then `.pem`); the others
    /// are rejected under the names of their files.
    ///
    /// # Errors
    /// If the directory itself cannot be read.
    pub fn load_dir(
        &self,
        store: &CertStore<CertifiedKey>,
        path: impl AsRef<Path>,
    ) -> Result<ChangeSet<CertifiedKey>, DirError> {
        CertDir::new(path.as_ref(), self.clone()).changes(store)
    }
}

impl Resolver {
    /// Serves the pairs of a directory ([`PairLoader::load_dir`]) under [`SelectionPolicy::Best`], by the
    /// system's clock. What could not be loaded is in the report.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn from_dir(
        path: impl AsRef<Path>,
        provider: Arc<CryptoProvider>,
    ) -> Result<(Self, Report), DirError> {
        let store = CertStore::new(SelectionPolicy::Best);
        let report = store.replace_all(PairLoader::new(provider).load_dir(&store, path)?);
        Ok((Self::new(store, Arc::new(DefaultTimeProvider)), report))
    }
}

/// A file or directory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read", path.display())]
#[non_exhaustive]
pub struct DirError {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A pair of a directory that has the same name as another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not used: {} has the same name; rename or remove one", path.display(), first.display())]
#[non_exhaustive]
pub struct SameNameError {
    /// The chain that is not used.
    pub path: PathBuf,
    /// The one that is.
    pub first: PathBuf,
}

/// The chain file and the key file of a pair; the same file, if it holds both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// The pairs of a directory by id, those that share one in the order they count in.
pub(crate) fn find_pairs(directory: &Path) -> Result<BTreeMap<String, Vec<Files>>, DirError> {
    let fail = |source| DirError {
        path: directory.to_owned(),
        source,
    };
    let mut pairs: BTreeMap<String, Vec<Files>> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if let Some((id, files)) = pair_at(&path) {
            pairs.entry(id).or_default().push(files);
        }
    }
    for files in pairs.values_mut() {
        files.sort();
    }
    Ok(pairs)
}

/// The pairs of a directory that have this id.
pub(crate) fn find_pairs_of(directory: &Path, id: &str) -> Vec<Files> {
    // In the order they sort in.
    let places = [id.to_owned(), format!("{id}.crt"), format!("{id}.pem")];
    let found = places
        .into_iter()
        .filter(|place| directory.join(place).exists())
        .filter_map(|place| pair_at(&directory.join(place)));
    found
        .filter(|(found, _)| found == id)
        .map(|(_, files)| files)
        .collect()
}

/// The pair that a file or subdirectory stands for, and its id.
fn pair_at(path: &Path) -> Option<(String, Files)> {
    let name = text(path.file_name()).filter(|name| !name.starts_with('.'))?;
    if path.is_dir() {
        let files = [("tls.crt", "tls.key"), ("fullchain.pem", "privkey.pem")];
        let (chain, key) = files
            .into_iter()
            .find(|(chain, _)| path.join(chain).exists())?;
        let files = Files {
            chain: path.join(chain),
            key: path.join(key),
        };
        return Some((name.into_owned(), files));
    }
    let Some("crt" | "pem") = text(path.extension()).as_deref() else {
        return None;
    };
    let beside = path.with_extension("key");
    let id = text(path.file_stem()).unwrap_or_default().into_owned();
    let files = Files {
        key: if beside.exists() {
            beside
        } else {
            path.to_owned()
        },
        chain: path.to_owned(),
    };
    Some((id, files))
}

pub(crate) fn text(part: Option<&OsStr>) -> Option<Cow<'_, str>> {
    part.map(OsStr::to_string_lossy)
}
