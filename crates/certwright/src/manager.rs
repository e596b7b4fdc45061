//! Keeps certificates true to their specifications, one step at a time; the caller brings the time.

mod anchors;
mod ask;
mod change;
mod history;
mod kept;
mod look;
mod outcome;
mod record;
mod settle;
mod show;
mod temporary;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_issuance::CertificateAuthority;
use certwright_renewal::{Agenda, FailureBackoff};
use time::{Duration, OffsetDateTime};

use self::anchors::Anchors;
pub use self::anchors::TRUST_BUNDLE;
use self::history::State;
#[cfg(feature = "run")]
pub(crate) use self::history::with_causes;
pub use self::history::{RequestRecord, RequestResult};
use self::kept::Troubles;
use self::look::Step;
pub use self::outcome::{Outcome, SecretChange, Status};
use crate::annotation;
use crate::inventory::{Inventory, Object, ResourceName};
use crate::issue::{Done, Job};
use crate::issuer::{ACME_GROUP, Issuer, Registry};
use crate::plan::Seal;

/// Issues and renews what an [`Inventory`] asks for, and holds the Secrets.
///
/// It reads no clock and does no I/O: give it the Secrets that exist ([`new`](Self::new)), call
/// [`reconcile`](Self::reconcile) at [`next_wake`](Self::next_wake), and store what changed
/// ([`take_changes`](Self::take_changes)), in that order. Tell it what others change
/// ([`replace_inventory`](Self::replace_inventory), [`observe`](Self::observe), [`forget`](Self::forget)).
///
/// One certificate that cannot be issued holds up no other.
#[derive(Debug)]
pub struct Manager {
    inventory: Inventory,
    options: Options,
    issuers: Registry,
    /// Every Certificate, CAs first.
    order: Vec<ResourceName>,
    ranks: BTreeMap<ResourceName, usize>,
    /// By Secret: who needs to look again when it changes, besides its owner.
    readers: BTreeMap<ResourceName, Vec<usize>>,
    /// By Certificate: the Secret with the highest CA above it.
    tops: BTreeMap<ResourceName, ResourceName>,
    groups: BTreeMap<ResourceName, Vec<ResourceName>>,
    secrets: BTreeMap<ResourceName, TlsSecret>,
    authorities: BTreeMap<ResourceName, Arc<CertificateAuthority>>,
    /// By Secret: what the CA's certificates are known by.
    seals: BTreeMap<ResourceName, Arc<Seal>>,
    anchors: Anchors,
    states: BTreeMap<ResourceName, State>,
    /// By Certificate: what outlives a restart.
    records: BTreeMap<ResourceName, TlsSecret>,
    /// Whose record was not applied yet.
    unread: BTreeSet<ResourceName>,
    /// Whose record may be another one.
    changed_states: BTreeSet<ResourceName>,
    /// By Certificate: what is signed, but not valid before an instant.
    held: BTreeMap<ResourceName, (OffsetDateTime, Done)>,
    /// Who wants a temporary certificate since the last step.
    wanting: BTreeSet<ResourceName>,
    agenda: Agenda<ResourceName>,
    /// By rank: who is to be looked at.
    open: BTreeSet<usize>,
    jobs: Vec<Job>,
    /// How many jobs there were.
    started: u64,
    changes: Vec<SecretChange>,
    /// What was done between two steps.
    untold: Vec<(ResourceName, Outcome)>,
    troubles: Troubles,
    last: Option<OffsetDateTime>,
    /// When everything that has an age was seen first.
    seen: BTreeMap<Object, OffsetDateTime>,
    /// There may be something that was not seen yet.
    unseen: bool,
}

/// How a [`Manager`] decides where there is a choice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Pauses after failures; cert-manager's by default.
    pub backoff: FailureBackoff,
    /// Whether a Secret goes with its Certificate (cert-manager's `--enable-certificate-owner-ref`); no by default,
    /// because somebody may still serve it.
    pub owner_references: bool,
    /// How long the anchor of a CA with a new key is in `trust-bundle.pem` before certificates below it replace valid
    /// ones: as long as it takes everybody to read a new bundle, and handshakes that began before to end. A minute by
    /// default.
    pub anchor_lead: Duration,
    /// How long an anchor that nothing leads to any more stays in `trust-bundle.pem`: as long as somebody may show an
    /// old certificate. An hour by default.
    pub anchor_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backoff: FailureBackoff::default(),
            owner_references: false,
            anchor_lead: Duration::MINUTE,
            anchor_grace: Duration::HOUR,
        }
    }
}

/// How far clocks may be apart: less is waited for.
const SKEW: Duration = Duration::HOUR;

impl Manager {
    /// A manager for these resources; `stored` are the Secrets that exist already, of two with one name the later.
    pub fn new(inventory: Inventory, stored: impl IntoIterator<Item = TlsSecret>) -> Self {
        Self::with_options(inventory, stored, Options::default())
    }

    /// The same with other options.
    pub fn with_options(
        inventory: Inventory,
        stored: impl IntoIterator<Item = TlsSecret>,
        options: Options,
    ) -> Self {
        let mut manager = Self {
            inventory: Inventory::default(),
            options,
            issuers: Registry::new(),
            order: Vec::new(),
            ranks: BTreeMap::new(),
            readers: BTreeMap::new(),
            tops: BTreeMap::new(),
            groups: BTreeMap::new(),
            secrets: BTreeMap::new(),
            authorities: BTreeMap::new(),
            seals: BTreeMap::new(),
            anchors: Anchors::default(),
            states: BTreeMap::new(),
            records: BTreeMap::new(),
            unread: BTreeSet::new(),
            changed_states: BTreeSet::new(),
            held: BTreeMap::new(),
            wanting: BTreeSet::new(),
            agenda: Agenda::new(),
            open: BTreeSet::new(),
            jobs: Vec::new(),
            started: 0,
            changes: Vec::new(),
            untold: Vec::new(),
            troubles: Troubles::default(),
            last: None,
            seen: BTreeMap::new(),
            unseen: true,
        };
        manager.take_stored(stored);
        manager.replace_inventory(inventory);
        manager
    }

    /// Registers an issuer for a group and a kind, for example `issuers.example.com` and `Vault`; Certificates name
    /// them in `spec.issuerRef`. One for [`ACME_GROUP`] and `Issuer` signs for issuers with `spec.acme`.
    pub fn register(
        &mut self,
        group: impl Into<String>,
        kind: impl Into<String>,
        issuer: Arc<dyn Issuer>,
    ) {
        let (group, kind) = (group.into(), kind.into());
        for (name, spec) in self.inventory.certificates() {
            let reference = spec.issuer_ref();
            if group == ACME_GROUP || reference.group() == group && reference.kind() == kind {
                self.open.extend(self.ranks.get(name));
                if let Some(state) = self.states.get_mut(name) {
                    state.failing = None;
                    self.changed_states.insert(name.clone());
                }
            }
        }
        self.issuers.insert((group, kind), issuer);
        // Before there are documents nobody knows what is wanted, and what is under way is not to be given up.
        if self.inventory.certificates().len() > 0 {
            self.tell_wishes();
        }
    }

    /// What is to be kept true.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The Certificates in the order in which they are issued: every CA before what it signs.
    pub fn order(&self) -> &[ResourceName] {
        &self.order
    }

    /// The Secret of this name.
    pub fn secret(&self, name: &ResourceName) -> Option<&TlsSecret> {
        self.secrets.get(name)
    }

    /// Every Secret, by name.
    pub fn secrets(&self) -> impl Iterator<Item = &TlsSecret> {
        self.secrets.values()
    }

    /// The Secret of a Certificate; none if it belongs to another one.
    pub fn secret_of(&self, certificate: &ResourceName) -> Option<&TlsSecret> {
        let target = self.inventory.target(certificate)?;
        let secret = self.secrets.get(&target)?;
        (self.inventory.owner(&target, Some(secret)) == Some(certificate)).then_some(secret)
    }

    /// The Secrets of Certificates that are gone: kept, because somebody may still use them, and renewed no more.
    pub fn orphans(&self) -> impl Iterator<Item = &TlsSecret> {
        self.secrets.iter().filter_map(|(name, secret)| {
            let ours = annotation::certificate(secret).is_some();
            (ours && self.inventory.owner(name, None).is_none()).then_some(secret)
        })
    }

    /// When [`reconcile`](Self::reconcile) has something to do next, by what earlier calls found; `None` if never.
    ///
    /// Call it once at the start, and whenever the clock was set: nothing is known before the first call.
    pub fn next_wake(&self) -> Option<OffsetDateTime> {
        let last = self.last?;
        if !self.open.is_empty() || !self.wanting.is_empty() {
            return Some(last);
        }
        let drop = self.anchors.next_drop(self.options.anchor_grace);
        self.agenda.next_wake().into_iter().chain(drop).min()
    }

    /// Looks at every Certificate that is due or may have been changed, CAs first, and issues what is to be issued;
    /// what was done, in that order. Certificates of which nothing is to be told are not in it.
    ///
    /// What issuers of yours are to sign is in [`take_jobs`](Self::take_jobs).
    pub fn reconcile(&mut self, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        self.sweep(now, true)
    }

    /// The same, but leaves every signature to [`take_jobs`](Self::take_jobs): for those who have threads.
    ///
    /// What a CA signs waits for the CA's own job.
    pub fn begin(&mut self, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        self.sweep(now, false)
    }

    /// What is to be signed; each job is handed out once.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        core::mem::take(&mut self.jobs)
    }

    /// Gives up every job that was handed out: what comes of them is dropped, and they are handed out anew.
    pub fn abandon_jobs(&mut self) {
        self.jobs.clear();
        self.held.clear();
        for (name, state) in &mut self.states {
            if state.running.take().is_some() {
                self.open.extend(self.ranks.get(name));
            }
        }
    }

    /// Gives up a job that was handed out and not begun: its Certificate is looked at anew, then or at once.
    #[cfg(feature = "run")]
    pub(crate) fn abandon_job(&mut self, job: &Job, until: Option<OffsetDateTime>) {
        let name = job.certificate();
        let state = self.states.get_mut(name);
        // Another one may have been handed out since.
        if state.is_none_or(|state| {
            state
                .running
                .take_if(|running| running.id == job.id)
                .is_none()
        }) {
            return;
        }
        match until {
            Some(until) => drop(self.agenda.insert(name.clone(), until)),
            None => self.open.extend(self.ranks.get(name)),
        }
    }

    /// The Secrets that changed since the last call, each to be stored in this order: a bundle of trust anchors comes
    /// before the certificates that need it.
    ///
    /// Among them are records of failures of issuers of yours, and of new keys that were asked for by hand,
    /// `certwright-record-` with a Certificate's name: they have no data, and are given back to [`new`](Self::new) like
    /// the others, so that a process that is started again and again asks no issuer ever faster.
    pub fn take_changes(&mut self) -> Vec<SecretChange> {
        self.record_changes();
        core::mem::take(&mut self.changes)
    }

    /// Brings one Certificate up to date; `None` if there is none of this name.
    pub fn step(&mut self, name: &ResourceName, now: OffsetDateTime) -> Option<Outcome> {
        let rank = *self.ranks.get(name)?;
        let told = self.notice(now);
        if let Some((_, outcome)) = told.into_iter().rev().find(|(of, _)| of == name) {
            return Some(outcome);
        }
        self.open.remove(&rank);
        match self.look(name, now)? {
            Step::Did(outcome) => {
                let outcomes = self.told(name.clone(), outcome, now);
                let own = outcomes.into_iter().rev().find(|(of, _)| of == name);
                own.map(|(_, outcome)| outcome)
            }
            Step::Job(job) if job.is_remote() => {
                let reason = job.reason.clone();
                self.jobs.push(*job);
                Some(Outcome::Ordered { reason })
            }
            Step::Job(job) => {
                let outcomes = self.finish(job.run_here(now), now);
                let own = outcomes.into_iter().find(|(of, _)| of == name);
                own.map(|(_, outcome)| outcome)
            }
        }
    }

    /// Takes note of the time; after a clock was set back, everything is looked at again. What was done since, and what
    /// was signed and is valid now.
    fn notice(&mut self, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        match self.last {
            None => self.first(now),
            Some(last) if now < last.saturating_sub(SKEW) => {
                self.open.extend(0..self.order.len());
                for (name, _) in core::mem::take(&mut self.held) {
                    self.states.entry(name).or_default().running = None;
                }
            }
            Some(_) => {}
        }
        self.last = Some(now);
        if core::mem::take(&mut self.unseen) {
            self.see(now);
        }
        while let Some((name, _)) = self.agenda.pop_due(now) {
            self.open.extend(self.ranks.get(&name));
        }
        self.read_records();
        for name in core::mem::take(&mut self.wanting) {
            self.place_wanted(&name, now);
        }
        let mut outcomes = core::mem::take(&mut self.untold);
        outcomes.extend(self.release(now));
        outcomes
    }

    fn sweep(&mut self, now: OffsetDateTime, sign: bool) -> Vec<(ResourceName, Outcome)> {
        let mut outcomes = self.notice(now);
        outcomes.extend(self.drop_anchors(now));
        while let Some(rank) = self.open.pop_first() {
            let name = self.order[rank].clone();
            match self.look(&name, now) {
                None => {}
                Some(Step::Did(outcome)) => outcomes.extend(self.told(name, outcome, now)),
                Some(Step::Job(job)) if sign && !job.is_remote() => {
                    outcomes.extend(self.finish(job.run_here(now), now));
                }
                Some(Step::Job(job)) => {
                    if job.is_remote() {
                        let reason = job.reason.clone();
                        outcomes.push((name, Outcome::Ordered { reason }));
                    }
                    self.jobs.push(*job);
                }
            }
        }
        outcomes
    }
}
