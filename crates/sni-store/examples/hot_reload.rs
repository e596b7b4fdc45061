//! A gateway: ends TLS for every certificate of a directory, follows the directory, and passes what
//! clients send to a backend:
//! `cargo run -p certwright-sni-store --example hot_reload -- DIRECTORY 127.0.0.1:8443 127.0.0.1:8080`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use certwright_sni_store::{
    CertAcceptor, CertDir, CertStore, Challenges, DefaultEntry, DirWatch, PairLoader, Resolver,
    SelectionPolicy, WatchEvent, WatchOptions,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::time_provider::DefaultTimeProvider;
use time::OffsetDateTime;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(address), Some(backend)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("expected a directory, an address to listen on and one to pass on to".into());
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clock = Arc::new(DefaultTimeProvider);
    let default = DefaultEntry::self_signed(provider.clone(), clock.clone());
    let store = CertStore::with_default(SelectionPolicy::Best, default);
    store.track_use();

    let loader = PairLoader::new(provider.clone()).with_lazy_keys();
    let directory = CertDir::new(directory, loader.clone());
    let settings = WatchOptions::default();
    let (_watch, report) = DirWatch::start(store.clone(), directory, settings, tell)?;
    tell(WatchEvent::Reloaded(report));

    // Keys wait for their first signature; a little work each now and then spares clients the wait.
    // Staples whose time is over are of no use to anybody.
    let housekeeping = store.clone();
    std::thread::spawn(move || {
        loop {
            while loader.warm_up(16) > 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            housekeeping.drop_expired_staples(OffsetDateTime::now_utc());
            std::thread::sleep(Duration::from_secs(60));
        }
    });

    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(store.clone(), clock.clone())));
    // An ACME client puts its answers in there, by name, and takes them out again.
    let challenges = Challenges::new();
    let resolver = Resolver::new(store, clock).with_challenges(challenges);
    let acceptor = CertAcceptor::new(Arc::new(config), resolver);
    let listener = TcpListener::bind(address).await?;
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
        let (acceptor, backend) = (acceptor.clone(), backend.clone());
        tokio::spawn(async move {
            if let Err(error) = pass_on(&acceptor, stream, &backend).await {
                println!("{peer}: {error}");
            }
        });
    }
}

async fn pass_on(
    acceptor: &CertAcceptor,
    stream: TcpStream,
    backend: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let local = stream.local_addr()?.ip();
    let Some(mut stream) = acceptor.accept(stream, Some(local)).await? else {
        return Ok(());
    };
    let mut backend = TcpStream::connect(backend).await?;
    copy_bidirectional(&mut stream, &mut backend).await?;
    Ok(())
}

fn tell(event: WatchEvent) {
    match event {
        WatchEvent::Reloaded(report) => println!("{report:#}"),
        WatchEvent::Failed(error) => println!("{error}"),
        other => println!("{other:?}"),
    }
}
