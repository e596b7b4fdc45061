#![doc = include_str!("../README.md")]

#[cfg(feature = "tokio")]
mod acceptor;
#[cfg(all(
    any(doc, doctest),
    feature = "lazy",
    feature = "tokio",
    feature = "watch"
))]
#[doc = include_str!("../docs/adopting.md")]
pub mod adopting {}
#[cfg(feature = "x509")]
mod cert_dir;
mod challenge;
mod change;
#[cfg(feature = "config")]
mod config;
mod counters;
mod default;
#[cfg(feature = "x509")]
mod der;
#[cfg(feature = "x509")]
mod dir;
mod entry;
mod explain;
mod index;
#[cfg(feature = "x509")]
mod intern;
#[cfg(feature = "lazy")]
mod lazy;
#[cfg(feature = "x509")]
mod lazy_key;
#[cfg(feature = "x509")]
mod pairs;
mod pattern;
#[cfg(feature = "x509")]
mod pem;
#[cfg(feature = "rustls")]
mod resolver;
mod scheme;
mod select;
#[cfg(feature = "self-signed")]
mod self_signed;
mod server_name;
mod snapshot;
#[cfg(feature = "x509")]
mod staple;
mod store;
#[cfg(feature = "watch")]
mod watch;

/// The version of rustls that this API speaks.
#[cfg(feature = "rustls")]
pub use rustls;
/// The crate of the instants and spans in this API.
pub use time;

#[cfg(feature = "tokio")]
pub use acceptor::{AcceptError, CertAcceptor};
#[cfg(feature = "x509")]
pub use cert_dir::CertDir;
pub use challenge::{ACME_TLS_ALPN, Challenges, is_challenge};
pub use change::{ChangeSet, Origin, Rejection, ReplacedError, Report, Warning, WarningKind};
#[cfg(feature = "config")]
pub use config::{ConfigError, ConfiguredPairError, OtherStoreError, TlsConfig};
pub use counters::Counts;
pub use default::{DefaultEntry, DefaultMaker};
#[cfg(feature = "x509")]
pub use dir::{DirError, SameNameError};
pub use entry::{Entry, EntryId, Source};
pub use explain::{Candidate, Explanation, Reason};
#[cfg(feature = "lazy")]
pub use lazy::{Lazy, LazyCounts, LazyError, LazyOptions, LazySource, Ready};
#[cfg(feature = "x509")]
pub use pairs::{PairError, PairLoader, PemPair};
pub use pattern::{Pattern, PatternError};
#[cfg(feature = "rustls")]
pub use resolver::{ChallengeError, Resolver, client_schemes, key_schemes};
pub use scheme::SchemeMask;
pub use select::{Match, Query, Selection, SelectionPolicy};
#[cfg(feature = "self-signed")]
pub use self_signed::{SelfSignedError, self_signed};
pub use snapshot::Snapshot;
#[cfg(feature = "x509")]
pub use staple::{StapleError, Stapled};
pub use store::{CertStore, Current};
#[cfg(feature = "watch")]
pub use watch::{DirWatch, WatchError, WatchEvent, WatchOptions};
