//! Issuers with `spec.acme`: certificates from ACME CAs, through the engine of `certwright_acme`.
//!
//! ```
//! use std::sync::Arc;
//! use certwright::acme::AcmeIssuers;
//! use certwright::{ACME_GROUP, Inventory, Manager};
//! use certwright_sni_store::Challenges;
//! use certwright_storage::MemoryStorage;
//!
//! let challenges = Challenges::new(); // the resolver's own, see `Resolver::with_challenges`
//! let issuers = AcmeIssuers::new(Arc::new(MemoryStorage::default())).with_tls_alpn01(challenges);
//! let _http01 = issuers.http01(); // ask it for what comes to port 80
//! let mut manager = Manager::new(Inventory::default(), []);
//! manager.register(ACME_GROUP, "Issuer", Arc::new(issuers));
//! ```
//!
//! The manager makes key and CSR and keeps the Secret, by the same rules as for any other issuer. What has to survive a
//! crash between two requests to the CA is in the storage: accounts, orders under way with their keys, quotas, renewal
//! information, and the certificates that were obtained, of which renewals say what they replace. A certificate that
//! the CA has made and that came into no Secret, because the process died in between, goes there at the next start,
//! with its key; a certificate that was in its Secret once is never handed out again, so that a Secret that somebody
//! deleted comes back with another key. An order whose Certificate is deleted, or asks for something else, is given up.
//!
//! | `spec.acme` | here |
//! |---|---|
//! | `server`, `email`, `preferredChain`, `profile` | as in cert-manager |
//! | `caBundle` | the only roots that are trusted for the server; else [`with_roots`](AcmeIssuers::with_roots), else the machine's |
//! | `skipTLSVerify: true` | refused |
//! | `privateKeySecretRef` | names an account; its key is made here and stays in the storage |
//! | `externalAccountBinding` | the key is read from its Secret |
//! | `solvers[].http01` | answered by [`http01`](AcmeIssuers::http01), or as TLS-ALPN-01 ([`with_tls_alpn01`](AcmeIssuers::with_tls_alpn01)), which cert-manager has no word for; what it says about Ingresses and Gateways is not used |
//! | `solvers[].dns01` | by a provider that code brings ([`with_dns01`](AcmeIssuers::with_dns01)); one for an issuer |
//! | `solvers[].selector` | `dnsNames` and `dnsZones`; `matchLabels` is refused |
//! | `renewalInformationSource` | `ARI`, which is the default, or `None` |
//! | `disableAccountKeyGeneration`, `enableDurationFeature` | refused |

mod account;
mod challenge;
mod order;
mod solver;
mod suggest;
#[cfg(test)]
mod testing;
mod unwanted;

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use certwright_acme::challenge::dns01::Dns01;
use certwright_acme::challenge::http01::Http01;
use certwright_acme::challenge::tls_alpn01::AlpnSink;
use certwright_acme::limits::Quotas;
use certwright_acme::{Engine, Options, Runtime, TokioRuntime};
use certwright_sni_store::{Challenges, Source};
use certwright_storage::Storage;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

pub use self::challenge::ChallengeSink;
use self::suggest::Suggestions;
use self::unwanted::Orders;
use crate::issuer::{AcmeAccount, Held, Issuer, IssuerError, Issuing, Request, Suggestion, Wish};

/// All issuers with `spec.acme`, over one storage; register it with [`ACME_GROUP`](crate::ACME_GROUP) and kind `Issuer`.
///
/// Replicas may share the storage: they have one account, order a certificate once, and each answers HTTP-01 for all.
/// One of these, clones included, is for one [`Manager`](crate::Manager) or `Runner`: what that one does not want is given
/// up. Give another one its own, on the same storage.
///
/// It needs tokio, and no clock but that of its [`Runtime`].
#[derive(Clone)]
pub struct AcmeIssuers {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    engines: Mutex<BTreeMap<(String, String), (AcmeAccount, Engine)>>,
    suggestions: Suggestions,
    orders: Orders,
}

#[derive(Clone)]
struct Settings {
    storage: Arc<dyn Storage>,
    runtime: Arc<dyn Runtime>,
    options: Options,
    roots: Option<Vec<CertificateDer<'static>>>,
    quotas: Option<Quotas>,
    dns01: BTreeMap<String, Dns01>,
}

impl AcmeIssuers {
    /// Issuers on this storage, which answer HTTP-01 only.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self::with(Settings {
            storage,
            runtime: Arc::new(TokioRuntime),
            options: Options::default(),
            roots: None,
            quotas: None,
            dns01: BTreeMap::new(),
        })
    }

    /// Answers TLS-ALPN-01 through this map of a resolver too, where `http01` is written. Unlike the answers to
    /// HTTP-01, only the replica that orders has them.
    #[must_use]
    pub fn with_tls_alpn01(self, challenges: Challenges<CertifiedKey>) -> Self {
        let sink: Arc<dyn AlpnSink> = Arc::new(ChallengeSink(challenges));
        self.change(|settings| settings.options.alpn = Some(sink))
    }

    /// Answers DNS-01 so where a solver names this provider, for example `cloudflare`; a webhook's name is its
    /// `solverName`.
    #[must_use]
    pub fn with_dns01(self, provider: impl Into<String>, dns01: Dns01) -> Self {
        let provider = provider.into();
        self.change(|settings| {
            settings.dns01.insert(provider, dns01);
        })
    }

    /// Trusts these roots for the CAs' servers, where there is no `caBundle`, instead of the machine's.
    #[must_use]
    pub fn with_roots(self, roots: Vec<CertificateDer<'static>>) -> Self {
        self.change(|settings| settings.roots = Some(roots))
    }

    /// Counts these quotas for every CA. Without, they are Let's Encrypt's own for its production server, and none for
    /// others, who say themselves when it is too much.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        self.change(|settings| settings.quotas = Some(quotas))
    }

    /// Goes about it so; [`Options::alpn`] stays as it is.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        self.change(|settings| {
            let alpn = settings.options.alpn.take();
            settings.options = options;
            settings.options.alpn = alpn;
        })
    }

    /// Takes time and randomness from here, for simulations.
    #[must_use]
    pub fn with_runtime(self, runtime: Arc<dyn Runtime>) -> Self {
        self.change(|settings| settings.runtime = runtime)
    }

    /// The answers to HTTP-01 challenges, of all issuers and replicas on this storage: for the server on port 80.
    pub fn http01(&self) -> Http01 {
        Http01::new(Arc::clone(&self.inner.settings.storage))
    }

    fn with(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                engines: Mutex::default(),
                suggestions: Suggestions::default(),
                orders: Orders::default(),
            }),
        }
    }

    /// Begins anew: an engine has its settings for life.
    fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.inner.settings.clone();
        change(&mut settings);
        Self::with(settings)
    }
}

impl Inner {
    /// The engine of an issuer: the same as long as the issuer is.
    fn engine(&self, account: &AcmeAccount) -> Result<Engine, IssuerError> {
        let name = (account.namespace.clone(), account.name.clone());
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, engine)) = engines.get(&name)
            && known == account
        {
            return Ok(engine.clone());
        }
        let issuer = account::issuer(account, &self.settings)?;
        let Settings {
            storage,
            runtime,
            mut options,
            ..
        } = self.settings.clone();
        // What another issuer has signed is no certificate of this one.
        options.group = group(&account.namespace, &account.name);
        let engine = Engine::new(storage, runtime, vec![issuer], options);
        let engine = engine.map_err(IssuerError::permanent)?;
        engines.insert(name, (account.clone(), engine.clone()));
        Ok(engine)
    }

    fn all_engines(&self) -> Vec<Engine> {
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.values().map(|(_, engine)| engine.clone()).collect()
    }
}

/// What tells the certificates of an issuer apart from those of others; the namespace of a ClusterIssuer is empty.
fn group(namespace: &str, issuer: &str) -> String {
    format!("{namespace}/{issuer}")
}

impl Issuer for AcmeIssuers {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        Box::pin(async move {
            let account = request.account.as_ref();
            let account = account.ok_or_else(|| {
                IssuerError::permanent("this issuer signs for issuers with spec.acme only")
            })?;
            let engine = self.inner.engine(account)?;
            let wanted = order::wanted(&request.certificate, &request.spec)?;
            let id = engine.id(&wanted);
            let unwanted = || IssuerError::transient("nobody asks for it any more");
            let asked = self.inner.orders.begin(&id, &engine);
            let mut asked = asked.ok_or_else(unwanted)?;
            let issued = tokio::select! {
                issued = order::issue(&engine, &self.inner, account, request) => issued,
                _ = asked.changed() => return Err(unwanted()),
            };
            if issued.is_ok() {
                self.inner.orders.finish(&id, asked);
            }
            issued
        })
    }

    fn source(&self) -> Source {
        Source::Acme
    }

    fn check(&self, account: &AcmeAccount) -> Result<(), IssuerError> {
        self.inner.engine(account).map(drop)
    }

    fn wanted(&self, all: &[Wish]) {
        unwanted::wanted(&self.inner, all);
    }

    fn refused(&self, wish: &Wish) {
        if let Some(id) = unwanted::id(wish) {
            self.inner.orders.refuse(&id);
        }
    }

    fn suggestion(&self, held: &Held<'_>, now: OffsetDateTime) -> Suggestion {
        suggest::suggestion(&self.inner, held, now)
    }
}

impl fmt::Debug for AcmeIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeIssuers")
            .field("storage", &self.inner.settings.storage)
            .finish_non_exhaustive()
    }
}
