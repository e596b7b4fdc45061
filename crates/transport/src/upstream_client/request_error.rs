//! Why there is no response.

use core::error::Error;
use core::time::Duration;
use std::sync::Arc;

use crate::connector::{DialError, Phase};

/// A request got no response.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request does not say whom it is for, or not that it is for TLS.
    #[error(
        "the request is for scheme {} and host {}; write https://HOST/PATH",
        scheme.as_deref().unwrap_or("none"),
        host.as_deref().unwrap_or("none")
    )]
    Address {
        /// The scheme of its URI.
        scheme: Option<String>,
        /// Host and port of its URI.
        host: Option<String>,
    },
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or the other side does not speak HTTP.
    #[error(
        "{host} sent no response headers: the connection failed {after:.1?} after the request was made"
    )]
    Exchange {
        /// Host and port.
        host: String,
        /// Since the request was made.
        after: Duration,
        /// What hyper said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The server took too long.
    #[error(
        "{host} sent no response headers within {limit:?} after the end of the request, {after:.1?} after it was made"
    )]
    HeadersTimedOut {
        /// Host and port.
        host: String,
        /// Since the request was made.
        after: Duration,
        /// The response header timeout.
        limit: Duration,
    },
}

impl RequestError {
    /// How far the request came.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Address { .. } => Phase::Resolve,
            Self::Dial(error) => error.phase,
            Self::Exchange { .. } | Self::HeadersTimedOut { .. } => Phase::Headers,
        }
    }

    /// How long it took since the request was made, or since a connection for it was begun.
    pub fn after(&self) -> Duration {
        match self {
            Self::Address { .. } => Duration::ZERO,
            Self::Dial(error) => error.after,
            Self::Exchange { after, .. } | Self::HeadersTimedOut { after, .. } => *after,
        }
    }

    /// Whether a limit of the transport ended it.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Address { .. } | Self::Exchange { .. } => false,
            Self::Dial(error) => error.is_timeout(),
            Self::HeadersTimedOut { .. } => true,
        }
    }
}
