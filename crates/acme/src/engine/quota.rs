//! Quotas and freezes of an account, shared by all who use it.

use certwright_storage::{Key, Storage, StorageError, Txn};
use time::OffsetDateTime;

use super::EngineError;
use crate::limits::{Limited, Limits, Quotas, Scope};

/// An account's record of quotas.
pub(super) struct Account<'e> {
    pub(super) storage: &'e dyn Storage,
    pub(super) place: Key,
    pub(super) quotas: Quotas,
}

impl Account<'_> {
    /// Takes what an order for these names costs, if all of it is there.
    pub(super) async fn take(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<Result<(), Limited>, EngineError> {
        let before = Scope::before_order(names);
        let order = Scope::of_order(names);
        self.change(now, |limits| {
            limits.check(&self.quotas, &before, now)?;
            limits.take(&self.quotas, &order, now)
        })
        .await
    }

    /// Until when the CA wants no new accounts.
    pub(super) async fn registrations(
        &self,
        now: OffsetDateTime,
    ) -> Result<Result<(), Limited>, EngineError> {
        let scopes = [Scope::NewAccounts];
        self.change(now, |limits| limits.check(&self.quotas, &scopes, now))
            .await
    }

    /// Gives back what an order for these names took that came to nothing: CAs count
    /// orders by account, but certificates by name.
    pub(super) async fn refund(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(), EngineError> {
        let mut scopes = Scope::of_order(names);
        scopes.retain(|scope| *scope != Scope::Account);
        self.change(now, |limits| limits.refund(&self.quotas, &scopes))
            .await
    }

    /// Notes that validations of these names failed.
    pub(super) async fn failed(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(), EngineError> {
        let scopes: Vec<Scope> = names
            .iter()
            .map(|name| Scope::failed_validation(name))
            .collect();
        self.change(now, |limits| limits.spend(&self.quotas, &scopes, now))
            .await
    }

    /// Notes until when the CA wants to be left alone.
    pub(super) async fn freeze(
        &self,
        scope: &Scope,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), EngineError> {
        self.change(now, |limits| limits.freeze(scope, until)).await
    }

    /// Reads, changes and writes; from the start if another replica was faster.
    async fn change<T>(
        &self,
        now: OffsetDateTime,
        mut change: impl FnMut(&mut Limits) -> T,
    ) -> Result<T, EngineError> {
        loop {
            let entry = self.storage.get(&self.place).await?;
            let found = match &entry {
                Some(entry) => Limits::from_record(entry.value.as_bytes())?,
                None => Limits::default(),
            };
            let mut limits = found.clone();
            let result = change(&mut limits);
            limits.prune(now);
            if limits == found {
                return Ok(result);
            }
            let txn = match &entry {
                Some(entry) => Txn::new().if_unchanged(self.place.clone(), entry.revision),
                None => Txn::new().if_absent(self.place.clone()),
            };
            let value = limits.to_record()?.encode();
            match self.storage.txn(txn.put(self.place.clone(), value)).await {
                Ok(_) => return Ok(result),
                // Counted twice at worst, which is on the safe side.
                Err(StorageError::Conflict { .. } | StorageError::Indeterminate { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
