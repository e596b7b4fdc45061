//! Issuing from outside: whole certificates, outside judges, differential tests.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod issue;
mod refuse;
