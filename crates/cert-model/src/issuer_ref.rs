//! Which issuer signs a certificate.

use core::fmt;

/// The API group of cert-manager's own issuers.
pub const CERT_MANAGER_GROUP: &str = "cert-manager.io";

/// A reference to an issuer, with defaults applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct IssuerRef {
    /// The issuer's name; never empty.
    pub name: String,
    /// What kind of issuer it is.
    pub kind: IssuerKind,
}

/// The kind of an issuer; complete by definition, since all others are external.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssuerKind {
    /// An issuer for certificates of every namespace.
    ClusterIssuer,
    /// An issuer of another API group: the caller's own.
    External {
        /// The API group, never `cert-manager.io`.
        group: String,
        /// The kind within the group.
        kind: String,
    },
    /// An issuer for certificates of its own namespace.
    Issuer,
}

impl IssuerRef {
    /// A reference to an issuer of this name.
    pub fn new(name: impl Into<String>, kind: IssuerKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }

    /// The kind as text, for example `ClusterIssuer`.
    pub fn kind(&self) -> &str {
        match &self.kind {
            IssuerKind::ClusterIssuer => "ClusterIssuer",
            IssuerKind::External { kind, .. } => kind,
            IssuerKind::Issuer => "Issuer",
        }
    }

    /// The API group, `cert-manager.io` unless the issuer is external.
    pub fn group(&self) -> &str {
        match &self.kind {
            IssuerKind::External { group, .. } => group,
            IssuerKind::ClusterIssuer | IssuerKind::Issuer => CERT_MANAGER_GROUP,
        }
    }
}

impl fmt::Display for IssuerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name)
    }
}
