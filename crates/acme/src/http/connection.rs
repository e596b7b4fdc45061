//! One HTTP/1.1 connection, and whether a request left on it.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Answer, HttpError, Request, Url};

/// The head of an answer, its body still to come.
pub(super) type Response = hyper::Response<Incoming>;

/// A connection that carries one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    pub(super) async fn open(
        url: &Url,
        tls: &Arc<ClientConfig>,
        server_name: Option<&str>,
    ) -> Result<Self, HttpError> {
        let failed = |reason: String| HttpError::Connection {
            host: url.authority.clone(),
            reason,
        };
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| failed(error.to_string()))?;
        let sender = if url.tls {
            let name = ServerName::try_from(server_name.unwrap_or(&url.host).to_owned());
            let name = name.map_err(|error| failed(error.to_string()))?;
            let stream = TlsConnector::from(Arc::clone(tls))
                .connect(name, stream)
                .await;
            serve(stream.map_err(|error| failed(error.to_string()))?).await
        } else {
            serve(stream).await
        };
        Ok(Self {
            sender: sender.map_err(|error| failed(reason(&error)))?,
            host: url.authority.clone(),
        })
    }

    /// Whether it still takes a request.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of its answer; `None` if it did not leave.
    pub(super) async fn send(
        &mut self,
        url: &Url,
        request: &Request,
        user_agent: &HeaderValue,
    ) -> Result<Option<Response>, HttpError> {
        let mut builder = hyper::Request::builder()
            .method(&request.method)
            .uri(&url.target)
            .header(HOST, &url.authority)
            .header(USER_AGENT, user_agent);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let built = builder.body(Full::new(request.body.clone()));
        let built = built.map_err(|error| self.failed(error.to_string()))?;
        match self.sender.try_send_request(built).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.message().is_some() => Ok(None),
            Err(error) => Err(self.failed(reason(error.error()))),
        }
    }

    /// Reads the rest of an answer.
    pub(super) async fn read(
        &mut self,
        response: Response,
        max: usize,
    ) -> Result<Answer, HttpError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => HttpError::TooLong {
                host: self.host.clone(),
                max,
            },
            None => self.failed(error.to_string()),
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    fn failed(&self, reason: String) -> HttpError {
        HttpError::Connection {
            host: self.host.clone(),
            reason,
        }
    }
}

async fn serve<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
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
