//! The rustls side: a client hello becomes a query, the payload is rustls' certified key.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::challenge::{Challenges, is_challenge};
use crate::counters::Event;
#[cfg(feature = "lazy")]
use crate::lazy::Lazy;
use crate::pattern::PatternError;
use crate::scheme::SchemeMask;
use crate::select::Query;
use crate::store::CertStore;

/// Serves a [`CertStore`] to rustls.
///
/// A client that gets no certificate sees the alert `access_denied`: rustls lets no resolver send
/// `unrecognized_name`.
#[derive(Clone)]
pub struct Resolver {
    store: CertStore<CertifiedKey>,
    clock: Arc<dyn TimeProvider>,
    challenges: Option<Challenges<CertifiedKey>>,
    #[cfg(feature = "lazy")]
    lazy: Option<Lazy<CertifiedKey>>,
    local_ip: Option<IpAddr>,
    strict: bool,
}

impl Resolver {
    /// A resolver over `store` that asks `clock` which certificates are valid. While the clock has no
    /// answer, validity is left out of the choice.
    pub fn new(store: CertStore<CertifiedKey>, clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            store,
            clock,
            challenges: None,
            #[cfg(feature = "lazy")]
            lazy: None,
            local_ip: None,
            strict: false,
        }
    }

    /// A resolver over a store with a source behind it.
    ///
    /// rustls does not let a resolver wait. What is not loaded yet is on its way after the first client
    /// asked for it, who gets the default or none; an acceptor that reads the hello first can wait
    /// ([`ready`](Self::ready), or `CertAcceptor` with feature `tokio`).
    #[cfg(feature = "lazy")]
    pub fn lazy(lazy: Lazy<CertifiedKey>, clock: Arc<dyn TimeProvider>) -> Self {
        let mut resolver = Self::new(lazy.store().clone(), clock);
        resolver.lazy = Some(lazy);
        resolver
    }

    /// Answers TLS-ALPN-01 challenges from this map. The server's `alpn_protocols` must name
    /// [`ACME_TLS_ALPN`](crate::ACME_TLS_ALPN) too: rustls negotiates it apart from the certificate.
    #[must_use]
    pub fn with_challenges(mut self, challenges: Challenges<CertifiedKey>) -> Self {
        self.challenges = Some(challenges);
        self
    }

    /// Never serves the default entry.
    #[must_use]
    pub fn strict_sni(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The same for connections to this local address, which a client hello does not tell: clients
    /// without server name then get the certificate for the address. Cheap enough for each connection.
    #[must_use]
    pub fn at_address(&self, local: IpAddr) -> Self {
        Self {
            local_ip: Some(local),
            ..self.clone()
        }
    }

    /// What to serve to a hello an `Acceptor` has read, once a lazy source has loaded it; answers to a
    /// challenge included. Hand it to the handshake as the only certificate there is.
    #[cfg(feature = "lazy")]
    pub async fn ready(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(is_challenge) {
            return self.challenge(hello);
        }
        self.wait(&self.query(hello)).await
    }

    /// The store behind.
    pub fn store(&self) -> &CertStore<CertifiedKey> {
        &self.store
    }
}

impl Resolver {
    /// What a hello asks for, apart from a challenge.
    pub(crate) fn query<'h>(&self, hello: &'h ClientHello<'_>) -> Query<'h> {
        let now = self.clock.current_time().map(|now| {
            // Unix times beyond i64 are beyond every certificate.
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
        });
        let name = hello.server_name().unwrap_or_default();
        let mut query = Query::at_unix_time(name.as_bytes(), now);
        query.schemes = client_schemes(hello.signature_schemes(), hello.cipher_suites());
        query.local_ip = self.local_ip;
        query.strict = self.strict;
        query
    }

    /// The answer to a hello that asks for a challenge: never the default, nor any certificate that
    /// serves.
    pub(crate) fn challenge(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let answer = name.and_then(|name| self.known_challenge(name));
        self.count_challenge(answer.is_some());
        answer
    }

    pub(crate) fn known_challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.challenges.as_ref()?.get(name)
    }

    pub(crate) fn count_challenge(&self, answered: bool) {
        self.store.count(match answered {
            true => Event::Challenged,
            false => Event::Rejected,
        });
    }

    #[cfg(any(feature = "lazy", feature = "tokio"))]
    pub(crate) async fn wait(&self, query: &Query<'_>) -> Option<Arc<CertifiedKey>> {
        #[cfg(feature = "lazy")]
        if let Some(lazy) = &self.lazy {
            return lazy.ready(query).await;
        }
        self.store.select(query)
    }

    /// What is there to serve, at once.
    fn select(&self, query: &Query<'_>) -> Option<Arc<CertifiedKey>> {
        #[cfg(feature = "lazy")]
        if let Some(lazy) = &self.lazy {
            return lazy.select(query);
        }
        self.store.select(query)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(is_challenge) {
            return self.challenge(&hello);
        }
        self.select(&self.query(&hello))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("store", &self.store)
            .field("challenges", &self.challenges)
            .field("local_ip", &self.local_ip)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

impl Challenges<CertifiedKey> {
    /// Answers for `host` from now on with what an ACME client made for it: a certificate with the
    /// `acmeIdentifier` extension (RFC 8737 section 3) and its key. What a client's sink calls, with
    /// [`remove`](Self::remove) for the end.
    ///
    /// rustls' own `CertifiedKey::from_der` refuses such a certificate, because the extension is critical.
    ///
    /// # Errors
    /// If `host` is no single host name, or the provider cannot use the key.
    pub fn answer(
        &self,
        host: &str,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<(), ChallengeError> {
        let certified = certified(certificate, key, provider)?;
        self.insert(host, certified).map_err(ChallengeError::Host)
    }
}

/// The answer to a challenge as rustls sends it.
pub(crate) fn certified(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, ChallengeError> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| ChallengeError::Key(error.to_string()))?;
    Ok(CertifiedKey::new(vec![certificate], key))
}

/// Why a challenge will not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The host is not one name.
    #[error("the host cannot be answered for")]
    Host(#[source] PatternError),
    /// The provider refuses the key.
    #[error("the private key cannot be used: {0}")]
    Key(String),
}

/// The schemes a key signs with, found by asking it for one after the other: what a key says about its
/// algorithm does not tell what an HSM behind it will do.
pub fn key_schemes(key: &dyn SigningKey) -> SchemeMask {
    SchemeMask::from_code_points(SchemeMask::ALL.code_points().filter(|point| {
        let scheme = SignatureScheme::from(*point);
        key.choose_scheme(&[scheme])
            .is_some_and(|signer| signer.scheme() == scheme)
    }))
}

/// The schemes a client can be served with: those it lists, less those its cipher suites rule out.
///
/// In a plain handshake rustls has done the latter; from an `Acceptor` the list comes as it was sent.
pub fn client_schemes(schemes: &[SignatureScheme], suites: &[CipherSuite]) -> SchemeMask {
    let listed = SchemeMask::from_code_points(schemes.iter().copied().map(u16::from));
    let mut suites_allow = SchemeMask::NONE;
    for suite in suites {
        match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => {
                return listed.intersection(TLS13);
            }
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
                suites_allow = suites_allow.union(ECDSA_AND_EDDSA);
            }
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
                suites_allow = suites_allow.union(RSA);
            }
            _ => {}
        }
    }
    listed.intersection(suites_allow)
}

/// RFC 5246 section 7.4.2: what a suite's name says about the server's key; SHA-1 is never signed with.
const RSA: SchemeMask = SchemeMask::of(&[
    0x0401, 0x0501, 0x0601, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b,
]);
const ECDSA_AND_EDDSA: SchemeMask = SchemeMask::of(&[0x0403, 0x0503, 0x0603, 0x0807, 0x0808]);
/// RFC 8446 section 4.2.3: no PKCS #1 v1.5 in handshake signatures.
const TLS13: SchemeMask = SchemeMask::of(&[
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0904,
    0x0905, 0x0906,
]);
