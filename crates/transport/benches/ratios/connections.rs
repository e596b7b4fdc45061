//! Requests and dials over TCP on this machine, client and server on one thread.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use certwright_transport::connector::tcp;
use certwright_transport::{Connector, Rotating, UpstreamClient};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{World, median, spiffe_transport};
use crate::wire::{Clock, provider};

impl World {
    pub(super) fn connections(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for (version, protocols) in [
            (Version::HTTP_11, vec![b"http/1.1".to_vec()]),
            (Version::HTTP_2, vec![b"h2".to_vec()]),
        ] {
            let mut config = (*self.server).clone();
            config.alpn_protocols = protocols;
            let address = runtime.block_on(listen(config));
            let ratio = self.request(&runtime, address, version);
            match version {
                Version::HTTP_11 => {
                    println!("RATIO request_over_pool_vs_hyper_rustls {ratio:.3} <=1.05");
                }
                _ => println!("WATCH http2_request_over_pool_vs_hyper_rustls {ratio:.3} shared"),
            }
        }
        let mut config = (*self.server).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = runtime.block_on(listen(config));
        println!(
            "RATIO dial_vs_tokio_rustls_by_hand {:.3} <=1.05",
            self.dial(&runtime, address)
        );
    }

    fn rotating(&self) -> Arc<Rotating> {
        let provider = Arc::new(provider());
        let material = self.material();
        let rotating = Rotating::new(spiffe_transport(), provider, Clock::fixed(), &material);
        Arc::new(rotating.unwrap())
    }

    /// One small request and its response over a kept connection.
    fn request(&self, runtime: &Runtime, address: SocketAddr, version: Version) -> f64 {
        let rotating = self.rotating();
        let mut config = (*rotating.current().config).clone();
        config.alpn_protocols.clear();
        let ours = UpstreamClient::new(Connector::new(rotating));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only();
        let connector = match version {
            Version::HTTP_11 => connector.enable_http1().build(),
            _ => connector.enable_http2().build(),
        };
        let theirs = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        let uri: Uri = format!("https://{address}/").parse().unwrap();
        let request = || {
            let mut request = Request::new(Full::<Bytes>::default());
            request.uri_mut().clone_from(&uri);
            request
        };
        let ours = async || read(version, ours.request(request()).await.unwrap()).await;
        let theirs = async || read(version, theirs.request(request()).await.unwrap()).await;
        median(
            10,
            || runtime.block_on(ours()),
            || runtime.block_on(theirs()),
        )
    }

    /// TCP and a full handshake, verified by the same configuration.
    fn dial(&self, runtime: &Runtime, address: SocketAddr) -> f64 {
        let rotating = self.rotating();
        let mut config: ClientConfig = (*rotating.current().config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let by_hand = TlsConnector::from(Arc::new(config));
        let name = ServerName::from(address.ip());
        // The other side asks for no probes of idle connections either.
        let mut timeouts = rotating.upstream().settings().timeouts;
        timeouts.tcp_keep_alive = None;
        let connector = Connector::over(rotating, tcp(&timeouts));
        let uri: Uri = format!("https://{address}/").parse().unwrap();
        median(
            1,
            || {
                black_box(runtime.block_on(connector.dial(uri.clone())).unwrap());
            },
            || {
                let stream = runtime.block_on(async {
                    let stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    by_hand.connect(name.clone(), stream).await.unwrap()
                });
                black_box(stream);
            },
        )
    }
}

async fn listen(config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
                });
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    address
}

async fn read<B>(version: Version, response: Response<B>)
where
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    assert_eq!(response.version(), version);
    black_box(response.into_body().collect().await.unwrap());
}
