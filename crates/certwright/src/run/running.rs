//! A runner at work.

use core::future::poll_fn;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use certwright_cert_model::TlsSecret;
use time::OffsetDateTime;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::documents::Watched;
use super::unsaved::Unsaved;
use super::{Command, Event, Runner, Seen, StoreError, Unreadable};
use crate::inventory::ResourceName;
use crate::issue::{Done, Job};
use crate::manager::{Manager, Outcome, SecretChange, with_causes};
use crate::plan::Reason;

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
    /// The Secrets that documents brought, and which others keep.
    given: BTreeSet<ResourceName>,
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
            given: BTreeSet::new(),
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

    /// Reads the documents again, if it is time to.
    async fn documents(&mut self) {
        let Some(source) = self.runner.source.clone() else {
            return;
        };
        let namespace = &self.runner.cluster_namespace;
        let look = self
            .documents
            .look(&source, namespace, &self.runner.defaults);
        let found = match look.await {
            Ok(None) => return,
            Ok(Some(found)) => found,
            Err(error) => {
                let error = StoreError::failed("list", error);
                return (self.runner.listener)(&Event::Store(&error));
            }
        };
        for problem in &found.documents.problems {
            (self.runner.listener)(&Event::Document(problem));
        }
        let mut inventory = found.documents.inventory;
        let mut kept = Vec::new();
        if !found.whole {
            kept = inventory.keep(self.manager.inventory());
        }
        let outcomes = self.manager.replace_inventory(inventory);
        self.collect(outcomes);
        kept.extend(self.give(found.documents.secrets, found.whole));
        if !kept.is_empty() {
            (self.runner.listener)(&Event::Kept { resources: &kept });
        }
    }

    /// Takes the Secrets of documents. One that a Certificate keeps is where it begins, and no more. Those that are
    /// not among them stay unless these are all; which that were.
    fn give(&mut self, secrets: Vec<TlsSecret>, whole: bool) -> Vec<String> {
        let mut given = BTreeSet::new();
        for secret in secrets {
            let name = ResourceName::new(&secret.namespace, &secret.name);
            let kept = self.manager.inventory().owner(&name, None).is_some();
            if kept && (self.manager.secret(&name).is_some() || self.manager.is_unreadable(&name)) {
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
        let mut kept = Vec::new();
        for gone in core::mem::take(&mut self.given) {
            if given.contains(&gone) || self.manager.inventory().owner(&gone, None).is_some() {
                // A Certificate keeps it from now on, and begins with it.
                continue;
            }
            if !whole {
                kept.push(format!("Secret {gone}"));
                given.insert(gone);
                continue;
            }
            self.manager.forget(&gone);
            for publisher in &mut self.runner.publishers {
                publisher.remove(&gone);
            }
        }
        self.given = given;
        kept
    }

    /// Asks for the right to issue, if it is time to.
    async fn lead(&mut self) {
        if Instant::now() < self.asked_to_lead + LEAD {
            return;
        }
        let leading = self.ask_to_lead().await;
        if self.leading && !leading {
            self.step_down().await;
        }
        // Whoever led meanwhile may have written.
        let is_new = leading && !self.leading;
        if is_new || self.stale {
            let fresh = self.reload().await;
            if is_new && fresh {
                self.leading = true;
                (self.runner.listener)(&Event::Leading(true));
            }
        }
    }

    async fn ask_to_lead(&mut self) -> bool {
        self.asked_to_lead = Instant::now();
        match self.runner.store.lead().await {
            Ok(leading) => {
                self.refused = None;
                leading
            }
            Err(error) => {
                let why = Some(with_causes(&error));
                if self.refused != why {
                    (self.runner.listener)(&Event::Store(&error));
                    self.refused = why;
                }
                false
            }
        }
    }

    /// The right to issue is lost: what is not stored will not be, by this process.
    async fn step_down(&mut self) {
        self.leading = false;
        (self.runner.listener)(&Event::Leading(false));
        self.waiting.clear();
        self.jobs.abort_all();
        self.jobs = JoinSet::new();
        for (name, outcome) in core::mem::take(&mut self.untold) {
            self.ask_again(&name, &outcome);
        }
        self.stale = true;
        self.reload().await;
    }

    /// Begins anew with what is stored; whether that worked. Nothing is issued before.
    async fn reload(&mut self) -> bool {
        let loaded = match self.runner.store.load().await {
            Ok(loaded) => loaded,
            Err(error) => {
                (self.runner.listener)(&Event::Store(&error));
                return false;
            }
        };
        self.stale = false;
        let (mut unreadable, mut all) = (Vec::new(), Vec::new());
        let copy = |name: &ResourceName| {
            let known = self.manager.secret(name);
            known.map(TlsSecret::clone_with_keys)
        };
        all.extend(self.given.iter().filter_map(copy));
        let unsaved = self.unsaved.names();
        for secret in loaded {
            match secret {
                Ok(secret) => all.push(secret),
                Err(error) => {
                    // What was read before is served on.
                    let known = (!unsaved.contains(&error.secret)).then(|| copy(&error.secret));
                    all.extend(known.flatten());
                    unreadable.push(error);
                }
            }
        }
        self.unsaved = Unsaved::default();
        for publisher in &mut self.runner.publishers {
            publisher.replace(&all.iter().collect::<Vec<_>>());
        }
        self.manager.reload(all);
        for error in unreadable {
            self.unreadable(&error);
        }
        true
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

    /// Stores what changed, then tells everybody.
    async fn save(&mut self) {
        if self.pause.is_some_and(|until| Instant::now() < until) {
            return;
        }
        // One write after a failure of the store shows whether it works again.
        let mut failed = self.pause.take().is_some();
        let mut failures = if failed { IN_A_ROW - 1 } else { 0 };
        self.deaf = false;
        let mut from = 0;
        while let Some(at) = self.unsaved.ready(from, Instant::now(), &self.manager) {
            // Many writes take longer than the right to issue lasts, and without it what was signed is signed again.
            self.lead().await;
            if !self.leading {
                return;
            }
            let Some(change) = self.unsaved.take(at) else {
                break;
            };
            let stored = match &change {
                SecretChange::Remove(name) => self.runner.store.remove(name).await,
                SecretChange::Put(secret) => self.runner.store.put(secret).await,
            };
            let name = change.name();
            from = at;
            match stored {
                Ok(()) => {
                    self.manager.unstored(&name, None);
                    failures = 0;
                    if core::mem::take(&mut failed) {
                        self.unsaved.retry(Instant::now());
                        from = 0;
                    }
                    if self.unsaved.stored(&name) {
                        // What it signed waited with it.
                        from = 0;
                    }
                    self.publish(&change);
                }
                Err(error @ StoreError::LeaseLost) => {
                    (self.runner.listener)(&Event::Store(&error));
                    return self.step_down().await;
                }
                Err(error @ StoreError::Conflict { .. }) => {
                    (self.runner.listener)(&Event::Store(&error));
                    from = 0;
                    if let Err(error) = self.read_again(&name).await {
                        self.park(at, change, &error);
                        failures += 1;
                    }
                }
                Err(error) => {
                    self.park(at, change, &error);
                    failures += 1;
                }
            }
            if failures >= IN_A_ROW {
                self.pause = Some(Instant::now() + RETRY);
                break;
            }
        }
        self.tell();
    }

    /// Tells what was done, but for what is still to be stored.
    fn tell(&mut self) {
        let unsaved = self.unsaved.names();
        for (name, outcome) in core::mem::take(&mut self.untold) {
            let target = self.manager.inventory().target(&name);
            if target.is_some_and(|target| unsaved.contains(&target)) {
                self.untold.push((name, outcome));
                continue;
            }
            let secret = self.manager.secret_of(&name);
            (self.runner.listener)(&Event::Certificate {
                name: &name,
                outcome: &outcome,
                secret,
            });
            if let Outcome::Issued { .. } | Outcome::Reapplied { .. } = outcome
                && let Some(schedule) = self.manager.schedule(&name, (self.runner.clock)())
            {
                let renewal = schedule.due();
                (self.runner.listener)(&Event::Scheduled {
                    name: &name,
                    renewal,
                });
            }
        }
    }

    fn park(&mut self, at: usize, change: SecretChange, error: &StoreError) {
        let name = change.name();
        let (attempts, retry) = self.unsaved.park(at, change, Instant::now());
        self.manager.unstored(&name, Some(with_causes(error)));
        (self.runner.listener)(&Event::NotStored {
            secret: &name,
            error,
            attempts,
            retry,
        });
    }

    /// Somebody else wrote a Secret: what is there now decides, about it and about what the one that was to be stored
    /// has signed.
    async fn read_again(&mut self, secret: &ResourceName) -> Result<(), StoreError> {
        let mut names = self.unsaved.names();
        names.retain(|name| self.manager.is_below(name, |ca| ca == secret));
        names.insert(secret.clone());
        for name in names {
            let seen = self.runner.store.read(&name).await?;
            self.withdraw(&name);
            self.take(seen);
        }
        Ok(())
    }

    /// What was to become of a Secret is not what is to become of it any more.
    fn give_up(&mut self, secret: &ResourceName) {
        self.manager.unstored(secret, None);
        if self.unsaved.give_up(secret) {
            self.withdraw(secret);
        }
    }

    /// What was to be told of a Secret's Certificate did not come to be.
    fn withdraw(&mut self, secret: &ResourceName) {
        for (name, outcome) in core::mem::take(&mut self.untold) {
            if self.manager.inventory().target(&name).as_ref() == Some(secret) {
                self.ask_again(&name, &outcome);
            } else {
                self.untold.push((name, outcome));
            }
        }
    }

    /// Who asked for a certificate that came to nothing still wants it.
    fn ask_again(&mut self, name: &ResourceName, outcome: &Outcome) {
        if let Outcome::Issued {
            reason: Reason::Requested(at),
            ..
        } = outcome
        {
            self.manager.ask_again(name, *at);
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
    async fn hire(&mut self) {
        let before = self.jobs.len();
        while self.jobs.len() < self.runner.workers.max(1) {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            if job.is_remote() && self.is_hidden(job.certificate()).await {
                continue;
            }
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

    /// Whether a Secret that was not listed is there after all, and cannot be read: what others are asked for, and
    /// perhaps count, would not come into it.
    async fn is_hidden(&mut self, certificate: &ResourceName) -> bool {
        let target = self.manager.inventory().target(certificate);
        let Some(target) = target.filter(|target| self.manager.secret(target).is_none()) else {
            return false;
        };
        match self.runner.store.read(&target).await {
            Ok(Seen::Removed(_)) => false,
            Ok(seen @ Seen::Put(_)) => {
                self.take(seen);
                false
            }
            Ok(Seen::Unreadable(error)) => {
                self.unreadable(&error);
                true
            }
            Err(error) => {
                (self.runner.listener)(&Event::Store(&error));
                false
            }
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
                self.manager.rekey(&name, now);
            }
            Some(Command::Renew(name)) => {
                self.manager.renew(&name, now);
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
