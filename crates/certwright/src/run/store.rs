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
    /// Every Secret there is; one that cannot be read stands as the reason why not, and is not taken for absent.
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, Unreadable>>>;

    /// What one Secret is now, which the store has told with that.
    fn read<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, Seen>;

    /// Stores a Secret whole, or not at all: nobody ever sees a key beside the certificate of another one.
    ///
    /// [`StoreError::Conflict`] if somebody else wrote since this store told of the Secret last.
    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()>;

    /// Removes a Secret, under the same conditions.
    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()>;

    /// Waits until somebody else changes something, for ever if nobody can. Nothing is lost when the future is
    /// dropped. A Secret that cannot be read is told of once, and hides no other.
    fn changed(&self) -> Keeping<'_, Vec<Seen>>;

    /// Asks for the right to issue, or for more time of it; whether it is ours. Asked again long before it ends.
    ///
    /// A right that was lost is not ours in the answer that follows, even if it could be had again at once: whoever
    /// asks has to know that somebody else may have written in between.
    fn lead(&self) -> Keeping<'_, bool>;

    /// Gives the right back, at the end.
    fn resign(&self) -> Keeping<'_, ()>;
}

/// What somebody else did to a Secret; complete by definition.
#[derive(Debug)]
pub enum Seen {
    /// It is this now.
    Put(Box<TlsSecret>),
    /// It is gone.
    Removed(ResourceName),
    /// It is there, and cannot be read.
    Unreadable(Unreadable),
}

impl Seen {
    /// The Secret's name.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Put(secret) => ResourceName::new(&secret.namespace, &secret.name),
            Self::Removed(name) => name.clone(),
            Self::Unreadable(error) => error.secret.clone(),
        }
    }
}

/// A Secret that is there and cannot be read: nothing is written in its place, and what hangs on it waits.
#[derive(Debug, thiserror::Error)]
#[error("Secret {secret} cannot be read; mend it, or remove it to have it made anew")]
#[non_exhaustive]
pub struct Unreadable {
    /// The Secret.
    pub secret: ResourceName,
    /// What cannot be read, and where it is.
    pub source: Box<dyn core::error::Error + Send + Sync>,
}

impl Unreadable {
    /// This Secret, for this reason.
    pub fn new(
        secret: ResourceName,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self { secret, source }
    }
}

/// What a store could not do, by what is done about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else wrote the Secret; it is read again, and planned again.
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
        /// What it could not do: `lead`, `list`, `read`, `remove` or `write`.
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
