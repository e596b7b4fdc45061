//! One HTTP/1.1 connection, and whether a request left on it.

use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::options::Endpoint;

/// The longest answer: a page of the largest values fits several times.
const MAX_ANSWER: usize = 256 << 20;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was sent, or part of it: etcd may have acted.
    Broken(String),
    /// It did not leave.
    NotSent(String),
}

/// A request: a path of the gateway and its JSON, which may hold a private key.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn new(path: &'static str, body: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        let body = Bytes::from_owner(Wiped(body.into()));
        Self { path, body }
    }

    pub(super) fn text(path: &'static str, body: String) -> Self {
        Self::new(path, body.into_bytes())
    }
}

/// Wiped when the last reference is gone.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Connection {
    pub(super) async fn open(
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        let sender = match (&endpoint.tls, tls) {
            (Some(name), Some(config)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                serve(connector.connect(name.clone(), stream).await?).await
            }
            _ => serve(stream).await,
        };
        Ok(Self {
            sender: sender.map_err(io::Error::other)?,
            host: format!("{}:{}", endpoint.host, endpoint.port),
        })
    }

    /// Whether it still takes a request, once the answer before is out of the way.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        call: &Call,
        token: Option<&str>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(call.path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            // A watch at a member without a leader would hear nothing and not say so.
            .header("Grpc-Metadata-hasleader", "true");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request
            .body(Full::new(call.body.clone()))
            .map_err(|error| Failure::NotSent(error.to_string()))?;
        self.sender
            .try_send_request(request)
            .await
            .map_err(|error| {
                let reason = reason(error.error());
                match error.message() {
                    Some(_) => Failure::NotSent(reason),
                    None => Failure::Broken(reason),
                }
            })
    }

    /// Sends a request and reads its whole answer.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        token: Option<&str>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.send(call, token).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }
}

async fn serve<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped or the connection is; errors reach the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn reason(error: &hyper::Error) -> String {
    match core::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
