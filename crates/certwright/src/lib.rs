//! A certificate's whole life.

mod inventory;
mod secret_dir;

pub use inventory::{Inventory, InventoryError, OrderError, ResourceName};
pub use secret_dir::{SecretDir, SecretDirError};
