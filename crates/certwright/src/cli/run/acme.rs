//! Issuers with `spec.acme`: where what they need is kept, and who answers their challenges.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use certwright::acme::AcmeIssuers;
use certwright::run::Runner;
use certwright::{
    ACME_GROUP, AcmeAccount, Held, Issuer, IssuerError, Issuing, Request, Suggestion, Wish,
};
use certwright_acme::challenge::http01::Http01;
use certwright_sni_store::Source;
use certwright_storage::{FileOptions, FileStorage, MemoryStorage, Storage};
use clap::Args;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};

use super::events::Events;
use super::serve::{accept, talk};
use crate::cli::with_causes;

/// What issuers with `spec.acme` are given.
#[derive(Args, Debug)]
pub(super) struct Acme {
    /// Answers HTTP-01 challenges at http://ADDRESS, port 80 as the CAs see it. Issuers with spec.acme need it.
    #[arg(long, value_name = "ADDRESS", help_heading = "ACME")]
    http_challenges: Option<SocketAddr>,
    /// Trusts these roots, in PEM, for the servers of ACME CAs instead of the machine's.
    #[arg(long, value_name = "FILE", help_heading = "ACME")]
    acme_roots: Option<PathBuf>,
}

/// Where accounts, orders and answers to challenges are kept.
#[derive(Debug)]
pub(super) enum Keeps {
    /// In this directory, opened by the process that issues: nobody else may have it open.
    Directory(PathBuf),
    /// In storage that machines share.
    Shared(Arc<dyn Storage>),
}

impl Acme {
    /// Registers the issuers, and answers challenges from now on.
    pub(super) async fn start(
        &self,
        runner: &mut Runner,
        keeps: Keeps,
        events: &Events,
    ) -> Result<(), Box<dyn Error>> {
        let roots = self.acme_roots.as_deref().map(roots).transpose()?;
        let opened = Arc::default();
        let issuers = Issuers {
            answers: self.http_challenges.is_some(),
            keeps,
            roots,
            opened: Arc::clone(&opened),
            wanted: Mutex::default(),
        };
        if let Keeps::Shared(_) = issuers.keeps {
            // Whoever issues, the CA may ask any of the machines.
            issuers.open()?;
        }
        runner.register(ACME_GROUP, "Issuer", Arc::new(issuers));
        match self.http_challenges {
            Some(address) => answer(address, opened, events).await,
            None => Ok(()),
        }
    }
}

/// The certificates of a file.
fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
    let wrong = |error: &dyn Error| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let roots: Result<Vec<_>, _> = certificates.collect();
    match roots.map_err(|error| wrong(&error))? {
        roots if roots.is_empty() => {
            Err(format!("{}: holds no certificate", path.display()).into())
        }
        roots => Ok(roots),
    }
}

/// Answers challenges of the issuers that are open, as soon as they are.
async fn answer(
    address: SocketAddr,
    opened: Arc<OnceLock<AcmeIssuers>>,
    events: &Events,
) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot answer challenges at {address}: {error}"))?;
    let local = listener.local_addr()?;
    events.say("challenges", &format!("http://{local}"));
    let none = Http01::new(Arc::new(MemoryStorage::default()));
    tokio::spawn(accept(
        listener,
        events.clone(),
        move |stream: TcpStream, _| {
            let http01 = opened
                .get()
                .map_or_else(|| none.clone(), AcmeIssuers::http01);
            async move {
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let http01 = http01.clone();
                    async move { Ok::<_, Infallible>(http01.respond(&request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                talk(connection).await;
            }
        },
    ));
    Ok(())
}

/// The issuers, which are opened when the first of them is asked.
#[derive(Debug)]
struct Issuers {
    answers: bool,
    keeps: Keeps,
    roots: Option<Vec<CertificateDer<'static>>>,
    opened: Arc<OnceLock<AcmeIssuers>>,
    /// For those that are not open yet.
    wanted: Mutex<Vec<Wish>>,
}

impl Issuers {
    fn open(&self) -> Result<&AcmeIssuers, IssuerError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let storage: Arc<dyn Storage> = match &self.keeps {
            Keeps::Directory(path) => {
                // Small files, read once: not worth a thread of their own.
                let opened = FileStorage::open(path, FileOptions::default());
                Arc::new(opened.map_err(|error| IssuerError::transient(with_causes(&error)))?)
            }
            Keeps::Shared(storage) => Arc::clone(storage),
        };
        let mut issuers = AcmeIssuers::new(storage);
        if let Some(roots) = &self.roots {
            issuers = issuers.with_roots(roots.clone());
        }
        let issuers = self.opened.get_or_init(|| issuers);
        issuers.wanted(&self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(issuers)
    }
}

impl Issuer for Issuers {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        Box::pin(async move { self.open()?.issue(request).await })
    }

    fn source(&self) -> Source {
        Source::Acme
    }

    fn check(&self, account: &AcmeAccount) -> Result<(), IssuerError> {
        check_solvers(account)?;
        if !self.answers {
            return Err(IssuerError::permanent(
                "nothing answers its challenges; start run with --http-challenges ADDRESS, port 80 as the CA sees it",
            ));
        }
        self.open()?.check(account)
    }

    fn wanted(&self, all: &[Wish]) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = all.to_vec();
        if let Some(issuers) = self.opened.get() {
            issuers.wanted(all);
        }
    }

    fn refused(&self, wish: &Wish) {
        if let Some(issuers) = self.opened.get() {
            issuers.refused(wish);
        }
    }

    fn suggestion(&self, held: &Held<'_>, now: OffsetDateTime) -> Suggestion {
        let opened = self.open();
        opened.map_or_else(
            |_| Suggestion::default(),
            |issuers| issuers.suggestion(held, now),
        )
    }
}

/// The same for those who only look: it says what is wrong with an issuer, and asks nobody.
#[derive(Debug)]
pub(in crate::cli) struct OnPaper(AcmeIssuers);

impl OnPaper {
    pub(in crate::cli) fn new() -> Self {
        let issuers = AcmeIssuers::new(Arc::new(MemoryStorage::default()));
        // Whether the machine has roots is seen where they are needed.
        Self(issuers.with_roots(Vec::new()))
    }
}

impl Issuer for OnPaper {
    fn issue<'a>(&'a self, _request: &'a Request) -> Issuing<'a> {
        Box::pin(async { Err(IssuerError::transient("only run asks ACME CAs")) })
    }

    fn source(&self) -> Source {
        Source::Acme
    }

    fn check(&self, account: &AcmeAccount) -> Result<(), IssuerError> {
        check_solvers(account)?;
        self.0.check(account)
    }
}

/// That every solver is one that this command can answer for.
fn check_solvers(account: &AcmeAccount) -> Result<(), IssuerError> {
    let solvers = &account.spec.solvers;
    match solvers.iter().any(|solver| solver.dns01.is_some()) {
        true => Err(IssuerError::permanent(
            "spec.acme.solvers: this command answers no dns01; use http01, or embed the library",
        )),
        false => Ok(()),
    }
}
