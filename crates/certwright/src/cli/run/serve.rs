//! A plain TLS server with the certificates, for trying out.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certwright::SniPublisher;
use certwright::run::Runner;
use certwright_sni_store::{
    CertAcceptor, CertStore, DefaultEntry, PairLoader, Query, Resolver, SelectionPolicy,
};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::time_provider::DefaultTimeProvider;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::events::Events;

/// How many connections are served at a time.
const CONNECTIONS: usize = 256;
/// How long one may last.
const LONGEST: Duration = Duration::from_secs(30);

/// Serves whatever the runner publishes.
pub(super) async fn start(
    runner: &mut Runner,
    address: SocketAddr,
    events: &Events,
) -> Result<(), Box<dyn Error>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clock = Arc::new(DefaultTimeProvider);
    let default = DefaultEntry::self_signed(provider.clone(), clock.clone());
    let store = CertStore::with_default(SelectionPolicy::Best, default);
    runner.publish_to(SniPublisher::new(
        store.clone(),
        PairLoader::new(provider.clone()),
    ));
    let resolver = Resolver::new(store.clone(), clock);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver.clone()));
    let acceptor = CertAcceptor::new(Arc::new(config), resolver);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot serve at {address}: {error}"))?;
    let local = listener.local_addr()?;
    events.say("serving", &format!("https://{local}"));
    tokio::spawn(accept(
        listener,
        events.clone(),
        move |stream: TcpStream, _| {
            let (acceptor, store) = (acceptor.clone(), store.clone());
            async move {
                let local = stream.local_addr().ok().map(|address| address.ip());
                // A client that breaks off, or asks for what there is not, is no event.
                let Ok(Some(stream)) = acceptor.accept(stream, local).await else {
                    return;
                };
                let name = stream
                    .get_ref()
                    .1
                    .server_name()
                    .unwrap_or_default()
                    .to_owned();
                let query = Query::new(&name, OffsetDateTime::now_utc());
                let current = store.current();
                let entry = current.select(&query);
                let entry =
                    entry.and_then(|chosen| chosen.entry().map(|entry| entry.id().to_string()));
                let what =
                    entry.map_or_else(|| "the default".to_owned(), |id| format!("Secret {id}"));
                let shown = if name.is_empty() { "no name" } else { &name };
                let text = format!("certwright serves {shown} with {what}\n");
                let service = service_fn(move |_: Request<Incoming>| {
                    let response = Response::new(text.clone());
                    async move { Ok::<_, Infallible>(response) }
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

/// Waits for a connection's end. A client that breaks off is no event.
pub(super) async fn talk<E>(connection: impl Future<Output = Result<(), E>>) {
    let _ = connection.await;
}

/// Takes connections for ever, not more than a few at a time, and none for longer than it may last.
pub(super) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    events: Events,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let served = serve(stream, peer);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(LONGEST, served).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Such as too many open files, which passes.
                events.say("serving", &format!("cannot accept: {error}"));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
