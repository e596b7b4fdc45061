#![doc = include_str!("../README.md")]

mod acme_table;
mod agenda;
mod ari;
mod backoff;
mod explain;
pub mod fleet;
mod instant;
mod lifetime;
mod opening;
mod percent;
mod policy;
mod retry;
mod schedule;
mod seed;
mod span;
mod spread;
#[cfg(feature = "timeline")]
mod timeline;
#[cfg(feature = "windows")]
pub mod window;

/// The crate of the instants and spans in this API.
pub use time;

pub use acme_table::AcmeTable;
pub use agenda::Agenda;
pub use ari::{AriAnswer, AriPolling, AriWindow, InvalidAriWindow};
pub use backoff::{FailureBackoff, NextRequest};
pub use explain::Explanation;
pub use lifetime::{EmptyLifetime, Lifetime};
pub use opening::Opening;
pub use percent::{InvalidPercent, Percent, percent_of};
pub use policy::{RenewalPolicy, renew_before};
pub use retry::{Failure, Retry};
pub use schedule::{Basis, RenewalLoop, Schedule};
pub use seed::Seed;
#[cfg(feature = "timeline")]
pub use timeline::{LoadTimeline, Timeline};
