//! Certificates kept: served from the store as they change, ordered and renewed in time.

use core::fmt;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use certwright_renewal::RenewalPolicy;
use certwright_storage::{Change, Event as Seen, Key, StorageError};
use time::OffsetDateTime;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};

use crate::certificate::IssuedCertificate;
use crate::engine::Engine;
use crate::layout::{CERTIFICATES, CHALLENGES, CertId, Shown};
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
    wanted: HashMap<CertId, AbortHandle>,
}

impl Keeper {
    /// Serves what is in the store through this sink; renews by this policy where the CA
    /// says nothing. Runs on tokio.
    pub fn new(engine: Engine, policy: RenewalPolicy, sink: Arc<dyn CertificateSink>) -> Self {
        let mut tasks = JoinSet::new();
        let (told, listed) = channel(false);
        tasks.spawn(follow_certificates(engine.clone(), sink, told));
        tasks.spawn(follow_challenges(engine.clone()));
        Self {
            engine,
            policy,
            listed,
            tasks,
            wanted: HashMap::new(),
        }
    }

    /// Keeps this certificate from now on: obtains it if there is none, renews it. Twice
    /// is as good as once.
    pub fn want(&mut self, wanted: Wanted) -> CertId {
        // Those that were forgotten.
        while self.tasks.try_join_next().is_some() {}
        let id = self.engine.id(&wanted);
        if !self.wanted.contains_key(&id) {
            let (engine, policy) = (self.engine.clone(), self.policy);
            let tended = tend(engine, wanted, policy, self.listed.clone());
            self.wanted.insert(id.clone(), self.tasks.spawn(tended));
        }
        id
    }

    /// Does not obtain or renew this certificate any more; it stays where it is.
    pub fn forget(&mut self, id: &CertId) {
        if let Some(task) = self.wanted.remove(id) {
            task.abort();
        }
    }
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

async fn follow_certificates(engine: Engine, sink: Arc<dyn CertificateSink>, told: Sender<bool>) {
    let changed = |change: Change| match change {
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
    follow(&engine, CERTIFICATES, changed, || {
        told.send_replace(true);
    })
    .await;
}

async fn follow_challenges(engine: Engine) {
    let changed = |change: Change| match change {
        Change::Put(entry) => {
            if let (Some(shown), Ok(answer)) = (
                Shown::of(&entry.key),
                core::str::from_utf8(entry.value.as_bytes()),
            ) {
                engine.show(&shown, answer);
            }
        }
        Change::Delete(key) => {
            if let Some(shown) = Shown::of(&key) {
                engine.hide(&shown);
            }
        }
    };
    follow(&engine, CHALLENGES, changed, || {}).await;
}

/// Everything under a prefix, and every change, for ever.
async fn follow(engine: &Engine, prefix: &str, changed: impl Fn(Change), listed: impl Fn()) {
    let mut known = BTreeSet::new();
    let mut pause = SHORTEST;
    loop {
        let followed = follow_once(engine, prefix, &mut known, &mut pause, &changed, &listed);
        // Without an error it is compacted: from the start.
        if let Err(error) = followed.await {
            tracing::warn!(prefix, error = %Chain(&error), "store not followed");
        }
        engine.runtime().sleep(pause).await;
        pause = (pause * 2).min(LONGEST_AWAY);
    }
}

async fn follow_once(
    engine: &Engine,
    prefix: &str,
    known: &mut BTreeSet<Key>,
    pause: &mut Duration,
    changed: &impl Fn(Change),
    listed: &impl Fn(),
) -> Result<(), StorageError> {
    let listing = engine.storage().list(prefix).await?;
    let found = listing.entries.iter().map(|entry| entry.key.clone());
    // What went away while nobody watched.
    for key in core::mem::replace(known, found.collect()) {
        if !known.contains(&key) {
            changed(Change::Delete(key));
        }
    }
    for entry in listing.entries {
        changed(Change::Put(entry));
    }
    listed();
    let mut watch = engine.storage().watch(prefix, listing.revision).await?;
    *pause = SHORTEST;
    while let Some(event) = watch.next().await {
        match event? {
            Seen::Changed { changes, .. } => {
                for change in changes {
                    match &change {
                        Change::Put(entry) => known.insert(entry.key.clone()),
                        Change::Delete(key) => known.remove(key),
                    };
                    changed(change);
                }
            }
            _ => return Ok(()),
        }
    }
    Ok(())
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
    use std::sync::Mutex;

    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::Solvers;
    use crate::engine::Options;
    use crate::issuer::Issuer;
    use crate::limits::Quotas;
    use crate::runtime::TokioRuntime;
    use crate::testing::{FakeCa, identifiers};
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
        let account = AccountSpec::new("https://ca.test/dir");
        let protocol = Arc::new(ca.clone());
        let mut issuer = Issuer::new("ca", account, protocol, Solvers::http01());
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
            while !sink.0.lock().unwrap().contains_key(&id) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(ca.state().issued.len(), 1);
        // One that comes later serves without ordering.
        let (_keeper, late) = replica(&storage, &ca);
        while !late.0.lock().unwrap().contains_key(&id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        one.forget(&id);
        assert_eq!(ca.calls("new_order"), 1);
    }

    #[tokio::test]
    async fn what_went_away_while_nobody_watched_is_told() {
        let storage = MemoryStorage::default();
        let engine = engine(&storage, &FakeCa::at_present(&storage));
        let key = |name: &str| Key::new(&format!("{CHALLENGES}http/{name}")).unwrap();
        let put = Txn::new().put(key("new"), "x");
        storage.txn(put).await.unwrap();
        let mut known = BTreeSet::from([key("old")]);
        let mut pause = LONGEST_AWAY;
        let told = Mutex::new(Vec::new());
        let changed = |change: Change| told.lock().unwrap().push(change);
        let listed = || {};
        let followed = follow_once(
            &engine, CHALLENGES, &mut known, &mut pause, &changed, &listed,
        );
        let ended = tokio::time::timeout(Duration::from_millis(50), followed).await;
        assert!(ended.is_err(), "it watches");
        let told = told.into_inner().unwrap();
        let [Change::Delete(old), Change::Put(new)] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!((old, &new.key), (&key("old"), &key("new")));
        assert_eq!(known, BTreeSet::from([key("new")]));
        assert_eq!(pause, SHORTEST);
    }
}
