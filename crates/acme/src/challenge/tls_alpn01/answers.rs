//! The answers to TLS-ALPN-01 challenges of every replica, for a server that can wait.

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certwright_storage::{Storage, StorageError};

use super::super::others::Others;
use super::{ChallengeCertificate, identifier_of};
use crate::layout::{self, ALPN_NAMES};
use crate::runtime::{Runtime, within};

/// The answers to TLS-ALPN-01 challenges of every replica on one store.
///
/// Answers that this replica has heard of come from memory, others from the store: what
/// one replica has promised to the CA, all can answer, even before their watch tells
/// them. Ask for clients that offer `acme-tls/1` alone, after reading the hello and
/// before going on with the handshake; no other handshake comes near the store.
///
/// Anybody can send such hellos, so what they cost is bounded: all who wait share one
/// look at the store, a look takes two seconds at most, and between two looks there is a pause.
/// So a flood of invented names costs ten reads a second, and a real one waits for two looks at
/// most, 4.2 seconds. A clone is another handle.
#[derive(Clone)]
pub struct TlsAlpn01 {
    /// Answers this replica was told, by server name.
    known: Arc<RwLock<HashMap<String, String>>>,
    others: Arc<Others>,
    runtime: Arc<dyn Runtime>,
}

impl TlsAlpn01 {
    /// Answers of the replicas on this store.
    pub fn new(storage: Arc<dyn Storage>, runtime: Arc<dyn Runtime>) -> Self {
        let others = Others::new(storage, Arc::clone(&runtime), ALPN_NAMES, LOOK);
        Self {
            known: Arc::default(),
            others: Arc::new(others),
            runtime,
        }
    }

    /// The certificate for a client that offers `acme-tls/1` alone and asks for this
    /// server name; `None` if no challenge is under way for it: refuse the handshake.
    ///
    /// Each call makes a new certificate; the store is asked for well-formed names only.
    ///
    /// # Errors
    /// The store cannot be read, or a look takes longer than two seconds: refuse the handshake,
    /// the CA will ask again.
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
        if let Some(answer) = self.known(name) {
            return Ok(Some(answer));
        }
        let found = within(&*self.runtime, BUDGET, self.others.find(name)).await;
        // It may have been told meanwhile.
        if let Some(answer) = self.known(name) {
            return Ok(Some(answer));
        }
        found.unwrap_or_else(|| {
            Err(StorageError::Unavailable {
                place: layout::alpn_name(name).to_string(),
                reason: format!("no answer within {BUDGET:?}"),
            })
        })
    }

    pub(crate) fn known(&self, name: &str) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    pub(crate) fn show(&self, name: &str, authorization: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), authorization.to_owned());
    }

    pub(crate) fn hide(&self, name: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }
}

impl fmt::Debug for TlsAlpn01 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsAlpn01")
    }
}

/// For one look at the store.
const LOOK: Duration = Duration::from_secs(2);
/// For one answer: the rest of a look that began before, a pause, and another. The CA waits ten
/// seconds and more.
const BUDGET: Duration = Duration::from_millis(4200);

#[cfg(test)]
mod tests {
    use core::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use certwright_storage::conformance::{Attendant, Attended, Call};
    use certwright_storage::{Operation, Txn};

    use super::*;
    use crate::runtime::{Task, all};
    use crate::testing::{World, pass, run, run_for};

    /// Counts reads, each of which takes its time; may not answer.
    #[derive(Debug)]
    struct Counter {
        reads: AtomicUsize,
        silent: bool,
        world: World,
        takes: Duration,
    }

    impl Attendant for Counter {
        fn before(&self, call: Call) -> Operation<'_, ()> {
            Box::pin(async move {
                if let Call::Get | Call::List = call {
                    self.reads.fetch_add(1, Ordering::Relaxed);
                    if self.silent {
                        pending::<()>().await;
                    }
                    pass().await;
                    if !self.takes.is_zero() {
                        self.world.sleep(self.takes).await;
                    }
                }
                Ok(())
            })
        }
    }

    type Store = Arc<Attended<Counter>>;

    fn slow_answers(world: &World, silent: bool, takes: Duration) -> (TlsAlpn01, Store) {
        let counter = Counter {
            reads: AtomicUsize::new(0),
            silent,
            world: world.clone(),
            takes,
        };
        let storage = Arc::new(Attended::new(world.storage(), counter));
        let answers = TlsAlpn01::new(storage.clone(), Arc::new(world.clone()));
        (answers, storage)
    }

    fn answers(world: &World, silent: bool) -> (TlsAlpn01, Store) {
        slow_answers(world, silent, Duration::ZERO)
    }

    fn reads(storage: &Attended<Counter>) -> usize {
        storage.attendant().reads.load(Ordering::Relaxed)
    }

    fn put(storage: &Attended<Counter>, name: &str) {
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
    fn an_answer_is_never_older_than_the_question() {
        let world = World::new();
        let (answers, storage) = answers(&world, false);
        assert!(run(answers.answer("a.test")).unwrap().is_none());
        assert!(run(answers.answer("b.test")).unwrap().is_none());
        // Told by the watch, and not told.
        answers.show("a.test", "token.thumb");
        put(&storage, "b.test");
        assert!(run(answers.answer("a.test")).unwrap().is_some());
        assert!(run(answers.answer("b.test")).unwrap().is_some());
    }

    #[test]
    fn many_at_once_are_one_read() {
        let world = World::new();
        let (answers, storage) = answers(&world, false);
        put(&storage, "a.test");
        let asked = (0..20).map(|_| -> Task<'_, _> { Box::pin(answers.answer("a.test")) });
        for answer in run(all(asked.collect())) {
            assert!(answer.unwrap().is_some());
        }
        // Those who asked after it began share the next one.
        assert!(reads(&storage) <= 2, "{}", reads(&storage));
    }

    #[test]
    fn nobody_waits_for_long_where_the_store_does_not_answer() {
        let world = World::new();
        let (silent, storage) = answers(&world, true);
        let begun = world.instant();
        let names: Vec<String> = (0..100).map(|number| format!("n{number}.test")).collect();
        let asked = names
            .iter()
            .map(|name| -> Task<'_, _> { Box::pin(silent.answer(name)) });
        for answer in run(all(asked.collect())) {
            let error = answer.unwrap_err();
            assert!(
                matches!(error, StorageError::Unavailable { .. }),
                "{error:?}"
            );
        }
        assert!(world.instant() - begun <= BUDGET);
        assert!(reads(&storage) <= 2, "{}", reads(&storage));
    }

    #[test]
    fn in_a_flood_of_invented_names_a_real_one_waits_for_two_looks() {
        // The slowest that is no failure yet is one.
        for (takes, at_most) in [(200, 600), (1200, 2600), (1950, 4200)] {
            let world = World::new();
            let (answers, storage) = slow_answers(&world, false, Duration::from_millis(takes));
            put(&storage, "real.test");
            let names: Vec<String> = (0..500)
                .map(|number| format!("n{number}.test"))
                .chain(["real.test".to_owned()])
                .collect();
            let begun = world.instant();
            let mut clients: Vec<Task<'_, _>> = names
                .iter()
                .map(|name| -> Task<'_, _> { Box::pin(answers.answer(name)) })
                .collect();
            for client in &mut clients {
                assert!(run_for(1, client.as_mut()).is_none());
            }
            let found = run(all(clients)).pop().unwrap();
            let found = found.unwrap_or_else(|error| panic!("{takes} ms: {error}"));
            assert!(found.is_some(), "{takes} ms");
            let passed = world.instant() - begun;
            assert!(passed <= Duration::from_millis(at_most), "{passed:?}");
            assert!(reads(&storage) <= 3, "{}", reads(&storage));
        }
    }
}
