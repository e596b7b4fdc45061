//! Certificates kept: served from the store as they change, ordered and renewed in time.

use core::any::Any;
use core::fmt;
use core::panic::AssertUnwindSafe;
use std::collections::{BTreeSet, HashMap};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certwright_renewal::RenewalPolicy;
use certwright_storage::{Change, Event as Seen, Key, Listing, Revision, StorageError};
use time::OffsetDateTime;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};

use crate::certificate::IssuedCertificate;
use crate::engine::Engine;
use crate::event::Event;
use crate::layout::{CERTIFICATES, CHALLENGES, CertId, Shown};
use crate::runtime::Task;
use crate::unused::Unused;
use crate::wanted::Wanted;

/// Who serves certificates.
///
/// Called for every certificate in the store at the start, and for each that any replica
/// puts there. It must not block; nothing on the way of a handshake waits for the store.
pub trait CertificateSink: Send + Sync + fmt::Debug {
    /// Serve this one from now on, instead of any earlier one of this name.
    fn publish(&self, id: &CertId, certificate: &Arc<IssuedCertificate>);

    /// The certificate was removed from the store.
    fn remove(&self, id: &CertId);
}

/// Keeps certificates for as long as it lives; dropping it stops everything but what a
/// CA is doing already, which is gone on with next time.
///
/// The store may be away: what is served stays as it was, nothing is ordered, and it all
/// goes on by itself when the store is back.
#[derive(Debug)]
pub struct Keeper {
    engine: Engine,
    policy: RenewalPolicy,
    listed: Receiver<bool>,
    tasks: JoinSet<()>,
    wanted: Wants,
    unused: Arc<Mutex<Unused>>,
}

/// What is kept.
type Wants = Arc<Mutex<HashMap<CertId, Kept>>>;

/// One certificate, and the task that keeps it.
#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    task: AbortHandle,
}

impl Keeper {
    /// Serves what is in the store through this sink; renews by this policy where the CA
    /// says nothing. Runs on tokio.
    pub fn new(engine: Engine, policy: RenewalPolicy, sink: Arc<dyn CertificateSink>) -> Self {
        let mut tasks = JoinSet::new();
        let (told, listed) = channel(false);
        let told = Arc::new(told);
        let (wanted, known) = (Wants::default(), Known::default());
        let follows = {
            let engine = engine.clone();
            move || -> Task<'static, ()> {
                let (sink, told) = (Arc::clone(&sink), Arc::clone(&told));
                let (engine, known) = (engine.clone(), Arc::clone(&known));
                Box::pin(follow_certificates(engine, sink, told, known))
            }
        };
        tasks.spawn(supervise(engine.clone(), "following certificates", follows));
        let known = Known::default();
        let shows = {
            let engine = engine.clone();
            move || -> Task<'static, ()> {
                Box::pin(follow_challenges(engine.clone(), Arc::clone(&known)))
            }
        };
        tasks.spawn(supervise(engine.clone(), "following challenges", shows));
        let unused = Arc::default();
        let sweeps = {
            let (engine, listed) = (engine.clone(), listed.clone());
            let (wanted, unused) = (Arc::clone(&wanted), Arc::clone(&unused));
            move || -> Task<'static, ()> {
                let (wanted, unused) = (Arc::clone(&wanted), Arc::clone(&unused));
                let (engine, listed) = (engine.clone(), listed.clone());
                Box::pin(sweep(engine, policy, wanted, unused, listed))
            }
        };
        tasks.spawn(supervise(engine.clone(), "sweeping", sweeps));
        Self {
            engine,
            policy,
            listed,
            tasks,
            wanted,
            unused,
        }
    }

    /// Does so with certificates in the store that are not wanted; looked at every hour,
    /// an hour after the start for the first time.
    #[must_use]
    pub fn with_unused(self, unused: Unused) -> Self {
        *lock(&self.unused) = unused;
        self
    }

    /// Keeps this certificate from now on: obtains it if there is none, renews it. Twice
    /// is as good as once. One that differs in what is no part of its name, such as when
    /// its key is changed, is kept that way from now on: what is under way goes on, and the
    /// next order is by it.
    pub fn want(&mut self, wanted: Wanted) -> CertId {
        // Those that were forgotten.
        while self.tasks.try_join_next().is_some() {}
        let id = self.engine.id(&wanted);
        let mut wants = lock(&self.wanted);
        match wants.get(&id) {
            Some(kept) if kept.wanted == wanted => return id,
            Some(kept) => kept.task.abort(),
            None => {}
        }
        let (engine, policy, listed) = (self.engine.clone(), self.policy, self.listed.clone());
        let tends = {
            let wanted = wanted.clone();
            move || -> Task<'static, ()> {
                let (engine, wanted) = (engine.clone(), wanted.clone());
                tending(engine, wanted, policy, listed.clone())
            }
        };
        let tended = supervise(self.engine.clone(), "tending a certificate", tends);
        let task = self.tasks.spawn(tended);
        wants.insert(id.clone(), Kept { wanted, task });
        id
    }

    /// Does not obtain or renew this certificate any more; it stays where it is. An order
    /// under way is given up, unless another replica is at it. Pauses after failures stay
    /// for those who want it still, here or elsewhere, until nobody has looked at them for
    /// [`Options::abandoned_after`].
    ///
    /// [`Options::abandoned_after`]: crate::Options::abandoned_after
    pub fn forget(&mut self, id: &CertId) {
        if let Some(kept) = lock(&self.wanted).remove(id) {
            kept.task.abort();
            let (engine, wanted) = (self.engine.clone(), Arc::clone(&self.wanted));
            self.tasks.spawn(abandon(engine, wanted, id.clone()));
        }
    }
}

/// Runs this until it ends; if it panics, says so and begins anew.
async fn supervise(engine: Engine, what: &'static str, work: impl Fn() -> Task<'static, ()>) {
    let mut pause = SHORTEST;
    loop {
        // Aborted with this one.
        let mut task = JoinSet::new();
        task.spawn(work());
        match task.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                report(&engine, what, &*error.into_panic());
            }
            _ => return,
        }
        engine.runtime().sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

fn report(engine: &Engine, what: &str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    engine.events().emit(Event::Panicked {
        what: what.to_owned(),
        reason: text.unwrap_or_default(),
    });
}

/// Gives up what is under way for a certificate that was forgotten.
async fn abandon(engine: Engine, wanted: Wants, id: CertId) {
    // Its lease is given back a moment after its task is gone.
    for _ in 0..3 {
        if lock(&wanted).contains_key(&id) {
            return;
        }
        match engine.leave(&id).await {
            Ok(true) => return,
            Ok(false) => engine.runtime().sleep(SHORTEST).await,
            Err(error) => {
                tracing::warn!(certificate = %id, error = %Chain(&error), "order not abandoned");
                return;
            }
        }
    }
}

/// Takes away, every hour, what orders have left that nobody wants.
async fn sweep(
    engine: Engine,
    policy: RenewalPolicy,
    wanted: Wants,
    unused: Arc<Mutex<Unused>>,
    mut listed: Receiver<bool>,
) {
    if listed.wait_for(|listed| *listed).await.is_err() {
        return;
    }
    loop {
        // First of all: whoever starts says what is wanted by then.
        engine.runtime().sleep(PIECE).await;
        let swept = engine.sweep(|id| lock(&wanted).contains_key(id));
        if let Err(error) = swept.await {
            tracing::warn!(error = %Chain(&error), "abandoned orders not looked for");
        }
        let unused = *lock(&unused);
        let tended = engine.tend_unused(unused, &policy, |id| lock(&wanted).contains_key(id));
        if let Err(error) = tended.await {
            tracing::warn!(error = %Chain(&error), "unused certificates not looked after");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Boxed here, as the compiler does not see within a closure that it may go to another
/// thread.
fn tending(
    engine: Engine,
    wanted: Wanted,
    policy: RenewalPolicy,
    listed: Receiver<bool>,
) -> Task<'static, ()> {
    Box::pin(tend(engine, wanted, policy, listed))
}

/// One certificate's life.
async fn tend(engine: Engine, wanted: Wanted, policy: RenewalPolicy, mut listed: Receiver<bool>) {
    // Nobody orders what the store may have.
    if listed.wait_for(|listed| *listed).await.is_err() {
        return;
    }
    let id = engine.id(&wanted);
    let mut pause = SHORTEST;
    loop {
        match engine.tend(&wanted, &policy).await {
            Ok((_, Some(next))) => {
                pause = SHORTEST;
                sleep_until(&engine, next).await;
            }
            // Parked: the settings of this engine do not change, but somebody may force a
            // renewal, or a replica with others may get one. Looking asks no CA.
            Ok((_, None)) => engine.runtime().sleep(PIECE).await,
            Err(error) => {
                tracing::warn!(certificate = %id, error = %Chain(&error), "certificate not looked after");
                engine.runtime().sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

async fn sleep_until(engine: &Engine, end: OffsetDateTime) {
    let runtime = engine.runtime();
    loop {
        let left = Duration::try_from(end - runtime.now()).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        // In pieces: the clock may be set, and the machine may sleep.
        runtime.sleep(left.min(PIECE).max(SHORTEST)).await;
    }
}

async fn follow_certificates(
    engine: Engine,
    sink: Arc<dyn CertificateSink>,
    told: Arc<Sender<bool>>,
    known: Known,
) {
    let changed = |change: Change, _: Revision| match change {
        Change::Put(entry) => {
            let Some(id) = CertId::of_current(&entry.key) else {
                return;
            };
            match IssuedCertificate::decode(entry.value.as_bytes()) {
                Ok(certificate) => sink.publish(&id, &Arc::new(certificate)),
                Err(error) => {
                    tracing::error!(certificate = %id, %error, "stored certificate not served");
                }
            }
        }
        Change::Delete(key) => {
            if let Some(id) = CertId::of_current(&key) {
                sink.remove(&id);
            }
        }
    };
    let begun = |_: &Listing, _: bool| {};
    follow(&engine, CERTIFICATES, &known, begun, changed, || {
        told.send_replace(true);
    })
    .await;
}

async fn follow_challenges(engine: Engine, known: Known) {
    let changed = |change: Change, at: Revision| match change {
        Change::Put(entry) => {
            if let (Some(shown), Ok(answer)) = (
                Shown::of(&entry.key),
                core::str::from_utf8(entry.value.as_bytes()),
            ) {
                engine.show(&shown, answer, entry.revision);
            }
        }
        Change::Delete(key) => {
            if let Some(shown) = Shown::of(&key) {
                engine.gone(&shown, at);
            }
        }
    };
    let begun = |listing: &Listing, restored: bool| {
        let there = listing.entries.iter();
        let there = there.filter_map(|entry| Shown::of(&entry.key));
        engine.listed(&there.collect(), listing.revision, restored);
    };
    follow(&engine, CHALLENGES, &known, begun, changed, || {}).await;
}

/// Everything under a prefix, and every change with the revision it is known of, for ever.
/// Of each listing is told before what is in it, and whether the store was restored from a
/// backup since.
async fn follow(
    engine: &Engine,
    prefix: &str,
    known: &Known,
    begun: impl Fn(&Listing, bool),
    changed: impl Fn(Change, Revision),
    listed: impl Fn(),
) {
    let mut known = known.lock().await;
    let mut pause = SHORTEST;
    // Who serves may not be able to serve this one; the others must be told all the same.
    let begun = |listing: &Listing, restored| {
        tell(engine, "telling a listing", || begun(listing, restored));
    };
    let changed = |change, at| tell(engine, "telling a change", || changed(change, at));
    loop {
        let followed = follow_once(
            engine, prefix, &mut known, &mut pause, &begun, &changed, &listed,
        );
        // Without an error it is compacted: from the start.
        if let Err(error) = followed.await {
            tracing::warn!(prefix, error = %Chain(&error), "store not followed");
        }
        engine.runtime().sleep(pause).await;
        pause = (pause * 2).min(LONGEST_AWAY);
    }
}

fn tell(engine: &Engine, what: &str, told: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(told)) {
        report(engine, what, &*panic);
    }
}

async fn follow_once(
    engine: &Engine,
    prefix: &str,
    known: &mut Told,
    pause: &mut Duration,
    begun: &impl Fn(&Listing, bool),
    changed: &impl Fn(Change, Revision),
    listed: &impl Fn(),
) -> Result<(), StorageError> {
    let listing = engine.storage().list(prefix).await?;
    let restored = listing.revision < known.at;
    known.at = listing.revision;
    begun(&listing, restored);
    let found = listing.entries.iter().map(|entry| entry.key.clone());
    // What went away while nobody watched.
    for key in core::mem::replace(&mut known.keys, found.collect()) {
        if !known.keys.contains(&key) {
            changed(Change::Delete(key), listing.revision);
        }
    }
    for entry in listing.entries {
        changed(Change::Put(entry), listing.revision);
    }
    listed();
    let mut watch = engine.storage().watch(prefix, listing.revision).await?;
    *pause = SHORTEST;
    while let Some(event) = watch.next().await {
        match event? {
            Seen::Changed { changes, revision } => {
                known.at = revision;
                for change in changes {
                    match &change {
                        Change::Put(entry) => known.keys.insert(entry.key.clone()),
                        Change::Delete(key) => known.keys.remove(key),
                    };
                    changed(change, revision);
                }
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// What was told, over panics.
type Known = Arc<tokio::sync::Mutex<Told>>;

#[derive(Debug, Default)]
struct Told {
    keys: BTreeSet<Key>,
    /// How much of the store's history.
    at: Revision,
}

/// An error with its causes, in one line.
struct Chain<'e>(&'e dyn core::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut error = self.0;
        while let Some(source) = error.source() {
            write!(f, ": {source}")?;
            error = source;
        }
        Ok(())
    }
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// Short: answers to challenges are served as far as the store is followed.
const LONGEST_AWAY: Duration = Duration::from_secs(15);
const PIECE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::{Pause, Solvers};
    use crate::config::CommonName;
    use crate::engine::{Demand, Options, Outcome};
    use crate::issuer::Issuer;
    use crate::journal::Journal;
    use crate::limits::Quotas;
    use crate::problem::{ErrorType, Problem};
    use crate::runtime::TokioRuntime;
    use crate::testing::{FakeCa, Fault, identifiers};
    use certwright_storage::{MemoryStorage, Storage, Txn};

    #[derive(Debug, Default)]
    struct Served(Mutex<HashMap<CertId, u64>>);

    impl CertificateSink for Served {
        fn publish(&self, id: &CertId, certificate: &Arc<IssuedCertificate>) {
            let mut served = self.0.lock().unwrap();
            served.insert(id.clone(), certificate.generation());
        }

        fn remove(&self, id: &CertId) {
            self.0.lock().unwrap().remove(id);
        }
    }

    fn engine(storage: &MemoryStorage, ca: &FakeCa) -> Engine {
        engine_with(storage, ca, Solvers::http01())
    }

    fn engine_with(storage: &MemoryStorage, ca: &FakeCa, solvers: Solvers) -> Engine {
        let account = AccountSpec::new("https://ca.test/dir");
        let protocol = Arc::new(ca.clone());
        let mut issuer = Issuer::new("ca", account, protocol, solvers);
        issuer.quotas = Quotas::unlimited();
        let storage = Arc::new(storage.clone());
        let runtime = Arc::new(TokioRuntime);
        Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap()
    }

    fn replica(storage: &MemoryStorage, ca: &FakeCa) -> (Keeper, Arc<Served>) {
        let sink = Arc::new(Served::default());
        let keeper = Keeper::new(engine(storage, ca), RenewalPolicy::default(), sink.clone());
        (keeper, sink)
    }

    /// Waits until this holds: other tasks do what it waits for.
    async fn until(mut condition: impl AsyncFnMut() -> bool) {
        let holds = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let held = tokio::time::timeout(Duration::from_secs(60), holds).await;
        held.expect("it never comes to that");
    }

    #[tokio::test]
    async fn every_replica_serves_what_one_obtained() {
        let storage = MemoryStorage::default();
        let ca = FakeCa::at_present(&storage);
        let (mut one, served) = replica(&storage, &ca);
        let (mut other, elsewhere) = replica(&storage, &ca);
        let wanted = Wanted::new(identifiers(&["a.test"]));
        let id = one.want(wanted.clone());
        assert_eq!(other.want(wanted.clone()), id);
        one.want(wanted);
        for sink in [&served, &elsewhere] {
            until(async || sink.0.lock().unwrap().contains_key(&id)).await;
        }
        assert_eq!(ca.state().issued.len(), 1);
        // One that comes later serves without ordering.
        let (_keeper, late) = replica(&storage, &ca);
        until(async || late.0.lock().unwrap().contains_key(&id)).await;
        one.forget(&id);
        assert_eq!(ca.calls("new_order"), 1);
    }

    #[tokio::test]
    async fn a_sink_that_panics_is_reported_and_the_others_are_served() {
        #[derive(Debug, Default)]
        struct Picky(Served, Mutex<Option<CertId>>);
        impl CertificateSink for Picky {
            fn publish(&self, id: &CertId, certificate: &Arc<IssuedCertificate>) {
                lock(&self.1).get_or_insert_with(|| id.clone());
                assert_ne!(lock(&self.1).as_ref(), Some(id), "not this one");
                self.0.publish(id, certificate);
            }

            fn remove(&self, id: &CertId) {
                self.0.remove(id);
            }
        }
        let storage = MemoryStorage::default();
        let ca = FakeCa::at_present(&storage);
        let (sink, engine) = (Arc::new(Picky::default()), engine(&storage, &ca));
        let mut events = engine.events().listen();
        let mut keeper = Keeper::new(engine, RenewalPolicy::default(), sink.clone());
        for name in ["a.test", "b.test", "c.test"] {
            keeper.want(Wanted::new(identifiers(&[name])));
        }
        until(async || lock(&sink.0.0).len() >= 2).await;
        let mut said = String::new();
        until(async || {
            if let Event::Panicked { reason, .. } = events.next().await.unwrap().unwrap() {
                said = reason;
            }
            !said.is_empty()
        })
        .await;
        assert!(said.contains("not this one"), "{said}");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_reported_and_begun_anew() {
        let storage = MemoryStorage::default();
        let engine = engine(&storage, &FakeCa::at_present(&storage));
        let mut events = engine.events().listen();
        let begun = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&begun);
        let work = move || -> Task<'static, ()> {
            let counted = Arc::clone(&counted);
            Box::pin(async move {
                let count = {
                    let mut counted = lock(&counted);
                    *counted += 1;
                    *counted
                };
                assert!(count > 1, "the first time");
            })
        };
        supervise(engine, "the test", work).await;
        assert_eq!(*lock(&begun), 2);
        let Some(Ok(Event::Panicked { what, reason })) = events.next().await else {
            panic!();
        };
        assert_eq!(
            (what.as_str(), reason.as_str()),
            ("the test", "the first time")
        );
    }

    #[tokio::test]
    async fn other_settings_for_the_same_certificate_count() {
        let storage = MemoryStorage::default();
        let ca = FakeCa::at_present(&storage);
        let (mut keeper, _sink) = replica(&storage, &ca);
        let problem = Problem::new(400, ErrorType::RejectedIdentifier);
        ca.fault("new_order", Fault::Refuse(problem, None));
        let wanted = Wanted::new(identifiers(&["a.test"]));
        let other = Wanted {
            common_name: CommonName::None,
            ..wanted.clone()
        };
        let id = keeper.want(wanted);
        // Parked, until the settings change; it is in the store before that, too.
        let parked = async || {
            let entry = storage.get(&id.journal()).await.unwrap();
            entry.is_some_and(|entry| {
                let journal = Journal::decode(entry.value.as_bytes()).unwrap();
                journal.history.parked.is_some()
            })
        };
        until(parked).await;
        assert_eq!(keeper.want(other), id);
        until(async || !ca.state().issued.is_empty()).await;
    }

    #[tokio::test]
    async fn the_pauses_of_others_outlive_who_forgets() {
        let storage = MemoryStorage::default();
        let ca = FakeCa::at_present(&storage);
        ca.state().blind = vec![crate::challenge::ChallengeKind::Http01];
        let (mut keeper, _sink) = replica(&storage, &ca);
        let wanted = Wanted::new(identifiers(&["a.test"]));
        let id = keeper.want(wanted.clone());
        let journal = async || {
            let entry = storage.get(&id.journal()).await.unwrap();
            entry.map(|entry| Journal::decode(entry.value.as_bytes()).unwrap())
        };
        until(async || {
            let found = journal().await;
            found.is_some_and(|one| one.history.next_at.is_some())
        })
        .await;
        keeper.forget(&id);
        // Its tasks: the two that follow the store, the sweep, and those that end.
        until(async || {
            let _ = keeper.tasks.try_join_next();
            keeper.tasks.len() <= 3
        })
        .await;
        let left = journal().await.unwrap();
        assert_eq!(left.history.failures, 1);
        let outcome = engine(&storage, &ca).obtain(&wanted, Demand::Missing).await;
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
        assert_eq!(ca.calls("new_order"), 1);
    }

    #[tokio::test]
    async fn what_is_forgotten_leaves_nothing_behind() {
        let storage = MemoryStorage::default();
        let ca = FakeCa::at_present(&storage);
        let mut solvers = Solvers::http01();
        // It is shown, and waits for an hour.
        solvers.http01 = Some(Pause(PIECE));
        let engine = engine_with(&storage, &ca, solvers);
        let mut keeper = Keeper::new(engine, RenewalPolicy::default(), Arc::<Served>::default());
        let id = keeper.want(Wanted::new(identifiers(&["a.test"])));
        let shows = async || !storage.list(CHALLENGES).await.unwrap().entries.is_empty();
        until(shows).await;
        keeper.forget(&id);
        until(async || storage.get(&id.journal()).await.unwrap().is_none()).await;
        assert!(!shows().await);
    }

    #[tokio::test]
    async fn what_went_away_while_nobody_watched_is_told() {
        let storage = MemoryStorage::default();
        let engine = engine(&storage, &FakeCa::at_present(&storage));
        let key = |name: &str| Key::new(&format!("{CHALLENGES}http/{name}")).unwrap();
        let put = Txn::new().put(key("new"), "x");
        storage.txn(put).await.unwrap();
        let mut known = Told {
            keys: BTreeSet::from([key("old")]),
            at: Revision::new(1_000),
        };
        let mut pause = LONGEST_AWAY;
        let told = Mutex::new(Vec::new());
        let changed = |change: Change, _: Revision| told.lock().unwrap().push(change);
        let begins = Mutex::new(Vec::new());
        let begun = |listing: &Listing, restored| {
            assert!(told.lock().unwrap().is_empty(), "it comes first");
            begins.lock().unwrap().push((listing.revision, restored));
        };
        let listed = || {};
        let followed = follow_once(
            &engine, CHALLENGES, &mut known, &mut pause, &begun, &changed, &listed,
        );
        let ended = tokio::time::timeout(Duration::from_millis(50), followed).await;
        assert!(ended.is_err(), "it watches");
        let told = told.into_inner().unwrap();
        let [Change::Delete(old), Change::Put(new)] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!((old, &new.key), (&key("old"), &key("new")));
        assert_eq!(known.keys, BTreeSet::from([key("new")]));
        // What was told before was of a store that was ahead.
        assert_eq!(begins.into_inner().unwrap(), [(known.at, true)]);
        assert_eq!(pause, SHORTEST);
    }
}
