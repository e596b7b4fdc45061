//! Upstream TLS that never fails open.

mod der;
mod leaf;

pub mod bundle;
pub mod client;
pub mod identity;
pub mod peer;
pub mod peer_error;
pub mod revocation;
pub mod roots;
pub mod server;
pub mod verify;

pub use peer_error::PeerError;
pub use verify::PeerVerifier;
