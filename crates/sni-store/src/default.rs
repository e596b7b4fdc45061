//! What is served when no certificate matches.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The entry for names no certificate matches; it never takes part in matching itself.
#[non_exhaustive]
pub enum DefaultEntry<T> {
    /// Serve nothing: the handshake fails.
    None,
    /// This one.
    Given(Arc<T>),
    /// One that is made when the first configuration is applied, and kept; never inside a handshake.
    OnDemand(DefaultMaker<T>),
}

/// Makes a default entry, such as a self-signed certificate.
pub struct DefaultMaker<T>(Box<dyn Fn() -> Result<T, BoxError> + Send + Sync>);

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

impl<T> DefaultMaker<T> {
    /// Wraps a function that makes the payload. If it fails or panics, the configuration is applied
    /// without a default, the report says so, and the next application tries again.
    pub fn new<E: Into<BoxError>>(make: impl Fn() -> Result<T, E> + Send + Sync + 'static) -> Self {
        Self(Box::new(move || make().map_err(Into::into)))
    }
}

impl<T> DefaultEntry<T> {
    /// The payload, made if need be and then kept.
    pub(crate) fn make(&mut self) -> Result<Option<Arc<T>>, BoxError> {
        match self {
            Self::None => Ok(None),
            Self::Given(payload) => Ok(Some(payload.clone())),
            Self::OnDemand(DefaultMaker(maker)) => {
                let made = catch_unwind(AssertUnwindSafe(maker))
                    .map_err(|_| "the function that makes the default certificate panicked")??;
                let payload = Arc::new(made);
                *self = Self::Given(payload.clone());
                Ok(Some(payload))
            }
        }
    }
}

impl<T> fmt::Debug for DefaultEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Given(_) => "Given(..)",
            Self::OnDemand(_) => "OnDemand(..)",
        })
    }
}

impl<T> fmt::Debug for DefaultMaker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultMaker(..)")
    }
}
