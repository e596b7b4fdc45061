//! Certificates that are loaded when the first client asks for them.

mod cache;
mod flight;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use cache::{Cached, Caches, Loaded};
use flight::{Flight, Flights, Outcome, Ticket};

use crate::counters::Counters;
use crate::entry::{Entry, EntryId};
use crate::select::{Match, Query, Selection};
use crate::server_name::{Buffer, Wanted, plain_text};
use crate::store::CertStore;

/// Where certificates come from that are not in the store: a directory with more of them than memory
/// should hold, a database, an issuer.
pub trait LazySource<T>: Send + Sync + 'static {
    /// Which certificate a client gets that asks for `name`, or `None` if it gets none.
    ///
    /// Asked in each look-up the store has no answer to, before anything is loaded: this is the list of
    /// allowed names, in memory, and must not block. Names below one wildcard have one id; an id made
    /// from whatever the client sent would let clients decide what is cached.
    ///
    /// `name` is in lower case and without trailing dot, with no empty label in it and no separator of
    /// paths; or, for a client that sent none, the local address.
    fn identify(&self, name: &str) -> Option<EntryId>;

    /// Loads what is known under an id: a certificate, or several with different keys, or none.
    ///
    /// Runs on a thread of its own and may block, but must come to an end: nothing stops it, and as long
    /// as it lasts it is one of [`LazyOptions::max_in_flight`].
    ///
    /// # Errors
    /// If nobody can tell right now. What was loaded before is served on while it is valid.
    fn load(&self, id: &EntryId) -> Result<Vec<Entry<T>>, Box<dyn Error + Send + Sync>>;

    /// How many bytes a payload takes, for [`LazyOptions::max_bytes`].
    fn size(&self, payload: &T) -> usize;

    /// Told of each load that failed, or came to more than can be kept, on the thread that loaded.
    fn failed(&self, id: &EntryId, error: &LazyError) {
        let _nobody_listens = (id, error);
    }
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LazyError {
    /// The source panicked.
    #[error("the source panicked")]
    Panicked,
    /// The source said why.
    #[error("the source cannot load it")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// It was loaded, and served to those who waited, but is too large to be kept: it is loaded again
    /// whenever it is asked for.
    #[error(
        "what was loaded counts as {bytes} bytes and at most {most} are kept under one id; raise max_bytes"
    )]
    TooLarge {
        /// How many bytes it counts as.
        bytes: u64,
        /// As how many it may count ([`LazyOptions::max_bytes`]).
        most: u64,
    },
}

/// How much is kept, how long, and how much is loaded at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LazyOptions {
    /// At most so many ids are kept; 10,000 unless said otherwise.
    pub max_entries: usize,
    /// At most so many bytes are kept, as [`LazySource::size`] has it and with what the entries take; 64
    /// MiB unless said otherwise.
    ///
    /// They are divided into at most four parts per processor, of 1 MiB at least. What is loaded under
    /// one id must fit into a part, less a thirty-second, to be kept ([`LazyError::TooLarge`]).
    pub max_bytes: usize,
    /// Of so many ids it is remembered that nothing was there, at about a hundred bytes each; 16,384 unless
    /// said otherwise.
    pub max_misses: usize,
    /// At most so many loads run at once, on a thread each; 16 unless said otherwise.
    pub max_in_flight: usize,
    /// At most so many ids wait for their load; 1,024 unless said otherwise. Beyond it, clients are
    /// answered as if there were no source.
    pub max_waiting: usize,
    /// After this long the source is asked again; an hour unless said otherwise, as in Traefik's TLS
    /// documentation.
    pub ttl: Duration,
    /// The same after a load that found nothing or failed, and for certificates that are not valid; 30
    /// seconds unless said otherwise.
    pub miss_ttl: Duration,
}

impl Default for LazyOptions {
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            max_bytes: 64 << 20,
            max_misses: 16 * 1024,
            max_in_flight: 16,
            max_waiting: 1024,
            ttl: Duration::from_secs(3600),
            miss_ttl: Duration::from_secs(30),
        }
    }
}

/// A [`CertStore`] with a slow source behind it, and a bounded cache between the two.
///
/// The store answers first. Where it has no certificate that is usable and valid, the source is asked
/// which one there is, and it is loaded once, however many clients wait for it. The clock is the
/// queries': what is kept ages by the times they carry. Replacing the store's whole configuration
/// ([`CertStore::replace_all`]) makes everything be loaded anew, [`reset`](Self::reset) does so too.
///
/// Cloning makes another handle.
pub struct Lazy<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    store: CertStore<T>,
    source: Box<dyn LazySource<T>>,
    caches: Caches<T>,
    flights: Flights<T>,
    resets: AtomicU64,
    counters: Counters,
}

/// What came of look-ups the store had no good answer to, and of loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LazyCounts {
    /// Look-ups that found too many waiting.
    pub busy: u64,
    /// Loads that failed or panicked.
    pub failed: u64,
    /// Look-ups answered from what is kept.
    pub hits: u64,
    /// Look-ups that waited for a load another one had begun.
    pub joined: u64,
    /// Loads that were begun.
    pub loads: u64,
    /// Look-ups of what was not there a moment ago.
    pub missed: u64,
    /// Look-ups the source has no id for.
    pub refused: u64,
}

/// One thing to count.
#[derive(Clone, Copy)]
enum Event {
    Busy,
    Failed,
    Hit,
    Joined,
    Load,
    Missed,
    Refused,
}

impl<T: Send + Sync + 'static> Lazy<T> {
    /// Puts a source behind a store.
    pub fn new(store: CertStore<T>, source: impl LazySource<T>, options: &LazyOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                source: Box::new(source),
                caches: Caches::new(options),
                flights: Flights::new(options),
                resets: AtomicU64::new(0),
                counters: Counters::new(),
            }),
        }
    }

    /// What can be served right now. Never waits: what has to be loaded first is on its way afterwards,
    /// and the answer is the store's default or none.
    ///
    /// What was kept past its time is served while it is valid, until it is loaded anew.
    pub fn select(&self, query: &Query<'_>) -> Option<Arc<T>> {
        match self.shared.look_up(query) {
            Found::Now(payload) => payload,
            Found::Later { id, stale } => {
                let _served_next_time = self.shared.load(&id, query);
                stale
                    .and_then(|stale| self.shared.serve(&stale, query))
                    .or_else(|| self.shared.store.select(query))
            }
        }
    }

    /// What can be served, once it is loaded.
    ///
    /// The future holds nothing but memory: dropping it, as a handshake that times out does, stops
    /// nothing. It runs on any executor.
    pub fn ready<'q>(&self, query: &Query<'q>) -> Ready<'q, T> {
        let step = match self.shared.look_up(query) {
            Found::Now(payload) => Step::Done(payload),
            Found::Later { id, stale } => match self.shared.load(&id, query) {
                Some(flight) => Step::Waiting {
                    flight,
                    stale,
                    ticket: Ticket::default(),
                },
                None => Step::Done(
                    stale
                        .and_then(|stale| self.shared.serve(&stale, query))
                        .or_else(|| self.shared.store.select(query)),
                ),
            },
        };
        Ready {
            shared: self.shared.clone(),
            query: *query,
            step,
        }
    }

    /// Makes everything be loaded anew when it is asked for next, in no time and whatever is kept.
    pub fn reset(&self) {
        self.shared.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets what is kept under an id, and that nothing was there. What is being loaded right now is
    /// for those who wait for it, and not kept.
    pub fn forget(&self, id: &EntryId) {
        // In this order: what lands between the two is forgotten as well.
        self.shared.flights.abandon(id);
        self.shared.caches.forget(id);
    }

    /// What came of look-ups and loads so far.
    pub fn counts(&self) -> LazyCounts {
        let sum = |event: Event| self.shared.counters.sum(event as usize);
        LazyCounts {
            busy: sum(Event::Busy),
            failed: sum(Event::Failed),
            hits: sum(Event::Hit),
            joined: sum(Event::Joined),
            loads: sum(Event::Load),
            missed: sum(Event::Missed),
            refused: sum(Event::Refused),
        }
    }

    /// How many ids are kept, and how many bytes they are counted as.
    pub fn kept(&self) -> (usize, u64) {
        self.shared.caches.kept()
    }
}

impl<T> Lazy<T> {
    /// The store in front.
    pub fn store(&self) -> &CertStore<T> {
        &self.shared.store
    }
}

impl<T> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy")
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}

/// The future of [`Lazy::ready`].
#[must_use = "futures do nothing unless polled"]
pub struct Ready<'q, T> {
    shared: Arc<Shared<T>>,
    query: Query<'q>,
    step: Step<T>,
}

enum Step<T> {
    Done(Option<Arc<T>>),
    Waiting {
        flight: Arc<Flight<T>>,
        stale: Option<Arc<Loaded<T>>>,
        ticket: Ticket,
    },
}

impl<T: Send + Sync + 'static> Future for Ready<'_, T> {
    type Output = Option<Arc<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match &mut this.step {
            Step::Done(payload) => Poll::Ready(payload.take()),
            Step::Waiting {
                flight,
                stale,
                ticket,
            } => {
                let Some(outcome) = flight.poll(ticket, context.waker()) else {
                    return Poll::Pending;
                };
                let loaded = match outcome {
                    Outcome::Failed => stale.take(),
                    Outcome::Gone => None,
                    Outcome::Loaded(loaded) => Some(loaded),
                };
                this.step = Step::Done(None);
                let served = loaded.and_then(|loaded| this.shared.serve(&loaded, &this.query));
                Poll::Ready(served.or_else(|| this.shared.store.select(&this.query)))
            }
        }
    }
}

impl<T> Drop for Ready<'_, T> {
    fn drop(&mut self) {
        if let Step::Waiting { flight, ticket, .. } = &mut self.step {
            flight.leave(ticket);
        }
    }
}

impl<T> fmt::Debug for Ready<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

/// What a look-up came to.
enum Found<T> {
    Now(Option<Arc<T>>),
    Later {
        id: EntryId,
        stale: Option<Arc<Loaded<T>>>,
    },
}

impl<T: Send + Sync + 'static> Shared<T> {
    fn look_up(&self, query: &Query<'_>) -> Found<T> {
        let current = self.store.current();
        let selection = current.select(query);
        if selection.as_ref().is_some_and(is_good) {
            self.store.note(selection.as_ref(), query);
            return Found::Now(selection.map(|selection| selection.payload.clone()));
        }
        let own = || {
            self.store.note(selection.as_ref(), query);
            Found::Now(selection.as_ref().map(|found| found.payload.clone()))
        };
        let mut buffer = Buffer::new();
        let wanted = Wanted::new(current.policy, query, &mut buffer);
        let identified = wanted.and_then(|wanted| {
            let name = plain_text(wanted.exact)?;
            Some((wanted, self.identify(name)?))
        });
        let Some((wanted, id)) = identified else {
            self.count(Event::Refused);
            return own();
        };
        let generation = self.generation(current.configuration);
        match self.caches.get(&id, generation, query) {
            Cached::Fresh(loaded) => match self.better(loaded.select_wanted(&wanted, query), query)
            {
                Some(payload) => {
                    self.count(Event::Hit);
                    Found::Now(Some(payload))
                }
                None => own(),
            },
            Cached::Missed(stale) => {
                self.count(Event::Missed);
                match stale.and_then(|stale| self.serve(&stale, query)) {
                    Some(payload) => Found::Now(Some(payload)),
                    None => own(),
                }
            }
            Cached::Unknown(stale) => Found::Later { id, stale },
        }
    }

    /// The source's word on a name; a panic of it is a no.
    fn identify(&self, name: &str) -> Option<EntryId> {
        let identify = AssertUnwindSafe(|| self.source.identify(name));
        catch_unwind(identify).unwrap_or_default()
    }

    /// What of the loaded is to be served, if it is any better than what the store has.
    fn serve(&self, loaded: &Loaded<T>, query: &Query<'_>) -> Option<Arc<T>> {
        self.better(loaded.select(query), query)
    }

    fn better(&self, selection: Option<Selection<'_, T>>, query: &Query<'_>) -> Option<Arc<T>> {
        let selection = selection?;
        if !is_good(&selection) {
            let current = self.store.current();
            let own = current.select(query);
            // Of two that are not good, the store's; but anything rather than the default.
            if own.is_some_and(|own| own.matched != Match::Default) {
                return None;
            }
        }
        // The store counts what was served in its stead too, an expired certificate above all.
        self.store.note(Some(&selection), query);
        Some(selection.payload.clone())
    }

    fn generation(&self, configuration: u64) -> u64 {
        // Both only grow: the sum is another one whenever either is.
        configuration.wrapping_add(self.resets.load(Ordering::Relaxed))
    }

    fn current_generation(&self) -> u64 {
        self.generation(self.store.current().configuration)
    }

    /// The flight that loads this id, begun if need be; `None` if too many wait.
    fn load(self: &Arc<Self>, id: &EntryId, query: &Query<'_>) -> Option<Arc<Flight<T>>> {
        let generation = self.current_generation();
        let (flight, joined) = match self.flights.join(id, generation, query.now) {
            Ok(joined) => joined,
            Err(flight::Full) => {
                self.count(Event::Busy);
                return None;
            }
        };
        self.count(if joined { Event::Joined } else { Event::Load });
        if !joined {
            let shared = self.clone();
            self.flights.start(move || shared.work());
        }
        Some(flight)
    }

    /// Loads what waits until nothing does.
    fn work(&self) {
        while let Some(flight) = self.flights.next() {
            // Payloads that are dropped and wakers that are woken are foreign too: their panics neither
            // end the worker, which counts as one for good, nor leave a flight that never lands.
            let fetch = AssertUnwindSafe(|| self.fetch(&flight));
            let outcome = catch_unwind(fetch).unwrap_or(Outcome::Failed);
            let finish = AssertUnwindSafe(move || self.flights.finish(&flight, outcome));
            let _contained = catch_unwind(finish);
        }
    }

    fn fetch(&self, flight: &Arc<Flight<T>>) -> Outcome<T> {
        let stamp = flight.stamp();
        let load = || {
            let entries = self.source.load(flight.id())?;
            let policy = self.store.current().policy;
            let size = |payload: &T| self.source.size(payload);
            Ok((!entries.is_empty()).then(|| Loaded::new(policy, stamp, entries, size)))
        };
        let came = catch_unwind(AssertUnwindSafe(load));
        // Begun in an earlier generation, or before the id was forgotten, it has no say in what is kept,
        // not even that nothing is there.
        let current =
            stamp.generation == self.current_generation() && self.flights.is_current(flight);
        let error = match came {
            Ok(Ok(Some(loaded))) => {
                let loaded = Arc::new(loaded);
                if current {
                    let kept = self.caches.keep(flight.id(), &loaded);
                    if !self.flights.is_current(flight) {
                        // Forgotten at that very moment.
                        self.caches.forget(flight.id());
                    }
                    if let Err(error) = kept {
                        self.tell(flight.id(), &error);
                    }
                }
                return Outcome::Loaded(loaded);
            }
            Ok(Ok(None)) => {
                if current {
                    self.caches.gone(flight.id(), stamp);
                }
                return Outcome::Gone;
            }
            Ok(Err(error)) => LazyError::Source(error),
            Err(_) => LazyError::Panicked,
        };
        self.count(Event::Failed);
        if current {
            self.caches.failed(flight.id(), stamp);
        }
        self.tell(flight.id(), &error);
        Outcome::Failed
    }

    fn tell(&self, id: &EntryId, error: &LazyError) {
        let tell = AssertUnwindSafe(|| self.source.failed(id, error));
        // Who panics while being told of a failure cannot be told of that either.
        let _contained = catch_unwind(tell);
    }

    fn count(&self, event: Event) {
        self.counters.add(event as usize);
    }
}

fn is_good<T>(selection: &Selection<'_, T>) -> bool {
    selection.usable && selection.valid && selection.matched != Match::Default
}
