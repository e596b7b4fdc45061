//! Zones on loopback, served by name servers of the tests' own: what the checks see, and
//! updates by RFC 2136.

#![cfg(target_os = "linux")] // where all of 127.0.0.0/8 is there
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod propagation;
mod update;
mod world;
