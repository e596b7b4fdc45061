//! The handshake for tokio servers: read the hello, then decide what it is answered with.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::challenge::{ACME_TLS_ALPN, is_challenge};
use crate::counters::Event;
use crate::resolver::{ChallengeError, Resolver, certified};

/// Accepts TLS connections with the certificate and the configuration each hello asks for.
///
/// Beyond what a [`Resolver`] can do inside of rustls, it waits for certificates that are loaded on
/// first use, knows the local address of each connection, answers TLS-ALPN-01 challenges whatever
/// protocols and client certificates the server asks for otherwise, and gives up on clients that take
/// too long. Cloning is cheap.
#[derive(Clone)]
pub struct CertAcceptor {
    config: Arc<ServerConfig>,
    challenge: Arc<ServerConfig>,
    choose: Option<Arc<Choose>>,
    answer: Option<Arc<Answer>>,
    resolver: Resolver,
    timeout: Duration,
}

type Answer = dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<Proof>> + Send>> + Send + Sync;
type Proof = (CertificateDer<'static>, PrivateKeyDer<'static>);
type Choose = dyn Fn(&ClientHello<'_>) -> Option<Arc<ServerConfig>> + Send + Sync;

impl CertAcceptor {
    /// Serves what `resolver` finds, under `config`, whose own resolver is not asked.
    pub fn new(config: Arc<ServerConfig>, resolver: Resolver) -> Self {
        Self {
            challenge: Arc::new(challenge_config(&config)),
            config,
            choose: None,
            answer: None,
            resolver,
            timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// Gives up on a handshake that takes longer, loading of the certificate included; 10 seconds unless
    /// said otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Serves hellos under the configuration that `choose` returns, such as one that asks for client
    /// certificates, and under that given to [`new`](Self::new) where it returns `None`. Challenges are
    /// not asked about.
    #[must_use]
    pub fn with_config_for(
        mut self,
        choose: impl Fn(&ClientHello<'_>) -> Option<Arc<ServerConfig>> + Send + Sync + 'static,
    ) -> Self {
        self.choose = Some(Arc::new(choose));
        self
    }

    /// Asks `answer` for the certificate and key that answer a TLS-ALPN-01 challenge, by the server name
    /// in lower case, where the resolver's challenges have none: another replica's, for example, that
    /// this one has not heard of. Hellos that offer other protocols do not come near it.
    ///
    /// Anybody can send such hellos, with any host name: what they cost must be bounded on the other
    /// side. An answer that takes longer than five seconds, or what is left of the handshake's time, is
    /// none.
    #[must_use]
    pub fn with_challenges_from<F>(
        mut self,
        answer: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>>
            + Send
            + 'static,
    {
        self.answer = Some(Arc::new(move |name| Box::pin(answer(name))));
        self
    }

    /// The resolver that finds the certificates.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Does the server's half of the handshake. `local` is the address the client connected to, by which
    /// clients are served that send no name.
    ///
    /// `None` after a TLS-ALPN-01 challenge was answered: the connection has served its purpose and is
    /// closed (RFC 8737 section 3).
    ///
    /// # Errors
    /// If the client takes too long, sends no proper hello or breaks off, or if there is no certificate
    /// for it; it has been sent an alert as far as it can be.
    pub async fn accept<IO>(
        &self,
        stream: IO,
        local: Option<IpAddr>,
    ) -> Result<Option<TlsStream<IO>>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let deadline = Instant::now() + self.timeout.min(FAR);
        let late = |_| AcceptError::Timeout {
            after: self.timeout,
        };
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let read = timeout_at(deadline, hello).await;
        let start = read
            .map_err(late)
            .and_then(|read| read.map_err(AcceptError::Hello))
            .inspect_err(|_| self.resolver.store().count(Event::Rejected))?;
        let rest = self.proceed(start, local);
        timeout_at(deadline, rest).await.map_err(late)?
    }

    async fn proceed<IO>(
        &self,
        start: StartHandshake<IO>,
        local: Option<IpAddr>,
    ) -> Result<Option<TlsStream<IO>>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        // Of the accepted alone: a stream need not be shareable between threads.
        let hello = start.accepted.client_hello();
        let name = hello.server_name().map(str::to_owned);
        let challenged = hello.alpn().is_some_and(is_challenge);
        let (config, certificate) = if challenged {
            let answer = self.challenge_for(&hello).await;
            let answered = matches!(answer, Ok(Some(_)));
            self.resolver.count_challenge(answered);
            let answer = answer?;
            (self.challenge.clone(), answer)
        } else {
            let config = self.config_for(&hello)?;
            let mut query = self.resolver.query(&hello);
            query.local_ip = local.or(query.local_ip);
            (config, self.resolver.wait(&query).await)
        };
        let found = certificate.is_some();
        let mut config = ServerConfig::clone(&config);
        config.cert_resolver = Arc::new(Decided(certificate));
        let finished = start.into_stream(Arc::new(config)).await;
        let mut stream = match finished {
            Ok(stream) => stream,
            // That handshake was for the alert alone.
            Err(_) if !found => return Err(AcceptError::NoCertificate { name }),
            Err(source) => return Err(AcceptError::Handshake { name, source }),
        };
        if !challenged {
            return Ok(Some(stream));
        }
        // The authority has seen what it came for, and may be gone.
        let _gone = stream.shutdown().await;
        Ok(None)
    }

    async fn challenge_for(
        &self,
        hello: &ClientHello<'_>,
    ) -> Result<Option<Arc<CertifiedKey>>, AcceptError> {
        let Some(name) = hello.server_name() else {
            return Ok(None);
        };
        let known = self.resolver.known_challenge(name);
        let (None, Some(answer)) = (&known, &self.answer) else {
            return Ok(known);
        };
        let asked = answer(name.to_ascii_lowercase());
        let Ok(Some((certificate, key))) = timeout(ANSWER_TIMEOUT, asked).await else {
            return Ok(None);
        };
        let made = certified(certificate, key, self.challenge.crypto_provider());
        let made = made.map_err(|source| AcceptError::Challenge {
            name: name.to_owned(),
            source,
        })?;
        Ok(Some(Arc::new(made)))
    }

    fn config_for(&self, hello: &ClientHello<'_>) -> Result<Arc<ServerConfig>, AcceptError> {
        let chosen = match &self.choose {
            Some(choose) => catch_unwind(AssertUnwindSafe(|| choose(hello)))
                .map_err(|_| AcceptError::ConfigPanicked)?,
            None => None,
        };
        Ok(chosen.unwrap_or_else(|| self.config.clone()))
    }
}

impl fmt::Debug for CertAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertAcceptor")
            .field("resolver", &self.resolver)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a connection was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// What the function given to `with_challenges_from` answered cannot be used.
    #[error("the answer to the challenge for {name} cannot be used")]
    Challenge {
        /// The server name the client sent.
        name: String,
        /// Why.
        source: ChallengeError,
    },
    /// The function that chooses configurations panicked.
    #[error("the function given to with_config_for panicked")]
    ConfigPanicked,
    /// The handshake did not succeed.
    #[error("the handshake for {} did not succeed", shown(name.as_ref()))]
    Handshake {
        /// The server name the client sent.
        name: Option<String>,
        /// What happened.
        source: io::Error,
    },
    /// No proper client hello was received.
    #[error("no client hello that could be read")]
    Hello(#[source] io::Error),
    /// There is no certificate for the client.
    #[error("there is no certificate for {}", shown(name.as_ref()))]
    NoCertificate {
        /// The server name the client sent.
        name: Option<String>,
    },
    /// The handshake took too long.
    #[error("no handshake within {after:?}")]
    Timeout {
        /// The limit.
        after: Duration,
    },
}

/// As long as browsers' own patience suggests, and no longer than a slow phone needs.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Two slow looks at a shared store. A certificate authority waits longer, and asks again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whatever is longer, as `Duration::MAX` for no limit, is longer than a clock can tell.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A configuration of its own for challenges: an authority has neither the protocols nor the client
/// certificate the server may ask for.
fn challenge_config(config: &ServerConfig) -> ServerConfig {
    let provider = config.crypto_provider().clone();
    let builder = ServerConfig::builder_with_details(provider, config.time_provider.clone())
        .with_safe_default_protocol_versions();
    let mut challenge = match builder {
        Ok(builder) => builder
            .with_no_client_auth()
            .with_cert_resolver(config.cert_resolver.clone()),
        // A provider without a default version has made the given configuration all the same.
        Err(_) => config.clone(),
    };
    challenge.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    challenge
}

/// The one answer to one hello.
#[derive(Debug)]
struct Decided(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Decided {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

fn shown(name: Option<&String>) -> &str {
    name.map_or("a client without server name", String::as_str)
}
