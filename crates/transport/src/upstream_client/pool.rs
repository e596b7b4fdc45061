//! Connections between requests.

mod reaper;
mod scout;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Body;
use hyper::http::uri::Authority;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::link::Link;
use crate::rotation::Rotating;
use crate::upstream::{IdleConnections, Settings};
use core::error::Error;
use core::time::Duration;
use scout::{Scout, Waiting};

/// What is kept for a host, and what is under way.
pub(super) struct Pool<B> {
    idle_per_host: usize,
    idle_for: Option<Duration>,
    offers_http2: bool,
    rotating: Option<Arc<Rotating>>,
    hosts: Mutex<Hosts<B>>,
    /// Tells the reaper that it must look earlier than it meant to.
    wake: Arc<Notify>,
}

struct Hosts<B> {
    by_name: HashMap<Authority, Host<B>>,
    /// When the reaper looks next; `None` if there is none.
    next_look: Option<Instant>,
    reaper: Option<AbortHandle>,
}

struct Host<B> {
    /// Under HTTP/1.1, the one that was used last at the end.
    idle: Vec<Kept<B>>,
    shared: Option<Kept<B>>,
    scouted: Option<Waiting<B>>,
    speaks_http1: bool,
    used: Instant,
}

struct Kept<B> {
    link: Link<B>,
    since: Instant,
}

/// What a request is to do for a connection.
pub(super) enum Checkout<B> {
    /// Make one.
    Dial,
    /// Use this one.
    Kept(Link<B>),
    /// Make one, for others that wait for the same, too.
    Scout(Scout<B>),
    /// Wait for one that is being made.
    Wait(Waiting<B>),
}

impl<B> Pool<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(settings: &Settings, rotating: Option<&Arc<Rotating>>) -> Self {
        Self {
            idle_per_host: match settings.idle_per_host {
                IdleConnections::AtMost(count) => count,
                IdleConnections::None => 0,
            },
            idle_for: settings.timeouts.idle_conn,
            offers_http2: settings.offers_http2,
            rotating: rotating.cloned(),
            hosts: Mutex::new(Hosts {
                by_name: HashMap::new(),
                next_look: None,
                reaper: None,
            }),
            wake: Arc::new(Notify::new()),
        }
    }

    /// Before it is known that a host speaks HTTP/2, and when it does, one connection is made for all.
    pub(super) fn checkout(self: &Arc<Self>, name: &Authority) -> Checkout<B> {
        if self.idle_per_host == 0 {
            return Checkout::Dial;
        }
        let (now, generation) = (Instant::now(), self.generation());
        let mut hosts = self.lock();
        if let Some(host) = hosts.by_name.get_mut(name) {
            host.used = now;
            if let Some(kept) = &mut host.shared
                && let Some(link) = kept.link.share()
                && self.is_usable(kept, now, generation)
            {
                kept.since = now;
                return Checkout::Kept(link.reused());
            }
            host.shared = None;
            while let Some(kept) = host.idle.pop() {
                if self.is_usable(&kept, now, generation) {
                    return Checkout::Kept(kept.link.reused());
                }
            }
            if host.speaks_http1 {
                return Checkout::Dial;
            }
            if let Some(waiting) = &host.scouted
                && waiting.is_of(generation)
                && waiting.is_running()
            {
                return Checkout::Wait(waiting.clone());
            }
        }
        if !self.offers_http2 {
            return Checkout::Dial;
        }
        let (scout, waiting) = Scout::new(Arc::clone(self), generation);
        let host = hosts
            .by_name
            .entry(name.clone())
            .or_insert_with(|| Host::new(now));
        host.scouted = Some(waiting);
        Checkout::Scout(scout)
    }

    /// Takes a connection whose response has begun.
    pub(super) fn put(self: &Arc<Self>, name: &Authority, mut link: Link<B>) {
        if self.idle_per_host == 0 {
            return;
        }
        if link.is_shared() {
            // What is kept is shared out, and stays.
            if !link.is_reused() {
                self.keep(name, link);
            }
            return;
        }
        if link.is_ready() {
            return self.keep(name, link);
        }
        let (this, name) = (Arc::downgrade(self), name.clone());
        tokio::spawn(async move {
            // Until the response's body was read, or given up, which closes it.
            if link.ready().await.is_ok()
                && let Some(this) = this.upgrade()
            {
                this.keep(&name, link);
            }
        });
    }

    /// Keeps a connection that has nothing to do.
    fn keep(self: &Arc<Self>, name: &Authority, link: Link<B>) {
        let (now, generation) = (Instant::now(), self.generation());
        let kept = Kept { link, since: now };
        if !self.is_usable(&kept, now, generation) {
            return;
        }
        let mut hosts = self.lock();
        let look_at = self.ends(&kept).unwrap_or(now + FORGOTTEN_AFTER);
        let host = hosts
            .by_name
            .entry(name.clone())
            .or_insert_with(|| Host::new(now));
        host.used = now;
        if kept.link.is_shared() {
            host.speaks_http1 = false;
            host.shared = Some(kept);
        } else {
            host.speaks_http1 = true;
            if host.idle.len() >= self.idle_per_host {
                // Those that their server has closed hold no place.
                host.idle
                    .retain(|kept| self.is_usable(kept, now, generation));
            }
            if host.idle.len() < self.idle_per_host {
                host.idle.push(kept);
            }
        }
        self.look_at(&mut hosts, look_at);
    }

    fn is_usable(&self, kept: &Kept<B>, now: Instant, generation: Option<u64>) -> bool {
        kept.link.generation() == generation
            && kept.link.is_ready()
            && self.ends(kept).is_none_or(|end| now < end)
    }

    /// When a connection is not kept any longer.
    fn ends(&self, kept: &Kept<B>) -> Option<Instant> {
        // A shared one stays among the kept while it is used.
        let since = kept.since.max(kept.link.idle_since());
        let idle = self.idle_for.map(|limit| since + limit);
        idle.into_iter().chain(kept.link.expires()).min()
    }

    fn generation(&self) -> Option<u64> {
        let rotating = self.rotating.as_ref()?;
        Some(rotating.current().number)
    }

    fn lock(&self) -> MutexGuard<'_, Hosts<B>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Host<B> {
    fn new(now: Instant) -> Self {
        Self {
            idle: Vec::new(),
            shared: None,
            scouted: None,
            speaks_http1: false,
            used: now,
        }
    }
}

impl<B> Drop for Pool<B> {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

/// How long it is remembered what a host speaks that has no connections.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90);
