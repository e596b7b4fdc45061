//! A certificate's whole life.

mod inventory;
mod publish;
mod secret_dir;

pub use inventory::{Inventory, InventoryError, OrderError, ResourceName};
pub use publish::publish;
pub use secret_dir::{SecretDir, SecretDirError};
