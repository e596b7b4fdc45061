//! A certificate's whole life in one library: what manifests ask for is issued in order, kept, served, renewed.
//!
//! ```
//! use certwright::{Inventory, Manager, ResourceName};
//! use certwright_cert_model::issuer::{IssuerSpec, SelfSignedIssuer};
//! use certwright_cert_model::{CertificateSpec, Defaults};
//!
//! let mut spec = CertificateSpec::default();
//! (spec.secret_name, spec.issuer_ref.name) = ("root".into(), "self".into());
//! (spec.common_name, spec.is_ca) = (Some("Root".into()), true);
//! let mut inventory = Inventory::default();
//! inventory.add_issuer(ResourceName::new("ns", "self"), IssuerSpec::SelfSigned(SelfSignedIssuer::default()))?;
//! inventory.add_certificate(ResourceName::new("ns", "root"), spec.validate(&Defaults::documented())?)?;
//! let mut manager = Manager::new(inventory, []);
//! manager.reconcile(time::OffsetDateTime::now_utc());
//! assert!(manager.secret(&ResourceName::new("ns", "root")).unwrap().get("tls.crt").is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Documents`] reads manifests into an [`Inventory`], which holds what is asked for; [`plan()`] decides, without
//! doing anything, what one certificate needs, and [`ownership`] whose a Secret is; a [`Manager`] does it, CAs first,
//! at the instants it names itself, with issuers of yours ([`Issuer`]) beside its own. [`publish`] hands the result to
//! an SNI store, a [`SecretDir`] keeps it on disk, and [`view`] shows all of it as `kubectl` does. None of them reads a
//! clock; the module `run` (feature of that name) has the loop that does, on files or on storage that replicas share.
//! The module `acme` (feature of that name) is the [`Issuer`] for issuers with `spec.acme`.
//!
//! The examples are whole programs: `server`, to start from, manifests in and HTTPS out, from a CA of its own or by
//! ACME; `lifecycle`, all that happens to certificates in a year; `mesh`, workloads that talk while everything about
//! their certificates changes.

#[cfg(feature = "acme")]
pub mod acme;
pub mod annotation;
mod documents;
mod inventory;
mod issue;
mod issuer;
mod manager;
pub mod ownership;
pub mod plan;
mod publish;
#[cfg(feature = "run")]
pub mod run;
mod secret_dir;
pub mod view;

pub use documents::{Documents, Problem, ProblemKind, Route, RouteTls};
pub use inventory::{Inventory, InventoryError, OrderError, ResourceName};
pub use issue::{Done, IssueError, Job};
pub use issuer::{
    ACME_GROUP, AcmeAccount, Held, Issuer, IssuerError, Issuing, Request, Suggestion, Wish,
};
pub use manager::{
    Manager, Options, Outcome, RequestRecord, RequestResult, SecretChange, Status, TRUST_BUNDLE,
};
pub use plan::{KeySource, Observed, Plan, Reason, plan};
pub use publish::{Publisher, SniPublisher, TransportPublisher, publish};
pub use secret_dir::{SecretDir, SecretDirError};
