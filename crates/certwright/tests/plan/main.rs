//! The plan against tables of every reason, against a reference model, and under arbitrary edits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ownership;
mod properties;
mod reapply;
mod reasons;
mod status;
mod world;
