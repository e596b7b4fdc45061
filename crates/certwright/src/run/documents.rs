use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use certwright_cert_model::Defaults;
use certwright_cert_model::document::Format;
use certwright_storage::{Revision, Storage, StorageError};
use std::sync::Arc;

use crate::documents::{Documents, collect};

/// Where documents come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// Files, and directories with all files below them, looked at again and again.
    Paths {
        /// The files and directories.
        paths: Vec<PathBuf>,
        /// How often they are looked at.
        poll: Duration,
    },
    /// The values under a prefix of a shared store, YAML each, looked at again and again.
    Storage {
        /// The store.
        storage: Arc<dyn Storage>,
        /// What the keys start with.
        prefix: String,
        /// How often they are looked at.
        poll: Duration,
    },
}

/// What a source looked like when it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Files(Vec<(PathBuf, Option<(SystemTime, u64)>)>),
    Keys(Vec<(String, Revision)>),
}

impl Source {
    /// Reads everything, unless it is as it was.
    pub(super) async fn read(
        &self,
        known: Option<&Stamp>,
        namespace: &str,
        defaults: &Defaults,
    ) -> Result<Option<(Documents, Stamp)>, StorageError> {
        match self {
            Self::Paths { paths, .. } => {
                let stamp = Stamp::Files(files(paths));
                if known == Some(&stamp) {
                    return Ok(None);
                }
                let mut documents = Documents::new(namespace, defaults.clone());
                documents.read_paths(paths);
                Ok(Some((documents, stamp)))
            }
            Self::Storage {
                storage, prefix, ..
            } => {
                let listed = storage.list(prefix).await?;
                let entries = listed.entries.iter();
                let keys = entries.map(|entry| (entry.key.to_string(), entry.revision));
                let stamp = Stamp::Keys(keys.collect());
                if known == Some(&stamp) {
                    return Ok(None);
                }
                let mut documents = Documents::new(namespace, defaults.clone());
                for entry in &listed.entries {
                    let text = String::from_utf8_lossy(entry.value.as_bytes());
                    documents.read(entry.key.as_str(), &text, Format::Yaml);
                }
                Ok(Some((documents, stamp)))
            }
        }
    }

    pub(super) fn poll(&self) -> Duration {
        match self {
            Self::Paths { poll, .. } | Self::Storage { poll, .. } => *poll,
        }
    }
}

/// The files that would be read, each with its time and size.
fn files(paths: &[PathBuf]) -> Vec<(PathBuf, Option<(SystemTime, u64)>)> {
    let mut files = Vec::new();
    for path in paths {
        // What is wrong with a path is told when it is read.
        collect(path, true, &mut files, &mut Vec::new());
    }
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        let stamp = metadata.and_then(|found| Some((found.modified().ok()?, found.len())));
        (path, stamp)
    };
    files.into_iter().map(|(path, _)| stamp(path)).collect()
}
