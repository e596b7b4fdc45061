//! One dial that several requests wait for.

use core::error::Error;
use std::sync::Arc;

use hyper::body::Body;
use hyper::http::uri::Authority;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{FORGOTTEN_AFTER, Pool};
use crate::connector::DialError;
use crate::upstream_client::link::Link;

/// The right to dial for everyone.
pub(in crate::upstream_client) struct Scout<B> {
    pool: Arc<Pool<B>>,
    tell: watch::Sender<Outcome<B>>,
}

/// A dial that someone else makes.
pub(in crate::upstream_client) struct Waiting<B>(watch::Receiver<Outcome<B>>);

/// `None` while it is under way; `Ok(None)`: the host speaks HTTP/1.1.
type Outcome<B> = Option<Result<Option<Link<B>>, DialError>>;

impl<B> Scout<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(pool: Arc<Pool<B>>) -> (Self, Waiting<B>) {
        let (tell, waiting) = watch::channel(None);
        (Self { pool, tell }, Waiting(waiting))
    }

    /// Dials to the end, even if nobody is there any more to hear of it.
    pub(in crate::upstream_client) async fn run(
        self,
        name: Authority,
        dial: impl Future<Output = Result<Link<B>, DialError>> + Send + 'static,
    ) -> Result<Link<B>, DialError> {
        let (mine, result) = oneshot::channel();
        let stopped = DialError::stopped(&name);
        tokio::spawn(async move {
            let dialed = dial.await;
            self.pool.scouted(&name, &dialed);
            let shared = dialed.as_ref().map(Link::share).map_err(Clone::clone);
            self.tell.send_replace(Some(shared));
            if let Err(Ok(unclaimed)) = mine.send(dialed)
                && !unclaimed.is_shared()
            {
                self.pool.keep(&name, unclaimed);
            }
        });
        result.await.unwrap_or(Err(stopped))
    }
}

impl<B> Waiting<B> {
    pub(super) fn is_running(&self) -> bool {
        self.0.has_changed().is_ok() && self.0.borrow().is_none()
    }
}

impl<B> Waiting<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A share of the connection, or `None` if the host speaks HTTP/1.1.
    pub(in crate::upstream_client) async fn outcome(
        mut self,
    ) -> Result<Option<Link<B>>, DialError> {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(shared))) => Ok(shared.as_ref().and_then(Link::share)),
            Ok(Some(Err(error))) => Err(error.clone()),
            // The runtime that dialed is gone: everyone for himself.
            Ok(None) | Err(_) => Ok(None),
        }
    }
}

impl<B> Clone for Waiting<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Pool<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Remembers what the host speaks, and keeps the connection if all can share it.
    fn scouted(self: &Arc<Self>, name: &Authority, dialed: &Result<Link<B>, DialError>) {
        let now = Instant::now();
        let mut hosts = self.lock();
        let Some(host) = hosts.by_name.get_mut(name) else {
            return;
        };
        host.scouted = None;
        host.used = now;
        if let Ok(link) = dialed {
            if let Some(shared) = link.share() {
                drop(hosts);
                return self.keep(name, shared);
            }
            host.speaks_http1 = true;
        }
        self.look_at(&mut hosts, now + FORGOTTEN_AFTER);
    }
}
