//! What the family is judged by: the conformance runner and the tools its stories share.

pub mod conformance;
pub mod limbo;
pub mod manifests;
pub mod peer;
