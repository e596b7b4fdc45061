//! A connection that speaks HTTP.

use core::error::Error;
use core::fmt;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{Authority, Parts, PathAndQuery};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use crate::connector::{Peer, Stream, place};
use crate::timeouts::Timeouts;

/// One connection, or a share of one under HTTP/2; it closes when all of them are gone and nothing is under way.
pub(super) struct Link<B> {
    sender: Sender<B>,
    about: Arc<About>,
    is_reused: bool,
}

enum Sender<B> {
    Http1(http1::SendRequest<B>),
    Http2(http2::SendRequest<B>),
}

/// A request under way over a connection.
pub(super) struct Busy(Arc<About>);

struct About {
    connected: Connected,
    peer: Option<Peer>,
    made: Instant,
    expires: Option<Instant>,
    /// Whether it ended by an error and not by GOAWAY.
    is_broken: AtomicBool,
    usage: Mutex<Usage>,
}

struct Usage {
    under_way: usize,
    /// The end of the last one.
    ended: Instant,
}

impl<B> Link<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Speaks the protocol that was agreed on.
    pub(super) async fn new<T>(stream: Stream<T>, timeouts: &Timeouts) -> hyper::Result<Self>
    where
        T: Read + Write + Connection + Unpin + Send + 'static,
    {
        let connected = stream.connected();
        let made = Instant::now();
        let about = Arc::new(About {
            peer: stream.peer().cloned(),
            made,
            expires: stream.expires(),
            is_broken: AtomicBool::new(false),
            usage: Mutex::new(Usage {
                under_way: 0,
                ended: made,
            }),
            connected,
        });
        let sender = match about.connected.is_negotiated_h2() {
            false => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection.with_upgrades());
                Sender::Http1(sender)
            }
            true => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(timeouts.read_idle)
                    .keep_alive_timeout(timeouts.ping.unwrap_or(GO_PING))
                    .keep_alive_while_idle(true)
                    .handshake(stream)
                    .await?;
                let about = Arc::clone(&about);
                tokio::spawn(async move {
                    let mut connection = pin!(connection);
                    // It is dropped after this, and only then do requests that it has not taken hear of its end.
                    if let Err(error) = connection.as_mut().await {
                        let is_broken = !h2_cause(&error).is_some_and(h2::Error::is_go_away);
                        about.is_broken.store(is_broken, Ordering::Release);
                    }
                });
                Sender::Http2(sender)
            }
        };
        let mut link = Self {
            sender,
            about,
            is_reused: false,
        };
        link.ready().await?;
        Ok(link)
    }

    pub(super) async fn send(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    /// Until the connection can take a request.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await,
            Sender::Http2(sender) => sender.ready().await,
        }
    }
}

impl<B> Link<B> {
    /// Gives `request`, which is for `uri` and names `host` in its headers or none, the form the protocol wants
    /// (RFC 9112, 3.2).
    pub(super) fn address(&self, request: &mut Request<B>, uri: &Uri, host: Option<&HeaderValue>) {
        let form = match &self.sender {
            Sender::Http2(_) => {
                // nginx answers requests that have both with 400, even where they are equal.
                request.headers_mut().remove(HOST);
                target(uri, host)
            }
            Sender::Http1(_) => {
                if !request.headers().contains_key(HOST)
                    && let Some(host) = host.cloned().or_else(|| host_of(uri))
                {
                    request.headers_mut().insert(HOST, host);
                }
                match (request.method(), uri.authority(), uri.path_and_query()) {
                    (&Method::CONNECT, Some(host), _) => host.clone().into(),
                    (_, _, Some(path)) => path.clone().into(),
                    (_, _, None) => PathAndQuery::from_static("/").into(),
                }
            }
        };
        *request.uri_mut() = form;
    }

    /// Puts who answered into the extensions of `response`.
    pub(super) fn describe(&self, response: &mut Response<Incoming>) {
        self.about.connected.get_extras(response.extensions_mut());
    }

    /// Whether several requests share it.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Another share of the connection, if it can be shared.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                sender: Sender::Http2(sender.clone()),
                about: Arc::clone(&self.about),
                is_reused: self.is_reused,
            }),
        }
    }

    /// To be held while a request is under way.
    pub(super) fn busy(&self) -> Busy {
        self.about.usage().under_way += 1;
        Busy(Arc::clone(&self.about))
    }

    /// Since when nothing is under way; this instant, if something is.
    pub(super) fn idle_since(&self) -> Instant {
        let usage = self.about.usage();
        match usage.under_way {
            0 => usage.ended,
            _ => Instant::now(),
        }
    }

    pub(super) fn reused(self) -> Self {
        Self {
            is_reused: true,
            ..self
        }
    }

    /// Whether it served a request before, so that its server may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether a request can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// Whether a request that was not sent may go over another new connection: this one is closed, but did not break.
    pub(super) fn turns_away(&self) -> bool {
        self.is_shared() && !self.about.is_broken.load(Ordering::Acquire)
    }

    /// Whether a request that was sent failed with `error` although nothing is wrong with it or with us: its server
    /// gave the connection up, or refused the stream before it looked at the request (RFC 9113, 8.7).
    ///
    /// Where a new connection ends it may be because our certificate is refused, which TLS 1.3 tells after the
    /// handshake; another would end the same way.
    pub(super) fn went_away(&self, error: &hyper::Error) -> bool {
        match h2_cause(error) {
            Some(error) if error.is_remote() => {
                let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
                error.is_go_away() || is_refused
            }
            Some(_) => false,
            None => {
                self.is_reused
                    && !(error.is_parse()
                        || error.is_user()
                        || error.is_timeout()
                        || error.is_body_write_aborted())
            }
        }
    }

    pub(super) fn peer(&self) -> Option<&Peer> {
        self.about.peer.as_ref()
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.peer().map(Peer::generation)
    }

    pub(super) fn expires(&self) -> Option<Instant> {
        self.about.expires
    }

    pub(super) fn age(&self) -> Duration {
        self.about.made.elapsed()
    }
}

impl About {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.under_way = usage.under_way.saturating_sub(1);
        usage.ended = Instant::now();
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Busy")
    }
}

fn h2_cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

/// `:authority` is host and port only, because what some write before them may be a password, and what the request's
/// `Host` says if it has one (RFC 9113, 8.3.1).
fn target(uri: &Uri, host: Option<&HeaderValue>) -> Uri {
    let named = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let host = match (named, uri.authority()) {
        (Some(named), _) if !named.as_str().contains('@') => Some(named),
        (_, Some(host)) if host.as_str().contains('@') => place(host).parse().ok(),
        _ => return uri.clone(),
    };
    let mut parts = Parts::from(uri.clone());
    parts.authority = host;
    Uri::from_parts(parts).unwrap_or_default()
}

fn host_of(uri: &Uri) -> Option<HeaderValue> {
    let host = uri.host()?;
    let text = match uri.port_u16() {
        None | Some(443) => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    HeaderValue::try_from(text).ok()
}

/// Go waits this long for the answer to a ping when it is told to wait for none.
const GO_PING: Duration = Duration::from_secs(15);
