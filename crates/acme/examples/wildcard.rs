//! One certificate for a name and everything below it, by DNS-01, into a directory that
//! the next run goes on with.
//!
//! `cargo run -p certwright-acme --example wildcard --features dns-providers,platform-roots -- example.org`
//!
//! `DNS_PROVIDER` is a provider of the table in `docs/dns-providers.md`, whose variables
//! hold the credentials, or else `DNS_HOOK` is a program of yours, called like lego's
//! `exec` provider: `present` or `cleanup`, the record's name with its last dot, the
//! value. It must add the value to those that are there. `DNS_DELAY` is how many seconds
//! the world needs to see a change; with a provider and `DNS_RESOLVERS`, addresses with
//! their ports, it is looked for there and in the zone.
//! `ACME_DIRECTORY`, `ACME_ROOT` and `ACME_STORAGE` as in `https_server`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::Solvers;
use certwright_acme::challenge::dns01::providers::NamedProvider;
use certwright_acme::challenge::dns01::{Dns01, DnsError, DnsProvider, Propagation, TxtRecord};
use certwright_acme::config::LETS_ENCRYPT_STAGING;
use certwright_acme::http::HttpOptions;
use certwright_acme::{
    AcmeServer, Demand, Engine, Issuer, Options, Outcome, Runtime, Task, TokioRuntime, Wanted,
};
use certwright_storage::{FileOptions, FileStorage};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A program that changes a zone.
#[derive(Debug)]
struct Hook(PathBuf);

impl Hook {
    async fn run(&self, verb: &'static str, record: &TxtRecord) -> Result<(), DnsError> {
        let (hook, name) = (self.0.clone(), format!("{}.", record.name));
        let value = record.value.clone();
        let run = move || {
            std::process::Command::new(hook)
                .args([verb, &name, &value])
                .status()
        };
        let ended = tokio::task::spawn_blocking(run).await;
        let reason = match ended {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("the hook ended with {status}"),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(DnsError::Provider {
            provider: self.0.display().to_string(),
            name: record.name.clone(),
            reason,
        })
    }
}

impl DnsProvider for Hook {
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        Box::pin(self.run("present", record))
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        Box::pin(self.run("cleanup", record))
    }
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or(default.to_owned())
}

/// By the provider that is named, or by the hook.
fn dns() -> Result<Dns01, Box<dyn Error>> {
    let Ok(name) = std::env::var("DNS_PROVIDER") else {
        let hook = std::env::var("DNS_HOOK").map_err(|_| "set DNS_PROVIDER or DNS_HOOK")?;
        let delay = Duration::from_secs(variable("DNS_DELAY", "30").parse()?);
        return Ok(Dns01::new(Arc::new(Hook(hook.into()))).with_delay(delay));
    };
    let servers = variable("DNS_RESOLVERS", "1.1.1.1:53,9.9.9.9:53");
    let servers: Result<Vec<SocketAddr>, _> = servers.split(',').map(str::parse).collect();
    let view = Propagation::new(servers?);
    let get = |name: &str| std::env::var(name).ok();
    let provider = NamedProvider::from_environment(&name, get, view.clone())?;
    let delay = Duration::from_secs(variable("DNS_DELAY", "0").parse()?);
    let (timeout, poll) = (provider.propagation_timeout(), provider.polling_interval());
    let mut dns = Dns01::new(Arc::new(provider)).with_view(Arc::new(view));
    dns.propagation_timeout = timeout.unwrap_or(dns.propagation_timeout);
    dns.poll = poll.unwrap_or(dns.poll);
    Ok(dns.with_delay(delay))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("expected a name")?;
    let http = match std::env::var("ACME_ROOT") {
        Ok(file) => HttpOptions::new(vec![CertificateDer::from_pem_file(file)?]),
        Err(_) => HttpOptions::system()?,
    };
    let dns = dns()?;
    let directory = variable("ACME_DIRECTORY", LETS_ENCRYPT_STAGING);
    let ca = Arc::new(AcmeServer::new(&directory, http)?);
    let issuer = Issuer::new("ca", AccountSpec::new(&directory), ca, Solvers::dns01(dns));
    let storage = variable("ACME_STORAGE", "acme");
    let storage = Arc::new(FileStorage::open(
        Path::new(&storage),
        FileOptions::default(),
    )?);
    let runtime = Arc::new(TokioRuntime);
    let engine = Engine::new(storage, runtime.clone(), vec![issuer], Options::default())?;

    let wanted = Wanted::new(vec![name.parse()?, format!("*.{name}").parse()?]);
    loop {
        match engine.obtain(&wanted, Demand::Missing).await? {
            Outcome::Issued(certificate) | Outcome::Current(certificate) => {
                print!("{}", certificate.chain_pem());
                return Ok(());
            }
            Outcome::Waiting { until, failure } => {
                eprintln!("again at {until}: {failure:?}");
                let pause = Duration::try_from(until - runtime.now()).unwrap_or_default();
                runtime.sleep(pause).await;
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
}
