//! One replica: an engine on etcd, its keeper, and answers to HTTP-01.

use std::collections::HashMap;
use std::env::{self, VarError};
use std::error::Error;
use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::Solvers;
use certwright_acme::event::Event;
use certwright_acme::http::HttpOptions;
use certwright_acme::limits::Quotas;
use certwright_acme::protocol::Protocol;
use certwright_acme::{
    AcmeServer, CertId, CertificateSink, Engine, IssuedCertificate, Issuer, Keeper, Options,
    TokioRuntime, Wanted,
};
use certwright_renewal::RenewalPolicy;
use certwright_storage::{EtcdOptions, EtcdStorage, Storage};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A server would put the certificate into its TLS configuration.
#[derive(Debug, Default)]
struct Serving(Mutex<HashMap<CertId, u64>>);

impl CertificateSink for Serving {
    fn publish(&self, id: &CertId, certificate: &Arc<IssuedCertificate>) {
        let generation = certificate.generation();
        let mut serving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if serving.insert(id.clone(), generation) != Some(generation) {
            let name = certificate.identifiers().first();
            let name = name.map(ToString::to_string).unwrap_or_default();
            println!("SERVES {name} {generation}");
        }
    }

    fn remove(&self, id: &CertId) {
        println!("REMOVED {id}");
    }
}

/// Lines of the standard input, without holding up anything else.
pub(crate) fn input() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn setting(name: &str) -> Result<String, VarError> {
    env::var(format!("REPLICA_{name}"))
}

/// Lives until its input ends. `wrap` is for those who test it.
pub(crate) async fn live(
    mut told: UnboundedReceiver<String>,
    wrap: impl FnOnce(EtcdStorage, AcmeServer) -> (Arc<dyn Storage>, Arc<dyn Protocol>),
) -> Result<(), Box<dyn Error>> {
    // What all replicas share.
    let endpoints = setting("ETCD")?;
    let mut etcd = EtcdOptions::new(endpoints.split(','));
    etcd.request_timeout = Duration::from_secs(2);
    etcd.total_timeout = Duration::from_secs(4);
    let etcd = EtcdStorage::new(etcd)?;

    // The CA, and this replica's engine.
    let directory = setting("DIRECTORY")?;
    let root = std::fs::read(setting("ROOT")?)?;
    let mut http = HttpOptions::new(vec![root.into()]);
    http.timeout = Duration::from_secs(20);
    let server = AcmeServer::new(&directory, http)?;
    let (storage, protocol) = wrap(etcd, server);
    let account = AccountSpec::new(&directory);
    let mut issuer = Issuer::new("ca", account, protocol, Solvers::http01());
    issuer.quotas = Quotas::unlimited();
    let mut options = Options::default();
    options.owner = setting("OWNER")?;
    options.lease = Duration::from_secs(setting("LEASE")?.parse()?);
    let engine = Engine::new(storage, Arc::new(TokioRuntime), vec![issuer], options)?;

    // Answers for all replicas' orders.
    let listener = engine.http01().listen(([127, 0, 0, 1], 0).into()).await?;
    println!("PORT {}", listener.address().port());

    let names: Arc<Mutex<HashMap<CertId, String>>> = Arc::default();
    let named = Arc::clone(&names);
    let mut events = engine.events().listen();
    tokio::spawn(async move {
        let name = |id: &CertId| {
            let names = named.lock().unwrap_or_else(PoisonError::into_inner);
            names.get(id).cloned().unwrap_or_default()
        };
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Step { id, stage }) => println!("STEP {} {stage}", name(&id)),
                Ok(Event::Issued { id, .. }) => println!("ISSUED {}", name(&id)),
                Ok(Event::Failed { id, failure, .. }) => {
                    println!(
                        "FAILED {} {:?} {}",
                        name(&id),
                        failure.class,
                        failure.detail
                    );
                }
                other => println!("EVENT {other:?}"),
            }
        }
    });
    let serving = Arc::new(Serving::default());
    let mut keeper = Keeper::new(engine.clone(), RenewalPolicy::default(), serving);
    while let Some(line) = told.recv().await {
        let Some(name) = line.strip_prefix("want ") else {
            println!("UNKNOWN {line}");
            continue;
        };
        let wanted = Wanted::new(vec![name.parse()?]);
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(engine.id(&wanted), name.to_owned());
        drop(names);
        keeper.want(wanted);
    }
    Ok(())
}
