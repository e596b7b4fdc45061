//! What can go wrong, by what the caller does about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::{Fence, FencingToken, InvalidKey, Key, Revision};

/// Why an operation of a store was refused or failed.
///
/// After [`StorageError::Indeterminate`] alone the write may have happened; after every
/// other error nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The store was shut down, or its thread died.
    #[error("the store is closed")]
    Closed,
    /// A guard did not hold: read again and decide anew.
    #[error("{key} was expected {}, it was {}", state(*.expected), state(*.found))]
    Conflict {
        /// The guarded key.
        key: Key,
        /// Since when its value was to be unchanged; `None` if it was to be absent.
        expected: Option<Revision>,
        /// When its value was written; `None` if there is none.
        found: Option<Revision>,
    },
    /// Stored bytes are not what was written. Restore the file, or move it away.
    #[error("{place} is damaged: {reason}")]
    Corrupt {
        /// File or key.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// The store was asked, and no answer came: the write may have happened, now or
    /// later. Read before writing again.
    #[error("no answer from {place}, the write may have happened: {reason}")]
    Indeterminate {
        /// Endpoint or file.
        place: String,
        /// What happened instead of an answer.
        reason: String,
    },
    /// The backend answered with a key that is none.
    #[error("a key of the store cannot be read")]
    InvalidKey(#[from] InvalidKey),
    /// A lease may be asked for from a second to a day.
    #[error("a lease of {asked:?} was asked for; ask for 1s to 86400s")]
    InvalidTtl {
        /// What was asked for.
        asked: Duration,
    },
    /// A file could not be read or written; nothing changed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lease ran out, was released, or is somebody else's now: stop acting.
    #[error("the lease {name} with token {token} is not held any more")]
    LeaseLost {
        /// What the lease was of.
        name: Key,
        /// Which of its leases.
        token: FencingToken,
    },
    /// Another process has the store open.
    #[error("{} is open in another process; close that one, or open with Busy::Wait", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// The store understood and refused: rights, quota, configuration.
    #[error("{place} refused: {reason}")]
    Refused {
        /// Endpoint.
        place: String,
        /// Its words.
        reason: String,
    },
    /// A transaction or a request over a limit; split it.
    #[error("{len} {unit} in one transaction, {max} are the most")]
    TooLarge {
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// The store cannot be reached, and nothing was written. Try again later.
    #[error("{place} cannot be reached: {reason}")]
    Unavailable {
        /// Endpoint or endpoints.
        place: String,
        /// Why not.
        reason: String,
    },
    /// An earlier write left the directory in an unknown state. Open the store again.
    #[error("{place} is in an unknown state since a failed write; open the store again")]
    Uncertain {
        /// The store's directory.
        place: String,
    },
    /// A value could not be opened, or sealed.
    #[error("{key} cannot be unsealed: {reason}")]
    Unsealed {
        /// Where the value is.
        key: Key,
        /// What does not fit.
        reason: String,
    },
    /// Two writes of one key in one transaction.
    #[error("{key} is written twice in one transaction")]
    WrittenTwice {
        /// The key.
        key: Key,
    },
}

impl StorageError {
    /// The lease is lost, and the log says so: its holder may have been cut off.
    pub(crate) fn lease_lost(fence: &Fence) -> Self {
        tracing::warn!(name = %fence.name, token = %fence.token, "lease lost");
        Self::LeaseLost {
            name: fence.name.clone(),
            token: fence.token,
        }
    }
}

fn state(revision: Option<Revision>) -> String {
    match revision {
        Some(revision) => format!("at revision {revision}"),
        None => "absent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let key = Key::new("/v1/cert/web").unwrap();
        for (error, expected) in [
            (
                StorageError::Conflict {
                    key: key.clone(),
                    expected: None,
                    found: Some(Revision::new(7)),
                },
                "/v1/cert/web was expected absent, it was at revision 7",
            ),
            (
                StorageError::LeaseLost {
                    name: key,
                    token: FencingToken::new(3),
                },
                "the lease /v1/cert/web with token 3 is not held any more",
            ),
            (
                StorageError::TooLarge {
                    unit: "writes",
                    len: 129,
                    max: 128,
                },
                "129 writes in one transaction, 128 are the most",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
