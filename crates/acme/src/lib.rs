//! Certificates from ACME CAs (RFC 8555), crash-safe.

pub mod chain;
pub mod config;
pub mod domains;
pub mod import;
pub mod limits;
pub mod problem;
pub mod router;
pub mod rule;
#[cfg(test)]
mod sample;
