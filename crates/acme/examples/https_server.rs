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

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::tls_alpn01::{AlpnSink, ChallengeCertificate};
use certwright_acme::challenge::{Pause, Solvers};
use certwright_acme::config::LETS_ENCRYPT_STAGING;
use certwright_acme::http::HttpOptions;
use certwright_acme::{
    AcmeServer, CertId, CertificateSink, Engine, IssuedCertificate, Issuer, Keeper, Options,
    TokioRuntime, Wanted,
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
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let email = arguments
        .next()
        .ok_or("expected an e-mail address and names")?;
    let names = arguments
        .map(|name| name.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let variable = |name, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let serving = Arc::new(Serving {
        store: CertStore::new(SelectionPolicy::Best),
        loader: PairLoader::new(provider.clone()),
        challenges: Challenges::new(),
    });

    // The CA, the account there, and how to prove control.
    let http = match std::env::var("ACME_ROOT") {
        Ok(file) => HttpOptions::new(vec![CertificateDer::from_pem_file(file)?]),
        Err(_) => HttpOptions::system()?,
    };
    let directory = variable("ACME_DIRECTORY", LETS_ENCRYPT_STAGING);
    let mut account = AccountSpec::new(&directory);
    account.registration.contacts = vec![format!("mailto:{email}")];
    let mut solvers = Solvers::http01();
    solvers.tls_alpn01 = Some(Pause::default());
    let ca = Arc::new(AcmeServer::new(&directory, http)?);
    let issuer = Issuer::new("ca", account, ca, solvers);

    // The engine, its storage, and who keeps it going.
    let storage = variable("ACME_STORAGE", "acme");
    let storage = Arc::new(FileStorage::open(
        Path::new(&storage),
        FileOptions::default(),
    )?);
    let mut options = Options::default();
    options.alpn = Some(serving.clone());
    let engine = Engine::new(storage, Arc::new(TokioRuntime), vec![issuer], options)?;
    let port: u16 = variable("HTTP_PORT", "80").parse()?;
    let _listener = engine.http01().listen(([0, 0, 0, 0], port).into()).await?;
    let mut events = engine.events().listen();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            println!("{event:?}");
        }
    });
    let port: u16 = variable("HTTPS_PORT", "443").parse()?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
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
    loop {
        let (stream, peer) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let served = async {
                let mut stream = acceptor.accept(stream).await?;
                let hello =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n";
                stream.write_all(hello).await?;
                stream.shutdown().await
            };
            if let Err(error) = served.await {
                println!("{peer}: {error}");
            }
        });
    }
}
