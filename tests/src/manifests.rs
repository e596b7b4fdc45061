//! Managers made of manifests, for stories.

use certwright::{Inventory, Manager, Outcome, ResourceName};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Defaults, Manifest, TlsSecret, manifest};
use time::OffsetDateTime;

/// The inventory of a YAML stream in which everything is right.
///
/// # Panics
///
/// Something is wrong.
pub fn inventory(text: &str) -> Inventory {
    let mut inventory = Inventory::new("cert-manager");
    for manifest in manifest::read(text, Format::Yaml, Strictness::Strict) {
        match manifest.expect("a document") {
            Manifest::Certificate(certificate) => {
                let valid = certificate
                    .validate(&Defaults::documented())
                    .expect("a valid Certificate");
                let name = ResourceName::new(&valid.metadata.namespace, &valid.metadata.name);
                inventory
                    .add_certificate(name, valid.spec)
                    .expect("one of each");
            }
            Manifest::Issuer(issuer) => {
                let valid = issuer.validate().expect("a valid Issuer");
                let name = ResourceName::new(&valid.metadata.namespace, &valid.metadata.name);
                inventory.add_issuer(name, valid.spec).expect("one of each");
            }
            Manifest::ClusterIssuer(issuer) => {
                let valid = issuer.validate().expect("a valid ClusterIssuer");
                inventory
                    .add_cluster_issuer(valid.metadata.name, valid.spec)
                    .expect("one of each");
            }
            other => panic!("{other:?} is not for an inventory"),
        }
    }
    inventory
}

/// A manager for a YAML stream, with nothing issued yet.
///
/// # Panics
///
/// Something is wrong.
pub fn manager(text: &str) -> Manager {
    restarted(text, Vec::new())
}

/// A manager for a YAML stream that finds these Secrets.
///
/// # Panics
///
/// Something is wrong.
pub fn restarted(text: &str, stored: Vec<TlsSecret>) -> Manager {
    Manager::new(inventory(text), stored)
}

/// Copies of everything a manager holds, as a restart would find it.
pub fn stored(manager: &Manager) -> Vec<TlsSecret> {
    manager.secrets().map(TlsSecret::clone_with_keys).collect()
}

/// Brings everything up to date; what was issued, as `name: reason`.
///
/// # Panics
///
/// Something failed.
pub fn issued(manager: &mut Manager, now: OffsetDateTime) -> Vec<String> {
    let mut issued = Vec::new();
    for (name, outcome) in manager.reconcile(now) {
        match outcome {
            Outcome::Issued { reason, .. } => issued.push(format!("{}: {reason}", name.name)),
            Outcome::Kept(_) | Outcome::Reapplied { .. } => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    issued
}
