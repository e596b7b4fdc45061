#![doc = include_str!("../README.md")]

mod agenda;
mod explain;
mod instant;
mod lifetime;
mod percent;
mod policy;
mod schedule;
mod span;

pub use agenda::Agenda;
pub use explain::Explanation;
pub use lifetime::{EmptyLifetime, Lifetime};
pub use percent::{InvalidPercent, Percent, percent_of};
pub use policy::{RenewalPolicy, renew_before};
pub use schedule::{Basis, RenewalLoop, Schedule};
