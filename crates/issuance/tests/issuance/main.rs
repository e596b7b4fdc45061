//! Issuing from outside: whole certificates, outside judges, differential tests.
#![allow(clippy::unwrap_used, reason = "tests")]

mod chains;
mod common;
mod interop;
mod issue;
mod judge;
mod refuse;
