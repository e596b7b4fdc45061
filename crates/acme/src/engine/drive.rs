//! One certificate's way, from what its journal says to where it ends.

use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_storage::{Entry, Guard, Lease, Revision, Txn, Write};
use time::OffsetDateTime;
use tokio::sync::{OwnedMutexGuard, SemaphorePermit};

use super::failure::{Setback, Trouble};
use super::hold::Hold;
use super::{Demand, EngineError, Outcome, Shared, quota};
use crate::account::Account;
use crate::certificate::IssuedCertificate;
use crate::event::Event;
use crate::identifier::Identifier;
use crate::issuer::Issuer;
use crate::journal::{Journal, Next, Order, Stage};
use crate::layout::CertId;
use crate::limits::Quotas;
use crate::problem::{Bounds, Class};
use crate::protocol::{OrderState, OrderStatus, ProtocolError};
use crate::secret::StoredKey;
use crate::wanted::{OwnRequest, Wanted};

/// One certificate under way, its lease held.
pub(super) struct Drive<'e> {
    pub(super) shared: &'e Shared,
    pub(super) wanted: &'e Wanted,
    pub(super) given: Option<&'e OwnRequest<'e>>,
    pub(super) id: CertId,
    pub(super) hold: Hold<'e>,
    pub(super) journal: Journal,
    pub(super) current: Option<Current>,
    /// The order as the CA told a moment ago.
    pub(super) known: Option<OrderState>,
    pub(super) demand: Demand,
    /// When the journal was written; `None` if it is not stored.
    pub(super) revision: Option<Revision>,
    pub(super) account: Option<(usize, Account)>,
    /// Whether nobody else on this replica orders for the same names, if that was waited for.
    pub(super) alone: Option<Option<OwnedMutexGuard<()>>>,
    /// One of [`Options::orders`](super::Options::orders).
    pub(super) under_way: Option<SemaphorePermit<'e>>,
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
            under_way: None,
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
        if let Some(parked) = &history.parked
            && self.is_same(parked)
        {
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
    pub(super) fn is_met(&self) -> Option<&Arc<IssuedCertificate>> {
        let certificate = &self.current.as_ref()?.certificate;
        let met = certificate.generation > self.demand.after()
            && matches!(self.journal.stage, Stage::Waiting);
        met.then_some(certificate)
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

    pub(super) fn now(&self) -> OffsetDateTime {
        self.shared.runtime.now()
    }

    /// The issuers that take so many names, the most wanted first.
    pub(super) fn issuers(&self) -> Vec<&'e str> {
        let count = self.wanted.distinct().len();
        let fit = self.shared.issuers.iter();
        let fit = fit.filter(|issuer| issuer.limit() >= count);
        fit.map(|issuer| issuer.name.as_str()).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let distinct = self.wanted.distinct();
        distinct.iter().map(Identifier::value).collect()
    }

    pub(super) fn quota(&self, issuer: &Issuer, quotas: Quotas) -> quota::Account<'e> {
        quota::Account {
            storage: &*self.shared.storage,
            place: issuer.account.limits_place(),
            quotas,
        }
    }
}

/// A write and what it depends on.
pub(super) type Guarded = (Option<Guard>, Write);
/// How many of them are in a transaction: a hundred names are one.
pub(super) const AT_ONCE: usize = certwright_storage::MAX_TXN_OPS - 8;

/// What an order takes tokens of.
pub(super) fn quotas_of(issuer: &Issuer, replaces: bool) -> Quotas {
    match replaces {
        true => issuer.quotas.for_replacement(),
        false => issuer.quotas,
    }
}

impl Shared {
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        let mut issuers = self.issuers.iter();
        issuers.position(|issuer| issuer.name == name)
    }
}
