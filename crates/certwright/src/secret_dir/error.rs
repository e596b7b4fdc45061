use std::io;
use std::path::{Path, PathBuf};

/// Why a Secret could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretDirError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `create`, `read`, `remove`, `tidy` or `write`.
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The metadata file was changed by somebody else.
    #[error("{} is damaged at line {line}, column {column}; remove the Secret's directory to start over", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A name that would leave the directory.
    #[error(
        "{found:?} cannot name a file; use letters, digits, '-', '_' and '.', and no '.' in front"
    )]
    Name {
        /// The namespace, name or key.
        found: String,
    },
    /// Something that was not written here is where a Secret belongs.
    #[error("{} was not written here; move it away", path.display())]
    Stranger {
        /// What is in the way.
        path: PathBuf,
    },
}

impl SecretDirError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
