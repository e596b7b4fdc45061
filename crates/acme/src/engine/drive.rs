//! One certificate's way, from what its journal says to where it ends.

use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_cert_model::key::RotationPolicy;
use certwright_renewal::Seed;
use certwright_storage::{Entry, Guard, Key, Lease, Revision, StorageError, Txn, Write};
use time::OffsetDateTime;
use tokio::sync::OwnedMutexGuard;

use super::failure::{Setback, Trouble, Wait};
use super::hold::Hold;
use super::{Demand, EngineError, Outcome, Shared, lock, quota};
use crate::account::{Account, AccountError};
use crate::certificate::IssuedCertificate;
use crate::challenge::ChallengeKind;
use crate::event::Event;
use crate::identifier::Identifier;
use crate::issuer::Issuer;
use crate::journal::{Circumstances, Failure, Journal, Next, Order, Plan, Stage};
use crate::layout::{self, CertId};
use crate::limits::{Quotas, Scope};
use crate::problem::{Bounds, Class, ErrorType, one_line};
use crate::protocol::{NewOrder, OrderState, OrderStatus, ProtocolError};
use crate::runtime::within;
use crate::secret::StoredKey;
use crate::wanted::{OwnRequest, Wanted};

/// One certificate under way, its lease held.
pub(super) struct Drive<'e> {
    pub(super) shared: &'e Shared,
    pub(super) wanted: &'e Wanted,
    given: Option<&'e OwnRequest<'e>>,
    pub(super) id: CertId,
    pub(super) hold: Hold<'e>,
    pub(super) journal: Journal,
    pub(super) current: Option<Current>,
    /// The order as the CA told a moment ago.
    pub(super) known: Option<OrderState>,
    demand: Demand,
    /// When the journal was written; `None` if it is not stored.
    pub(super) revision: Option<Revision>,
    account: Option<(usize, Account)>,
    /// Whether nobody else on this replica orders for the same names, if that was waited for.
    alone: Option<Option<OwnedMutexGuard<()>>>,
}

/// The certificate in use and its record.
pub(super) struct Current {
    pub(super) certificate: Arc<IssuedCertificate>,
    pub(super) entry: Entry,
}

/// Whether a step was the last.
pub(super) type Step = Result<Option<Outcome>, Trouble>;

/// How long what an issuer made that is not ours any more is left to replicas that still know it.
const HANDOVER: time::Duration = time::Duration::HOUR;

impl<'e> Drive<'e> {
    pub(super) fn new(
        shared: &'e Shared,
        wanted: &'e Wanted,
        given: Option<&'e OwnRequest<'e>>,
        demand: Demand,
        id: CertId,
        lease: Lease,
    ) -> Self {
        Self {
            hold: Hold::new(&shared.storage, &*shared.runtime, lease),
            journal: Journal::new(wanted.distinct()),
            current: None,
            known: None,
            revision: None,
            account: None,
            alone: None,
            shared,
            wanted,
            given,
            demand,
            id,
        }
    }

    pub(super) async fn release(&mut self) {
        self.hold.release().await;
    }

    pub(super) async fn run(&mut self) -> Result<Outcome, EngineError> {
        self.load().await?;
        if let Some(plan) = self.journal.plan()
            && self.shared.index_of(&plan.issuer).is_none()
        {
            let (now, issuer) = (self.now(), &plan.issuer);
            // Another replica may still know the issuer, while settings change one by one, and only it can fetch
            // what the CA has made for the key in here.
            let sent = matches!(
                self.journal.stage,
                Stage::Finalizing { .. } | Stage::Issued { .. }
            );
            let until = self.journal.touched.unwrap_or(now).saturating_add(HANDOVER);
            if sent && now < until {
                tracing::warn!(certificate = %self.id, issuer, %until, "the order of an issuer that is gone is left to others");
                let failure = self.journal.history.last.clone();
                return Ok(Outcome::Waiting { until, failure });
            }
            tracing::warn!(certificate = %self.id, issuer, "the issuer is gone, and the order with it");
            self.journal.dropped(now);
        }
        match self.demand {
            Demand::Force { .. } => {
                self.journal.history.parked = None;
                self.journal.history.next_at = None;
            }
            // A pause before the next certificate is nothing to whom this one will do.
            _ if self.is_met().is_some() => {}
            _ => {
                if let Some(outcome) = self.rest() {
                    self.stay(&outcome).await?;
                    return Ok(outcome);
                }
            }
        }
        loop {
            let step = match self.journal.stage {
                Stage::Waiting => self.begin().await,
                Stage::Ordering { .. } => self.place().await,
                Stage::Ordered { .. } | Stage::Presenting { .. } | Stage::Finalizing { .. } => {
                    self.follow().await
                }
                Stage::Issued { .. } => self.commit().await,
            };
            match step {
                Ok(None) => {}
                Ok(Some(outcome)) => return Ok(outcome),
                Err(Trouble::Stop(error)) => return Err(error),
                Err(Trouble::Setback(setback)) => {
                    self.set_back(setback).await?;
                    if let Some(outcome) = self.rest() {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    pub(super) async fn load(&mut self) -> Result<(), EngineError> {
        let storage = &self.shared.storage;
        if let Some(entry) = storage.get(&self.id.journal()).await? {
            self.journal = Journal::decode(entry.value.as_bytes())?;
            self.revision = Some(entry.revision);
        }
        if let Some(entry) = storage.get(&self.id.current()).await? {
            let certificate = IssuedCertificate::decode(entry.value.as_bytes())?;
            let certificate = Arc::new(certificate);
            self.current = Some(Current { certificate, entry });
        }
        Ok(())
    }

    /// Whether it is not the time to do anything.
    fn rest(&self) -> Option<Outcome> {
        let history = &self.journal.history;
        let failure = history.last.clone();
        if history.parked.as_ref() == Some(&self.settings()) {
            return Some(Outcome::Parked(failure));
        }
        let until = self.journal.next_at(self.now())?;
        Some(Outcome::Waiting { until, failure })
    }

    /// A parked order is looked at and not worked on: says so now and then, or it counts as abandoned.
    async fn stay(&mut self, outcome: &Outcome) -> Result<(), EngineError> {
        let half = self.shared.options.abandoned_after / 2;
        let touched = self.journal.touched.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        if matches!(outcome, Outcome::Parked(_)) && self.now() - touched >= half {
            self.write(Txn::new()).await?;
        }
        Ok(())
    }

    /// The certificate that is what was asked for, unless the next is under way.
    fn is_met(&self) -> Option<&Arc<IssuedCertificate>> {
        let certificate = &self.current.as_ref()?.certificate;
        let met = certificate.generation > self.demand.after()
            && matches!(self.journal.stage, Stage::Waiting);
        met.then_some(certificate)
    }

    /// Waiting: plans an order if one is due.
    async fn begin(&mut self) -> Step {
        // What a crash has left.
        self.clean().await?;
        if let Some(certificate) = self.is_met() {
            return Ok(Some(Outcome::Current(Arc::clone(certificate))));
        }
        let current = self.current.as_ref();
        let generation = current.map_or(1, |current| current.certificate.generation + 1);
        let shared = self.shared;
        let index = self.next_issuer()?;
        let issuer = &shared.issuers[index];
        self.journal.history.issuer = (index != 0).then(|| issuer.name.clone());
        if let Some(until) = shared.breakers[index].left_alone() {
            // Before anything is counted.
            let request = "a new order";
            return Err(ProtocolError::LeftAlone { request, until }.into());
        }
        self.look_around(issuer).await?;
        let replaces = self.replaces(issuer);
        let quotas = quotas_of(issuer, replaces.is_some());
        let now = self.now();
        let taken = self.quota(issuer, quotas).take(&self.names(), now).await?;
        if let Err(limited) = taken {
            let mut setback = Setback::new(Class::RateLimited, limited.to_string());
            setback.wait = Some(Wait::Until(limited.until));
            return Err(setback.into());
        }
        let plan = Plan {
            issuer: issuer.name.clone(),
            key: self.key().await?,
            replaces,
        };
        self.journal.identifiers = self.wanted.distinct();
        self.journal.ordering(generation, plan)?;
        self.write(Txn::new()).await?;
        Ok(None)
    }

    /// The ARI identifier of the certificate that is replaced, if this issuer made it.
    fn replaces(&self, issuer: &Issuer) -> Option<String> {
        let current = &self.current.as_ref()?.certificate;
        let ours = current.issuer == issuer.name && current.not_after > self.now();
        let wanted = ours && !self.journal.history.without_replaces;
        current.ari_id.clone().filter(|_| wanted)
    }

    async fn key(&mut self) -> Result<StoredKey, Trouble> {
        if let Some(given) = self.given {
            return Ok(StoredKey::of(given.key)?);
        }
        if self.wanted.rotation == RotationPolicy::Never
            && let Some(current) = &self.current
            && current.certificate.key.read()?.algorithm() == self.wanted.key
        {
            return Ok(current.certificate.key.copy());
        }
        let runtime = &self.shared.runtime;
        let made = self.hold.during(runtime.new_key(self.wanted.key)).await?;
        Ok(StoredKey::of(&made?)?)
    }

    /// Ordering: asks for the order.
    async fn place(&mut self) -> Step {
        self.wait_for_namesakes().await?;
        let (index, account) = self.account().await?;
        let shared = self.shared;
        let issuer = &shared.issuers[index];
        let replaces = self.journal.plan().and_then(|plan| plan.replaces.clone());
        let order = NewOrder {
            identifiers: self.journal.identifiers.clone(),
            profile: self
                .wanted
                .profile
                .clone()
                .or_else(|| issuer.profile.clone()),
            replaces: replaces.filter(|_| !self.journal.history.without_replaces),
            not_before: self.wanted.not_before.map(|after| self.after(after)),
            not_after: self.wanted.not_after.map(|after| self.after(after)),
        };
        // Closed by nobody.
        let turn = self.hold.during(shared.new_orders[index].acquire());
        let turn = turn.await?;
        if shared.options.new_orders <= 1 {
            self.take_turn(&layout::new_order_lock(&issuer.account.place()))
                .await?;
        }
        let asked = issuer.protocol.new_order(&account, &order);
        let placed = self.hold.during(asked).await;
        self.hold.end_turn().await;
        drop(turn);
        let (url, state) = placed?.map_err(|error| refused(&order, error))?;
        let account = account.url;
        self.journal.ordered(Order {
            account,
            url,
            not_before: order.not_before,
            not_after: order.not_after,
        })?;
        self.known = Some(state);
        self.write(Txn::new()).await?;
        Ok(None)
    }

    /// Waits for orders for the same names on this replica, of certificates that differ in
    /// their keys, for example. CAs hand out a pending order again for the same names, and
    /// two certificates cannot come of one. That somebody else has used it up is seen later
    /// in any case, and costs another order.
    async fn wait_for_namesakes(&mut self) -> Result<(), StorageError> {
        if self.alone.is_some() {
            return Ok(());
        }
        let shared = self.shared;
        let mut names: Vec<String> = self
            .journal
            .identifiers
            .iter()
            .map(Identifier::value)
            .collect();
        names.sort_unstable();
        let turn = shared.turn(&layout::names_turn(&names)).lock_owned();
        let turn = within(&*shared.runtime, shared.options.patience, turn);
        self.alone = Some(self.hold.during(turn).await?);
        Ok(())
    }

    /// Waits until no other replica is at what this lease stands for. Whoever has it gives
    /// it back within a request's timeout, or it runs out.
    async fn take_turn(&mut self, name: &Key) -> Result<(), Trouble> {
        let options = &self.shared.options;
        let ttl = options.lease.min(TURN_LEASE);
        let mut pause = options.first_poll;
        while !self.hold.turn(name, &options.owner, ttl).await? {
            self.hold.sleep(pause).await?;
            pause = pause.mul_f64(1.5).min(TURN);
        }
        Ok(())
    }

    /// Ordered to Finalizing: goes on from where the CA is.
    async fn follow(&mut self) -> Step {
        self.wait_for_namesakes().await?;
        let (index, account) = self.account().await?;
        let shared = self.shared;
        let issuer = &shared.issuers[index];
        let Some(order) = self.journal.order().cloned() else {
            return Ok(None);
        };
        if order.account != account.url {
            let detail = format!("the order is of account {}", order.account);
            return Err(Setback::new(Class::Gone, detail).into());
        }
        let state = match self.known.take() {
            Some(state) => state,
            None => {
                let asked = issuer.protocol.order(&account, &order.url);
                self.hold.during(asked).await??
            }
        };
        match self.journal.next(state.status) {
            Next::Authorize => self.authorize(issuer, &account, &order, &state).await?,
            Next::Finalize => self.finalize(issuer, &account, &state).await?,
            Next::Poll => {
                let state = self
                    .watch(
                        issuer,
                        &account,
                        &order,
                        OrderStatus::Processing,
                        Some(&state),
                    )
                    .await?;
                self.known = Some(state);
            }
            Next::Download => {
                let place = state.certificate.ok_or(ProtocolError::Malformed {
                    request: "the order",
                    reason: "it is valid and has no certificate".to_owned(),
                })?;
                self.journal.issued(place)?;
                self.write(Txn::new()).await?;
            }
            Next::Drop => {
                let detail = format!("the order is {:?} behind our back", state.status);
                return Err(Setback::new(Class::Gone, detail).into());
            }
            Next::Examine => return Err(self.examine(issuer, &account, &state).await?.into()),
        }
        Ok(None)
    }

    async fn finalize(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        state: &OrderState,
    ) -> Result<(), Trouble> {
        let sent = match &self.journal.stage {
            Stage::Finalizing { csr, .. } => Some(csr.clone()),
            _ => None,
        };
        let csr = match sent {
            Some(csr) => Base64UrlUnpadded::decode_vec(&csr).map_err(|_| EngineError::NoCsr)?,
            None => {
                let csr = match self.given {
                    Some(given) => {
                        // The order may be of a request before this one.
                        self.journal.rekey(StoredKey::of(given.key)?)?;
                        given.csr.der().to_vec()
                    }
                    None => {
                        let plan = self.journal.plan().ok_or(EngineError::NoCsr)?;
                        self.wanted.csr(&plan.key.read()?)?.der().to_vec()
                    }
                };
                let text = Base64UrlUnpadded::encode_string(&csr);
                self.journal.finalizing(text)?;
                self.write(Txn::new()).await?;
                csr
            }
        };
        let asked = issuer.protocol.finalize(account, &state.finalize, &csr);
        self.known = Some(self.hold.during(asked).await??);
        Ok(())
    }

    /// Looks at the order until it is in another state.
    pub(super) async fn watch(
        &mut self,
        issuer: &Issuer,
        account: &Account,
        order: &Order,
        leaving: OrderStatus,
        last: Option<&OrderState>,
    ) -> Result<OrderState, Trouble> {
        let shared = self.shared;
        let options = &shared.options;
        let end = shared.runtime.instant() + options.patience;
        let mut pause = options.first_poll;
        let mut wish = last.and_then(|state| state.retry_after);
        loop {
            let now = self.now();
            let wished = wish.map(|wish| wish.until(now, Bounds::POLL) - now);
            let wished = wished.and_then(|wished| Duration::try_from(wished).ok());
            self.hold.sleep(wished.unwrap_or(pause)).await?;
            let asked = issuer.protocol.order(account, &order.url);
            let state = self.hold.during(asked).await??;
            if state.status != leaving {
                return Ok(state);
            }
            if shared.runtime.instant() > end {
                let after = options.patience;
                let detail = format!("the order is still {leaving:?} after {after:?}");
                return Err(Setback::new(Class::Transient, detail).into());
            }
            pause = pause.mul_f64(1.5).min(options.longest_poll);
            wish = state.retry_after;
        }
    }

    /// The account of the issuer that is asked now.
    pub(super) async fn account(&mut self) -> Result<(usize, Account), Trouble> {
        let name = self.journal.plan().map(|plan| plan.issuer.as_str());
        let index = name.and_then(|name| self.shared.index_of(name));
        let index = index.ok_or(EngineError::NoIssuer)?;
        if let Some((known, account)) = &self.account
            && *known == index
        {
            return Ok((index, account.clone()));
        }
        let shared = self.shared;
        let issuer = &shared.issuers[index];
        let known = issuer.account.known(&*shared.storage);
        let known = self.hold.during(known).await?;
        let known = known.map_err(|error| Trouble::of_account(&issuer.name, error))?;
        let account = match known {
            Some(account) => {
                self.tell_contacts(issuer, &account).await?;
                account
            }
            None => self.register(issuer).await?,
        };
        self.account = Some((index, account.clone()));
        Ok((index, account))
    }

    /// Registers the account, one at a time: a binding may work once.
    async fn register(&mut self, issuer: &Issuer) -> Result<Account, Trouble> {
        let shared = self.shared;
        let options = &shared.options;
        let (storage, runtime) = (&*shared.storage, &*shared.runtime);
        let spec = &issuer.account;
        let of_account = |error| Trouble::of_account(&issuer.name, error);
        let end = runtime.instant() + options.patience;
        let lock = spec.lock();
        while let Some(owner) = self.hold.also(&lock, &options.owner, options.lease).await? {
            if runtime.instant() > end {
                let detail = format!("{owner} is registering the account");
                return Err(Setback::new(Class::Transient, detail).into());
            }
            self.hold.sleep(TURN).await?;
            let known = self.hold.during(spec.known(storage)).await?;
            if let Some(account) = known.map_err(of_account)? {
                return Ok(account);
            }
        }
        let now = self.now();
        let wanted = self.quota(issuer, issuer.quotas);
        if let Err(limited) = wanted.registrations(now).await? {
            let mut setback = Setback::new(Class::RateLimited, limited.to_string());
            setback.wait = Some(Wait::Until(limited.until));
            return Err(setback.into());
        }
        let ensured = spec.ensure(storage, &*issuer.protocol, runtime);
        let account = self.hold.during(ensured).await?.map_err(of_account)?;
        self.hold.let_go().await;
        Ok(account)
    }

    /// Tells the CA other contacts. A CA that does not like them makes certificates all
    /// the same.
    async fn tell_contacts(&mut self, issuer: &Issuer, account: &Account) -> Result<(), Trouble> {
        let shared = self.shared;
        let (place, now) = (issuer.account.place(), self.now());
        if lock(&shared.contacts)
            .get(&place)
            .is_some_and(|again| *again > now)
        {
            return Ok(());
        }
        let (storage, protocol) = (&*shared.storage, &*issuer.protocol);
        let told = issuer.account.update_contacts(storage, protocol, account);
        match self.hold.during(told).await? {
            Ok(()) => Ok(()),
            Err(AccountError::Protocol(error)) if error.class() == Class::Account => {
                Err(error.into())
            }
            Err(AccountError::Protocol(error)) => {
                lock(&shared.contacts).insert(place, now.saturating_add(CONTACTS));
                shared.events.emit(Event::ContactsRefused {
                    issuer: issuer.name.clone(),
                    reason: error.to_string(),
                });
                Ok(())
            }
            Err(error) => Err(Trouble::of_account(&issuer.name, error)),
        }
    }

    /// Writes down what went wrong and what follows from it.
    async fn set_back(&mut self, setback: Setback) -> Result<(), EngineError> {
        let now = self.now();
        self.known = None;
        self.hold.let_go().await;
        let shared = self.shared;
        let names = self.issuers();
        let asked = names.get(self.journal.history.issuer_index(&names));
        let asked = match self.journal.plan() {
            Some(plan) => Some(plan.issuer.as_str()),
            None => asked.copied(),
        };
        let index = asked.and_then(|name| shared.index_of(name));
        let index = index.unwrap_or_default();
        let issuer = &shared.issuers[index];
        let until = setback.wait.map(|wait| match wait {
            Wait::Said(retry_after) => retry_after.until(now, Bounds::FREEZE),
            Wait::Until(until) => until,
        });
        let quota = self.quota(issuer, issuer.quotas);
        match (setback.class, until, &setback.scope) {
            (Class::RateLimited, Some(until), Some(scope)) => {
                let scope = Scope::of_refusal(scope, &self.names());
                quota.freeze(&scope, until, now).await?;
            }
            (Class::Validation, ..) => {
                let failed = setback.challenges.iter();
                let failed: Vec<String> = failed.map(|(one, _)| one.value()).collect();
                quota.failed(&failed, now).await?;
            }
            (Class::Account, ..) => {
                if let Some((_, account)) = self.account.take() {
                    let forgotten = issuer.account.forget_url(&*shared.storage, &account.url);
                    forgotten.await.map_err(|source| EngineError::Account {
                        issuer: issuer.name.clone(),
                        source,
                    })?;
                }
            }
            _ => {}
        }
        // An order without a certificate for sure, unless it is gone on with.
        let replaces = match &self.journal.stage {
            Stage::Ordering { plan }
            | Stage::Ordered { plan, .. }
            | Stage::Presenting { plan, .. } => Some(plan.replaces.is_some()),
            Stage::Waiting | Stage::Finalizing { .. } | Stage::Issued { .. } => None,
        };
        let other_challenges = self.other_challenges(issuer, &setback);
        let failure = Failure {
            at: now,
            class: setback.class,
            // Of a hundred names it may be longer than a record of the store.
            detail: one_line(&setback.detail).unwrap_or_default(),
            until,
            challenges: setback.challenges,
        };
        let settings = self.settings();
        self.journal.failed(
            failure.clone(),
            &Circumstances {
                issuers: &names,
                other_challenges,
                away: setback.away,
                settings: &settings,
                expires: self
                    .current
                    .as_ref()
                    .map(|current| current.certificate.not_after),
                seed: Seed::new(self.id.as_str().as_bytes()),
            },
        );
        self.write(Txn::new()).await?;
        if let (Stage::Waiting, Some(replaces)) = (&self.journal.stage, replaces) {
            let quotas = quotas_of(issuer, replaces);
            self.quota(issuer, quotas)
                .refund(&self.names(), now)
                .await?;
        }
        shared.events.emit(Event::Failed {
            id: self.id.clone(),
            identifiers: self.journal.identifiers.clone(),
            issuer: issuer.name.clone(),
            failure,
            next_at: self.journal.history.next_at,
            parked: self.journal.history.parked.is_some(),
        });
        match self.journal.stage {
            Stage::Waiting => self.clean().await,
            _ => Ok(()),
        }
    }

    /// Does these writes: what fits into one transaction with the journal at the end, after
    /// everything else.
    pub(super) async fn write_many(&mut self, writes: Vec<Guarded>) -> Result<(), EngineError> {
        let mut rest = writes.into_iter();
        loop {
            let some: Vec<Guarded> = rest.by_ref().take(AT_ONCE).collect();
            let mut txn = Txn::new();
            for (guard, write) in some {
                if let Some(guard) = guard {
                    txn = txn.guard(guard);
                }
                txn = txn.write(write);
            }
            if rest.len() == 0 {
                return self.write(txn).await;
            }
            let txn = txn.if_held(self.hold.fence());
            let storage = &self.shared.storage;
            self.hold.during(storage.txn(txn)).await??;
        }
    }

    /// Writes the journal, under the lease and only over what was read, along with what
    /// else is in the transaction.
    pub(super) async fn write(&mut self, also: Txn) -> Result<(), EngineError> {
        let place = self.id.journal();
        let mut txn = also.if_held(self.hold.fence());
        txn = match self.revision {
            Some(revision) => txn.if_unchanged(place.clone(), revision),
            None => txn.if_absent(place.clone()),
        };
        let blank = self.journal.is_blank();
        self.journal.touched = Some(self.now());
        let txn = match blank {
            true => txn.delete(place),
            false => txn.put(place, self.journal.encode()?),
        };
        let storage = &self.shared.storage;
        let revision = self.hold.during(storage.txn(txn)).await??;
        self.revision = (!blank).then_some(revision);
        self.shared.events.emit(Event::Step {
            id: self.id.clone(),
            stage: self.journal.stage(),
        });
        Ok(())
    }

    fn after(&self, span: time::Duration) -> OffsetDateTime {
        self.now().saturating_add(span)
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.shared.runtime.now()
    }

    /// The issuer to ask: from where the history is, the first that is not left alone.
    /// Those before have had their turn, and come again after a pause.
    fn next_issuer(&self) -> Result<usize, EngineError> {
        let names = self.issuers();
        let first = self.journal.history.issuer_index(&names);
        let rest = names.iter().skip(first);
        let rest = rest.filter_map(|name| self.shared.index_of(name));
        let rest: Vec<usize> = rest.collect();
        let breakers = &self.shared.breakers;
        let mut all = rest.iter();
        let reached = all.find(|index| breakers[**index].left_alone().is_none());
        let index = reached.or(rest.first()).copied();
        index.ok_or(EngineError::NoIssuer)
    }

    /// The issuers that take so many names, the most wanted first.
    fn issuers(&self) -> Vec<&'e str> {
        let count = self.wanted.distinct().len();
        let fit = self.shared.issuers.iter();
        let fit = fit.filter(|issuer| issuer.limit() >= count);
        fit.map(|issuer| issuer.name.as_str()).collect()
    }

    fn names(&self) -> Vec<String> {
        let distinct = self.wanted.distinct();
        distinct.iter().map(Identifier::value).collect()
    }

    fn quota(&self, issuer: &Issuer, quotas: Quotas) -> quota::Account<'e> {
        quota::Account {
            storage: &*self.shared.storage,
            place: issuer.account.limits_place(),
            quotas,
        }
    }

    /// A digest of everything that may make a refusal pass.
    fn settings(&self) -> String {
        let issuers = self.shared.issuers.iter().map(|issuer| {
            let kinds: Vec<&str> = issuer.solvers.kinds().map(ChallengeKind::as_str).collect();
            let account = &issuer.account;
            let binding = account.registration.binding.as_ref();
            let kid = binding
                .map(|binding| binding.kid.as_str())
                .unwrap_or_default();
            let profile = issuer.profile.as_deref().unwrap_or_default();
            let contacts = account.registration.contacts.join(" ");
            let directory = &account.directory;
            format!("{directory} {kid} {contacts} {profile} {kinds:?}")
        });
        let issuers: Vec<String> = issuers.collect();
        let wanted = format!("{:?}", self.wanted);
        let parts = issuers.iter().map(String::as_str).chain([wanted.as_str()]);
        CertId::of(parts).as_str().to_owned()
    }
}

/// A write and what it depends on.
pub(super) type Guarded = (Option<Guard>, Write);
/// How many of them are in a transaction: a hundred names are one.
pub(super) const AT_ONCE: usize = certwright_storage::MAX_TXN_OPS - 8;

/// How long to wait before asking again for a lease.
const TURN: Duration = Duration::from_millis(250);
/// How long a new order of a replica that died keeps others from placing theirs.
const TURN_LEASE: Duration = Duration::from_secs(5);
/// How long until contacts that were refused are told again.
const CONTACTS: time::Duration = time::Duration::DAY;

/// What an order takes tokens of.
fn quotas_of(issuer: &Issuer, replaces: bool) -> Quotas {
    match replaces {
        true => issuer.quotas.for_replacement(),
        false => issuer.quotas,
    }
}

/// A CA need not take a validity (RFC 8555 section 7.4), and the public ones say so by
/// `malformed` alone.
fn refused(order: &NewOrder, error: ProtocolError) -> Trouble {
    let dated = order.not_before.is_some() || order.not_after.is_some();
    let malformed = matches!(&error, ProtocolError::Refused { problem, .. }
        if problem.kind == ErrorType::Malformed);
    match Trouble::from(error) {
        Trouble::Setback(mut setback) if dated && malformed => {
            setback.detail = format!(
                "the CA may not take not_before and not_after; leave them out of what is wanted: {}",
                setback.detail
            );
            Trouble::Setback(setback)
        }
        trouble => trouble,
    }
}

impl Shared {
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        let mut issuers = self.issuers.iter();
        issuers.position(|issuer| issuer.name == name)
    }
}
