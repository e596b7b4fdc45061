//! TCP, and how far a dial has come.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::Phase;
use crate::timeouts::Timeouts;

/// hyper-util's TCP with both address families raced, and a resolver that says when it is at work.
pub type Tcp<R = GaiResolver> = HttpConnector<Resolving<R>>;

/// TCP with the system's resolver, as a transport's timeouts say; probes of idle connections included.
///
/// For another resolver: `Tcp::new_with_resolver(Resolving(resolver))`, without `enforce_http`.
pub fn tcp(timeouts: &Timeouts) -> Tcp {
    let mut tcp = HttpConnector::new_with_resolver(Resolving(GaiResolver::new()));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(timeouts.tcp_keep_alive);
    tcp.set_keepalive_interval(timeouts.tcp_keep_alive);
    // Shared out among the addresses of a host, so that a dead one leaves time for the next.
    tcp.set_connect_timeout(timeouts.dial);
    tcp
}

/// A resolver whose work counts as [`Phase::Resolve`] in errors.
#[derive(Clone, Debug)]
pub struct Resolving<R>(
    /// The resolver.
    pub R,
);

impl<R> Service<Name> for Resolving<R>
where
    R: Service<Name>,
    R::Future: Send + 'static,
    R::Response: 'static,
    R::Error: 'static,
{
    type Response = R::Response;
    type Error = R::Error;
    type Future = Pin<Box<dyn Future<Output = Result<R::Response, R::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async move {
            enter(Phase::Resolve);
            let found = found.await?;
            enter(Phase::Connect);
            Ok(found)
        })
    }
}

/// The phase a dial is in, which its timeout does not know.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Phase>>);

impl Progress {
    /// Lets the resolver, far below, know of this dial.
    pub(super) async fn track<F: Future>(&self, dial: F) -> F::Output {
        DIAL.scope(self.clone(), dial).await
    }

    pub(super) fn enter(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn phase(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Phase::Resolve)))
    }
}

fn enter(phase: Phase) {
    // Outside a dial of ours there is nobody to tell.
    DIAL.try_with(|dial| dial.enter(phase)).ok();
}

tokio::task_local! {
    static DIAL: Progress;
}
