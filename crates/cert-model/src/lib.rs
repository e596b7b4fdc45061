#![cfg_attr(
    all(feature = "documents", feature = "schema", feature = "x509"),
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "documents", feature = "schema", feature = "x509")),
    doc = "The vocabulary of certificates; the documentation is that of all features."
)]

pub mod certificate;
pub mod defaults;
pub mod difference;
#[cfg(feature = "documents")]
pub mod document;
pub mod duration;
pub mod fingerprint;
pub mod inspect;
mod instant;
pub mod issuer;
pub mod issuer_ref;
pub mod key;
mod kubernetes;
#[cfg(feature = "documents")]
pub mod manifest;
pub mod name;
pub mod name_constraints;
pub mod oid;
pub mod output;
pub mod pem;
mod quote;
mod report;
pub mod request;
pub mod requested;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
pub mod status;
pub mod subject;
#[cfg(feature = "serde")]
mod text_serde;
pub mod usage;
pub mod validated;
pub mod violation;

/// The crate of the instants and spans in this API.
pub use time;

pub use certificate::CertificateSpec;
pub use defaults::Defaults;
pub use difference::Difference;
pub use duration::GoDuration;
pub use fingerprint::Fingerprint;
pub use inspect::CertificateFacts;
pub use issuer::{IssuerSpec, RawIssuerSpec};
pub use issuer_ref::{IssuerKind, IssuerRef};
#[cfg(feature = "documents")]
pub use manifest::Manifest;
pub use requested::Requested;
pub use secret::TlsSecret;
pub use validated::ValidatedSpec;
pub use violation::{FieldPath, Span, Violation, ViolationKind, Violations};
