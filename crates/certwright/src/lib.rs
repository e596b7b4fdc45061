#![doc = include_str!("../README.md")]

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
