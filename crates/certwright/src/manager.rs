//! Keeps certificates true to their specifications, one step at a time; the caller brings the time.

mod anchors;
mod history;
mod kept;
mod look;
mod outcome;
mod record;
mod settle;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::output::KeystorePassword;
use certwright_cert_model::secret::TLS_CRT;
use certwright_cert_model::validated::ValidatedSpec;
use certwright_issuance::{Certificate, CertificateAuthority};
use certwright_renewal::{Agenda, FailureBackoff, Schedule};
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
use crate::issue::{Done, IssueError, Job};
use crate::issuer::{ACME_GROUP, Issuer, Registry, Wish};
use crate::plan::{Authority, Observed, Plan, Seal, plan};

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
        self.tell_wishes();
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
        let released = self.notice(now);
        self.open.remove(&rank);
        if let Some((_, outcome)) = released.into_iter().rev().find(|(of, _)| of == name) {
            return Some(outcome);
        }
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

    /// Asks for a new certificate whatever the old one is, like `cmctl renew`; `false` if there is no such
    /// Certificate. It is issued by the next [`reconcile`](Self::reconcile), with the key that `rotationPolicy` says.
    pub fn renew(&mut self, name: &ResourceName, now: OffsetDateTime) -> bool {
        let Some(rank) = self.ranks.get(name) else {
            return false;
        };
        self.open.insert(*rank);
        // What was issued at the same instant is not what is asked for.
        let issued = self.secret_of(name).and_then(annotation::issued_at);
        let issued = issued.filter(|issued| *issued == now);
        let after = issued.map(|issued| issued.saturating_add(Duration::NANOSECOND));
        self.states.entry(name.clone()).or_default().requested = after.or(Some(now));
        self.changed_states.insert(name.clone());
        true
    }

    /// Asks for a new certificate with a new key, even under `rotationPolicy: Never`: what to do when others may know
    /// the old one. `false` if there is no such Certificate.
    ///
    /// What is being signed for it now is given up, and asked for anew.
    ///
    /// Whatever a CA signed with the old key is issued again by itself; see [`drop_old_anchors`](Self::drop_old_anchors)
    /// for the trust in it.
    pub fn rekey(&mut self, name: &ResourceName, now: OffsetDateTime) -> bool {
        let known = self.renew(name, now);
        if known {
            let state = self.states.entry(name.clone()).or_default();
            state.rekey = true;
            // What is being signed may be for the old key, and would count as what was asked for.
            state.running = None;
            self.held.remove(name);
        }
        known
    }

    /// Asks once more for what was asked for at this instant, issued and then not stored.
    #[cfg(feature = "run")]
    pub(crate) fn ask_again(&mut self, name: &ResourceName, at: OffsetDateTime) {
        match self.states.get(name).is_some_and(|state| state.rekeyed) {
            true => self.rekey(name, at),
            false => self.renew(name, at),
        };
    }

    /// Takes every anchor out of the `trust-bundle.pem` of everything below a CA but the one that the CA has now, for
    /// the case that others know the key of an old one; what was done. Nothing, if there is no old one, or no such
    /// Certificate.
    ///
    /// Call it after [`rekey`](Self::rekey) and a [`reconcile`](Self::reconcile) at the same instant. Certificates that
    /// only an old anchor verifies are refused by whoever has read the new bundle; they are issued again by the next
    /// [`reconcile`](Self::reconcile), and wait for nobody.
    pub fn drop_old_anchors(&mut self, ca: &ResourceName) -> Vec<(ResourceName, Outcome)> {
        let Some(top) = self.tops.get(ca).cloned() else {
            return Vec::new();
        };
        if !self.anchors.drop_others(&top) {
            return Vec::new();
        }
        self.open_group(&top);
        self.rewrite(&top, None)
    }

    /// Everything below a CA is to be looked at.
    fn open_group(&mut self, top: &ResourceName) {
        for member in self.groups.get(top).into_iter().flatten() {
            let owner = self.inventory.owner(member, self.secrets.get(member));
            self.open
                .extend(owner.and_then(|owner| self.ranks.get(owner)));
        }
    }

    /// Takes another inventory; what is the same in both is left alone. What became of the Secrets of Certificates
    /// that are gone.
    pub fn replace_inventory(&mut self, inventory: Inventory) -> Vec<(ResourceName, Outcome)> {
        let old = core::mem::replace(&mut self.inventory, inventory);
        let new = &self.inventory;
        let issuer = |of: &Inventory, name: &ResourceName, reference: &IssuerRef| {
            let found = of.issuer(&name.namespace, reference);
            found.map(|found| (found.spec.clone(), found.namespace.to_owned()))
        };
        let same = |name: &ResourceName, spec: &ValidatedSpec| {
            old.certificate(name) == Some(spec)
                && issuer(&old, name, spec.issuer_ref()) == issuer(new, name, spec.issuer_ref())
                && new
                    .target(name)
                    .is_some_and(|target| old.owner(&target, None) == new.owner(&target, None))
        };
        let changed: Vec<_> = new
            .certificates()
            .filter(|(name, spec)| !same(name, spec))
            .map(|(name, _)| name.clone())
            .collect();
        let still_open: Vec<_> = self
            .open
            .iter()
            .map(|rank| self.order[*rank].clone())
            .collect();
        let gone: Vec<_> = old
            .certificates()
            .filter(|(name, _)| new.certificate(name).is_none())
            .map(|(name, _)| (name.clone(), old.target(name)))
            .collect();
        let left: Vec<_> = old
            .certificates()
            .filter_map(|(name, _)| {
                let target = old.target(name)?;
                (new.target(name).as_ref() != Some(&target)).then_some(target)
            })
            .collect();
        self.index();
        for name in changed.iter().chain(&still_open) {
            self.open.extend(self.ranks.get(name));
        }
        // Whoever waited for a Secret that another one had has it now.
        for target in &left {
            let owner = self.inventory.owner(target, self.secrets.get(target));
            self.open
                .extend(owner.and_then(|owner| self.ranks.get(owner)));
        }
        for name in &changed {
            if let Some(state) = self.states.get_mut(name) {
                state.configuration_changed();
                self.changed_states.insert(name.clone());
            }
            self.held.remove(name);
        }
        let new = &self.inventory;
        let wanting = new.certificates().map(|(name, _)| name);
        let wanting = wanting.filter(|name| new.is_temporary_wanted(name));
        let wanting = wanting.filter(|name| !old.is_temporary_wanted(name));
        self.wanting.extend(wanting.cloned());
        self.tell_wishes();
        let mut outcomes = Vec::new();
        for (name, target) in gone {
            self.agenda.remove(&name);
            self.states.remove(&name);
            self.changed_states.insert(name.clone());
            self.held.remove(&name);
            let Some(target) = target.filter(|target| self.inventory.owner(target, None).is_none())
            else {
                continue;
            };
            let owned = self.secrets.get(&target).and_then(annotation::certificate);
            if owned != Some(name.name.as_str()) {
                continue;
            }
            if self.options.owner_references {
                self.forget(&target);
                self.changes.push(SecretChange::Remove(target.clone()));
                outcomes.push((name, Outcome::Removed { secret: target }));
            } else {
                outcomes.push((name, Outcome::Orphaned { secret: target }));
            }
        }
        outcomes
    }

    /// Takes a Secret that somebody else wrote.
    pub fn observe(&mut self, secret: TlsSecret) {
        let Err(secret) = self.take_record(secret) else {
            return;
        };
        let name = ResourceName::new(&secret.namespace, &secret.name);
        let mended = self.is_mended(&name);
        if mended || self.secrets.get(&name) != Some(&secret) {
            self.touch(&name);
            self.secrets.insert(name.clone(), secret);
            // It may be another Certificate's now.
            self.touch(&name);
        }
        if mended {
            self.recall(&name);
        }
    }

    /// Takes note that somebody else removed a Secret.
    pub fn forget(&mut self, secret: &ResourceName) {
        self.forget_record(secret);
        let mended = self.is_mended(secret);
        if self.secrets.remove(secret).is_some() || mended {
            self.touch(secret);
            let now = self.last.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            self.anchors.leave(secret, now);
        }
    }

    /// When a Certificate is renewed, and why then; `None` if it is not scheduled, because there is nothing to renew,
    /// something is due or wrong already, or renewal is disabled.
    pub fn schedule(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Schedule> {
        let spec = self.inventory.certificate(name)?;
        let mut seen = Observed::new(self.secret_of(name), Authority::Unknown);
        seen.certificate = &name.name;
        seen.ari = self.states.get(name).and_then(|s| s.suggestion.window);
        match plan(spec, &seen, now) {
            Plan::Idle(schedule)
            | Plan::Contested { schedule, .. }
            | Plan::Reapply { schedule, .. } => schedule,
            Plan::Blocked(_) | Plan::Issue { .. } | Plan::Wait { .. } => None,
        }
    }

    /// A Certificate's state at the instant `now`; `None` if there is none of this name.
    pub fn status(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Status> {
        self.inventory.certificate(name)?;
        let secret = self.secret_of(name);
        let chain = |secret: &TlsSecret| Certificate::read_pem(secret.get(TLS_CRT)?).ok();
        let leaf = secret
            .filter(|secret| !annotation::is_temporary(secret))
            .and_then(chain)
            .and_then(|chain| chain.into_iter().next());
        let state = self.states.get(name);
        let failing = state.and_then(|state| state.failing);
        let next = failing.map_or_else(|| self.agenda.get(name), |failing| Some(failing.until));
        let mut status = Status::of(leaf.as_ref(), state, secret, next, now);
        let target = self.inventory.target(name)?;
        if let Some((word, why)) = self.trouble(&target) {
            (status.ready, status.reason) = (false, word);
            why.clone_into(&mut status.message);
        }
        Some(status)
    }

    /// Whether the issuer a Certificate would name can sign at `now`; why not, if it cannot.
    ///
    /// # Errors
    ///
    /// The issuer does not exist, or its CA is not usable.
    pub fn check_issuer(
        &mut self,
        namespace: &str,
        reference: &IssuerRef,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        self.signer(namespace, reference, now).map(|_| ())
    }

    /// The requests of a Certificate, the oldest first: the last successful ones, as many as
    /// `revisionHistoryLimit` says, and those that failed since.
    pub fn requests(&self, name: &ResourceName) -> impl Iterator<Item = &RequestRecord> {
        self.states.get(name).into_iter().flat_map(State::requests)
    }

    /// Tells every issuer of yours what is wanted of it.
    fn tell_wishes(&self) {
        for (key, issuer) in &self.issuers {
            let theirs = |(name, _): (&ResourceName, _)| {
                (self.registered(name).as_ref() == Some(key)).then(|| self.wish(name))?
            };
            let wishes: Vec<_> = self.inventory.certificates().filter_map(theirs).collect();
            issuer.wanted(&wishes);
        }
    }

    /// Group and kind for which the issuer of yours is registered that a Certificate names.
    fn registered(&self, name: &ResourceName) -> Option<(String, String)> {
        let reference = self.inventory.certificate(name)?.issuer_ref();
        if let IssuerKind::External { group, kind } = &reference.kind {
            return Some((group.clone(), kind.clone()));
        }
        let found = self.inventory.issuer(&name.namespace, reference)?;
        let is_acme = matches!(found.spec, IssuerSpec::Acme(_));
        is_acme.then(|| (ACME_GROUP.to_owned(), "Issuer".to_owned()))
    }

    fn wish(&self, name: &ResourceName) -> Option<Wish> {
        let spec = self.inventory.shared(name)?;
        let issuer_namespace = match spec.issuer_ref().kind {
            IssuerKind::ClusterIssuer => String::new(),
            _ => name.namespace.clone(),
        };
        Some(Wish {
            certificate: name.clone(),
            spec,
            issuer_namespace,
        })
    }

    /// Rebuilds what is derived from the inventory.
    fn index(&mut self) {
        self.unseen = true;
        let (order, _) = self.inventory.sorted();
        self.ranks = order
            .iter()
            .enumerate()
            .map(|(rank, name)| (name.clone(), rank))
            .collect();
        self.readers.clear();
        self.tops.clear();
        self.groups.clear();
        self.open.clear();
        for (rank, name) in order.iter().enumerate() {
            let ca = self.inventory.ca_of(name).map(|(_, secret)| secret);
            let spec = self.inventory.certificate(name);
            let passwords = spec.into_iter().flat_map(|spec| passwords(name, spec));
            let binding = self.inventory.binding_of(name).map(|(secret, _)| secret);
            let passwords = passwords.map(|(secret, _)| secret);
            for secret in ca.into_iter().chain(passwords).chain(binding) {
                self.readers.entry(secret).or_default().push(rank);
            }
            if let (Some(top), Some(target)) =
                (self.inventory.top(name), self.inventory.target(name))
            {
                self.groups.entry(top.clone()).or_default().push(target);
                self.tops.insert(name.clone(), top);
            }
        }
        self.order = order;
    }

    /// Whoever depends on a Secret is to look again.
    fn touch(&mut self, secret: &ResourceName) {
        self.authorities.remove(secret);
        self.seals.remove(secret);
        let owner = self.inventory.owner(secret, self.secrets.get(secret));
        let owner = owner.and_then(|owner| self.ranks.get(owner)).copied();
        let readers = self.readers.get(secret).into_iter().flatten().copied();
        for rank in readers {
            self.open.insert(rank);
            if let Some(state) = self.states.get_mut(&self.order[rank]) {
                // What the CA before it signs is not what is asked for any more.
                state.running = state.running.filter(|running| !running.local);
                if state.failing.take().is_some() {
                    self.changed_states.insert(self.order[rank].clone());
                }
            }
        }
        self.open.extend(owner);
    }

    /// Takes note of the time; after a clock was set back, everything is looked at again. What was signed and is valid
    /// now.
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
        self.release(now)
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

/// The Secrets and keys with the passwords of a Certificate's keystores.
fn passwords(name: &ResourceName, spec: &ValidatedSpec) -> Vec<(ResourceName, String)> {
    let stores = spec.keystores();
    let jks = stores.jks.as_ref().map(|store| &store.password);
    let pkcs12 = stores.pkcs12.as_ref().map(|store| &store.password);
    let named = |password: &KeystorePassword| match password {
        KeystorePassword::Literal(_) => None,
        KeystorePassword::SecretKey { name: secret, key } => {
            Some((ResourceName::new(&name.namespace, secret), key.clone()))
        }
    };
    jks.into_iter().chain(pkcs12).filter_map(named).collect()
}
