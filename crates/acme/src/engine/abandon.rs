//! Orders nobody wants any more: what they showed is taken away, and what the CA waits
//! for is given up.

use certwright_storage::{Acquisition, Txn};
use time::{Duration, OffsetDateTime};

use super::drive::Drive;
use super::{Demand, Engine, EngineError};
use crate::event::Event;
use crate::journal::{GivenUp, Journal, Stage};
use crate::layout::{CertId, ORDERS};
use crate::problem::Class;
use crate::protocol::{AuthorizationStatus, OrderStatus, ProtocolError};
use crate::wanted::Wanted;

impl Engine {
    /// Gives up whatever is under way for a certificate that is not wanted any more: takes
    /// away what is shown for it, gives up its pending authorizations (RFC 8555 section
    /// 7.5.2), and forgets its failures. The certificate itself stays. `false` if somebody
    /// else is at it, or if not all could be taken away: try again later.
    ///
    /// An order whose CSR was sent is kept for 30 days: there may be a certificate for it,
    /// and its key is nowhere else.
    ///
    /// # Errors
    /// The store's, or a record that cannot be read.
    pub async fn abandon(&self, id: &CertId) -> Result<bool, EngineError> {
        self.abandon_if(id, None, Pauses::Forgotten).await
    }

    /// The same, but that pauses after failures are left to others who may want it still.
    pub(crate) async fn leave(&self, id: &CertId) -> Result<bool, EngineError> {
        self.abandon_if(id, None, Pauses::Kept).await
    }

    /// The same, unless somebody has looked at it within this time.
    async fn abandon_if(
        &self,
        id: &CertId,
        idle: Option<Duration>,
        pauses: Pauses,
    ) -> Result<bool, EngineError> {
        let shared = &self.shared;
        let turn = shared.turn(&id.lock());
        let _turn = turn.lock().await;
        let Some(entry) = shared.storage.get(&id.journal()).await? else {
            return Ok(true);
        };
        let journal = Journal::decode(entry.value.as_bytes())?;
        let (owner, ttl) = (&shared.options.owner, shared.options.lease);
        let lease = match shared.storage.acquire(&id.lock(), owner, ttl).await? {
            Acquisition::Granted(lease) => lease,
            Acquisition::Held { .. } => return Ok(false),
        };
        let wanted = Wanted::new(journal.identifiers);
        let mut drive = Drive::new(shared, &wanted, None, Demand::Missing, id.clone(), lease);
        let done = drive.abandon(idle, pauses).await;
        drive.release().await;
        done
    }

    /// Abandons all orders that nobody has looked at for [`Options::abandoned_after`], not
    /// counting pauses; those that are `wanted` are left alone. Answers with how many are
    /// done with. A [`Keeper`](crate::Keeper) does it every hour.
    ///
    /// Those of issuers that are not set up here wait for twice as long: another engine on
    /// this store may know them, and nobody else can give up what their CAs wait for.
    ///
    /// [`Options::abandoned_after`]: super::Options::abandoned_after
    ///
    /// # Errors
    /// The orders cannot be listed. One that cannot be read or given up is left where it is.
    pub async fn sweep(&self, wanted: impl Fn(&CertId) -> bool) -> Result<usize, EngineError> {
        let shared = &self.shared;
        let listing = shared.storage.list(ORDERS).await?;
        let now = shared.runtime.now();
        let mut count = 0;
        for entry in listing.entries {
            let Some(id) = CertId::of_journal(&entry.key).filter(|id| !wanted(id)) else {
                continue;
            };
            let journal = match Journal::decode(entry.value.as_bytes()) {
                Ok(journal) => journal,
                Err(error) => {
                    tracing::warn!(certificate = %id, %error, "stored order not looked at");
                    continue;
                }
            };
            let idle = Duration::try_from(shared.options.abandoned_after).unwrap_or(Duration::MAX);
            let idle = match journal
                .issuers()
                .all(|name| shared.index_of(name).is_some())
            {
                true => idle,
                false => idle.saturating_add(idle),
            };
            if now - journal.last_looked_at() < idle {
                continue;
            }
            // It was listed a while ago: somebody may be at it again.
            match self.abandon_if(&id, Some(idle), Pauses::Forgotten).await {
                Ok(done) => count += usize::from(done),
                Err(error) => {
                    tracing::warn!(certificate = %id, %error, "stored order not given up");
                }
            }
        }
        Ok(count)
    }
}

/// What becomes of the pauses after failures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pauses {
    Forgotten,
    Kept,
}

impl Drive<'_> {
    async fn abandon(
        &mut self,
        idle: Option<Duration>,
        pauses: Pauses,
    ) -> Result<bool, EngineError> {
        self.load().await?;
        let now = self.now();
        if idle.is_some_and(|idle| now - self.journal.last_looked_at() < idle) {
            return Ok(false);
        }
        let sent = matches!(
            self.journal.stage,
            Stage::Finalizing { .. } | Stage::Issued { .. }
        );
        if sent && now - self.journal.last_looked_at() < KEPT {
            // The CA has seen the answers; only the certificate is still to come.
            if !self.journal.receipts.is_empty() {
                self.clean().await?;
            }
            return Ok(false);
        }
        let stage = self.journal.stage();
        self.journal.dropped(now);
        let pauses_on =
            self.journal.next_at(now).is_some() || self.journal.history.parked.is_some();
        if pauses == Pauses::Forgotten || !pauses_on {
            self.journal.history = crate::journal::History::default();
        }
        self.write(Txn::new()).await?;
        self.clean().await?;
        let id = self.id.clone();
        let done = self.journal.receipts.is_empty() && self.journal.given_up.is_empty();
        if done {
            self.shared.events.emit(Event::Abandoned { id, stage });
        }
        Ok(done)
    }

    /// Gives up the authorizations of orders that are not gone on with; what cannot be
    /// given up now is tried again for a week, after which CAs let go by themselves.
    pub(super) async fn give_up(&mut self) -> Result<(), EngineError> {
        let mut left = Vec::new();
        let since = self.now().saturating_sub(WEEK);
        for one in core::mem::take(&mut self.journal.given_up) {
            if one.at > since && !self.deactivate(&one).await? {
                left.push(one);
            }
        }
        self.journal.given_up = left;
        Ok(())
    }

    /// `false` if it is worth another try.
    async fn deactivate(&mut self, given_up: &GivenUp) -> Result<bool, EngineError> {
        let shared = self.shared;
        let Some(index) = shared.index_of(&given_up.issuer) else {
            return Ok(true);
        };
        if shared.breakers[index].left_alone().is_some() {
            return Ok(false);
        }
        // CAs hand out a pending order again for the same identifiers: it may be another's too.
        let others = self.hold.during(shared.storage.list(ORDERS)).await??;
        let shared_with = others.entries.iter().any(|entry| {
            let other = Journal::decode(entry.value.as_bytes());
            let same = |order: &crate::journal::Order| order.url == given_up.order.url;
            other.is_ok_and(|other| other.order().is_some_and(same))
        });
        if shared_with {
            return Ok(true);
        }
        let issuer = &shared.issuers[index];
        let known = issuer.account.known(&*shared.storage);
        let account = match self.hold.during(known).await? {
            Ok(Some(account)) if account.url == given_up.order.account => account,
            _ => return Ok(true),
        };
        let asked = issuer.protocol.order(&account, &given_up.order.url);
        let state = match self.hold.during(asked).await? {
            Ok(state) => state,
            Err(error) => return Ok(is_final(&error)),
        };
        if matches!(state.status, OrderStatus::Valid | OrderStatus::Processing) {
            return Ok(true);
        }
        // As many as there may be.
        for url in state
            .authorizations
            .iter()
            .take(self.journal.identifiers.len())
        {
            let asked = issuer.protocol.authorization(&account, url);
            match self.hold.during(asked).await? {
                Ok(found) if found.status == AuthorizationStatus::Pending => {}
                Ok(_) => continue,
                Err(error) if is_final(&error) => continue,
                Err(_) => return Ok(false),
            }
            let asked = issuer.protocol.deactivate(&account, url);
            match self.hold.during(asked).await? {
                Err(error) if !is_final(&error) => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// Whether asking again would not help.
fn is_final(error: &ProtocolError) -> bool {
    !matches!(error.class(), Class::Transient | Class::RateLimited)
}

/// How long an order whose CSR was sent is kept.
const KEPT: Duration = Duration::days(30);
const WEEK: Duration = Duration::days(7);

/// The instant from which an order counts as left.
impl Journal {
    fn last_looked_at(&self) -> OffsetDateTime {
        let touched = self.touched.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        self.history
            .next_at
            .map_or(touched, |next| next.max(touched))
    }
}
