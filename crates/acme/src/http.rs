//! HTTP for ACME: every request under two timeouts, every answer under a size, only the
//! roots that were given.

mod connection;
mod url;

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use connection::Connection;
pub(crate) use url::Url;

/// How requests to a CA are made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// The roots one of which the CA's own certificate must lead to; nobody else is
    /// trusted (`caCertificates`).
    pub roots: Vec<CertificateDer<'static>>,
    /// The name to ask the server for and to verify, instead of the URL's
    /// (`caServerName`).
    pub server_name: Option<String>,
    /// Until the head of an answer is there, connecting included
    /// (`clientResponseHeaderTimeout`).
    pub header_timeout: Duration,
    /// Until all of it is there (`clientTimeout`).
    pub timeout: Duration,
    /// The longest answer, in bytes.
    pub max_body: usize,
    /// Who we are, before our own name.
    pub user_agent: String,
}

impl HttpOptions {
    /// Traefik's timeouts, 30 seconds for the head and two minutes in all; a mebibyte.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Self {
        Self {
            roots,
            server_name: None,
            header_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(120),
            max_body: 1 << 20,
            user_agent: String::new(),
        }
    }
}

#[cfg(feature = "platform-roots")]
impl HttpOptions {
    /// The same with the machine's own roots, or those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name; those that cannot be used are left out.
    ///
    /// # Errors
    /// [`HttpError::NoRoots`] if there is none that can be used.
    pub fn system() -> Result<Self, HttpError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let usable = |root: &CertificateDer<'static>| store.add(root.clone()).is_ok();
        let mut roots = found.certs;
        roots.retain(usable);
        match roots.is_empty() {
            true => Err(HttpError::NoRoots),
            false => Ok(Self::new(roots)),
        }
    }
}

/// A client of one CA: keeps connections, follows no redirects, reads no environment.
#[derive(Clone)]
pub(crate) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    tls: Arc<ClientConfig>,
    /// Whether the directory's URL is HTTPS, and so must all that it leads to be.
    tls_only: bool,
    options: HttpOptions,
    user_agent: HeaderValue,
    idle: Mutex<HashMap<String, Vec<Connection>>>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's text, if it is there and text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// A client for the CA whose directory has this URL.
    pub(crate) fn new(directory: &Url, options: HttpOptions) -> Result<Self, HttpError> {
        let mut roots = RootCertStore::empty();
        for (index, root) in options.roots.iter().enumerate() {
            roots.add(root.clone()).map_err(|error| HttpError::Root {
                index,
                reason: error.to_string(),
            })?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpError::Tls {
                reason: error.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let agent = format!("{} {OWN_NAME}", options.user_agent);
        let user_agent = HeaderValue::from_str(agent.trim()).map_err(|_| HttpError::UserAgent)?;
        Ok(Self {
            inner: Arc::new(Inner {
                tls: Arc::new(tls),
                tls_only: directory.tls,
                user_agent,
                idle: Mutex::default(),
                options,
            }),
        })
    }

    /// Sends a request and reads its answer, whatever its status.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, HttpError> {
        let options = &self.inner.options;
        let url = Url::parse(&request.url)?;
        if self.inner.tls_only && !url.tls {
            // A CA elsewhere has no business with servers on this machine.
            return Err(url::wrong(&request.url, "it must start with https://"));
        }
        let all = async {
            let head = tokio::time::timeout(options.header_timeout, self.head(&url, request));
            let (mut connection, response) = head.await.map_err(|_| HttpError::Timeout {
                host: url.authority.clone(),
                what: "the head of an answer",
                after: options.header_timeout,
            })??;
            let answer = connection.read(response, options.max_body).await?;
            self.keep(&url, connection);
            Ok(answer)
        };
        let timeout = tokio::time::timeout(options.timeout, all).await;
        timeout.map_err(|_| HttpError::Timeout {
            host: url.authority.clone(),
            what: "a whole answer",
            after: options.timeout,
        })?
    }

    /// On a kept connection if one is still good, else on a new one. What failed on a
    /// kept one before any of it left is sent again; nothing else is.
    async fn head(
        &self,
        url: &Url,
        request: &Request,
    ) -> Result<(Connection, connection::Response), HttpError> {
        while let Some(mut connection) = self.take(url) {
            if !connection.is_usable().await {
                continue;
            }
            match connection
                .send(url, request, &self.inner.user_agent)
                .await?
            {
                Some(response) => return Ok((connection, response)),
                None => continue,
            }
        }
        let server_name = self.inner.options.server_name.as_deref();
        let mut connection = Connection::open(url, &self.inner.tls, server_name).await?;
        let sent = connection.send(url, request, &self.inner.user_agent);
        match sent.await? {
            Some(response) => Ok((connection, response)),
            None => Err(HttpError::Connection {
                host: url.authority.clone(),
                reason: "it was closed before the request left".to_owned(),
            }),
        }
    }

    fn take(&self, url: &Url) -> Option<Connection> {
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(&url.origin())?.pop()
    }

    fn keep(&self, url: &Url, connection: Connection) {
        let mut idle = self
            .inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(url.origin()).or_default();
        if kept.len() < MAX_IDLE {
            kept.push(connection);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

const OWN_NAME: &str = concat!("certwright-acme/", env!("CARGO_PKG_VERSION"));
/// How many connections per host are kept.
const MAX_IDLE: usize = 32;

/// Why there is no answer, or no client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The connection could not be made, or broke.
    #[error("the connection to {host} failed: {reason}")]
    Connection {
        /// Which host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The machine has no roots.
    #[error("this machine has no root certificates; install some, or name a file in SSL_CERT_FILE")]
    NoRoots,
    /// A root certificate cannot be read.
    #[error("root certificate {index} cannot be used: {reason}")]
    Root {
        /// Its position, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Took too long.
    #[error("{what} from {host} was not there after {after:?}")]
    Timeout {
        /// Which host.
        host: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The TLS library refuses its own settings.
    #[error("TLS cannot be set up: {reason}")]
    Tls {
        /// Its words.
        reason: String,
    },
    /// An answer that goes on and on.
    #[error("the answer of {host} has more than {max} bytes")]
    TooLong {
        /// Which host.
        host: String,
        /// The most that is read.
        max: usize,
    },
    /// Not the URL of an ACME server.
    #[error("{url:?} cannot be asked: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name of ours that does not fit into a header.
    #[error("the user agent must be printable ASCII")]
    UserAgent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ca_elsewhere_does_not_lead_to_this_machine() {
        let request = Request {
            method: Method::GET,
            url: "http://127.0.0.1:1/".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        for (directory, refused) in [("https://ca.test/dir", true), ("http://[::1]/dir", false)] {
            let url = Url::parse(directory).unwrap();
            let client = Client::new(&url, HttpOptions::new(Vec::new())).unwrap();
            let error = client.send(&request).await.unwrap_err();
            let found = matches!(error, HttpError::Url { .. });
            assert_eq!(found, refused, "{directory}: {error}");
        }
    }
}
