//! Servers behind pipes in memory, so that a paused clock decides about every timeout.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test uses another part, and a test may panic"
)]

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use certwright_transport::bundle::Bundle;
use certwright_transport::connector::Connector;
use certwright_transport::servers_transport::{ForwardingTimeouts, Spiffe};
use certwright_transport::upstream::Verified;
use certwright_transport::upstream_client::ResponseBody;
use certwright_transport::{Material, Roots, Rotating, ServersTransport, Upstream, UpstreamClient};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::pki::{Authority, Spec};
use crate::wire::{Clock, provider, server};

pub const SERVER: &str = "spiffe://td.test/server";

pub type Client = UpstreamClient<Full<Bytes>, Pipes>;

/// A CA, a server's configuration, and the transport that accepts it.
pub struct World {
    pub ca: Authority,
    pub tls: Arc<ServerConfig>,
    pub rotating: Arc<Rotating>,
}

impl World {
    /// Timeouts, and `HTTP/1.1` alone or with `h2`.
    pub fn new(http2: bool, edit: impl FnOnce(&mut ServersTransport)) -> Self {
        let ca = Authority::root("ca");
        let tls = serving(&ca, http2);
        let mut spiffe = Spiffe::default();
        spiffe.ids = vec![SERVER.to_owned()];
        let mut transport = ServersTransport::default();
        transport.spiffe = Some(spiffe);
        edit(&mut transport);
        let rotating = rotating(verified(transport), &bundles(&[&ca]));
        Self { ca, tls, rotating }
    }

    pub fn client(&self, pipes: Pipes) -> Client {
        UpstreamClient::new(Connector::over(Arc::clone(&self.rotating), pipes))
    }
}

pub fn verified(transport: ServersTransport) -> Verified {
    match transport.validate().unwrap() {
        Upstream::Verified(upstream) => upstream,
        Upstream::Danger(_) => panic!("not verified"),
    }
}

pub fn rotating(upstream: Verified, material: &Material) -> Arc<Rotating> {
    let provider = Arc::new(provider());
    Arc::new(Rotating::new(upstream, provider, Clock::fixed(), material).unwrap())
}

pub fn serving(ca: &Authority, http2: bool) -> Arc<ServerConfig> {
    let mut tls = (*server(&ca.issue(&Spec::svid(SERVER)))).clone();
    tls.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Arc::new(tls)
}

pub fn bundles(cas: &[&Authority]) -> Material {
    let mut material = Material::default();
    let bundle: Bundle = match cas {
        [] => Bundle::default(),
        cas => Roots::from_der(cas.iter().map(|ca| ca.certificate.clone()))
            .unwrap()
            .into(),
    };
    let domain = "td.test".parse().unwrap();
    material.bundles.insert(&domain, bundle);
    material
}

pub fn timeouts(edit: impl FnOnce(&mut ForwardingTimeouts)) -> Option<ForwardingTimeouts> {
    let mut timeouts = ForwardingTimeouts::default();
    edit(&mut timeouts);
    Some(timeouts)
}

pub fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// The body of a response, read to its end.
pub async fn text(response: Response<ResponseBody>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

type Handler =
    dyn Fn(DuplexStream, usize) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A transport whose other ends are given to a function, with their number from 1.
#[derive(Clone)]
pub struct Pipes {
    handler: Arc<Handler>,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Pipes {
    pub fn new<F>(handler: impl Fn(DuplexStream, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            handler: Arc::new(move |pipe, number| Box::pin(handler(pipe, number))),
            made: Arc::default(),
            open: Arc::default(),
        }
    }

    /// An HTTP server that answers with the number of the connection.
    pub fn serving(tls: &Arc<ServerConfig>) -> Self {
        let tls = Arc::clone(tls);
        Self::new(move |pipe, number| serve(pipe, Arc::clone(&tls), answer(number)))
    }

    /// How many connections were made.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// How many of them the server still holds.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Service<Uri> for Pipes {
    type Response = Pipe;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Pipe>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.fetch_add(1, Ordering::SeqCst);
        let (open, served) = (Arc::clone(&self.open), (self.handler)(theirs, number));
        tokio::spawn(async move {
            served.await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
        ready(Ok(Pipe(TokioIo::new(ours))))
    }
}

/// One end of a pipe as hyper takes it.
pub struct Pipe(TokioIo<DuplexStream>);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

/// What to do with a request.
pub type Answer = Arc<
    dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>
        + Send
        + Sync,
>;

/// Reads the request to its end, waits as its header `x-wait-ms` says, and answers with `number`.
pub fn answer(number: usize) -> Answer {
    Arc::new(move |request| {
        Box::pin(async move {
            let wait = request.headers().get("x-wait-ms").map(|wait| {
                let millis = wait.to_str().unwrap().parse().unwrap();
                Duration::from_millis(millis)
            });
            request.into_body().collect().await.ok();
            if let Some(wait) = wait {
                sleep(wait).await;
            }
            Response::new(Full::from(number.to_string()))
        })
    })
}

/// Serves HTTP over TLS on one connection until it is over.
pub async fn serve(
    pipe: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Arc<ServerConfig>,
    answer: Answer,
) {
    if let Ok(stream) = TlsAcceptor::from(tls).accept(pipe).await {
        serve_http(stream, answer).await;
    }
}

/// Serves HTTP where TLS is done.
pub async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: Answer,
) {
    let service = service_fn(move |request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

/// Speaks TLS, reads until a request's head is over, and leaves the rest to the caller.
pub async fn after_request(
    pipe: DuplexStream,
    tls: Arc<ServerConfig>,
) -> Option<tokio_rustls::server::TlsStream<DuplexStream>> {
    let mut stream = TlsAcceptor::from(tls).accept(pipe).await.ok()?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        seen.extend(byte);
    }
    Some(stream)
}

/// Holds a connection without a word.
pub async fn stall<T>(held: T) {
    let _held = held;
    pending::<()>().await;
}

/// Ends our direction only.
pub async fn half_close(mut stream: impl AsyncWrite + Unpin) {
    stream.shutdown().await.ok();
    stall(stream).await;
}

/// A server's end that hears nothing any more once it is told to.
pub struct Deaf {
    pub pipe: DuplexStream,
    pub is_deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_deaf.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// Requests a server saw, in order.
pub type Log = Arc<Mutex<Vec<String>>>;
