#![doc = include_str!("../README.md")]

mod der;
mod leaf;

pub mod bundle;
pub mod client;
pub mod client_auth;
#[cfg(feature = "hyper")]
pub mod connector;
pub mod danger;
pub mod identity;
pub mod material;
pub mod peer;
pub mod peer_error;
#[cfg(feature = "platform-roots")]
pub mod platform;
pub mod revocation;
pub mod roots;
pub mod rotation;
pub mod server;
pub mod servers_transport;
pub mod service;
pub mod timeouts;
pub mod tls_parameters;
pub mod transport_error;
pub mod upstream;
#[cfg(feature = "hyper")]
pub mod upstream_client;
pub mod verify;

/// The version of rustls that this API speaks.
pub use rustls;
/// The version of rustls-pki-types that this API speaks.
pub use rustls_pki_types;
/// The crate of the instants and spans in this API.
pub use time;

#[cfg(feature = "hyper")]
pub use connector::Connector;
pub use identity::Identity;
pub use material::Material;
pub use peer_error::PeerError;
pub use roots::Roots;
pub use rotation::Rotating;
pub use servers_transport::ServersTransport;
pub use transport_error::TransportError;
pub use upstream::Upstream;
#[cfg(feature = "hyper")]
pub use upstream_client::UpstreamClient;
pub use verify::PeerVerifier;
