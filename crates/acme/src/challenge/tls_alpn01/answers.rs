//! The answers to TLS-ALPN-01 challenges of every replica, for a server that can wait.

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use certwright_storage::{Storage, StorageError};
use tokio::sync::{OnceCell, Semaphore};

use super::{ChallengeCertificate, identifier_of};
use crate::layout;
use crate::runtime::{Runtime, within};

/// The answers to TLS-ALPN-01 challenges of every replica on one store.
///
/// Answers that this replica has heard of come from memory, others from the store: what
/// one replica has promised to the CA, all can answer, even before their watch tells
/// them. Ask for clients that offer `acme-tls/1` alone, after reading the hello and
/// before going on with the handshake; no other handshake comes near the store.
///
/// Anybody can send such hellos, so what they cost is bounded: one read per name at a
/// time, eight in all, and nobody waits for longer than two seconds; that there is no
/// answer is remembered for a second, for a thousand names. A clone is another handle.
#[derive(Clone)]
pub struct TlsAlpn01 {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
    reads: Semaphore,
}

#[derive(Default)]
struct State {
    /// Answers this replica was told, by server name.
    known: HashMap<String, String>,
    /// Names without an answer, and when that was seen.
    absent: HashMap<String, Instant>,
    flights: HashMap<String, Arc<Flight>>,
}

/// One read for all who ask at the same time.
type Flight = OnceCell<Option<String>>;

impl TlsAlpn01 {
    /// Answers of the replicas on this store.
    pub fn new(storage: Arc<dyn Storage>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            shared: Arc::new(Shared {
                storage,
                runtime,
                state: Mutex::default(),
                reads: Semaphore::new(READS),
            }),
        }
    }

    /// The certificate for a client that offers `acme-tls/1` alone and asks for this
    /// server name; `None` if no challenge is under way for it: refuse the handshake.
    ///
    /// Each call makes a new certificate; the store is asked for well-formed names only.
    ///
    /// # Errors
    /// The store cannot be read, or not within two seconds: refuse the handshake, the CA
    /// will ask again.
    pub async fn answer(
        &self,
        server_name: &str,
    ) -> Result<Option<ChallengeCertificate>, StorageError> {
        let name = server_name.to_ascii_lowercase();
        let Some(identifier) = identifier_of(&name).filter(|one| !one.is_wildcard()) else {
            return Ok(None);
        };
        // The same spelling as whoever wrote it.
        let name = super::server_name(&identifier);
        Ok(self
            .authorization(&name)
            .await?
            .and_then(|answer| ChallengeCertificate::new(&identifier, &answer)))
    }

    /// The key authorization to answer with.
    async fn authorization(&self, name: &str) -> Result<Option<String>, StorageError> {
        let flight = {
            let mut state = self.state();
            if let Some(answer) = state.known.get(name) {
                return Ok(Some(answer.clone()));
            }
            let now = self.shared.runtime.instant();
            if state.absent.get(name).is_some_and(|seen| fresh(*seen, now)) {
                return Ok(None);
            }
            Arc::clone(state.flights.entry(name.to_owned()).or_default())
        };
        let landed = Landing {
            answers: self,
            name,
            flight: &flight,
        };
        // With the reads of others before it: where all of them fail, that may be many.
        let read = flight.get_or_try_init(|| self.read(name));
        let read = within(&*self.shared.runtime, BUDGET, read).await;
        drop(landed);
        // It may have been told meanwhile.
        if let Some(answer) = self.state().known.get(name) {
            return Ok(Some(answer.clone()));
        }
        match read {
            Some(read) => read.cloned(),
            None => Err(StorageError::Unavailable {
                place: layout::alpn_name(name).to_string(),
                reason: format!("no answer within {BUDGET:?}"),
            }),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<String>, StorageError> {
        let shared = &*self.shared;
        // Closed by nobody.
        let _turn = shared.reads.acquire().await;
        let entry = shared.storage.get(&layout::alpn_name(name)).await?;
        let read = entry.and_then(|entry| String::from_utf8(entry.value.as_bytes().to_vec()).ok());
        if read.is_none() {
            self.note_absent(name);
        }
        Ok(read)
    }

    fn note_absent(&self, name: &str) {
        let now = self.shared.runtime.instant();
        let mut state = self.state();
        if state.absent.len() >= ABSENT {
            state.absent.retain(|_, seen| fresh(*seen, now));
        }
        if state.absent.len() < ABSENT {
            state.absent.insert(name.to_owned(), now);
        }
    }

    pub(crate) fn show(&self, name: &str, authorization: &str) {
        let mut state = self.state();
        state.absent.remove(name);
        state
            .known
            .insert(name.to_owned(), authorization.to_owned());
    }

    pub(crate) fn hide(&self, name: &str) {
        self.state().known.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a flight, also when whoever waits for it goes away.
struct Landing<'a> {
    answers: &'a TlsAlpn01,
    name: &'a str,
    flight: &'a Arc<Flight>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut state = self.answers.state();
        let ours = |flight: &Arc<Flight>| Arc::ptr_eq(flight, self.flight);
        // Others wait for it still, unless it has ended: the map's, and this one.
        let over = self.flight.initialized() || Arc::strong_count(self.flight) <= 2;
        if over && state.flights.get(self.name).is_some_and(ours) {
            state.flights.remove(self.name);
        }
    }
}

impl fmt::Debug for TlsAlpn01 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsAlpn01")
    }
}

fn fresh(seen: Instant, now: Instant) -> bool {
    now.saturating_duration_since(seen) < REMEMBERED
}

/// Reads at the same time.
const READS: usize = 8;
/// For one answer; the CA waits ten seconds and more.
const BUDGET: Duration = Duration::from_secs(2);
/// How long the store is not asked again: shorter than the pause of any CA that tries
/// twice.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Names without an answer that are remembered.
const ABSENT: usize = 1_000;

#[cfg(test)]
mod tests {
    use core::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use certwright_storage::{
        Acquisition, Entry, Key, Lease, Listing, MemoryStorage, Operation, Revision, Txn, Watch,
    };

    use super::*;
    use crate::runtime::all;
    use crate::testing::{World, run};

    /// Counts reads; may not answer.
    #[derive(Debug)]
    struct Counted {
        inner: MemoryStorage,
        reads: AtomicUsize,
        silent: bool,
    }

    impl Storage for Counted {
        fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                if self.silent {
                    pending::<()>().await;
                }
                crate::testing::pass().await;
                self.inner.get(key).await
            })
        }

        fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
            self.inner.list(prefix)
        }

        fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
            self.inner.txn(txn)
        }

        fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
            self.inner.watch(prefix, after)
        }

        fn acquire<'a>(
            &'a self,
            name: &'a Key,
            owner: &'a str,
            ttl: Duration,
        ) -> Operation<'a, Acquisition> {
            self.inner.acquire(name, owner, ttl)
        }

        fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
            self.inner.keep_alive(lease)
        }

        fn release(&self, lease: Lease) -> Operation<'_, ()> {
            self.inner.release(lease)
        }
    }

    fn answers(world: &World, silent: bool) -> (TlsAlpn01, Arc<Counted>) {
        let storage = Arc::new(Counted {
            inner: world.storage(),
            reads: AtomicUsize::new(0),
            silent,
        });
        let answers = TlsAlpn01::new(storage.clone(), Arc::new(world.clone()));
        (answers, storage)
    }

    fn reads(storage: &Counted) -> usize {
        storage.reads.load(Ordering::Relaxed)
    }

    fn put(storage: &Counted, name: &str) {
        let put = Txn::new().put(layout::alpn_name(name), "token.thumb");
        run(storage.txn(put)).unwrap();
    }

    #[test]
    fn answers_of_all_replicas() {
        let world = World::new();
        let (answers, storage) = answers(&world, false);
        put(&storage, "theirs.test");
        put(&storage, "7.2.0.192.in-addr.arpa");
        answers.show("ours.test", "token.thumb");
        for (name, found, read) in [
            ("ours.test", true, 0),
            ("OURS.test", true, 0),
            ("theirs.test", true, 1),
            ("Theirs.Test", true, 1),
            ("7.2.0.192.in-addr.arpa", true, 1),
            ("nobodys.test", false, 1),
            // Remembered.
            ("nobodys.test", false, 0),
            ("*.theirs.test", false, 0),
            ("no name", false, 0),
            ("", false, 0),
        ] {
            let before = reads(&storage);
            let answer = run(answers.answer(name)).unwrap();
            assert_eq!(answer.is_some(), found, "{name}");
            assert_eq!(reads(&storage) - before, read, "{name}");
        }
        answers.hide("ours.test");
        assert!(run(answers.answer("ours.test")).unwrap().is_none());
    }

    #[test]
    fn that_there_is_none_is_soon_forgotten() {
        let world = World::new();
        let (answers, storage) = answers(&world, false);
        assert!(run(answers.answer("a.test")).unwrap().is_none());
        assert!(run(answers.answer("b.test")).unwrap().is_none());
        // Told by the watch: at once.
        answers.show("a.test", "token.thumb");
        assert!(run(answers.answer("a.test")).unwrap().is_some());
        // Not told: after a second.
        put(&storage, "b.test");
        assert!(run(answers.answer("b.test")).unwrap().is_none());
        world.advance(REMEMBERED);
        assert!(run(answers.answer("b.test")).unwrap().is_some());
    }

    #[test]
    fn many_at_once_are_one_read() {
        let world = World::new();
        let (answers, storage) = answers(&world, false);
        put(&storage, "a.test");
        let asked =
            (0..20).map(|_| -> crate::runtime::Task<'_, _> { Box::pin(answers.answer("a.test")) });
        for answer in run(all(asked.collect())) {
            assert!(answer.unwrap().is_some());
        }
        assert_eq!(reads(&storage), 1);
        assert!(answers.state().flights.is_empty());
        assert!(run(answers.answer("a.test")).unwrap().is_some());
        assert_eq!(reads(&storage), 2, "never older than the question");
    }

    #[test]
    fn nobody_waits_for_the_failed_reads_of_others() {
        let world = World::new();
        let (silent, _) = answers(&world, true);
        let begun = world.instant();
        let asked =
            (0..20).map(|_| -> crate::runtime::Task<'_, _> { Box::pin(silent.answer("a.test")) });
        for answer in run(all(asked.collect())) {
            answer.unwrap_err();
        }
        assert!(world.instant() - begun < BUDGET * 2);
        assert!(silent.state().flights.is_empty());
    }

    #[test]
    fn many_names_are_few_reads_and_little_memory() {
        let world = World::new();
        let (silent, storage) = answers(&world, true);
        let asked = (0..100).map(|number| -> crate::runtime::Task<'_, _> {
            let silent = &silent;
            Box::pin(async move { silent.answer(&format!("n{number}.test")).await })
        });
        let mut asked = Box::pin(all(asked.collect()));
        assert!(crate::testing::run_for(1, asked.as_mut()).is_none());
        assert_eq!(reads(&storage), READS);
        // The store does not answer: nobody waits for longer than the budget.
        for answer in run(asked) {
            let error = answer.unwrap_err();
            assert!(
                matches!(error, StorageError::Unavailable { .. }),
                "{error:?}"
            );
        }
        assert!(silent.state().flights.is_empty());

        let (answers, _) = answers(&world, false);
        for number in 0..ABSENT + 10 {
            let name = format!("n{number}.test");
            assert!(run(answers.answer(&name)).unwrap().is_none());
        }
        assert_eq!(answers.state().absent.len(), ABSENT);
    }
}
