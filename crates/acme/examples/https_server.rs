//! A web server that gets its own certificate, by HTTP-01 or TLS-ALPN-01, whichever
//! works, and keeps it renewed; a directory is its storage.
//!
//! `cargo run -p certwright-acme --example https_server --features http-server,platform-roots -- you@example.org www.example.org`
//!
//! | variable | default |
//! |---|---|
//! | `ACME_DIRECTORY` | Let's Encrypt's staging directory |
//! | `ACME_ROOT` | the machine's roots; else a PEM file |
//! | `ACME_STORAGE` | `acme` |
//! | `HTTP_PORT`, `HTTPS_PORT` | 80, 443 |
//!
//! The staging directory's certificates are trusted by no browser, and its limits are wide;
//! `ACME_DIRECTORY=https://acme-v02.api.letsencrypt.org/directory` gets real ones, also after
//! staging with the same storage.
//!
//! To try it on one machine, with Debian's `pebble`, whose own certificate `ACME_ROOT` verifies and
//! whose configuration has 5002 and 5001 as `httpPort` and `tlsPort`:
//! `ACME_DIRECTORY=https://127.0.0.1:14000/dir ACME_ROOT=ca.pem HTTP_PORT=5002 HTTPS_PORT=5001`.

use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::tls_alpn01::{AlpnSink, ChallengeCertificate};
use certwright_acme::challenge::{Pause, Solvers};
use certwright_acme::config::LETS_ENCRYPT_STAGING;
use certwright_acme::event::Event;
use certwright_acme::http::HttpOptions;
use certwright_acme::{
    AcmeServer, CertId, CertificateSink, Engine, Identifier, IssuedCertificate, Issuer, Keeper,
    Options, Strangers, TokioRuntime, Wanted,
};
use certwright_renewal::RenewalPolicy;
use certwright_sni_store::{
    ACME_TLS_ALPN, CertStore, Challenges, ChangeSet, PairLoader, PemPair, Resolver, SelectionPolicy,
};
use certwright_storage::{FileOptions, FileStorage};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Certificates and challenges on their way to TLS.
#[derive(Debug)]
struct Serving {
    store: CertStore<CertifiedKey>,
    loader: PairLoader,
    challenges: Challenges<CertifiedKey>,
}

impl CertificateSink for Serving {
    fn publish(&self, id: &CertId, certificate: &Arc<IssuedCertificate>) {
        let pair = PemPair {
            chain: certificate.chain_pem().as_bytes(),
            key: certificate.key_pem().as_bytes(),
        };
        let mut change = ChangeSet::new();
        match self.loader.load(id.as_str(), pair) {
            Ok(entry) => change.put(entry),
            Err(error) => change.reject(id.as_str(), error),
        };
        println!("{}", self.store.apply(change));
    }

    fn remove(&self, id: &CertId) {
        let mut change = ChangeSet::new();
        change.remove(id.as_str());
        println!("{}", self.store.apply(change));
    }
}

impl AlpnSink for Serving {
    fn answer(&self, name: &str, certificate: ChallengeCertificate) {
        let key = aws_lc_rs::sign::any_supported_type(&certificate.key);
        let answer = key.map(|key| CertifiedKey::new(vec![certificate.certificate], key));
        if let Ok(answer) = answer {
            // A name of the CA's own making.
            let _ = self.challenges.insert(name, answer);
        }
    }

    fn forget(&self, name: &str) {
        self.challenges.remove(name);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await;
    eprintln!("{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

async fn run() -> Result<Infallible, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let email = arguments.next().filter(|email| email.contains('@'));
    let email = email.ok_or("usage: https_server you@example.org www.example.org...")?;
    let names: Vec<Identifier> = arguments
        .map(|name| name.parse().map_err(|error| format!("{name}: {error}")))
        .collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err("expected at least one name after the e-mail address".into());
    }
    let variable = |name, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let serving = Arc::new(Serving {
        store: CertStore::new(SelectionPolicy::Best),
        loader: PairLoader::new(provider.clone()),
        challenges: Challenges::new(),
    });

    // The CA, the account there, and how to prove control.
    let http = match std::env::var("ACME_ROOT") {
        Ok(file) => {
            let root = CertificateDer::from_pem_file(&file);
            HttpOptions::new(vec![root.map_err(|error| format!("{file}: {error}"))?])
        }
        Err(_) => HttpOptions::system()?,
    };
    let directory = variable("ACME_DIRECTORY", LETS_ENCRYPT_STAGING);
    let mut account = AccountSpec::new(&directory);
    account.registration.contacts = vec![format!("mailto:{email}")];
    let mut solvers = Solvers::http01();
    solvers.tls_alpn01 = Some(Pause::default());
    let ca = Arc::new(AcmeServer::new(&directory, http)?);
    // By this name it knows its own certificates.
    let issuer = Issuer::new(&directory, account, ca, solvers);

    // The engine, its storage, and who keeps it going.
    let storage = variable("ACME_STORAGE", "acme");
    let storage = Arc::new(FileStorage::open(
        Path::new(&storage),
        FileOptions::default(),
    )?);
    let mut options = Options::default();
    options.alpn = Some(serving.clone());
    options.strangers = Strangers::Replace;
    let engine = Engine::new(storage, Arc::new(TokioRuntime), vec![issuer], options)?;
    let port = port("HTTP_PORT", 80)?;
    let answering = engine.http01().listen(([0, 0, 0, 0], port).into()).await;
    let _answering = answering.map_err(|error| format!("port {port} (HTTP_PORT): {error}"))?;
    let mut events = engine.events().listen();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => tell(&event),
                Err(missed) => println!("{missed}"),
            }
        }
    });
    let port = self::port("HTTPS_PORT", 443)?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await;
    let listener = listener.map_err(|error| format!("port {port} (HTTPS_PORT): {error}"))?;
    let mut keeper = Keeper::new(engine, RenewalPolicy::default(), serving.clone());
    keeper.want(Wanted::new(names));

    // A server like any other.
    let resolver = Resolver::new(serving.store.clone(), Arc::new(DefaultTimeProvider))
        .with_challenges(serving.challenges.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), ACME_TLS_ALPN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    println!("listening on port {port}");
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client gone already, or too many of them for a while: no reason to stop serving.
                println!("{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let served = async {
                let mut stream = acceptor.accept(stream).await?;
                // A CA that looks at a challenge says nothing more.
                if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS_ALPN) {
                    return Ok(());
                }
                let hello =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n";
                stream.write_all(hello).await?;
                stream.shutdown().await
            };
            match tokio::time::timeout(PATIENCE, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => println!("{peer}: {error}"),
                Err(_) => println!("{peer}: not served within {PATIENCE:?}"),
            }
        });
    }
}

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn port(name: &str, default: u16) -> Result<u16, String> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{name}: {text:?} is no port")),
        Err(_) => Ok(default),
    }
}

fn tell(event: &Event) {
    match event {
        // For the next renewal, or for the next attempt, of which a failure tells.
        Event::Step {
            stage: "waiting", ..
        } => {}
        Event::Step { stage, .. } => println!("order: {stage}"),
        Event::Issued { certificate, .. } => {
            println!("issued, valid until {}", certificate.not_after());
        }
        Event::Failed {
            failure, next_at, ..
        } => match next_at {
            Some(at) => println!("failed: {}; again at {at}", failure.detail),
            None => println!("failed: {}", failure.detail),
        },
        other => println!("{other:?}"),
    }
}
