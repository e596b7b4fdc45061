use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::{CERT_MANAGER_GROUP, IssuerKind};
use certwright_cert_model::status::IssuerStatus;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::certificate::{age, metadata, several};
use super::table::Table;
use super::{status, status_text};

/// An issuer and its state.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IssuerView {
    /// Its kind, and its group if it is a user's own.
    pub kind: IssuerKind,
    /// Its namespace; empty for a ClusterIssuer.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What kind of CA it is.
    pub issues: IssuerType,
    /// When it was made, if that is known.
    pub created: Option<OffsetDateTime>,
    /// Its state, by the condition `Ready`.
    pub status: IssuerStatus,
}

/// How an issuer issues.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerType {
    /// At an ACME server.
    Acme {
        /// The server's directory.
        server: String,
    },
    /// With the CA in a Secret.
    Ca {
        /// The Secret's namespace: the issuer's own, or the one of all ClusterIssuers.
        namespace: String,
        /// The Secret's name.
        secret: String,
    },
    /// In a way only its author knows.
    External,
    /// With the key of the certificate itself.
    SelfSigned,
}

impl IssuerType {
    /// How an issuer of this specification issues; a CA's Secret is looked for in `namespace`.
    pub fn of(spec: &IssuerSpec, namespace: &str) -> Self {
        match spec {
            IssuerSpec::Ca(ca) => Self::Ca {
                namespace: namespace.to_owned(),
                secret: ca.secret_name.clone(),
            },
            IssuerSpec::SelfSigned(_) => Self::SelfSigned,
            IssuerSpec::Acme(acme) => Self::Acme {
                server: acme.server.clone(),
            },
            _ => Self::External,
        }
    }

    /// The type's name in documents, for example `selfSigned`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Acme { .. } => "acme",
            Self::Ca { .. } => "ca",
            Self::External => "external",
            Self::SelfSigned => "selfSigned",
        }
    }
}

impl IssuerView {
    /// An issuer of which nothing more is known.
    pub fn new(
        kind: IssuerKind,
        namespace: impl Into<String>,
        name: impl Into<String>,
        issues: IssuerType,
    ) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            issues,
            created: None,
            status: IssuerStatus::default(),
        }
    }

    pub(super) fn kind_text(&self) -> &str {
        match &self.kind {
            IssuerKind::ClusterIssuer => "ClusterIssuer",
            IssuerKind::External { kind, .. } => kind,
            IssuerKind::Issuer => "Issuer",
        }
    }

    /// The issuer as a Kubernetes document with its `status`.
    pub fn to_document(&self) -> Value {
        let group = match &self.kind {
            IssuerKind::External { group, .. } => group,
            _ => CERT_MANAGER_GROUP,
        };
        let mut document = json!({
            "apiVersion": format!("{group}/v1"),
            "kind": self.kind_text(),
            "metadata": metadata(&self.namespace, &self.name, self.created),
            "status": self.status,
        });
        match &self.issues {
            IssuerType::Acme { server } => document["spec"] = json!({"acme": {"server": server}}),
            IssuerType::Ca { secret, .. } => {
                document["spec"] = json!({"ca": {"secretName": secret}});
            }
            IssuerType::External => {}
            IssuerType::SelfSigned => document["spec"] = json!({"selfSigned": {}}),
        }
        document
    }
}

/// `kubectl get issuers`: NAME, READY and AGE, under NAMESPACE if there are several.
pub fn issuers(issuers: &[IssuerView], now: OffsetDateTime) -> Table {
    let namespaces = several(issuers.iter().map(|one| one.namespace.as_str()));
    let mut table = if namespaces {
        Table::new(&["NAMESPACE", "NAME", "READY", "AGE"])
    } else {
        Table::new(&["NAME", "READY", "AGE"])
    };
    for issuer in issuers {
        let ready = status_text(status(&issuer.status.conditions, "Ready")).to_owned();
        let age = age(issuer.created, now);
        let name = issuer.name.clone();
        if namespaces {
            table.push([issuer.namespace.clone(), name, ready, age]);
        } else {
            table.push([name, ready, age]);
        }
    }
    table
}
