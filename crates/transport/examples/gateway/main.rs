//! A reverse proxy: certificates by SNI in front, ServersTransports behind, both read again every two seconds.
//!
//! `cargo run -p certwright-transport --example gateway -- 127.0.0.1:8443 DIRECTORY`; without arguments it makes a
//! directory and a server behind it, shows both kinds of reload, and ends. In the DIRECTORY are
//!
//! - `front/`, PEM pairs to serve,
//! - `routes`, lines of `HOST TRANSPORT https://UPSTREAM:PORT`,
//! - `transports/TRANSPORT.yaml`, ServersTransport resources,
//! - `bundles/DOMAIN`, the roots of SPIFFE trust domains in JSON or PEM,
//! - `NAMESPACE/NAME/KEY`, the Secrets and ConfigMaps of transports.

mod demo;
#[path = "../shared/material.rs"]
mod material;
mod routes;
#[path = "../shared/demo.rs"]
mod server;

use std::convert::Infallible;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use certwright_sni_store::{CertStore, PairLoader, Resolver};
use certwright_transport::upstream_client::{RequestError, ResponseBody};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, Parts};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use routes::{Route, Routes};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long a client may take for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

type Reply = Response<Either<ResponseBody, Full<Bytes>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(address), Some(directory)) => {
            let gateway = Arc::new(Gateway::new(Path::new(&directory))?);
            tokio::spawn(Arc::clone(&gateway).follow(Duration::from_secs(2)));
            let listener = TcpListener::bind(address).await?;
            gateway.serve(listener).await?;
            Ok(())
        }
        (None, _) => demo::run().await,
        (Some(_), None) => Err("expected an address to listen on and a directory".into()),
    }
}

/// Certificates in front, routes behind.
struct Gateway {
    directory: PathBuf,
    resolver: Arc<Resolver>,
    loader: PairLoader,
    routes: ArcSwap<Routes>,
}

impl Gateway {
    fn new(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let provider = Arc::new(default_provider());
        let (resolver, report) = Resolver::from_dir(directory.join("front"), provider.clone())?;
        println!("front: {report}");
        let routes = Routes::default().reload(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            resolver: Arc::new(resolver),
            loader: PairLoader::new(provider),
            routes: ArcSwap::from_pointee(routes),
        })
    }

    async fn follow(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let this = Arc::clone(&self);
            // Files and keys are read where nobody waits.
            tokio::task::spawn_blocking(move || this.reload())
                .await
                .ok();
        }
    }

    /// What cannot be used is said, and what was there before stays; a revocation is no such thing.
    fn reload(&self) {
        let store: &CertStore<CertifiedKey> = self.resolver.store();
        match self.loader.load_dir(store, self.directory.join("front")) {
            Ok(all) => {
                store.replace_all(all);
            }
            Err(error) => println!("front: {error}"),
        }
        match self.routes.load().reload(&self.directory) {
            Ok(routes) => self.routes.store(Arc::new(routes)),
            Err(error) => println!("routes: {error}"),
        }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) -> Result<(), Box<dyn Error>> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, client) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A client gone already, or too many of them for a while: no reason to stop serving.
                    println!("{error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (this, acceptor) = (Arc::clone(&self), acceptor.clone());
            tokio::spawn(async move {
                let stream = match timeout(PATIENCE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return println!("{client}: {error}"),
                    Err(_) => return println!("{client}: no handshake in {PATIENCE:?}"),
                };
                let service = service_fn(move |request| {
                    let this = Arc::clone(&this);
                    async move { Ok::<_, Infallible>(this.forward(request).await) }
                });
                let mut server = auto::Builder::new(TokioExecutor::new());
                server
                    .http1()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE);
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Reply {
        let named = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or(named).unwrap_or_default();
        let host = host
            .rsplit_once(':')
            .map_or(host, |(host, _)| host)
            .to_owned();
        let routes = self.routes.load_full();
        let Some(route) = routes.get(&host) else {
            return reply(StatusCode::NOT_FOUND, format!("no route for {host}\n"));
        };
        if let Err(error) = address(&mut request, route) {
            return reply(StatusCode::BAD_REQUEST, format!("{error}\n"));
        }
        match route.client.request(request).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                response.map(Either::Left)
            }
            Err(error) => failure(&error),
        }
    }
}

/// Turns the request to us into one to the server behind.
fn address(request: &mut Request<Incoming>, route: &Route) -> Result<(), hyper::http::Error> {
    let mut parts = Parts::from(route.origin.clone());
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts)?;
    remove_hop_by_hop(request.headers_mut());
    request.headers_mut().remove(HOST);
    Ok(())
}

/// Headers that are about one connection (RFC 9110, 7.6.1).
fn remove_hop_by_hop(headers: &mut hyper::HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.into_iter().chain(fixed) {
        headers.remove(name);
    }
}

fn failure(error: &RequestError) -> Reply {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    println!("{:?} after {:.1?}: {text}", error.phase(), error.after());
    match error.is_timeout() {
        true => reply(
            StatusCode::GATEWAY_TIMEOUT,
            "the server takes too long\n".to_owned(),
        ),
        false => reply(
            StatusCode::BAD_GATEWAY,
            "the server cannot be reached\n".to_owned(),
        ),
    }
}

fn reply(status: StatusCode, text: String) -> Reply {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response
}
