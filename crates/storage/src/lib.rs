#![doc = include_str!("../README.md")]

#[cfg(all(feature = "file", unix))]
mod answer;
#[cfg(feature = "certmagic")]
pub mod certmagic;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(all(feature = "file", unix))]
mod file;
mod key;
#[cfg(feature = "key-wrap")]
pub mod key_wrap;
mod lease;
mod memory;
pub mod record;
mod revision;
mod state;
mod store;
mod txn;
mod value;
mod watch;

pub use clock::Clock;
pub use error::StorageError;
#[cfg(feature = "etcd")]
pub use etcd::{EtcdOptions, EtcdOptionsError, EtcdStorage, EtcdUser};
#[cfg(all(feature = "file", unix))]
pub use file::{Busy, FileOptions, FileStorage};
pub use key::{InvalidKey, Key, MAX_KEY_LEN};
pub use lease::{Acquisition, Fence, FencingToken, LEASE_TTL, Lease};
pub use memory::MemoryStorage;
pub use record::{Record, RecordError};
pub use revision::Revision;
pub use store::{Entry, Listing, Operation, Storage};
pub use txn::{Guard, MAX_TXN_LEN, MAX_TXN_OPS, Txn, Write};
pub use value::Value;
pub use watch::{Change, Event, Watch};

/// Parsers of what others wrote, for the fuzz targets of this repository and the test that replays their inputs.
#[cfg(any(
    fuzzing,
    all(feature = "conformance", feature = "etcd", feature = "file")
))]
#[doc(hidden)]
pub mod fuzzing {
    /// Writes of a journal; and what they are written as.
    pub fn journal(bytes: &[u8]) -> Option<Vec<u8>> {
        let writes = crate::file::journal::decode(bytes).ok()?;
        Some(crate::file::journal::encode(&writes).to_vec())
    }

    /// A file with its first line.
    pub fn frame(bytes: &[u8]) -> Option<(u64, usize)> {
        let read = crate::file::frame::read(crate::file::frame::Kind::Record, bytes);
        read.ok().map(|(revision, start)| (revision.get(), start))
    }

    pub use crate::etcd::wire::fuzz as etcd;

    /// Where the file of a key is.
    pub fn path_of(key: &crate::Key) -> std::path::PathBuf {
        crate::file::path::of_key(key)
    }

    /// The key whose file this is, if it is one's.
    pub fn key_of(path: &std::path::Path) -> Option<crate::Key> {
        crate::file::path::to_key(path)
    }
}
