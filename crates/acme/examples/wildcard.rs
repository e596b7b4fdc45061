//! One certificate for a name and everything below it, by DNS-01, into a directory that
//! the next run goes on with.
//!
//! `cargo run -p certwright-acme --example wildcard --features platform-roots -- ./hook example.org`
//!
//! The hook is a program of yours, called like lego's `exec` provider: `present` or
//! `cleanup`, the record's name with its last dot, the value. It must add the value to
//! those that are there. `ACME_DIRECTORY`, `ACME_ROOT` and `ACME_STORAGE` as in
//! `https_server`; `DNS_DELAY` is how many seconds the world needs to see a change.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::Solvers;
use certwright_acme::challenge::dns01::{Dns01, DnsError, DnsProvider, TxtRecord};
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(hook), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("expected a hook and a name".into());
    };
    let variable = |name, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let http = match std::env::var("ACME_ROOT") {
        Ok(file) => HttpOptions::new(vec![CertificateDer::from_pem_file(file)?]),
        Err(_) => HttpOptions::system()?,
    };
    let delay = Duration::from_secs(variable("DNS_DELAY", "30").parse()?);
    let dns = Dns01::new(Arc::new(Hook(hook.into()))).with_delay(delay);
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
