//! A certificate's whole life.

pub mod annotation;
mod inventory;
mod issue;
mod manager;
mod plan;
mod publish;
mod secret_dir;

pub use inventory::{Inventory, InventoryError, OrderError, ResourceName};
pub use issue::IssueError;
pub use manager::{Manager, Outcome, Status};
pub use plan::{KeySource, Observed, Plan, Reason, plan};
pub use publish::publish;
pub use secret_dir::{SecretDir, SecretDirError};
