//! A runner at work.

mod given;
mod lead;
mod save;

use core::future::poll_fn;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::documents::Watched;
use super::unsaved::Unsaved;
use super::{Command, Event, Runner, Seen, StoreError, Unreadable};
use crate::inventory::ResourceName;
use crate::issue::{Done, Job};
use crate::manager::{Manager, Outcome, with_causes};

/// How often the right to issue is asked for.
const LEAD: Duration = Duration::from_secs(3);
/// A store that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(2);
/// So many Secrets in a row that cannot be stored are the store's fault.
const IN_A_ROW: u32 = 3;
/// A clock may be set: nobody sleeps longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A runner at work.
pub(super) struct Running {
    pub(super) runner: Runner,
    manager: Manager,
    pub(super) jobs: JoinSet<Done>,
    waiting: VecDeque<Job>,
    unsaved: Unsaved,
    /// What is told once it is stored.
    untold: Vec<(ResourceName, Outcome)>,
    leading: bool,
    asked_to_lead: Instant,
    /// Why the right to issue could not even be asked for, as it was told.
    refused: Option<String>,
    documents: Watched,
    /// Something was wrong with a document when they were read last.
    wrong: bool,
    /// The Secrets that documents brought, and which others keep.
    given: BTreeSet<ResourceName>,
    /// What was asked for Certificates that the documents did not have yet.
    early: BTreeMap<ResourceName, Command>,
    /// When the store may be asked again.
    pause: Option<Instant>,
    /// The store failed: it is not listened to until the pause is over.
    pub(super) deaf: bool,
    /// The manager counts on what was not stored.
    stale: bool,
}

impl Running {
    pub(super) async fn start(mut runner: Runner) -> Self {
        let inventory = core::mem::take(&mut runner.inventory);
        let mut manager = Manager::with_options(inventory, [], runner.options.clone());
        for (group, kind, issuer) in &runner.issuers {
            manager.register(group, kind, issuer.clone());
        }
        let mut running = Self {
            runner,
            manager,
            jobs: JoinSet::new(),
            waiting: VecDeque::new(),
            unsaved: Unsaved::default(),
            untold: Vec::new(),
            leading: false,
            asked_to_lead: Instant::now(),
            refused: None,
            documents: Watched::default(),
            wrong: false,
            given: BTreeSet::new(),
            early: BTreeMap::new(),
            pause: None,
            deaf: false,
            stale: true,
        };
        // Who has the right before anything is read has read what nobody else writes.
        let leading = running.ask_to_lead().await;
        while !running.reload().await {
            tokio::time::sleep(RETRY).await;
        }
        let secrets = running.manager.secrets().count();
        (running.runner.listener)(&Event::Loaded { secrets });
        if leading {
            running.leading = true;
            (running.runner.listener)(&Event::Leading(true));
        }
        running
    }

    /// Does what there is to do now.
    pub(super) async fn advance(&mut self) {
        self.documents().await;
        self.lead().await;
        let now = Instant::now();
        let settled = self.pause.is_none_or(|until| until <= now)
            && self.unsaved.ready(0, now, &self.manager).is_none();
        if self.leading && settled {
            let now = (self.runner.clock)();
            let outcomes = self.manager.begin(now);
            self.collect(outcomes);
        }
        self.save().await;
        self.hire().await;
    }

    fn unreadable(&mut self, error: &Unreadable) {
        (self.runner.listener)(&Event::Unreadable(error));
        self.manager
            .unreadable(&error.secret, with_causes(&*error.source));
    }

    fn collect(&mut self, mut outcomes: Vec<(ResourceName, Outcome)>) {
        let removed = |outcome: &Outcome| matches!(outcome, Outcome::Removed { .. });
        outcomes.retain(|(_, outcome)| self.leading || !removed(outcome));
        self.untold.extend(outcomes);
        self.waiting.extend(self.manager.take_jobs());
        for change in self.manager.take_changes() {
            // Who does not lead removes nothing: the one that does sees the same documents.
            if self.leading && !self.manager.is_unreadable(&change.name()) {
                self.unsaved.push(change);
            }
        }
    }

    /// Gives jobs to workers, as many as may be at work.
    async fn hire(&mut self) {
        let before = self.jobs.len();
        let mut failures = 0;
        while self.jobs.len() < self.runner.workers.max(1) {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            if job.is_remote() {
                match self.is_hidden(job.certificate()).await {
                    Ok(false) => failures = 0,
                    Ok(true) => {
                        failures = 0;
                        self.manager.abandon_job(&job, None);
                        continue;
                    }
                    // Nobody knows what is there. This one waits, and no other for it.
                    Err(error) => {
                        (self.runner.listener)(&Event::Store(&error));
                        let until = (self.runner.clock)() + RETRY;
                        self.manager.abandon_job(&job, Some(until));
                        failures += 1;
                        if failures >= IN_A_ROW {
                            break;
                        }
                        continue;
                    }
                }
            }
            let now = (self.runner.clock)();
            if job.is_remote() {
                self.jobs.spawn(ask(job, now));
            } else {
                self.jobs.spawn_blocking(move || {
                    let lost = job.lost();
                    caught(lost, || job.run_here(now))
                });
            }
        }
        if self.jobs.len() > before {
            (self.runner.listener)(&Event::Progress {
                waiting: self.waiting.len(),
                running: self.jobs.len(),
            });
        }
    }

    /// Whether a Secret that was not listed is there after all: if it cannot be read, what others are asked for, and
    /// perhaps count, would not come into it; and if it can, it may be all that is wanted.
    async fn is_hidden(&mut self, certificate: &ResourceName) -> Result<bool, StoreError> {
        let target = self.manager.inventory().target(certificate);
        let Some(target) = target.filter(|target| self.manager.secret(target).is_none()) else {
            return Ok(false);
        };
        Ok(match self.runner.store.read(&target).await? {
            Seen::Removed(_) => false,
            seen @ Seen::Put(_) => {
                self.take(seen);
                self.manager.secret(&target).is_some()
            }
            Seen::Unreadable(error) => {
                self.unreadable(&error);
                true
            }
        })
    }

    pub(super) fn done(&mut self, done: Option<Result<Done, JoinError>>) {
        match done {
            Some(Ok(done)) => {
                let now = (self.runner.clock)();
                let outcomes = self.manager.finish(done, now);
                self.collect(outcomes);
            }
            // What panicked does not bring its job back: everything is looked at anew.
            Some(Err(error)) if error.is_panic() => {
                self.waiting.clear();
                self.manager.abandon_jobs();
            }
            Some(Err(_)) | None => {}
        }
    }

    pub(super) fn seen(&mut self, seen: Result<Vec<Seen>, StoreError>) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                (self.runner.listener)(&Event::Store(&error));
                self.deaf = true;
                self.pause = Some(Instant::now() + RETRY);
                return;
            }
        };
        let latest: BTreeMap<_, _> = seen.into_iter().map(|seen| (seen.name(), seen)).collect();
        for seen in latest.into_values() {
            self.take(seen);
        }
    }

    /// Takes what somebody else did to a Secret.
    fn take(&mut self, seen: Seen) {
        // It was planned without knowing of this.
        self.give_up(&seen.name());
        match seen {
            Seen::Put(secret) => {
                for publisher in &mut self.runner.publishers {
                    publisher.put(&secret);
                }
                self.manager.observe(*secret);
            }
            Seen::Removed(name) => {
                for publisher in &mut self.runner.publishers {
                    publisher.remove(&name);
                }
                self.manager.forget(&name);
            }
            Seen::Unreadable(error) => self.unreadable(&error),
        }
    }

    pub(super) fn command(&mut self, command: Option<Command>) {
        let now = (self.runner.clock)();
        match command {
            Some(Command::DropOldAnchors(ca)) if self.leading => {
                let outcomes = self.manager.drop_old_anchors(&ca);
                self.collect(outcomes);
            }
            Some(Command::Rekey(name)) => {
                if !self.manager.rekey(&name, now) {
                    self.early.insert(name.clone(), Command::Rekey(name));
                }
            }
            Some(Command::Renew(name)) => {
                if !self.manager.renew(&name, now) {
                    // A new key that was asked for before is still wanted.
                    let early = self.early.entry(name.clone());
                    early.or_insert(Command::Renew(name));
                }
            }
            Some(Command::DropOldAnchors(_)) | None => {}
        }
    }

    /// How long there is nothing to do, unless something happens.
    pub(super) fn sleep(&self) -> Duration {
        let now = Instant::now();
        let left = |at: Instant| at.saturating_duration_since(now);
        let source = self.runner.source.as_ref();
        let documents = source.and_then(|_| self.documents.next()).map(left);
        let lead = left(self.asked_to_lead + LEAD);
        let pause = self.pause.map(left);
        let retry = self.unsaved.next().filter(|_| self.leading).map(left);
        let wake = self.manager.next_wake().filter(|_| self.leading);
        let wake = wake.map(|wake| {
            let left = wake - (self.runner.clock)();
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        // With a pause nothing is begun before it is over.
        let later = |at: Option<Duration>| at.map(|at| at.max(pause.unwrap_or_default()));
        let all = [documents, Some(lead), pause, later(retry), later(wake)];
        all.into_iter()
            .flatten()
            .min()
            .unwrap_or(LONGEST_SLEEP)
            .min(LONGEST_SLEEP)
    }

    pub(super) async fn stop(mut self) -> Manager {
        self.waiting.clear();
        let patience = tokio::time::sleep(self.runner.patience);
        tokio::pin!(patience);
        loop {
            self.pause = None;
            self.unsaved.retry(Instant::now());
            self.save().await;
            if self.jobs.is_empty() {
                break;
            }
            tokio::select! {
                done = self.jobs.join_next() => self.done(done),
                () = &mut patience => break,
            }
        }
        if let Err(error) = self.runner.store.resign().await {
            (self.runner.listener)(&Event::Store(&error));
        }
        self.manager
    }
}

/// A signature that panics has failed, and is made again after a pause like any other.
fn caught(lost: Done, sign: impl FnOnce() -> Done) -> Done {
    catch_unwind(AssertUnwindSafe(sign)).unwrap_or(lost)
}

/// Asks an issuer of yours; one that panics has failed, like any other, and no other job with it.
async fn ask(job: Job, now: OffsetDateTime) -> Done {
    let lost = job.lost();
    let mut asked = Box::pin(job.run(now));
    let caught = poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| asked.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    caught.await.unwrap_or(lost)
}

#[cfg(test)]
mod tests {
    use certwright_cert_model::document::Format;
    use time::macros::datetime;

    use super::*;
    use crate::documents::Documents;

    const MANIFESTS: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: ca, namespace: ns}
spec: {secretName: ca, isCA: true, commonName: CA, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
";

    #[test]
    fn a_signature_that_panics_is_made_again_after_a_pause() {
        let now = datetime!(2026-03-01 12:00 UTC);
        let mut documents = Documents::default();
        documents.read("test", MANIFESTS, Format::Yaml);
        let mut manager = Manager::new(documents.inventory, []);
        manager.begin(now);
        let job = manager.take_jobs().pop().unwrap();
        let done = caught(job.lost(), || panic!("a bug"));
        let outcomes = manager.finish(done, now);
        let [(_, Outcome::Failed { retry, .. })] = outcomes.as_slice() else {
            panic!("{outcomes:?}");
        };
        assert!(*retry > now);
        manager.begin(now);
        assert!(manager.take_jobs().is_empty());
        let again = manager.next_wake().unwrap();
        assert!(again >= *retry);
        manager.begin(again);
        assert_eq!(manager.take_jobs().len(), 1);
    }
}
