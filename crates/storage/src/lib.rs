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
