//! The suite every backend passes: the contract of [`Storage`] as rules that are run.
//!
//! ```
//! # use std::sync::Arc;
//! # use std::time::{Duration, Instant};
//! use certwright_storage::conformance::{Step, Subject, run};
//! use certwright_storage::{Clock, MemoryStorage, Storage};
//!
//! struct Mine { storage: MemoryStorage, clock: Clock }
//!
//! impl Subject for Mine {
//!     fn replica(&self) -> Arc<dyn Storage> { Arc::new(self.storage.clone()) }
//!     fn pass(&mut self, time: Duration) -> Step<'_, ()> {
//!         self.clock.advance(time);
//!         Box::pin(async {})
//!     }
//! }
//! # let clock = Clock::manual(Instant::now());
//! # let mut mine = Mine { storage: MemoryStorage::new(clock.clone()), clock };
//! # let mut suite = Box::pin(run(&mut mine));
//! # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
//! # let report = loop {
//! #     if let std::task::Poll::Ready(report) = suite.as_mut().poll(&mut context) { break report }
//! # };
//! // let report = run(&mut mine).await;
//! assert!(report.passed(), "{report}");
//! ```
//!
//! For tests of those who use a store there is [`Attended`], a store that counts, waits,
//! refuses and loses answers as it is told.

mod attended;
mod crash;
mod keys;
mod lease;
mod txn;
mod watch;

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use std::sync::Arc;
use std::time::Duration;

use crate::{Entry, Event, Key, Revision, Storage, StorageError, Txn, Watch};

pub use attended::{Attendant, Attended, Call};

/// The future of a step of a subject.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A store under test, and the powers over it the suite needs. Keys below
/// `conformance/` are the suite's; any other may exist.
pub trait Subject {
    /// A handle of the store, as another replica would have it.
    fn replica(&self) -> Arc<dyn Storage>;

    /// Lets so much time pass for leases: moves the store's clock, or sleeps.
    fn pass(&mut self, time: Duration) -> Step<'_, ()>;

    /// Makes the store forget its history up to now; `false` if it cannot be made to.
    fn compact(&mut self) -> Step<'_, bool> {
        Box::pin(async { false })
    }

    /// Ends the store without warning and starts it again; `false` if it keeps nothing
    /// over that. No handle from before is left when it is called.
    fn crash(&mut self) -> Step<'_, bool> {
        Box::pin(async { false })
    }
}

/// What came of each rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rules and outcomes, in the order they were run.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

/// What came of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The store did something else; what.
    Failed(String),
    /// The store kept the rule.
    Passed,
    /// The subject lacks the power the rule needs.
    Skipped,
}

impl Report {
    /// Whether no rule failed.
    pub fn passed(&self) -> bool {
        let mut outcomes = self.outcomes.iter();
        outcomes.all(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, outcome) in &self.outcomes {
            match outcome {
                Outcome::Failed(why) => writeln!(f, "failed   {rule}: {why}")?,
                Outcome::Passed => writeln!(f, "passed   {rule}")?,
                Outcome::Skipped => writeln!(f, "skipped  {rule}")?,
            }
        }
        Ok(())
    }
}

/// Runs every rule. Every rule starts by removing what an earlier run left behind.
pub async fn run(subject: &mut dyn Subject) -> Report {
    let mut report = Report::default();
    macro_rules! rules {
        ($($name:literal => $rule:path),* $(,)?) => {$(
            let outcome = match clean(subject).await {
                Ok(()) => $rule(subject).await,
                Err(failed) => Err(failed),
            };
            let outcome = match outcome {
                Ok(Ran::Whole) => Outcome::Passed,
                Ok(Ran::NotPossible) => Outcome::Skipped,
                Err(Failed(why)) => Outcome::Failed(why),
            };
            report.outcomes.push(($name, outcome));
        )*};
    }
    rules! {
        "what is put is got until it is deleted" => txn::puts_and_deletes,
        "guards hold or nothing is written" => txn::guards,
        "transactions are checked against the limits" => txn::limits,
        "the largest transaction fits" => txn::largest,
        "concurrent increments all count" => txn::increments,
        "a listing is of one moment" => txn::moments,
        "odd keys are keys like others" => keys::odd_keys,
        "prefixes end anywhere" => keys::prefixes,
        "many keys are listed once each" => keys::many,
        "a watch reports every change once and in order" => watch::every_change,
        "a watch starts in the past" => watch::from_the_past,
        "a compacted watch says so" => watch::compaction,
        "a lease has one holder and growing tokens" => lease::exclusion,
        "a lease runs out, and its writes are refused" => lease::expiry,
        "a lease kept alive stays" => lease::keep_alive,
        "concurrent writers under leases are told apart" => lease::contention,
        "leases are no keys" => lease::no_keys,
        "acknowledged writes survive a crash" => crash::survival,
        "revisions and tokens grow over a crash" => crash::growth,
    }
    report
}

/// Whether a rule could be run.
enum Ran {
    NotPossible,
    Whole,
}

/// Why a rule failed.
struct Failed(String);

type Verdict = Result<Ran, Failed>;

impl From<StorageError> for Failed {
    fn from(error: StorageError) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self(why)
    }
}

/// Fails the rule, saying both sides, unless they are equal.
macro_rules! same {
    ($found:expr, $expected:expr, $($what:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) if *found != *expected => {
                let what = format!($($what)+);
                return Err($crate::conformance::Failed(format!("{what}: expected {expected:?}, found {found:?}")));
            }
            _ => {}
        }
    };
}
use same;

const SPACE: &str = "conformance/";

async fn clean(subject: &dyn Subject) -> Result<(), Failed> {
    let storage = subject.replica();
    let entries = storage.list(SPACE).await?.entries;
    for some in entries.chunks(crate::MAX_TXN_OPS) {
        let keys = some.iter().map(|entry| entry.key.clone());
        storage.txn(keys.fold(Txn::new(), Txn::delete)).await?;
    }
    Ok(())
}

fn key(name: &str) -> Result<Key, Failed> {
    Key::new(&format!("{SPACE}{name}")).map_err(|error| Failed(error.to_string()))
}

async fn put(storage: &dyn Storage, name: &str, value: &str) -> Result<Revision, Failed> {
    Ok(storage.txn(Txn::new().put(key(name)?, value)).await?)
}

/// Key, value and revision in a form that failures can show.
fn shown(entry: &Entry) -> (String, String, Revision) {
    let text = String::from_utf8_lossy(entry.value.as_bytes());
    let name = entry.key.as_str();
    let name = name.strip_prefix(SPACE).unwrap_or(name);
    (name.to_owned(), text.into_owned(), entry.revision)
}

async fn next(watch: &mut Watch) -> Result<Event, Failed> {
    match watch.next().await {
        Some(event) => Ok(event?),
        None => Err(Failed("the watch ended".to_owned())),
    }
}

/// All futures at once, in one task.
async fn join<T>(futures: Vec<Step<'_, T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(Some).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(move |context| {
        for (future, done) in running.iter_mut().zip(&mut done) {
            if let Some(running) = future
                && let Poll::Ready(value) = running.as_mut().poll(context)
            {
                *done = Some(value);
                *future = None;
            }
        }
        if running.iter().all(Option::is_none) {
            Poll::Ready(done.iter_mut().filter_map(Option::take).collect())
        } else {
            Poll::Pending
        }
    })
    .await
}
