#![doc = include_str!("../README.md")]

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
mod keeper;
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
mod setup;
#[cfg(test)]
mod testing;
mod unused;
mod wanted;

pub use certificate::IssuedCertificate;
pub use engine::{Demand, Engine, EngineError, Options, Outcome, Strangers};
pub use identifier::Identifier;
pub use issuer::{Issuer, MAX_NAMES};
pub use keeper::{CertificateSink, Keeper};
pub use layout::CertId;
pub use protocol::AcmeServer;
pub use renew::Renewal;
pub use runtime::{Runtime, Task, TokioRuntime};
pub use setup::SetupError;
pub use unused::Unused;
pub use wanted::{OwnRequest, Wanted};

/// Parsers of what others wrote, for the fuzz targets of this repository and the test that replays their inputs.
#[cfg(any(fuzzing, all(feature = "http-server", feature = "platform-roots")))]
#[doc(hidden)]
pub mod fuzzing {
    /// A URL as it is asked for, written again.
    pub fn url(text: &str) -> Option<String> {
        let url = crate::http::Url::parse(text).ok()?;
        let tls = if url.tls { "s" } else { "" };
        Some(format!("http{tls}://{}{}", url.authority, url.target))
    }
}
