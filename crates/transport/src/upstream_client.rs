//! An HTTP client over verified connections: pool, timeouts and rotation of one transport.

mod link;
mod pool;
mod request_error;
mod response_body;
mod sent;

use core::error::Error;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use hyper::body::Body;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, Response, Uri, Version};
use tokio::time::Instant;
use tower_service::Service;

use crate::connector::{Connector, DialCause, DialError, Phase, Tcp, Transport, place};
use link::Link;
use pool::{Checkout, Pool};
use sent::Sent;

pub use request_error::RequestError;
pub use response_body::ResponseBody;

/// Sends requests to the servers a transport accepts; clones share one pool.
///
/// The pool keeps idle connections as Go's does: at most
/// [`idle_per_host`](crate::upstream::Settings::idle_per_host) per host under HTTP/1.1, one shared connection
/// under HTTP/2, each until it is idle for too long or a certificate of it ends. No request is sent over a kept
/// connection of an older generation: [`Rotating::update`](crate::Rotating::update) closes those that are idle
/// at once, and the others when their requests are done. One that an update overtakes while it is made is made anew,
/// twice if need be.
///
/// Where a server allows fewer streams at a time than there are requests (RFC 9113, 5.1.2), those that are left wait
/// for one: there is no second connection, as Go would make. The response header timeout counts during that wait for
/// requests without a body, and from the end of the body for others.
///
/// `B` is the body of requests. It runs inside a tokio runtime with timers.
pub struct UpstreamClient<B, T = Tcp> {
    connector: Connector<T>,
    pool: Arc<Pool<Sent<B>>>,
}

impl<B, T> UpstreamClient<B, T>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: Transport,
{
    /// A client with an empty pool.
    pub fn new(connector: Connector<T>) -> Self {
        let pool = Pool::new(connector.settings(), connector.rotating());
        Self {
            pool: Arc::new(pool),
            connector,
        }
    }

    /// Sends `request`, whose URI is an `https` address, and waits for the headers of its response. The
    /// [`Peer`](crate::connector::Peer) that gave it is in the response's extensions.
    ///
    /// The version of the request becomes that of the connection, and a missing `Host` is added; under HTTP/2 it is
    /// the `:authority`. A request that fails because its kept or shared connection was just closed is repeated
    /// over another one if nothing of it was sent. One that was sent is repeated at most twice, the second time over
    /// a new connection, if it has a safe method (RFC 9110, 9.2.1) and no body, and if the server closed a kept
    /// connection, said GOAWAY or refused the stream (RFC 9113, 8.7); any other error is the answer to it.
    ///
    /// # Errors
    ///
    /// In which phase, after how long and why there is no response.
    pub async fn request(
        &self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let start = Instant::now();
        let (mut head, body) = request.into_parts();
        head.version = Version::HTTP_11;
        let uri = head.uri.clone();
        let host = match (uri.scheme_str(), uri.authority()) {
            (Some("https"), Some(host)) => host,
            _ => {
                return Err(RequestError::Address {
                    scheme: uri.scheme_str().map(str::to_owned),
                    host: uri.authority().map(place),
                });
            }
        };
        let is_bare = body.is_end_stream();
        let limit = self.connector.settings().timeouts.response_header;
        let (body, mut end) = Sent::new((!is_bare).then_some(body), limit);
        let named = head.headers.get(HOST).cloned();
        let mut request = Request::from_parts(head, body);
        let (mut repeats, mut losses) = (0, 0);
        loop {
            let is_last = repeats == MAX_REPEATS;
            let mut link = self.link(host, &uri, is_last).await?;
            // Under HTTP/2 a server may turn away new requests at any time (RFC 9113, 6.8).
            let may_repeat = !is_last && (link.is_reused() || link.is_shared());
            let copy =
                (may_repeat && is_bare && request.method().is_safe()).then(|| bare(&request));
            link.address(&mut request, &uri, named.as_ref());
            let busy = link.busy();
            let outcome = end.or_late(link.send(request)).await;
            let mut error = match outcome {
                Ok(Ok(mut response)) => {
                    link.describe(&mut response);
                    self.pool.put(host, link);
                    return Ok(response.map(|body| ResponseBody::new(body, busy)));
                }
                Ok(Err(error)) => error,
                Err(limit) => {
                    return Err(RequestError::HeadersTimedOut {
                        host: place(host),
                        after: start.elapsed(),
                        limit,
                    });
                }
            };
            match (error.take_message(), copy) {
                (Some(unsent), _) if link.is_reused() && losses < MAX_LOSSES => {
                    losses += 1;
                    request = unsent;
                }
                (Some(unsent), _) if may_repeat && link.turns_away() => {
                    repeats += 1;
                    request = unsent;
                }
                (None, Some(copy)) if link.went_away(error.error()) => {
                    repeats += 1;
                    let (body, again) = Sent::new(None, limit);
                    end = again;
                    request = copy.map(|()| body);
                }
                _ => {
                    return Err(RequestError::Exchange {
                        host: place(host),
                        after: start.elapsed(),
                        source: Arc::new(error.into_error()),
                    });
                }
            }
        }
    }

    /// The connector.
    pub fn connector(&self) -> &Connector<T> {
        &self.connector
    }

    /// A connection on which a request may be sent at this instant.
    async fn link(
        &self,
        host: &Authority,
        uri: &Uri,
        is_new: bool,
    ) -> Result<Link<Sent<B>>, DialError> {
        let mut redials = 0;
        loop {
            let link = match is_new {
                false => self.pooled(host, uri).await?,
                true => self.dial(uri).await?,
            };
            // The material may have changed since the handshake.
            let Some(peer) = link.peer() else {
                return Ok(link);
            };
            if peer.generation() == self.connector.generation().number {
                return Ok(link);
            }
            if redials == MAX_REDIALS {
                let refused = |source| DialError {
                    host: place(host),
                    phase: Phase::Verify,
                    after: link.age(),
                    cause: DialCause::Refused { source },
                };
                self.connector.still_accepts(peer).map_err(refused)?;
                return Ok(link);
            }
            redials += 1;
        }
    }

    async fn pooled(&self, host: &Authority, uri: &Uri) -> Result<Link<Sent<B>>, DialError> {
        match self.pool.checkout(host) {
            Checkout::Dial => self.dial(uri).await,
            Checkout::Kept(link) => Ok(link),
            Checkout::Scout(scout) => {
                let (this, uri) = (self.clone(), uri.clone());
                // Others wait for it, so it goes on if this request does not.
                let dial = async move { this.dial(&uri).await };
                scout.run(host.clone(), dial).await
            }
            Checkout::Wait(waiting) => match waiting.outcome().await? {
                Some(shared) => Ok(shared),
                // Under HTTP/1.1 everyone has a connection of its own.
                None => self.dial(uri).await,
            },
        }
    }

    async fn dial(&self, uri: &Uri) -> Result<Link<Sent<B>>, DialError> {
        let start = Instant::now();
        let stream = self.connector.dial(uri.clone()).await?;
        let timeouts = &self.connector.settings().timeouts;
        Link::new(stream, timeouts)
            .await
            .map_err(|error| DialError {
                host: uri.authority().map(place).unwrap_or_default(),
                phase: Phase::Handshake,
                after: start.elapsed(),
                cause: DialCause::Io {
                    reason: error.to_string(),
                },
            })
    }
}

impl<B, T> Service<Request<B>> for UpstreamClient<B, T>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: Transport,
{
    type Response = Response<ResponseBody>;
    type Error = RequestError;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, RequestError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.request(request).await })
    }
}

impl<B, T: Clone> Clone for UpstreamClient<B, T> {
    fn clone(&self) -> Self {
        Self {
            connector: self.connector.clone(),
            pool: Arc::clone(&self.pool),
        }
    }
}

impl<B, T> fmt::Debug for UpstreamClient<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamClient")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

/// A request without its body, to be sent again.
fn bare<B>(request: &Request<B>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// How often a request is sent again, the last time over a new connection: a server that goes on refusing is no server.
const MAX_REPEATS: usize = 2;

/// How often a kept connection may turn out to be closed before anything was sent over it.
const MAX_LOSSES: usize = 8;

/// How often a connection is made anew because the material changed while it was made; where it changes all the
/// time, the next one counts if the newest material accepts the server.
const MAX_REDIALS: usize = 2;
