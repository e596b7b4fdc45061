//! Issuers: who signs, and what the signed certificates point at.

/// The validated `spec` of an Issuer or ClusterIssuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerSpec {
    /// Signs with the key of a Secret.
    Ca(CaIssuer),
    /// Signs each certificate with its own key.
    SelfSigned(SelfSignedIssuer),
}

/// `spec.ca`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaIssuer {
    /// The Secret with `tls.crt` and `tls.key` of the CA; never empty.
    pub secret_name: String,
    /// Copied into every certificate: where its CRLs are.
    pub crl_distribution_points: Vec<String>,
    /// Copied into every certificate: its OCSP responders.
    pub ocsp_servers: Vec<String>,
    /// Copied into every certificate: where the CA's certificate is.
    pub issuing_certificate_urls: Vec<String>,
}

/// `spec.selfSigned`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfSignedIssuer {
    /// Copied into every certificate: where its CRLs are.
    pub crl_distribution_points: Vec<String>,
}
