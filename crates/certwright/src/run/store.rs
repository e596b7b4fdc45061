//! Where Secrets are kept, as the loop sees it.

use core::fmt;
use core::pin::Pin;

use certwright_cert_model::TlsSecret;

use crate::inventory::ResourceName;

/// The future of an operation of a [`SecretStore`].
pub type Keeping<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where Secrets are kept: [`DirStore`](super::DirStore), [`SharedStore`](super::SharedStore),
/// [`MemoryStore`](super::MemoryStore) or a store of yours.
pub trait SecretStore: Send + Sync + fmt::Debug {
    /// Every Secret there is; one that cannot be read stands as the reason why not.
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, StoreError>>>;

    /// Stores a Secret whole, or not at all: nobody ever sees a key beside the certificate of another one.
    ///
    /// [`StoreError::Conflict`] if somebody else wrote since this store told of the Secret last.
    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()>;

    /// Removes a Secret.
    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()>;

    /// Waits until somebody else changes something, for ever if nobody can. Nothing is lost when the future is
    /// dropped.
    fn changed(&self) -> Keeping<'_, Vec<Seen>>;

    /// Asks for the right to issue, or for more time of it; whether it is ours. Asked again long before it ends.
    fn lead(&self) -> Keeping<'_, bool>;

    /// Gives the right back, at the end.
    fn resign(&self) -> Keeping<'_, ()>;
}

/// What somebody else did to a Secret.
#[derive(Debug)]
pub enum Seen {
    /// It is this now.
    Put(Box<TlsSecret>),
    /// It is gone.
    Removed(ResourceName),
}

/// What a store could not do, by what is done about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else wrote the Secret; it is read again.
    #[error("somebody else changed Secret {secret}")]
    Conflict {
        /// The Secret.
        secret: ResourceName,
    },
    /// Somebody else has the right to issue now; nothing more is issued here.
    #[error("the right to issue is lost")]
    LeaseLost,
    /// It did not work; it is tried again.
    #[error("the store cannot {action}")]
    Failed {
        /// What it could not do: `list`, `read`, `remove` or `write`.
        action: &'static str,
        /// Why not.
        source: Box<dyn core::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Something did not work.
    pub fn failed(
        action: &'static str,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            action,
            source: source.into(),
        }
    }
}
