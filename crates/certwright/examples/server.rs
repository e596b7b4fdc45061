//! A web server that keeps its own certificates: manifests in a directory, HTTPS out.
//!
//! ```console
//! $ cargo run -p certwright --features acme,run --example server -- my-manifests/ secrets/
//! ```
//!
//! with, for example, in `my-manifests/`:
//!
//! ```yaml
//! apiVersion: cert-manager.io/v1
//! kind: Issuer
//! metadata: {name: letsencrypt, namespace: default}
//! spec:
//!   acme:
//!     server: https://acme-staging-v02.api.letsencrypt.org/directory
//!     email: you@example.org
//!     privateKeySecretRef: {name: account}
//!     solvers: [{http01: {}}]
//! ---
//! apiVersion: cert-manager.io/v1
//! kind: Certificate
//! metadata: {name: www, namespace: default}
//! spec:
//!   secretName: www
//!   dnsNames: [www.example.org]
//!   issuerRef: {name: letsencrypt}
//! ```
//!
//! Issuers with `ca` or `selfSigned` work as well (try `examples/manifests`), and Secrets in the directory are where
//! CAs made elsewhere come from. Challenges are answered on both ports, whichever the CA asks. Manifests may change at
//! any time; each line on standard input, such as `default/www`, asks for a new certificate. `HTTP_PORT` and
//! `HTTPS_PORT` are 80 and 443 by default.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certwright::acme::AcmeIssuers;
use certwright::run::{DirStore, Event, Handle, Runner, Source};
use certwright::{ACME_GROUP, Outcome, ResourceName, SecretDir, SniPublisher};
use certwright_sni_store::{
    ACME_TLS_ALPN, CertStore, Challenges, PairLoader, Resolver, SelectionPolicy,
};
use certwright_storage::{FileOptions, FileStorage};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::time_provider::DefaultTimeProvider;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How often manifests and Secrets are looked at.
const POLL: Duration = Duration::from_secs(2);
/// How long a client may take for all it wants.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(manifests), Some(secrets)) = (arguments.next(), arguments.next()) else {
        return Err("usage: server MANIFESTS SECRETS".into());
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let served = CertStore::new(SelectionPolicy::Best);
    let challenges = Challenges::new();

    // Who signs beside the issuers that are built in; accounts and orders are kept in a directory of their own.
    let storage = FileStorage::open(&secrets.join(".acme"), FileOptions::default())?;
    let acme = AcmeIssuers::new(Arc::new(storage)).with_tls_alpn01(challenges.clone());
    let _http = acme
        .http01()
        .listen(([0, 0, 0, 0], port("HTTP_PORT", 80)?).into())
        .await?;

    // What keeps it all true.
    let store = DirStore::new(SecretDir::new(secrets), POLL);
    let mut runner = Runner::new(store, OffsetDateTime::now_utc);
    runner.source = Some(Source::Paths {
        paths: vec![manifests],
        poll: POLL,
    });
    runner.register(ACME_GROUP, "Issuer", Arc::new(acme));
    let loader = PairLoader::new(provider.clone());
    runner.publish_to(SniPublisher::new(served.clone(), loader));
    runner.on_event(tell);
    tokio::spawn(commands(runner.handle()));

    // A server like any other.
    let resolver = Resolver::new(served, Arc::new(DefaultTimeProvider)).with_challenges(challenges);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), ACME_TLS_ALPN.to_vec()];
    let listener = TcpListener::bind(("0.0.0.0", port("HTTPS_PORT", 443)?)).await?;
    println!("serving on {}", listener.local_addr()?);
    tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config))));

    let stop = async {
        // Without signals it runs until it is killed, which is as good.
        if tokio::signal::ctrl_c().await.is_err() {
            core::future::pending::<()>().await;
        }
    };
    runner.run(stop).await;
    Ok(())
}

fn port(variable: &str, default: u16) -> Result<u16, String> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|error| format!("{variable}: {error}")),
        Err(_) => Ok(default),
    }
}

/// What happens, a line each.
fn tell(event: &Event<'_>) {
    match event {
        Event::Certificate { name, outcome, .. } => match outcome {
            Outcome::Issued {
                reason, revision, ..
            } => println!("{name}: certificate {revision} issued: {reason}"),
            Outcome::Failed { error, retry } => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    text = format!("{text}: {error}");
                    cause = error.source();
                }
                println!("{name}: {text} (next attempt at {retry})");
            }
            Outcome::Kept(Some(schedule)) => println!("{name}: good until {}", schedule.due()),
            Outcome::Ordered { reason } => println!("{name}: ordered: {reason}"),
            other => println!("{name}: {other:?}"),
        },
        Event::Document(problem) => println!("{problem}"),
        Event::Store(error) => println!("{error}"),
        _ => {}
    }
}

/// Asks for a new certificate of each Certificate that is named on standard input.
async fn commands(handle: Handle) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.trim().split_once('/') {
            Some((namespace, name)) => {
                handle.renew(ResourceName::new(namespace, name));
            }
            None => println!("{line}: write NAMESPACE/CERTIFICATE"),
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(PATIENCE, answer(stream, acceptor)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => println!("{peer}: {error}"),
                        Err(_) => println!("{peer}: too slow"),
                    }
                });
            }
            // Out of file descriptors, for a moment.
            Err(error) => {
                println!("{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Says hello to whoever asks for anything.
async fn answer(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS_ALPN) {
        // The handshake was the answer.
        return stream.shutdown().await;
    }
    let mut request = [0; 4096];
    let _asked = stream.read(&mut request).await?;
    let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n";
    stream.write_all(hello).await?;
    stream.shutdown().await
}
