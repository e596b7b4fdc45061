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
    generation: Option<u64>,
}

/// A dial that someone else makes.
pub(in crate::upstream_client) struct Waiting<B> {
    outcome: watch::Receiver<Outcome<B>>,
    /// The newest when the dial began.
    generation: Option<u64>,
}

/// `None` while it is under way; `Ok(None)`: the host speaks HTTP/1.1.
type Outcome<B> = Option<Result<Option<Link<B>>, DialError>>;

impl<B> Scout<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(pool: Arc<Pool<B>>, generation: Option<u64>) -> (Self, Waiting<B>) {
        let (tell, outcome) = watch::channel(None);
        let scout = Self {
            pool,
            tell,
            generation,
        };
        let waiting = Waiting {
            outcome,
            generation,
        };
        (scout, waiting)
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
            self.pool.scouted(&name, &dialed, self.generation);
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
        self.outcome.has_changed().is_ok() && self.outcome.borrow().is_none()
    }

    /// Whether it began by this generation: requests that come after an update do not hear of a dial before it.
    pub(super) fn is_of(&self, generation: Option<u64>) -> bool {
        self.generation == generation
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
        match self.outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(shared))) => Ok(shared.as_ref().and_then(Link::share)),
            Ok(Some(Err(error))) => Err(error.clone()),
            // The runtime that dialed is gone: everyone for himself.
            Ok(None) | Err(_) => Ok(None),
        }
    }
}

impl<B> Clone for Waiting<B> {
    fn clone(&self) -> Self {
        Self {
            outcome: self.outcome.clone(),
            generation: self.generation,
        }
    }
}

impl<B> Pool<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Remembers what the host speaks, and keeps the connection if all can share it.
    fn scouted(
        self: &Arc<Self>,
        name: &Authority,
        dialed: &Result<Link<B>, DialError>,
        generation: Option<u64>,
    ) {
        let now = Instant::now();
        let mut hosts = self.lock();
        let Some(host) = hosts.by_name.get_mut(name) else {
            return;
        };
        // After an update another may be under way.
        host.scouted.take_if(|scouted| scouted.is_of(generation));
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
