//! The binary as people and scripts meet it: what it prints, what it ends with, what it keeps alive.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![cfg(unix)]

mod import;
mod keep;
mod machines;
mod newcomer;
mod output;
mod survival;
mod world;
