//! Answers of other replicas, read from the store no more often than is good for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use certwright_storage::{Storage, StorageError};
use tokio::sync::Mutex;

use crate::layout::{CHALLENGES, Shown};
use crate::runtime::Runtime;

/// What other replicas show.
///
/// A replica tells the CA after its answer is stored, so whoever is asked for it finds it
/// with any look that begins later. All who have asked by then share the look: the first
/// of them waits for its turn and reads, the others find what it has read.
pub(super) struct Others {
    storage: Arc<dyn Storage>,
    runtime: Arc<dyn Runtime>,
    asked: AtomicU64,
    last: Mutex<Look>,
}

/// A look at all answers there are.
struct Look {
    begun: Option<Instant>,
    /// How many had asked when it began: those it is good for.
    covers: u64,
    /// Answers by token, or why there are none.
    found: Result<HashMap<String, String>, String>,
}

impl Others {
    pub(super) fn new(storage: Arc<dyn Storage>, runtime: Arc<dyn Runtime>) -> Self {
        let look = Look {
            begun: None,
            covers: 0,
            found: Ok(HashMap::new()),
        };
        Self {
            storage,
            runtime,
            asked: AtomicU64::new(0),
            last: Mutex::new(look),
        }
    }

    /// The answer for a token.
    pub(super) async fn find(&self, token: &str) -> Result<Option<String>, StorageError> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.covers <= ticket {
            // Whoever gives up here leaves the look to the next.
            self.look(&mut last).await?;
        }
        match &last.found {
            Ok(found) => Ok(found.get(token).cloned()),
            Err(reason) => Err(StorageError::Unavailable {
                place: PLACE.to_owned(),
                reason: reason.clone(),
            }),
        }
    }

    async fn look(&self, last: &mut Look) -> Result<(), StorageError> {
        if let Some(begun) = last.begun {
            let since = self.runtime.instant().saturating_duration_since(begun);
            self.runtime.sleep(PAUSE.saturating_sub(since)).await;
        }
        last.begun = Some(self.runtime.instant());
        let covers = self.asked.load(Ordering::SeqCst);
        let listed = self.storage.list(&format!("{CHALLENGES}http/")).await;
        last.covers = covers;
        let (found, outcome) = match listed {
            Ok(listing) => {
                let answers = listing.entries.iter().filter_map(|entry| {
                    let answer = String::from_utf8(entry.value.as_bytes().to_vec()).ok()?;
                    match Shown::of(&entry.key)? {
                        Shown::Token(token) => Some((token, answer)),
                        Shown::Name(_) => None,
                    }
                });
                (Ok(answers.collect()), Ok(()))
            }
            Err(error) => (Err(error.to_string()), Err(error)),
        };
        last.found = found;
        outcome
    }
}

/// Between the beginnings of two looks.
const PAUSE: Duration = Duration::from_millis(100);
const PLACE: &str = "the answers of other replicas";

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;

    use certwright_storage::{
        Acquisition, Entry, Key, Lease, Listing, MemoryStorage, Operation, Revision, Txn, Watch,
    };

    use super::*;
    use crate::challenge::http01::{Http01, PATH};
    use crate::layout;
    use crate::runtime::{Task, all};
    use crate::testing::{World, run};

    /// Counts reads, and may refuse them.
    #[derive(Debug, Default)]
    struct Counted {
        storage: MemoryStorage,
        reads: AtomicUsize,
        broken: core::sync::atomic::AtomicBool,
    }

    impl Storage for Counted {
        fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            self.storage.get(key)
        }

        fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            match self.broken.load(Ordering::SeqCst) {
                true => Box::pin(async { Err(StorageError::Closed) }),
                false => self.storage.list(prefix),
            }
        }

        fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
            self.storage.txn(txn)
        }

        fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
            self.storage.watch(prefix, after)
        }

        fn acquire<'a>(
            &'a self,
            name: &'a Key,
            owner: &'a str,
            ttl: Duration,
        ) -> Operation<'a, Acquisition> {
            self.storage.acquire(name, owner, ttl)
        }

        fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
            self.storage.keep_alive(lease)
        }

        fn release(&self, lease: Lease) -> Operation<'_, ()> {
            self.storage.release(lease)
        }
    }

    fn setting() -> (World, Arc<Counted>, Http01) {
        let world = World::new();
        let storage = Arc::new(Counted::default());
        let answers = Http01::with_runtime(storage.clone(), Arc::new(world.clone()));
        (world, storage, answers)
    }

    type Answers = Vec<Result<Option<String>, StorageError>>;

    /// So many ask at once, each for a token of its own, and `token` among them.
    fn flood(answers: &Http01, count: usize, token: &str) -> Answers {
        let paths: Vec<String> = (0..count)
            .map(|number| format!("{PATH}{number:022}"))
            .chain([format!("{PATH}{token}")])
            .collect();
        let asked = paths
            .iter()
            .map(|path| -> Task<'_, _> { Box::pin(answers.answer(path)) });
        run(all(asked.collect()))
    }

    #[test]
    fn a_flood_shares_one_look() {
        let (world, storage, answers) = setting();
        let token = "t".repeat(43);
        let found = flood(&answers, 1000, &token);
        assert!(found.iter().all(|one| matches!(one, Ok(None))));
        let reads = || storage.reads.load(Ordering::SeqCst);
        assert!(reads() <= 2, "{}", reads());
        // Another replica's answer, in the middle of it and at once.
        let put = Txn::new().put(layout::http_token(&token), "theirs");
        run(storage.txn(put)).unwrap();
        let found = flood(&answers, 1000, &token);
        let last = found.last().unwrap().as_ref().unwrap();
        assert_eq!(last.as_deref(), Some("theirs"));
        assert!(reads() <= 4, "{}", reads());
        // One after the other: so many pauses have passed.
        let (before, start) = (reads(), world.instant());
        for number in 0..50 {
            let path = format!("{PATH}{number:043}");
            assert_eq!(run(answers.answer(&path)).unwrap(), None);
        }
        let passed = world.instant() - start;
        let looks = u32::try_from(reads() - before).unwrap();
        assert!(
            PAUSE * looks.saturating_sub(1) <= passed,
            "{looks} in {passed:?}"
        );
        // What is no token costs nothing.
        let before = reads();
        for path in ["/", PATH, "/.well-known/acme-challenge/short", "/x"] {
            assert_eq!(run(answers.answer(path)).unwrap(), None);
        }
        // Nor what this replica shows.
        answers.show(&"o".repeat(43), "ours");
        let ours = run(answers.answer(&format!("{PATH}{}", "o".repeat(43))));
        assert_eq!(ours.unwrap().as_deref(), Some("ours"));
        assert_eq!(reads(), before);
    }

    #[test]
    fn a_store_that_cannot_be_read_is_not_an_empty_one() {
        let (_, storage, answers) = setting();
        storage.broken.store(true, Ordering::SeqCst);
        let found = flood(&answers, 100, &"t".repeat(43));
        assert!(found.iter().all(Result::is_err));
        assert!(storage.reads.load(Ordering::SeqCst) <= 2);
        storage.broken.store(false, Ordering::SeqCst);
        let found = flood(&answers, 100, &"t".repeat(43));
        assert!(found.iter().all(|one| matches!(one, Ok(None))));
    }

    #[test]
    fn who_gives_up_holds_up_nobody() {
        let (_, storage, answers) = setting();
        let path = format!("{PATH}{}", "t".repeat(43));
        run(answers.answer(&path)).unwrap();
        // In the middle of the pause.
        drop(crate::testing::run_for(1, answers.answer(&path)));
        assert_eq!(run(answers.answer(&path)).unwrap(), None);
        assert_eq!(storage.reads.load(Ordering::SeqCst), 2);
    }
}
