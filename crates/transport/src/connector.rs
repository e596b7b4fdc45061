//! Connections to servers that are verified as a transport says, for hyper's pools and whatever takes a
//! connector.
//!
//! [`UpstreamClient`](crate::UpstreamClient) is the whole: a pool that forgets what an update of the material
//! made invalid. A [`Connector`] in another pool, such as hyper-util's or tonic's, makes every *new* connection
//! by the newest generation; what that pool keeps it keeps, so give it a new pool after a revocation.
//!
//! Proxies are the caller's: nothing here reads `HTTPS_PROXY`. [`Connector::over`] takes anything that yields a
//! byte stream, hyper-util's `Tunnel` through a proxy for one.

mod dial_error;
mod peer;
mod stream;
mod tcp;

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use hyper::Uri;
use hyper::http::uri::Authority;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::danger::Unverified;
use crate::peer_error::PeerError;
use crate::rotation::{Generation, Rotating};
use crate::upstream::Settings;
use crate::verify::proven;
use dial_error::reason;
use tcp::Progress;

pub use dial_error::{DialCause, DialError, Phase};
pub use peer::Peer;
pub use stream::Stream;
pub use tcp::{Resolving, Tcp, tcp};

/// Connects to `https` servers as a [`ServersTransport`](crate::ServersTransport) says; clones share everything.
///
/// The dial timeout counts over name resolution, TCP and TLS together, the handshake timeout within it. Each
/// connection is made by the newest [`Generation`], and carries the server's identity as a [`Peer`], which
/// hyper-util's client puts into the extensions of each response.
#[derive(Clone)]
pub struct Connector<T = Tcp> {
    trust: Trust,
    transport: T,
}

#[derive(Clone)]
enum Trust {
    Danger {
        settings: Arc<Settings>,
        generation: Arc<Generation>,
    },
    Verified(Arc<Rotating>),
}

/// What carries bytes to a server.
pub trait Transport:
    Service<
        Uri,
        Response = <Self as Transport>::Io,
        Error = <Self as Transport>::Failure,
        Future = <Self as Transport>::Dial,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The bytes.
    type Io: Read + Write + Connection + Unpin + Send + 'static;
    /// Why there are none.
    type Failure: Into<Box<dyn core::error::Error + Send + Sync>>;
    /// The wait for them.
    type Dial: Future<Output = Result<Self::Io, Self::Failure>> + Send;
}

impl<S> Transport for S
where
    S: Service<Uri> + Clone + Send + Sync + 'static,
    S::Response: Read + Write + Connection + Unpin + Send + 'static,
    S::Error: Into<Box<dyn core::error::Error + Send + Sync>>,
    S::Future: Send,
{
    type Io = S::Response;
    type Failure = S::Error;
    type Dial = S::Future;
}

impl Connector {
    /// Over TCP, with the system's resolver.
    pub fn new(rotating: Arc<Rotating>) -> Self {
        let transport = tcp(&rotating.upstream().settings().timeouts);
        Self::over(rotating, transport)
    }

    pub(crate) fn unverified(upstream: &Unverified, generation: Generation) -> Self {
        Self {
            transport: tcp(&upstream.settings.timeouts),
            trust: Trust::Danger {
                settings: Arc::new(upstream.settings.clone()),
                generation: Arc::new(generation),
            },
        }
    }
}

impl<T> Connector<T> {
    /// Over another transport than TCP: a tunnel, a pipe, TCP with another resolver ([`Resolving`]).
    pub fn over(rotating: Arc<Rotating>, transport: T) -> Self {
        Self {
            trust: Trust::Verified(rotating),
            transport,
        }
    }

    /// What has nothing to do with trust.
    pub fn settings(&self) -> &Settings {
        match &self.trust {
            Trust::Danger { settings, .. } => settings,
            Trust::Verified(rotating) => rotating.upstream().settings(),
        }
    }

    /// Where the material changes; `None` for a transport that verifies nobody.
    pub fn rotating(&self) -> Option<&Arc<Rotating>> {
        match &self.trust {
            Trust::Danger { .. } => None,
            Trust::Verified(rotating) => Some(rotating),
        }
    }

    pub(crate) fn generation(&self) -> Arc<Generation> {
        match &self.trust {
            Trust::Danger { generation, .. } => Arc::clone(generation),
            Trust::Verified(rotating) => rotating.current(),
        }
    }

    /// Whether a server that an older generation accepted is accepted now.
    pub(crate) fn still_accepts(&self, peer: &Peer) -> Result<(), PeerError> {
        let Trust::Verified(rotating) = &self.trust else {
            return Ok(());
        };
        let generation = rotating.current();
        if generation.number == peer.generation() {
            return Ok(());
        }
        let (leaf, rest) = peer.chain().split_first().ok_or(PeerError::NoCertificate)?;
        let now = rotating.now().ok_or_else(|| PeerError::Malformed {
            reason: "the clock fails, so its validity is unknown".to_owned(),
        })?;
        generation
            .verifier
            .verify_server_cert(leaf, rest, peer.name(), &[], now)
            .map(|_| ())
            .map_err(|error| {
                PeerError::from_rustls(&error).unwrap_or_else(|| PeerError::Malformed {
                    reason: error.to_string(),
                })
            })
    }
}

impl<T: Transport> Connector<T> {
    /// Connects to the host and port of `uri`.
    ///
    /// # Errors
    ///
    /// In which phase, after how long and why there is no connection.
    pub async fn dial(&self, uri: Uri) -> Result<Stream<T::Io>, DialError> {
        let start = Instant::now();
        let host = uri.authority().map(place).unwrap_or_default();
        let progress = Progress::default();
        let limit = self.settings().timeouts.dial;
        let steps = self.steps(uri, &progress);
        let outcome = within(limit, progress.track(steps)).await;
        let after = start.elapsed();
        let late = |limit| Err(DialCause::TimedOut { limit });
        let outcome = match (outcome.unwrap_or_else(late), limit) {
            // TCP shares the same time out among addresses, and may be the first to see its end.
            (Err(DialCause::Io { .. }), Some(limit)) if after >= limit => late(limit),
            (outcome, _) => outcome,
        };
        outcome.map_err(|cause| DialError {
            host,
            phase: progress.phase(),
            after,
            cause,
        })
    }

    async fn steps(&self, uri: Uri, progress: &Progress) -> Result<Stream<T::Io>, DialCause> {
        if uri.scheme_str() != Some("https") {
            return Err(DialCause::NotHttps {
                found: uri.scheme_str().unwrap_or_default().to_owned(),
            });
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self
            .settings()
            .server_name(host)
            .map_err(|error| DialCause::Host {
                source: Box::new(error),
            })?;
        progress.enter(Phase::Connect);
        let mut transport = self.transport.clone();
        poll_fn(|cx| transport.poll_ready(cx))
            .await
            .map_err(unreachable_because)?;
        let bytes = transport.call(uri).await.map_err(unreachable_because)?;
        progress.enter(Phase::Handshake);
        let stream = self.handshake(bytes, name).await;
        if matches!(stream, Err(DialCause::Refused { .. })) {
            progress.enter(Phase::Verify);
        }
        stream
    }

    /// The roots are looked at when the server's certificate is there, so the generation is chosen last.
    async fn handshake(
        &self,
        bytes: T::Io,
        name: ServerName<'static>,
    ) -> Result<Stream<T::Io>, DialCause> {
        let generation = self.generation();
        let tls = TlsConnector::from(Arc::clone(&generation.config));
        let connecting = tls.connect(name.clone(), TokioIo::new(bytes));
        let tls = within(self.settings().timeouts.tls_handshake, connecting)
            .await
            .map_err(|limit| DialCause::TimedOut { limit })?
            .map_err(|error| handshake_failed(&error))?;
        let refused = |source| DialCause::Refused { source };
        let Trust::Verified(rotating) = &self.trust else {
            return Ok(Stream::new(tls, None, None));
        };
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let identity = proven(rotating.upstream().policy(), chain, &name).map_err(refused)?;
        let peer = Peer::new(identity, generation.number, name, chain);
        self.still_accepts(&peer).map_err(refused)?;
        let expires = lifetime(rotating, &generation, &peer).map(|left| Instant::now() + left);
        Ok(Stream::new(tls, Some(peer), expires))
    }
}

impl<T: Transport> Service<Uri> for Connector<T> {
    type Response = Stream<T::Io>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.dial(uri).await })
    }
}

impl<T> fmt::Debug for Connector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("generation", &self.generation().number)
            .finish_non_exhaustive()
    }
}

/// Until the server's certificate or one of ours ends, whichever is first. One of ours that has ended already ends
/// nothing, because the other side decides about it; the server's may have, where a session was resumed.
fn lifetime(rotating: &Rotating, generation: &Generation, peer: &Peer) -> Option<Duration> {
    let now = rotating.now()?.as_secs();
    let ours = generation.identities_end.iter();
    let ours = ours.filter_map(|end| end.as_secs().checked_sub(now));
    let theirs = peer
        .not_after()
        .map(|end| end.as_secs().saturating_sub(now));
    ours.chain(theirs)
        .min()
        .filter(|left| *left < FOREVER)
        .map(Duration::from_secs)
}

/// Host and port, without what some write before them: it may be a password.
pub(crate) fn place(authority: &Authority) -> String {
    let text = authority.as_str();
    let (_, host) = text.rsplit_once('@').unwrap_or(("", text));
    host.to_owned()
}

/// A certificate that ends in the year 9999 needs no timer, and timers have limits.
const FOREVER: u64 = 100 * 365 * 86_400;

/// `Err` with the limit if the time is up.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Result<F::Output, Duration> {
    match limit {
        None => Ok(future.await),
        Some(limit) => timeout(limit, future).await.map_err(|_| limit),
    }
}

fn unreachable_because(error: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> DialCause {
    let error = error.into();
    DialCause::Io {
        reason: reason(&*error),
    }
}

fn handshake_failed(error: &io::Error) -> DialCause {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return DialCause::Io {
            reason: reason(error),
        };
    };
    match PeerError::from_rustls(tls) {
        Some(source) => DialCause::Refused { source },
        None => DialCause::Tls {
            reason: tls.to_string(),
        },
    }
}
