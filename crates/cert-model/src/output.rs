//! What a TLS Secret holds beyond `tls.crt`, `tls.key` and `ca.crt`.

use std::collections::BTreeMap;

/// An additional format of the key and the certificate (`spec.additionalOutputFormats`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputFormat {
    /// `tls-combined.pem`: the key, a newline, the chain.
    CombinedPem,
    /// `key.der`: the bytes inside `tls.key`.
    Der,
}

/// Labels and annotations to keep on the Secret (`spec.secretTemplate`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretTemplate {
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
    /// Labels, by key.
    pub labels: BTreeMap<String, String>,
}
