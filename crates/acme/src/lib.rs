//! Certificates from ACME CAs (RFC 8555), crash-safe.

pub mod account;
mod certificate;
pub mod chain;
pub mod challenge;
pub mod config;
pub mod domains;
mod engine;
pub mod event;
pub mod http;
mod identifier;
pub mod import;
mod instant;
mod issuer;
pub mod journal;
pub mod layout;
pub mod limits;
pub mod problem;
pub mod protocol;
mod renew;
pub mod router;
pub mod rule;
mod runtime;
#[cfg(test)]
mod sample;
mod secret;
#[cfg(test)]
mod testing;
mod wanted;

pub use certificate::IssuedCertificate;
pub use engine::{Demand, Engine, EngineError, Options, Outcome};
pub use identifier::Identifier;
pub use issuer::Issuer;
pub use layout::CertId;
pub use protocol::AcmeServer;
pub use renew::Renewal;
pub use runtime::{Runtime, Task, TokioRuntime};
pub use wanted::Wanted;
