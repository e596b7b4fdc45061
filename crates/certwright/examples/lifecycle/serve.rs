//! The server side: names, the certificate each one gets, and handshakes while certificates change.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use certwright::{Manager, ResourceName, publish};
use certwright_cert_model::ValidatedSpec;
use certwright_cert_model::name::DnsPattern;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT};
use certwright_cert_model::usage::ExtendedKeyUsage;
use certwright_issuance::Certificate;
use certwright_sni_store::{CertStore, DefaultEntry, PairLoader, Query, Resolver, SelectionPolicy};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::clock::Clock;
use crate::report::table;
use crate::wire::{Server, connect};

/// A TLS server that answers for every certificate with `server auth`.
pub(crate) struct Front {
    server: Server,
    store: CertStore<CertifiedKey>,
    loader: PairLoader,
    provider: Arc<CryptoProvider>,
    clock: Clock,
    names: Vec<String>,
}

impl Front {
    pub(crate) fn start(
        manager: &Manager,
        clock: &Clock,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn Error>> {
        let default = DefaultEntry::self_signed(provider.clone(), Arc::new(clock.clone()));
        let store = CertStore::with_default(SelectionPolicy::Best, default);
        let resolver = Resolver::new(store.clone(), Arc::new(clock.clone()));
        let config = ServerConfig::builder_with_details(provider.clone(), Arc::new(clock.clone()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let mut front = Self {
            server: Server::start(Arc::new(config))?,
            store,
            loader: PairLoader::new(provider.clone()),
            provider: provider.clone(),
            clock: clock.clone(),
            names: Vec::new(),
        };
        front.publish(manager)?;
        for (_, spec) in servers(manager) {
            for pattern in &spec.names().dns {
                front.names.push(match pattern {
                    DnsPattern::Exact(name) => name.to_string(),
                    DnsPattern::Wildcard(base) => format!("anything.{base}"),
                });
            }
        }
        Ok(front)
    }

    /// Swaps in what the manager holds now.
    pub(crate) fn publish(&self, manager: &Manager) -> Result<(), Box<dyn Error>> {
        let secrets = servers(manager).filter_map(|(name, _)| manager.secret_of(name));
        let report = publish(&self.store, &self.loader, secrets);
        match report.rejected.first() {
            Some(rejection) => Err(format!("{}: {}", rejection.origin, rejection.error).into()),
            None => Ok(()),
        }
    }

    /// Whether there is a name to connect to.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Connects once per name, and once for a name nobody has, and prints what was served and why.
    pub(crate) fn tour(&self, manager: &Manager) -> Result<(), Box<dyn Error>> {
        let config = self.client(manager)?;
        let mut rows = vec![["SERVER NAME", "SERVED", "WHY", "CLIENT"].map(str::to_owned)];
        for name in self
            .names
            .iter()
            .map(String::as_str)
            .chain(["nobody.invalid"])
        {
            let answer = connect(
                self.server.address(),
                ServerName::try_from(name.to_owned())?,
                config.clone(),
            );
            let current = self.store.current();
            let selection = current
                .select(&Query::new(name, self.clock.now()))
                .ok_or("nothing to serve")?;
            let id = selection
                .entry()
                .map_or("the default", |entry| entry.id().as_str());
            let verdict = match answer {
                Err(error) => format!("refused: {error}"),
                Ok(chain) if chain == selection.payload().cert => "verified".to_owned(),
                Ok(_) => {
                    return Err(
                        format!("{name}: the wire carried another certificate than {id}").into(),
                    );
                }
            };
            let why = format!("{:?}", selection.matched()).to_lowercase();
            rows.push([name.to_owned(), id.to_owned(), why, verdict]);
        }
        table(&rows);
        Ok(())
    }

    /// Handshakes on two threads for as long as `renew` runs; how many succeeded, and why the others failed.
    pub(crate) fn under_load<T>(
        &self,
        config: &Arc<ClientConfig>,
        renew: impl FnOnce(&Load) -> T,
    ) -> (T, usize, Vec<String>) {
        let load = Load::default();
        let stop = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (load, stop) = (&load, &stop);
                scope.spawn(move || {
                    let names = self.names.iter().cycle().skip(thread);
                    for name in names.take_while(|_| !stop.load(Ordering::Relaxed)) {
                        load.report(thread, self.handshake(name, config.clone()));
                    }
                });
            }
            let done = renew(&load);
            stop.store(true, Ordering::Relaxed);
            done
        });
        let counts = load
            .counts
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (done, counts.succeeded, counts.failed)
    }

    fn handshake(&self, name: &str, config: Arc<ClientConfig>) -> Result<(), String> {
        let server = ServerName::try_from(name.to_owned()).map_err(|e| format!("{name}: {e}"))?;
        connect(self.server.address(), server, config).map_err(|e| format!("{name}: {e}"))?;
        Ok(())
    }

    /// A client that trusts the CAs of what is served.
    pub(crate) fn client(&self, manager: &Manager) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        for (name, _) in servers(manager) {
            // Without ca.crt, as in a Secret made elsewhere, a self-signed certificate is its own root.
            let pem = manager
                .secret_of(name)
                .and_then(|secret| secret.get(CA_CRT).or_else(|| secret.get(TLS_CRT)))
                .unwrap_or_default();
            for certificate in Certificate::read_pem(pem)? {
                roots.add(certificate.der().clone())?;
            }
        }
        let mut config =
            ClientConfig::builder_with_details(self.provider.clone(), Arc::new(self.clock.clone()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        // A resumed session shows no certificate, and so would prove nothing.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// What the threads that hammer the server report.
#[derive(Default)]
pub(crate) struct Load {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    succeeded: usize,
    failed: Vec<String>,
    /// How many came to an end, by thread.
    ended: [usize; THREADS],
}

const THREADS: usize = 2;

impl Load {
    fn report(&self, thread: usize, result: Result<(), String>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.ended[thread] += 1;
        match result {
            Ok(()) => counts.succeeded += 1,
            Err(error) => counts.failed.push(error),
        }
        self.changed.notify_all();
    }

    /// Waits until on each thread so many more handshakes have come to an end: those that began before are over.
    pub(crate) fn wait_for_more(&self, handshakes: usize) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let target = counts.ended.map(|ended| ended + handshakes);
        let waits = |counts: &mut Counts| counts.ended.iter().zip(target).any(|(at, to)| *at < to);
        let waited = self.changed.wait_while(counts, waits);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The Certificates a server can show, as far as they are issued.
fn servers(manager: &Manager) -> impl Iterator<Item = (&ResourceName, &ValidatedSpec)> {
    let shows = |spec: &ValidatedSpec| {
        !spec.is_ca()
            && spec
                .usages()
                .extended
                .contains(&ExtendedKeyUsage::ServerAuth)
    };
    manager
        .inventory()
        .certificates()
        .filter(move |(name, spec)| shows(spec) && manager.secret_of(name).is_some())
}
