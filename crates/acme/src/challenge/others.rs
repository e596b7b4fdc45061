//! Answers of other replicas, read from the store no more often than is good for it.

use core::future::poll_fn;
use core::task::{Context, Poll};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use certwright_storage::{Storage, StorageError};
use tokio::sync::Mutex;

use crate::layout::Shown;
use crate::runtime::{Runtime, Task, within};

/// What other replicas show under a prefix.
///
/// A replica tells the CA after its answer is stored, so whoever is asked for it finds it
/// with any look that begins later. All who have asked by then share the look. It is
/// nobody's: the first who waits drives it on, and when that one goes away the next does.
/// So however many ask, and however soon they leave, each waits for what is left of one
/// look, a pause, and one more look at most.
pub(super) struct Others {
    source: Arc<Source>,
    looks: Mutex<Looks>,
}

/// What is looked at.
struct Source {
    storage: Arc<dyn Storage>,
    runtime: Arc<dyn Runtime>,
    prefix: String,
    /// How long a look may take.
    limit: Duration,
    asked: AtomicU64,
}

struct Looks {
    last: Look,
    under_way: Option<Task<'static, Look>>,
}

/// A look at all answers there are.
struct Look {
    begun: Option<Instant>,
    /// How many had asked when it began: those it is good for.
    covers: u64,
    /// Answers by token or name, or why there are none.
    found: Result<HashMap<String, String>, String>,
}

impl Others {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        runtime: Arc<dyn Runtime>,
        prefix: &str,
        limit: Duration,
    ) -> Self {
        let source = Source {
            storage,
            runtime,
            prefix: prefix.to_owned(),
            limit,
            asked: AtomicU64::new(0),
        };
        let last = Look {
            begun: None,
            covers: 0,
            found: Ok(HashMap::new()),
        };
        let looks = Looks {
            last,
            under_way: None,
        };
        Self {
            source: Arc::new(source),
            looks: Mutex::new(looks),
        }
    }

    /// The answer under a token or name.
    pub(super) async fn find(&self, name: &str) -> Result<Option<String>, StorageError> {
        let ticket = self.source.asked.fetch_add(1, Ordering::SeqCst);
        let mut looks = self.looks.lock().await;
        // Twice, if one was under way that began before.
        while looks.last.covers <= ticket {
            poll_fn(|context| looks.go_on(&self.source, context)).await;
        }
        match &looks.last.found {
            Ok(found) => Ok(found.get(name).cloned()),
            Err(reason) => Err(StorageError::Unavailable {
                place: self.source.prefix.clone(),
                reason: reason.clone(),
            }),
        }
    }
}

impl Looks {
    /// Goes on with the look under way, or begins one.
    fn go_on(&mut self, source: &Arc<Source>, context: &mut Context<'_>) -> Poll<()> {
        // Out of its place, so that one that panics is not gone on with.
        let under_way = self.under_way.take();
        let begin =
            || -> Task<'static, Look> { Box::pin(look(Arc::clone(source), self.last.begun)) };
        let mut look = under_way.unwrap_or_else(begin);
        match look.as_mut().poll(context) {
            Poll::Ready(look) => {
                self.last = look;
                Poll::Ready(())
            }
            Poll::Pending => {
                self.under_way = Some(look);
                Poll::Pending
            }
        }
    }
}

async fn look(source: Arc<Source>, last: Option<Instant>) -> Look {
    let runtime = &*source.runtime;
    if let Some(last) = last {
        let since = runtime.instant().saturating_duration_since(last);
        let pause = PAUSE.saturating_sub(since);
        if !pause.is_zero() {
            runtime.sleep(pause).await;
        }
    }
    let begun = Some(runtime.instant());
    let covers = source.asked.load(Ordering::SeqCst);
    let limit = source.limit;
    let listed = within(runtime, limit, source.storage.list(&source.prefix)).await;
    let found = match listed {
        Some(Ok(listing)) => {
            let answers = listing.entries.iter().filter_map(|entry| {
                let answer = String::from_utf8(entry.value.as_bytes().to_vec()).ok()?;
                let (Shown::Token(name) | Shown::Name(name)) = Shown::of(&entry.key)?;
                Some((name, answer))
            });
            Ok(answers.collect())
        }
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("no answer within {limit:?}")),
    };
    Look {
        begun,
        covers,
        found,
    }
}

/// Between the beginnings of two looks.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use core::future::pending;
    use core::sync::atomic::{AtomicBool, AtomicUsize};

    use certwright_storage::conformance::{Attendant, Attended, Call};
    use certwright_storage::{MemoryStorage, Operation, Txn};

    use super::*;
    use crate::challenge::http01::{Http01, PATH};
    use crate::layout;
    use crate::runtime::all;
    use crate::testing::{World, run, run_for};

    /// Counts looks; may refuse them, take its time, or never answer.
    #[derive(Debug)]
    struct Counter {
        world: World,
        looks: AtomicUsize,
        broken: AtomicBool,
        silent: AtomicBool,
        slow: AtomicBool,
    }

    impl Attendant for Counter {
        fn before(&self, call: Call) -> Operation<'_, ()> {
            Box::pin(async move {
                if let Call::Get | Call::List = call {
                    self.looks.fetch_add(1, Ordering::SeqCst);
                    if self.slow.load(Ordering::SeqCst) {
                        for _ in 0..4 {
                            self.world.sleep(Duration::from_millis(1)).await;
                        }
                    }
                    if self.silent.load(Ordering::SeqCst) {
                        pending::<()>().await;
                    }
                    if self.broken.load(Ordering::SeqCst) {
                        return Err(StorageError::Closed);
                    }
                }
                Ok(())
            })
        }
    }

    fn setting() -> (World, Arc<Attended<Counter>>, Http01) {
        let world = World::new();
        let counter = Counter {
            world: world.clone(),
            looks: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        };
        let storage = Attended::new(MemoryStorage::default(), counter);
        let storage = Arc::new(storage);
        let answers = Http01::with_runtime(storage.clone(), Arc::new(world.clone()));
        (world, storage, answers)
    }

    fn looks(storage: &Attended<Counter>) -> usize {
        storage.attendant().looks.load(Ordering::SeqCst)
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
        let reads = || looks(&storage);
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
        storage.attendant().broken.store(true, Ordering::SeqCst);
        let found = flood(&answers, 100, &"t".repeat(43));
        assert!(found.iter().all(Result::is_err));
        assert!(looks(&storage) <= 2);
        storage.attendant().broken.store(false, Ordering::SeqCst);
        let found = flood(&answers, 100, &"t".repeat(43));
        assert!(found.iter().all(|one| matches!(one, Ok(None))));
    }

    #[test]
    fn who_gives_up_holds_up_nobody() {
        let (_, storage, answers) = setting();
        let path = format!("{PATH}{}", "t".repeat(43));
        run(answers.answer(&path)).unwrap();
        // In the middle of the pause.
        drop(run_for(1, answers.answer(&path)));
        assert_eq!(run(answers.answer(&path)).unwrap(), None);
        assert_eq!(looks(&storage), 2);
    }

    #[test]
    fn clients_that_come_and_go_hold_up_nobody() {
        let (world, storage, answers) = setting();
        storage.attendant().slow.store(true, Ordering::SeqCst);
        let token = "t".repeat(43);
        let put = Txn::new().put(layout::http_token(&token), "theirs");
        run(storage.txn(put)).unwrap();
        let paths: Vec<String> = (0..100)
            .map(|number| format!("{PATH}{number:022}"))
            .collect();
        let mut flood: Vec<Task<'_, _>> = Vec::new();
        for path in &paths {
            let mut client: Task<'_, _> = Box::pin(answers.answer(path));
            assert!(run_for(1, client.as_mut()).is_none());
            flood.push(client);
        }
        // Behind all of them, each of whom leaves in the middle of a look.
        let path = format!("{PATH}{token}");
        let mut real = Box::pin(answers.answer(&path));
        assert!(run_for(1, real.as_mut()).is_none());
        let begun = world.instant();
        let mut found = None;
        for mut client in flood {
            let _ = run_for(3, client.as_mut());
            drop(client);
            if found.is_none() {
                found = run_for(1, real.as_mut());
            }
        }
        let found = found.unwrap_or_else(|| run(real));
        assert_eq!(found.unwrap().as_deref(), Some("theirs"));
        assert!(looks(&storage) <= 2, "{}", looks(&storage));
        assert!(world.instant() - begun <= PAUSE * 2);
    }

    #[test]
    fn a_look_that_never_ends_is_given_up() {
        let (world, storage, answers) = setting();
        storage.attendant().silent.store(true, Ordering::SeqCst);
        let path = format!("{PATH}{}", "t".repeat(43));
        let begun = world.instant();
        run(answers.answer(&path)).unwrap_err();
        // Somebody begins one, and nobody stays.
        drop(run_for(20, answers.answer(&path)));
        storage.attendant().silent.store(false, Ordering::SeqCst);
        world.advance(Duration::from_secs(60));
        let after = world.instant();
        assert_eq!(run(answers.answer(&path)).unwrap(), None);
        assert!(world.instant() - after <= PAUSE);
        assert!(after - begun < Duration::from_secs(70));
    }
}
