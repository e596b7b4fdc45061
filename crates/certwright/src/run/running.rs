//! A runner at work.

use core::future::poll_fn;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use certwright_cert_model::TlsSecret;
use time::OffsetDateTime;
use tokio::task::{JoinError, JoinSet};

use super::documents::Stamp;
use super::{Command, Event, Runner, Seen, StoreError};
use crate::inventory::ResourceName;
use crate::issue::{Done, Job};
use crate::manager::{Manager, Outcome, SecretChange};

/// How often the right to issue is asked for.
const LEAD: Duration = Duration::from_secs(3);
/// A store that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(2);
/// A clock may be set: nobody sleeps longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A runner at work.
pub(super) struct Running {
    pub(super) runner: Runner,
    manager: Manager,
    pub(super) jobs: JoinSet<Done>,
    waiting: VecDeque<Job>,
    /// What is still to be stored, in this order.
    unsaved: VecDeque<SecretChange>,
    /// What is told once everything is stored.
    untold: Vec<(ResourceName, Outcome)>,
    leading: bool,
    asked_to_lead: Option<tokio::time::Instant>,
    read_documents: Option<tokio::time::Instant>,
    stamp: Option<Stamp>,
    /// The Secrets that documents brought, and which others keep.
    given: BTreeSet<ResourceName>,
    /// When the store may be asked again.
    pause: Option<tokio::time::Instant>,
    /// The store failed: it is not listened to until the pause is over.
    pub(super) deaf: bool,
    /// The manager counts on what was not stored.
    stale: bool,
}

impl Running {
    pub(super) async fn start(mut runner: Runner) -> Self {
        let mut stored = Vec::new();
        loop {
            match runner.store.load().await {
                Ok(loaded) => {
                    for secret in loaded {
                        match secret {
                            Ok(secret) => stored.push(secret),
                            Err(error) => (runner.listener)(&Event::Store(&error)),
                        }
                    }
                    break;
                }
                Err(error) => (runner.listener)(&Event::Store(&error)),
            }
            tokio::time::sleep(RETRY).await;
        }
        let all: Vec<_> = stored.iter().collect();
        for publisher in &mut runner.publishers {
            publisher.replace(&all);
        }
        (runner.listener)(&Event::Loaded { secrets: all.len() });
        let inventory = core::mem::take(&mut runner.inventory);
        let mut manager = Manager::with_options(inventory, stored, runner.options.clone());
        for (group, kind, issuer) in &runner.issuers {
            manager.register(group, kind, issuer.clone());
        }
        Self {
            runner,
            manager,
            jobs: JoinSet::new(),
            waiting: VecDeque::new(),
            unsaved: VecDeque::new(),
            untold: Vec::new(),
            leading: false,
            asked_to_lead: None,
            read_documents: None,
            stamp: None,
            given: BTreeSet::new(),
            pause: None,
            deaf: false,
            stale: false,
        }
    }

    /// Does what there is to do now.
    pub(super) async fn advance(&mut self) {
        self.documents().await;
        self.lead().await;
        if self.leading && self.unsaved.is_empty() {
            let now = (self.runner.clock)();
            let outcomes = self.manager.begin(now);
            self.collect(outcomes);
        }
        self.save().await;
        self.hire();
    }

    /// Reads the documents again, if it is time to.
    async fn documents(&mut self) {
        let Some(source) = self.runner.source.clone() else {
            return;
        };
        let now = tokio::time::Instant::now();
        if self
            .read_documents
            .is_some_and(|last| now < last + source.poll())
        {
            return;
        }
        self.read_documents = Some(now);
        let namespace = &self.runner.cluster_namespace;
        let read = source.read(self.stamp.as_ref(), namespace, &self.runner.defaults);
        match read.await {
            Ok(None) => {}
            Ok(Some((documents, stamp))) => {
                self.stamp = Some(stamp);
                for problem in &documents.problems {
                    (self.runner.listener)(&Event::Document(problem));
                }
                let outcomes = self.manager.replace_inventory(documents.inventory);
                self.collect(outcomes);
                self.give(documents.secrets);
            }
            Err(error) => {
                let error = StoreError::failed("list", error);
                (self.runner.listener)(&Event::Store(&error));
            }
        }
    }

    /// Takes the Secrets of documents. One that a Certificate keeps is where it begins, and no more.
    fn give(&mut self, secrets: Vec<TlsSecret>) {
        let mut given = BTreeSet::new();
        for secret in secrets {
            let name = ResourceName::new(&secret.namespace, &secret.name);
            let kept = self.manager.inventory().owner(&name, None).is_some();
            if kept && self.manager.secret(&name).is_some() {
                continue;
            }
            if !kept {
                given.insert(name.clone());
            }
            for publisher in &mut self.runner.publishers {
                publisher.put(&secret);
            }
            self.manager.observe(secret);
        }
        for gone in self.given.difference(&given) {
            if self.manager.inventory().owner(gone, None).is_some() {
                // A Certificate keeps it from now on, and begins with it.
                continue;
            }
            self.manager.forget(gone);
            for publisher in &mut self.runner.publishers {
                publisher.remove(gone);
            }
        }
        self.given = given;
    }

    /// Asks for the right to issue, if it is time to.
    async fn lead(&mut self) {
        let now = tokio::time::Instant::now();
        if self.asked_to_lead.is_some_and(|last| now < last + LEAD) {
            return;
        }
        self.asked_to_lead = Some(now);
        if self.stale {
            self.reload().await;
            if self.stale {
                return;
            }
        }
        let leading = match self.runner.store.lead().await {
            Ok(leading) => leading,
            Err(error) => {
                (self.runner.listener)(&Event::Store(&error));
                false
            }
        };
        if leading != self.leading {
            self.leading = leading;
            (self.runner.listener)(&Event::Leading(leading));
            if !leading {
                self.step_down().await;
            }
        }
    }

    /// What is not stored is not: the store tells what is.
    async fn step_down(&mut self) {
        self.leading = false;
        self.unsaved.clear();
        self.untold.clear();
        self.waiting.clear();
        self.jobs.abort_all();
        self.jobs = JoinSet::new();
        self.stale = true;
        self.reload().await;
    }

    /// Begins anew with what is stored; nothing is issued before that works.
    async fn reload(&mut self) {
        let loaded = match self.runner.store.load().await {
            Ok(loaded) => loaded,
            Err(error) => return (self.runner.listener)(&Event::Store(&error)),
        };
        self.stale = false;
        let stored: Vec<_> = loaded.into_iter().flatten().collect();
        let inventory = self.manager.inventory().clone();
        let given = self
            .given
            .iter()
            .filter_map(|name| self.manager.secret(name));
        let given: Vec<_> = given.map(TlsSecret::clone_with_keys).collect();
        let all: Vec<_> = given.into_iter().chain(stored).collect();
        for publisher in &mut self.runner.publishers {
            publisher.replace(&all.iter().collect::<Vec<_>>());
        }
        self.manager = Manager::with_options(inventory, all, self.runner.options.clone());
        for (group, kind, issuer) in &self.runner.issuers {
            self.manager.register(group, kind, issuer.clone());
        }
    }

    fn collect(&mut self, outcomes: Vec<(ResourceName, Outcome)>) {
        self.untold.extend(outcomes);
        self.waiting.extend(self.manager.take_jobs());
        self.unsaved.extend(self.manager.take_changes());
    }

    /// Stores what changed, then tells everybody.
    async fn save(&mut self) {
        if self
            .pause
            .is_some_and(|until| tokio::time::Instant::now() < until)
        {
            return;
        }
        self.pause = None;
        self.deaf = false;
        while !self.unsaved.is_empty() {
            // Many writes take longer than the right to issue lasts, and without it what was signed is signed again.
            self.lead().await;
            let Some(change) = self.unsaved.front() else {
                break;
            };
            let stored = match change {
                SecretChange::Remove(name) => self.runner.store.remove(name).await,
                SecretChange::Put(secret) => self.runner.store.put(secret).await,
            };
            match stored {
                Ok(()) => {
                    if let Some(change) = self.unsaved.pop_front() {
                        self.publish(&change);
                    }
                }
                Err(error) => {
                    (self.runner.listener)(&Event::Store(&error));
                    match error {
                        StoreError::LeaseLost | StoreError::Conflict { .. } => {
                            (self.runner.listener)(&Event::Leading(false));
                            self.asked_to_lead = None;
                            self.step_down().await;
                        }
                        StoreError::Failed { .. } => {
                            self.pause = Some(tokio::time::Instant::now() + RETRY);
                        }
                    }
                    return;
                }
            }
        }
        for (name, outcome) in core::mem::take(&mut self.untold) {
            let secret = self.manager.secret_of(&name);
            (self.runner.listener)(&Event::Certificate {
                name: &name,
                outcome: &outcome,
                secret,
            });
        }
    }

    fn publish(&mut self, change: &SecretChange) {
        for publisher in &mut self.runner.publishers {
            match change {
                SecretChange::Remove(name) => publisher.remove(name),
                SecretChange::Put(secret) => publisher.put(secret),
            }
        }
    }

    /// Gives jobs to workers, as many as may be at work.
    fn hire(&mut self) {
        let before = self.jobs.len();
        while self.jobs.len() < self.runner.workers.max(1) {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            let now = (self.runner.clock)();
            if job.is_remote() {
                self.jobs.spawn(ask(job, now));
            } else {
                self.jobs.spawn_blocking(move || job.run_here(now));
            }
        }
        if self.jobs.len() > before {
            (self.runner.listener)(&Event::Progress {
                waiting: self.waiting.len(),
                running: self.jobs.len(),
            });
        }
    }

    pub(super) fn done(&mut self, done: Option<Result<Done, JoinError>>) {
        match done {
            Some(Ok(done)) => {
                let now = (self.runner.clock)();
                let outcomes = self.manager.finish(done, now);
                self.collect(outcomes);
            }
            // What panicked does not bring its job back: everything is looked at anew.
            Some(Err(error)) if error.is_panic() => self.manager.abandon_jobs(),
            Some(Err(_)) | None => {}
        }
    }

    pub(super) async fn seen(&mut self, seen: Result<Vec<Seen>, StoreError>) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                (self.runner.listener)(&Event::Store(&error));
                self.deaf = true;
                self.pause = Some(tokio::time::Instant::now() + RETRY);
                return;
            }
        };
        let mut latest = BTreeMap::new();
        for change in seen {
            let name = match &change {
                Seen::Put(secret) => ResourceName::new(&secret.namespace, &secret.name),
                Seen::Removed(name) => name.clone(),
            };
            latest.insert(name, change);
        }
        for (name, change) in latest {
            match change {
                Seen::Put(secret) => {
                    for publisher in &mut self.runner.publishers {
                        publisher.put(&secret);
                    }
                    self.manager.observe(*secret);
                }
                Seen::Removed(_) => {
                    for publisher in &mut self.runner.publishers {
                        publisher.remove(&name);
                    }
                    self.manager.forget(&name);
                }
            }
        }
    }

    pub(super) fn command(&mut self, command: Option<Command>) {
        if let Some(Command::Renew(name)) = command {
            let now = (self.runner.clock)();
            self.manager.renew(&name, now);
        }
    }

    /// How long there is nothing to do, unless something happens.
    pub(super) fn sleep(&self) -> Duration {
        let now = tokio::time::Instant::now();
        let left = |at: tokio::time::Instant| at.saturating_duration_since(now);
        let source = self.runner.source.as_ref();
        let documents = self
            .read_documents
            .zip(source)
            .map(|(at, s)| left(at + s.poll()));
        let lead = self
            .asked_to_lead
            .map_or(Duration::ZERO, |at| left(at + LEAD));
        let pause = self.pause.map(left);
        let wake = self.manager.next_wake().filter(|_| self.leading);
        let wake = wake.map(|wake| {
            let left = wake - (self.runner.clock)();
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        // With a pause nothing is begun before it is over.
        let wake = match pause {
            Some(pause) => wake.map(|wake| wake.max(pause)),
            None => wake,
        };
        let all = [documents, Some(lead), pause, wake];
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
            self.save().await;
            tokio::select! {
                done = self.jobs.join_next(), if !self.jobs.is_empty() => self.done(done),
                () = &mut patience => break,
                else => break,
            }
            if self.jobs.is_empty() {
                self.save().await;
                break;
            }
        }
        if let Err(error) = self.runner.store.resign().await {
            (self.runner.listener)(&Event::Store(&error));
        }
        self.manager
    }
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
