//! A certificate's whole life.

mod secret_dir;

pub use secret_dir::{SecretDir, SecretDirError};
