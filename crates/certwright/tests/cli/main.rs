//! The binary as people and scripts meet it: what it prints, what it ends with, what it keeps alive.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(unix)]

mod acme;
mod import;
mod keep;
mod machines;
mod newcomer;
mod output;
mod renew;
#[allow(dead_code, reason = "it is shared with the tests of the ACME crate")]
#[path = "../../../acme/tests/fake/server.rs"]
mod server;
#[path = "../support.rs"]
mod support;
mod survival;
mod world;
