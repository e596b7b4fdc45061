//! A directory of certificates and keys.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use zeroize::Zeroizing;

use crate::change::{ChangeSet, Report};
use crate::pairs::{PairLoader, PemPair};
use crate::resolver::Resolver;
use crate::select::SelectionPolicy;
use crate::store::CertStore;

impl PairLoader {
    /// A change set with every pair of a directory, the whole of it: give it to
    /// [`CertStore::replace_all`], again whenever the files have changed.
    ///
    /// A pair is `NAME.crt` or `NAME.pem` with `NAME.key` beside it, or a `.pem` that holds both, with
    /// `NAME` for an id; or a subdirectory `NAME` with `tls.crt` and `tls.key` (a mounted Secret) or
    /// `fullchain.pem` and `privkey.pem` (certbot). Names that begin with a dot are passed over. A file
    /// that cannot be read or used is rejected, and leaves what was served under its id. Of several
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
        let mut unread = ChangeSet::new();
        let mut texts = Vec::new();
        let mut pairs = find_pairs(path.as_ref())?;
        pairs.dedup_by(|(id, path, _), (taken, first, _)| {
            let same = id == taken;
            if same {
                let (path, first) = (path.clone(), first.clone());
                let file = text(path.file_name()).unwrap_or_default().into_owned();
                unread.reject(file, SameNameError { path, first });
            }
            same
        });
        for (id, chain, key) in pairs {
            match read(&chain).and_then(|chain| Ok((chain, read(&key)?))) {
                Ok((chain, key)) => texts.push((id, chain, key)),
                Err(error) => {
                    unread.reject(id, error);
                }
            }
        }
        let pairs = texts.iter().map(|(id, chain, key)| {
            let pair = PemPair { chain, key };
            (id.as_str(), pair)
        });
        unread.merge(self.load_all(store, pairs));
        Ok(unread)
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

/// Id, chain file and key file of each pair, by id.
fn find_pairs(directory: &Path) -> Result<Vec<(String, PathBuf, PathBuf)>, DirError> {
    let fail = |source| DirError {
        path: directory.to_owned(),
        source,
    };
    let mut pairs = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let Some(name) = text(path.file_name()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if path.is_dir() {
            let files = [("tls.crt", "tls.key"), ("fullchain.pem", "privkey.pem")];
            let found = files
                .into_iter()
                .find(|(chain, _)| path.join(chain).exists());
            if let Some((chain, key)) = found {
                pairs.push((name.into_owned(), path.join(chain), path.join(key)));
            }
        } else if let Some("crt" | "pem") = text(path.extension()).as_deref() {
            let beside = path.with_extension("key");
            let key = if beside.exists() {
                beside
            } else {
                path.clone()
            };
            let id = text(path.file_stem()).unwrap_or_default().into_owned();
            pairs.push((id, path, key));
        }
    }
    pairs.sort();
    Ok(pairs)
}

fn text(part: Option<&OsStr>) -> Option<Cow<'_, str>> {
    part.map(OsStr::to_string_lossy)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, DirError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(source) => Err(DirError {
            path: path.to_owned(),
            source,
        }),
    }
}
