//! An order planned and placed.

use std::sync::Arc;
use std::time::Duration;

use certwright_cert_model::key::RotationPolicy;
use certwright_storage::{Key, StorageError, Txn};
use time::OffsetDateTime;

use super::authorize::TURN;
use super::drive::{Drive, Step, quotas_of};
use super::failure::{Setback, Trouble, Wait};
use super::{EngineError, Outcome};
use crate::identifier::Identifier;
use crate::issuer::Issuer;
use crate::journal::{Order, Plan};
use crate::layout;
use crate::problem::{Class, ErrorType};
use crate::protocol::{NewOrder, ProtocolError};
use crate::runtime::within;
use crate::secret::StoredKey;

impl Drive<'_> {
    /// Waiting: plans an order if one is due.
    pub(super) async fn begin(&mut self) -> Step {
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
    pub(super) async fn place(&mut self) -> Step {
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
    pub(super) async fn wait_for_namesakes(&mut self) -> Result<(), StorageError> {
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
        let turn = shared.turn(&layout::names_turn(&names));
        if let Ok(turn) = Arc::clone(&turn).try_lock_owned() {
            self.alone = Some(Some(turn));
            return Ok(());
        }
        // Others need not wait for those who only wait. Whoever has the place of these names
        // may wait for this one, and never the other way round.
        let counted = self.under_way.take().is_some();
        let turn = within(&*shared.runtime, shared.options.patience, turn.lock_owned());
        self.alone = Some(self.hold.during(turn).await?);
        if counted {
            // Closed by nobody.
            let order = self.hold.during(shared.orders.acquire());
            self.under_way = order.await?.ok();
        }
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

    fn after(&self, span: time::Duration) -> OffsetDateTime {
        self.now().saturating_add(span)
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
}

/// How long a new order of a replica that died keeps others from placing theirs.
const TURN_LEASE: Duration = Duration::from_secs(5);

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
