//! The engine: takes a certificate from wanted to stored, whatever happens in between.

mod abandon;
mod addresses;
mod authorize;
mod breaker;
mod clean;
mod commit;
mod drive;
mod enrol;
mod failure;
mod hold;
mod place;
mod quota;
mod records;
mod set_back;
mod shown;
#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use certwright_issuance::KeyError;
use certwright_issuance::certificate::CertificateError;
use certwright_issuance::csr::CsrError;
use certwright_storage::{Acquisition, Key, RecordError, Revision, Storage, StorageError};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::{Mutex as Turn, Semaphore};

use crate::account::AccountError;
use crate::certificate::IssuedCertificate;
use crate::challenge::http01::Http01;
use crate::challenge::tls_alpn01::{AlpnSink, TlsAlpn01};
use crate::event::Events;
use crate::issuer::Issuer;
use crate::journal::{Failure, WrongStage};
use crate::layout::{CertId, Shown};
use crate::protocol::ProtocolError;
use crate::runtime::Runtime;
use crate::wanted::{OwnRequest, Wanted};

use breaker::Breaker;
use drive::Drive;
use shown::Word;

/// Orders certificates from a list of issuers, over a store that other replicas may share.
///
/// A clone is another handle.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    runtime: Arc<dyn Runtime>,
    /// Asked through their breakers.
    issuers: Vec<Issuer>,
    breakers: Vec<Arc<Breaker>>,
    options: Options,
    http01: Http01,
    tls_alpn01: TlsAlpn01,
    events: Events,
    /// Who is at what on this replica, by the name of the lease it takes among all, if any.
    turns: Mutex<HashMap<Key, Weak<Turn<()>>>>,
    /// What was said of the answers to TLS-ALPN-01 for each server name.
    words: Mutex<HashMap<String, Word>>,
    orders: Semaphore,
    new_orders: Vec<Semaphore>,
    /// When the contacts of each account are told again to a CA that refused them.
    contacts: Mutex<HashMap<Key, OffsetDateTime>>,
}

/// How an engine goes about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What other replicas are told about who orders.
    pub owner: String,
    /// Tells apart engines on one store that must not share certificates, such as one for
    /// a public CA and one for a private one; usually empty.
    pub group: String,
    /// What becomes of certificates whose issuer is not in the list any more.
    pub strangers: Strangers,
    /// How long the right to order a certificate outlives a replica that died, in whole
    /// seconds; it is kept alive three times as often.
    pub lease: Duration,
    /// Who is told the certificates that answer TLS-ALPN-01 challenges.
    pub alpn: Option<Arc<dyn AlpnSink>>,
    /// How many orders may be under way; one that waits for another for the same names is not.
    pub orders: usize,
    /// How many new orders per issuer may be asked for at the same moment: 1 by all
    /// replicas together, with one account, more by each of them. Some CAs do not bear
    /// several at once, and many limit them.
    pub new_orders: usize,
    /// The pause before the first look at what the CA is doing; each one after is half
    /// as long again, up to [`Options::longest_poll`]. A CA's own wish comes first.
    pub first_poll: Duration,
    /// The longest pause between two looks.
    pub longest_poll: Duration,
    /// How long a DNS provider, or a name server, may take for one answer. What was asked
    /// of it is taken back later in any case: it may have been done.
    pub provider_timeout: Duration,
    /// How long nobody may have looked at an order, pauses not counted, before a sweep
    /// takes it for one that nobody wants.
    pub abandoned_after: Duration,
    /// How long a CA may take to look at our answers, or to make a certificate, before
    /// it is left alone for a while.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            owner: format!("process {}", std::process::id()),
            group: String::new(),
            strangers: Strangers::default(),
            lease: Duration::from_secs(15),
            alpn: None,
            orders: 64,
            new_orders: 1,
            first_poll: Duration::from_millis(20),
            longest_poll: Duration::from_secs(5),
            abandoned_after: Duration::from_secs(86_400),
            provider_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(90),
        }
    }
}

/// What becomes of certificates that were ordered from an issuer that is not in the list
/// any more. Imported ones are kept in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strangers {
    /// They are renewed when they are due.
    #[default]
    Keep,
    /// They are renewed at once: who leaves a CA's staging server wants none of them.
    Replace,
}

/// What is asked of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demand {
    /// A certificate if there is none.
    Missing,
    /// One after this generation, unless somebody has it already.
    Renew {
        /// The generation that is due.
        after: u64,
    },
    /// One after this generation now, whatever went wrong before.
    Force {
        /// The generation that is to be replaced; 0 for the first.
        after: u64,
    },
}

impl Demand {
    fn after(self) -> u64 {
        match self {
            Self::Missing => 0,
            Self::Renew { after } | Self::Force { after } => after,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Another replica is at it.
    Busy {
        /// Which, as it calls itself.
        owner: String,
    },
    /// There is one already, as it was asked for.
    Current(Arc<IssuedCertificate>),
    /// It was issued now.
    Issued(Arc<IssuedCertificate>),
    /// It cannot work before the settings change, or the request that the CA refused if it was
    /// made elsewhere; see the failure.
    Parked(Option<Failure>),
    /// It did not work, or not yet: ask again at this instant.
    Waiting {
        /// When.
        until: OffsetDateTime,
        /// What went wrong.
        failure: Option<Failure>,
    },
}

impl Outcome {
    /// The certificate, new or not.
    pub fn certificate(&self) -> Option<&Arc<IssuedCertificate>> {
        match self {
            Self::Current(certificate) | Self::Issued(certificate) => Some(certificate),
            Self::Busy { .. } | Self::Parked(_) | Self::Waiting { .. } => None,
        }
    }
}

impl Engine {
    /// An engine for these issuers, the most wanted first.
    ///
    /// # Errors
    /// [`EngineError::NoIssuer`] for an empty list, [`EngineError::SameName`] for two of
    /// one name.
    pub fn new(
        storage: Arc<dyn Storage>,
        runtime: Arc<dyn Runtime>,
        issuers: Vec<Issuer>,
        options: Options,
    ) -> Result<Self, EngineError> {
        if issuers.is_empty() {
            return Err(EngineError::NoIssuer);
        }
        for (index, issuer) in issuers.iter().enumerate() {
            let mut others = issuers.iter().skip(index + 1);
            if others.any(|other| other.name == issuer.name) {
                let name = issuer.name.clone();
                return Err(EngineError::SameName { name });
            }
        }
        let events = Events::new();
        let mut issuers = issuers;
        let breakers = issuers.iter_mut().map(|issuer| {
            let inner = Arc::clone(&issuer.protocol);
            let (runtime, events) = (Arc::clone(&runtime), events.clone());
            let breaker = Arc::new(Breaker::new(&issuer.name, inner, runtime, events));
            issuer.protocol = Arc::<Breaker>::clone(&breaker);
            breaker
        });
        let breakers = breakers.collect();
        let new_orders = issuers.iter();
        let new_orders = new_orders.map(|_| Semaphore::new(options.new_orders.max(1)));
        Ok(Self {
            shared: Arc::new(Shared {
                http01: Http01::with_runtime(Arc::clone(&storage), Arc::clone(&runtime)),
                tls_alpn01: TlsAlpn01::new(Arc::clone(&storage), Arc::clone(&runtime)),
                events,
                breakers,
                turns: Mutex::default(),
                words: Mutex::default(),
                orders: Semaphore::new(options.orders.max(1)),
                new_orders: new_orders.collect(),
                contacts: Mutex::default(),
                storage,
                runtime,
                issuers,
                options,
            }),
        })
    }

    /// The answers to HTTP-01 challenges.
    pub fn http01(&self) -> &Http01 {
        &self.shared.http01
    }

    /// The answers to TLS-ALPN-01 challenges, for servers that can wait for one.
    pub fn tls_alpn01(&self) -> &TlsAlpn01 {
        &self.shared.tls_alpn01
    }

    /// What happens.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// The issuers.
    pub fn issuers(&self) -> &[Issuer] {
        &self.shared.issuers
    }

    pub(crate) fn show(&self, shown: &Shown, authorization: &str, at: Revision) {
        self.shared.show(shown, authorization, at);
    }

    pub(crate) fn gone(&self, shown: &Shown, at: Revision) {
        self.shared.gone(shown, at);
    }

    pub(crate) fn listed(&self, there: &HashSet<Shown>, at: Revision, restored: bool) {
        self.shared.listed(there, at, restored);
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.shared.storage
    }

    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.shared.runtime
    }

    /// The name of a certificate in the store.
    pub fn id(&self, wanted: &Wanted) -> CertId {
        wanted.id(&self.shared.options.group)
    }

    /// Whether a certificate can be ordered from any of the issuers, as far as that can be
    /// told before: look at a configuration with it.
    ///
    /// # Errors
    /// [`EngineError::NoIdentifier`], [`EngineError::TooManyNames`].
    pub fn check(&self, wanted: &Wanted) -> Result<(), EngineError> {
        let found = wanted.distinct().len();
        if found == 0 {
            return Err(EngineError::NoIdentifier);
        }
        let limits = self.shared.issuers.iter().map(Issuer::limit);
        let limit = limits.max().unwrap_or_default();
        if found > limit {
            return Err(EngineError::TooManyNames { found, limit });
        }
        Ok(())
    }

    /// The certificate in use, if there is one.
    ///
    /// # Errors
    /// The store's, or a record that cannot be read.
    pub async fn current(&self, id: &CertId) -> Result<Option<IssuedCertificate>, EngineError> {
        match self.shared.storage.get(&id.current()).await? {
            Some(entry) => Ok(Some(IssuedCertificate::decode(entry.value.as_bytes())?)),
            None => Ok(None),
        }
    }

    /// Takes a certificate as far as it goes: to the store, or to the instant from which
    /// it is worth trying again. An order found under way is gone on with.
    ///
    /// Two calls for one certificate follow each other, on one replica; on several the
    /// second is told [`Outcome::Busy`]. The future may be dropped at any moment, and
    /// the process may die: the next call goes on.
    ///
    /// # Errors
    /// The store's, and what no CA can help with; failures of CAs are outcomes.
    pub async fn obtain(&self, wanted: &Wanted, demand: Demand) -> Result<Outcome, EngineError> {
        self.drive(wanted, demand, None).await
    }

    /// The same with a request made elsewhere, if one has not been sent already: whether
    /// the certificate is for its key must be looked at.
    ///
    /// One that a CA refused for good is not sent again, another one is: whoever makes a key for
    /// each call decides how often.
    ///
    /// # Errors
    /// As [`Engine::obtain`].
    pub async fn obtain_with(
        &self,
        wanted: &Wanted,
        demand: Demand,
        request: &OwnRequest<'_>,
    ) -> Result<Outcome, EngineError> {
        self.drive(wanted, demand, Some(request)).await
    }

    async fn drive(
        &self,
        wanted: &Wanted,
        demand: Demand,
        given: Option<&OwnRequest<'_>>,
    ) -> Result<Outcome, EngineError> {
        self.check(wanted)?;
        let shared = &self.shared;
        let id = self.id(wanted);
        let turn = shared.turn(&id.lock());
        let _turn = turn.lock().await;
        // Closed by nobody.
        let order = shared.orders.acquire().await.ok();
        let (owner, ttl) = (&shared.options.owner, shared.options.lease);
        let lease = match shared.storage.acquire(&id.lock(), owner, ttl).await? {
            Acquisition::Granted(lease) => lease,
            Acquisition::Held { owner } => return Ok(Outcome::Busy { owner }),
        };
        let mut drive = Drive::new(shared, wanted, given, demand, id, lease);
        drive.under_way = order;
        let outcome = drive.run().await;
        drive.release().await;
        outcome
    }
}

impl Shared {
    fn issuer_names(&self) -> Vec<&str> {
        let issuers = self.issuers.iter();
        issuers.map(|issuer| issuer.name.as_str()).collect()
    }

    /// One lock per name of a lease, for as long as somebody wants it.
    fn turn(&self, lease: &Key) -> Arc<Turn<()>> {
        let mut turns = lock(&self.turns);
        if let Some(turn) = turns.get(lease).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(lease.clone(), Arc::downgrade(&turn));
        turn
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("issuers", &self.shared.issuer_names())
            .finish_non_exhaustive()
    }
}

/// Why an engine cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The stored account is not usable.
    #[error("the account at {issuer} is not usable")]
    Account {
        /// The issuer's name.
        issuer: String,
        /// Why.
        source: AccountError,
    },
    /// The request cannot be made.
    #[error("the certificate cannot be requested")]
    Csr(#[from] CsrError),
    /// The key cannot be made or read.
    #[error("the certificate's key cannot be used")]
    Key(#[from] KeyError),
    /// A journal without the CSR or key its stage promises.
    #[error("the stored order has no usable CSR; remove its record and order anew")]
    NoCsr,
    /// A stored certificate whose validity ends before it begins.
    #[error("the stored certificate has no validity; remove its record and order anew")]
    Lifetime,
    /// A stored chain cannot be read.
    #[error("the stored certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// The CA did not revoke a certificate.
    #[error("the certificate is not revoked")]
    Revocation(#[source] ProtocolError),
    /// An issuer that is not in the list.
    #[error("there is no issuer {name}; the certificate is from a list that had one")]
    UnknownIssuer {
        /// Its name.
        name: String,
    },
    /// Nothing to order for.
    #[error("a certificate needs at least one name or address")]
    NoIdentifier,
    /// More names than any of the issuers takes.
    #[error(
        "{found} names in one certificate, the CA takes at most {limit}; make several of it, or raise the issuer's max_names"
    )]
    TooManyNames {
        /// How many.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Nobody to order from.
    #[error("an engine needs at least one issuer")]
    NoIssuer,
    /// A stored record cannot be read.
    #[error("a stored record cannot be read")]
    Record(#[from] RecordError),
    /// Two issuers cannot be told apart.
    #[error("two issuers are called {name}; give each its own name")]
    SameName {
        /// The name.
        name: String,
    },
    /// The store failed, or the right to order was lost: what was begun is gone on with
    /// next time.
    #[error("the store does not let the order go on")]
    Storage(#[from] StorageError),
    /// A mistake of ours.
    #[error("an order took a step that its journal does not allow")]
    Journal(#[from] WrongStage),
}
