//! Issuing from outside: whole certificates, outside judges, differential tests.
#![allow(clippy::unwrap_used, reason = "tests")]

mod arbitrary;
mod chains;
mod common;
mod crl;
mod garbage;
mod interop;
mod issue;
mod judge;
mod keystore;
mod lint;
mod matrix;
mod properties;
mod rcgen_agrees;
mod refuse;
mod soundness;
mod specification;
