//! The account an order is placed with.

use super::authorize::TURN;
use super::drive::Drive;
use super::failure::{Setback, Trouble, Wait};
use super::{EngineError, lock};
use crate::account::{Account, AccountError};
use crate::event::Event;
use crate::issuer::Issuer;
use crate::problem::Class;

impl Drive<'_> {
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
}

/// How long until contacts that were refused are told again.
const CONTACTS: time::Duration = time::Duration::DAY;
