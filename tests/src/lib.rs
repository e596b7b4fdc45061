//! What the family is judged by: the conformance runner and the tools its stories share.

pub mod conformance;
pub mod limbo;
pub mod manifests;
pub mod peer;

/// The pages under `docs/cookbook` and those under `docs/migrating` that have code, compiled and, where they need nothing but a temporary directory, run.
#[cfg(doctest)]
mod cookbook {
    #[doc = include_str!("../../docs/cookbook/acme.md")]
    mod acme {}
    #[doc = include_str!("../../docs/cookbook/clients.md")]
    mod clients {}
    #[doc = include_str!("../../docs/cookbook/mesh.md")]
    mod mesh {}
    #[doc = include_str!("../../docs/cookbook/private-ca.md")]
    mod private_ca {}
    #[doc = include_str!("../../docs/migrating/rustls-acme.md")]
    mod rustls_acme {}
    #[doc = include_str!("../../docs/cookbook/servers.md")]
    mod servers {}
}
