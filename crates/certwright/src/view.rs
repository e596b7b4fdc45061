//! Issuers, certificates and Secrets as people and programs want to see them: tables like `kubectl get`, texts like
//! `kubectl describe`, the tree of issuers, and the same as JSON in the shape of Kubernetes documents.
//!
//! ```
//! use certwright::view::{CertificateView, certificates};
//! use certwright_cert_model::{IssuerKind, IssuerRef};
//! use time::macros::datetime;
//!
//! let mut web = CertificateView::new("shop", "web", "web-tls", IssuerRef::new("ca", IssuerKind::Issuer));
//! web.created = Some(datetime!(2026-03-01 12:00 UTC));
//! let table = certificates(&[web], datetime!(2026-03-04 12:00 UTC));
//! assert_eq!(
//!     table.to_string(),
//!     "NAME   READY     SECRET    ISSUER   AGE   RENEWS\n\
//!      web    Unknown   web-tls   ca       3d    never\n"
//! );
//! ```
//!
//! Everything here is made from plain data, without clock, I/O or keys: whoever holds the state fills it in. Nothing
//! shows a value of a Secret.

mod age;
mod certificate;
mod issuer;
mod secret;
mod table;
mod tree;

pub use age::Age;
pub use certificate::{CertificateView, certificates};
pub use issuer::{IssuerType, IssuerView, issuers};
pub use secret::SecretView;
pub use table::Table;
pub use tree::{IssuerTree, Node, NodeKind};

use certwright_cert_model::status::{Condition, ConditionStatus};
use serde_json::{Value, json};

/// A Kubernetes List of documents.
pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
    let items: Vec<_> = items.into_iter().collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The status of the condition of this type; unknown if there is none.
fn status(conditions: &[Condition], kind: &str) -> ConditionStatus {
    let condition = conditions.iter().find(|condition| condition.kind == kind);
    condition
        .map(|condition| condition.status)
        .unwrap_or_default()
}

fn status_text(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::False => "False",
        ConditionStatus::True => "True",
        ConditionStatus::Unknown => "Unknown",
    }
}
