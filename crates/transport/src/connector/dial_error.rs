//! Why there is no connection.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use hyper::http::uri::Authority;

use super::place;
use crate::peer_error::PeerError;
use crate::transport_error::TransportError;

/// How far a request came, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The host's addresses are looked up.
    Resolve,
    /// Bytes can flow: TCP, or whatever stands for it.
    Connect,
    /// TLS.
    Handshake,
    /// The server's certificates are judged.
    Verify,
    /// The request is sent and its response headers are awaited.
    Headers,
}

/// A connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connection to {host}: {phase} failed after {after:.1?}")]
#[non_exhaustive]
pub struct DialError {
    /// Host and port as the request names them.
    pub host: String,
    /// Where it ended.
    pub phase: Phase,
    /// How long it took since the beginning.
    pub after: Duration,
    /// Why.
    #[source]
    pub cause: DialCause,
}

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialCause {
    /// The host of the request cannot be asked for.
    #[error("TLS cannot ask for this host")]
    Host {
        /// Why.
        source: Box<TransportError>,
    },
    /// No address, nobody there, or the other side ended it.
    #[error("{reason}")]
    Io {
        /// What the system said.
        reason: String,
    },
    /// The request is for something else than `https`.
    #[error("this transport speaks TLS only; write https instead of {found:?}")]
    NotHttps {
        /// The scheme of the request, if it has one.
        found: String,
    },
    /// The server's certificates were not accepted.
    #[error("the server was not accepted")]
    Refused {
        /// Which rule they broke.
        source: PeerError,
    },
    /// The time was up: that of the handshake in its phase, or that of the whole dial.
    #[error("it was not done within {limit:?}")]
    TimedOut {
        /// The limit that was reached.
        limit: Duration,
    },
    /// The server's TLS is broken, or has nothing in common with ours.
    #[error("{reason}")]
    Tls {
        /// What rustls said.
        reason: String,
    },
}

impl DialError {
    /// Whether a limit of the transport ended it.
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause, DialCause::TimedOut { .. })
    }

    /// The runtime it was made on is gone.
    pub(crate) fn stopped(host: &Authority) -> Self {
        Self {
            host: place(host),
            phase: Phase::Resolve,
            after: Duration::ZERO,
            cause: DialCause::Io {
                reason: "the runtime was shut down".to_owned(),
            },
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the look-up of its address",
            Self::Connect => "connecting",
            Self::Handshake => "the TLS handshake",
            Self::Verify => "verifying the server",
            Self::Headers => "waiting for the response headers",
        })
    }
}

/// An error with its causes, for texts that stand for all of them.
pub(super) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Wrappers that say what they wrap.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
