//! What requests of strangers may contain.

use certwright_cert_model::oid::Oid;

/// What is accepted in a request. Some things no policy allows: a signature that does not verify or
/// uses SHA-1, RSA below 2048 bits, repeated extensions, bytes behind the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsrPolicy {
    /// The most bytes of DER; 64 KiB by default.
    pub max_size: usize,
    /// What happens to extensions that this crate does not write itself.
    pub unknown_extensions: UnknownExtensions,
}

impl Default for CsrPolicy {
    fn default() -> Self {
        Self {
            max_size: 64 * 1024,
            unknown_extensions: UnknownExtensions::default(),
        }
    }
}

/// What happens to extensions of a request beyond names, usages, basic constraints and name
/// constraints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownExtensions {
    /// Those of this list are copied into the certificate as they are; others are refused.
    Allow(Vec<Oid>),
    /// They do not reach the certificate, as in cert-manager; one marked critical is refused,
    /// because the requester says it must not be ignored.
    #[default]
    Drop,
    /// They are refused.
    Reject,
}
