//! A transport that was found to be right, and the client configuration it stands for.

use std::sync::Arc;

use certwright_cert_model::name::DnsName;
use certwright_cert_model::secret::{TLS_CRT, TLS_KEY};
use certwright_cert_model::{FieldPath, Violation};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{ServerName, UnixTime};

use crate::client::{Reverify, ServerVerifier};
use crate::danger::Unverified;
use crate::identity::{Candidates, Identity};
use crate::material::{Found, Material, Source};
use crate::peer::{HostName, PeerPolicy, SpiffePolicy};
use crate::roots::Roots;
use crate::timeouts::Timeouts;
use crate::tls_parameters::TlsParameters;
use crate::transport_error::TransportError;
use crate::verify::PeerVerifier;

/// A valid transport; complete by definition: what is not verified is under `danger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Servers are not verified: anyone on the way can pose as the server.
    Danger(Unverified),
    /// Servers are verified.
    Verified(Verified),
}

/// A transport that verifies servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub(crate) settings: Settings,
    pub(crate) policy: PeerPolicy,
    pub(crate) roots: Vec<Placed<Source>>,
    pub(crate) identities: Vec<Placed<(Source, Source)>>,
}

/// What has nothing to do with trust.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The name to ask for instead of the host.
    pub server_name: Option<ServerName<'static>>,
    /// What the server is told about the name.
    pub sni: Sni,
    /// Versions and cipher suites.
    pub parameters: TlsParameters,
    /// Whether HTTP/2 is offered besides HTTP/1.1.
    pub offers_http2: bool,
    /// How many connections without requests are kept per host.
    pub idle_per_host: IdleConnections,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// What is right, but not as it was probably meant.
    pub warnings: Vec<Violation>,
}

/// The name a server is told before it shows a certificate (RFC 6066, 3), which lets it choose one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sni {
    /// This name; only where the host name is not verified.
    Fixed(DnsName),
    /// The name that is asked for: the transport's `serverName`, or the host of the request. Addresses are
    /// never told.
    #[default]
    Host,
    /// None.
    None,
}

/// How many connections without requests are kept; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleConnections {
    /// This many.
    AtMost(usize),
    /// A new connection for every request.
    None,
}

/// A configuration, and what rustls does not tell of it.
pub(crate) struct Loaded {
    pub(crate) config: ClientConfig,
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
    /// When each of our own certificates ends.
    pub(crate) identities_end: Vec<UnixTime>,
}

/// A value with the field it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) field: FieldPath,
    pub(crate) value: T,
}

impl Upstream {
    /// What has nothing to do with trust.
    pub fn settings(&self) -> &Settings {
        match self {
            Self::Danger(upstream) => upstream.settings(),
            Self::Verified(upstream) => upstream.settings(),
        }
    }
}

impl Verified {
    /// Who the server must be.
    pub fn policy(&self) -> &PeerPolicy {
        &self.policy
    }

    /// What has nothing to do with trust.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Everything the transport refers to, in the order of its fields: load it into a [`Material`].
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let roots = self.roots.iter().map(|root| &root.value);
        roots.chain(identity_sources(&self.identities))
    }

    /// The roots of the transport, in the order they are read; empty stands for the system's.
    pub fn root_sources(&self) -> impl Iterator<Item = &Source> {
        self.roots.iter().map(|root| &root.value)
    }

    /// The same transport, telling servers another name, or none.
    ///
    /// # Errors
    ///
    /// A fixed name where the host name is verified: servers would be verified for that name, which is what
    /// `serverName` is for.
    pub fn with_sni(mut self, sni: Sni) -> Result<Self, TransportError> {
        let is_verified = match &self.policy {
            PeerPolicy::PeerSans { host_name, .. } => *host_name == HostName::Checked,
            PeerPolicy::ServerName => true,
            PeerPolicy::Spiffe(_) => false,
        };
        match sni {
            Sni::Fixed(name) if is_verified => Err(TransportError::SniIsVerified {
                found: name.to_string(),
            }),
            sni => {
                self.settings.sni = sni;
                Ok(self)
            }
        }
    }

    /// The name to hand to rustls for a request to `host`: the transport's own, or the host's.
    ///
    /// # Errors
    ///
    /// `host` is neither a DNS name nor an IP address.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TransportError> {
        self.settings.server_name(host)
    }

    /// A rustls configuration that accepts exactly the servers this transport accepts.
    ///
    /// Make a new one whenever anything in `material` changes, and never share its parts: with peer names
    /// and with SPIFFE nothing is resumed, because TLS does not verify a resumed session again.
    ///
    /// # Errors
    ///
    /// Something the transport refers to is missing or unusable, or nobody could be accepted.
    pub fn client_config(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<ClientConfig, TransportError> {
        self.check_bundles(material)?;
        self.load(provider, clock, material)
            .map(|loaded| loaded.config)
    }

    /// [`Verified::client_config`] also when the bundles leave nobody to accept: every server is refused.
    pub(crate) fn load(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<Loaded, TransportError> {
        let verifier = self.server_verifier(provider, material)?;
        let identities = self.load_identities(provider, material)?;
        let mut loaded = self.settings.load(provider, clock, verifier, identities)?;
        if self.policy == PeerPolicy::ServerName {
            loaded.config.resumption = Resumption::default();
        }
        Ok(loaded)
    }

    /// The verifier of [`Verified::client_config`] alone, for a configuration made otherwise; in server name
    /// mode it is rustls' own.
    ///
    /// With peer names and with SPIFFE, that configuration must not resume sessions.
    ///
    /// # Errors
    ///
    /// Roots the transport refers to are missing or unusable.
    pub fn server_verifier(
        &self,
        provider: &CryptoProvider,
        material: &Material,
    ) -> Result<Arc<dyn ServerCertVerifier>, TransportError> {
        Ok(match self.peer_verifier(provider, material)? {
            Some(peer) => Arc::new(ServerVerifier::new(peer, provider)),
            None => self.name_verifier(provider, material)?,
        })
    }

    /// A configuration that resumes sessions although identities count, and the check that makes up for it:
    /// every connection must pass [`Reverify::check`] before anything is sent or believed.
    ///
    /// A session saves a signature on the server and its certificates on the wire. In server name mode
    /// [`Verified::client_config`] resumes already, as rustls does everywhere.
    ///
    /// # Errors
    ///
    /// As [`Verified::client_config`]; also in server name mode.
    pub fn resumable_client_config(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        material: &Material,
    ) -> Result<(ClientConfig, Reverify), TransportError> {
        self.check_bundles(material)?;
        let peer = self
            .peer_verifier(provider, material)?
            .ok_or(TransportError::NothingToReverify)?;
        let peer = Arc::new(peer);
        let verifier = Arc::new(ServerVerifier::new(Arc::clone(&peer), provider));
        let identities = self.load_identities(provider, material)?;
        let mut loaded = self.settings.load(provider, clock, verifier, identities)?;
        loaded.config.resumption = Resumption::default();
        Ok((loaded.config, Reverify(peer)))
    }

    fn peer_verifier(
        &self,
        provider: &CryptoProvider,
        material: &Material,
    ) -> Result<Option<PeerVerifier>, TransportError> {
        let algorithms = provider.signature_verification_algorithms.all;
        let peer = match &self.policy {
            PeerPolicy::ServerName => return Ok(None),
            PeerPolicy::PeerSans { sans, host_name } => {
                let roots = self.load_roots(material)?;
                PeerVerifier::peer_sans(sans.clone(), *host_name, roots, algorithms)
            }
            PeerPolicy::Spiffe(policy) => {
                PeerVerifier::spiffe(policy.clone(), material.bundles.clone(), algorithms)
            }
        };
        Ok(Some(match &material.crls {
            Some(crls) => peer.with_crls(Arc::clone(crls)),
            None => peer,
        }))
    }

    fn load_identities(
        &self,
        provider: &CryptoProvider,
        material: &Material,
    ) -> Result<Vec<Identity>, TransportError> {
        let mut identities = load_identities(&self.identities, provider, material)?;
        identities.extend(material.identities.iter().cloned());
        Ok(identities)
    }

    fn name_verifier(
        &self,
        provider: &CryptoProvider,
        material: &Material,
    ) -> Result<Arc<WebPkiServerVerifier>, TransportError> {
        let store = RootCertStore {
            roots: self.load_roots(material)?.into_anchors(),
        };
        let mut builder = WebPkiServerVerifier::builder_with_provider(
            Arc::new(store),
            Arc::new(provider.clone()),
        );
        if let Some(crls) = &material.crls {
            builder = builder
                .with_crls(crls.der().iter().cloned())
                .enforce_revocation_expiration();
        }
        builder.build().map_err(|error| TransportError::Tls {
            reason: error.to_string(),
        })
    }

    fn load_roots(&self, material: &Material) -> Result<Roots, TransportError> {
        let mut pool: Option<Roots> = None;
        for Placed { field, value } in &self.roots {
            let text = match material.roots(value) {
                Found::Here(text) => text,
                Found::Missing => return Err(TransportError::missing(field, value)),
                Found::NoKey(key) => return Err(TransportError::no_key(field, value, key)),
            };
            let roots = Roots::from_pem(text).map_err(|error| TransportError::Roots {
                field: field.clone(),
                origin: value.clone(),
                source: Box::new(error),
            })?;
            pool = Some(match pool {
                Some(pool) => pool.merged(&roots),
                None => roots,
            });
        }
        pool.or_else(|| material.system_roots.clone())
            .ok_or(TransportError::NoRoots)
    }

    pub(crate) fn check_bundles(&self, material: &Material) -> Result<(), TransportError> {
        let PeerPolicy::Spiffe(policy) = &self.policy else {
            return Ok(());
        };
        let usable = |domain: &str| {
            material
                .bundles
                .anchors(domain)
                .is_some_and(|anchors| !anchors.is_empty())
        };
        let somebody = match policy {
            SpiffePolicy::Any => material.bundles.domains().any(usable),
            SpiffePolicy::Ids(ids) => ids.iter().any(|id| usable(id.trust_domain())),
            SpiffePolicy::TrustDomain(domain) => usable(domain.as_str()),
        };
        if somebody {
            return Ok(());
        }
        Err(TransportError::NoBundle {
            accepted: policy.to_string(),
            known: material.bundles.domains().map(str::to_owned).collect(),
        })
    }
}

impl Settings {
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TransportError> {
        let host = match (&self.sni, &self.server_name) {
            (Sni::Fixed(name), _) => name.as_str(),
            (Sni::Host | Sni::None, Some(name)) => return Ok(name.clone()),
            (Sni::Host | Sni::None, None) => host,
        };
        ServerName::try_from(host)
            .map(|name| name.to_owned())
            .map_err(|_| TransportError::Host {
                found: host.to_owned(),
            })
    }

    /// A configuration that resumes nothing.
    pub(crate) fn load(
        &self,
        provider: &CryptoProvider,
        clock: Arc<dyn TimeProvider>,
        verifier: Arc<dyn ServerCertVerifier>,
        identities: Vec<Identity>,
    ) -> Result<Loaded, TransportError> {
        let identities_end = identities.iter().filter_map(Identity::not_after).collect();
        let (provider, versions) = self
            .parameters
            .apply(provider)
            .ok_or(TransportError::NoCommonSuite)?;
        let builder = ClientConfig::builder_with_details(Arc::new(provider), clock)
            .with_protocol_versions(&versions)
            .map_err(|error| TransportError::Tls {
                reason: error.to_string(),
            })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier));
        let mut config = match identities.is_empty() {
            true => builder.with_no_client_auth(),
            false => builder.with_client_cert_resolver(Arc::new(Candidates::new(identities))),
        };
        config.enable_sni = self.sni != Sni::None;
        config.alpn_protocols = match self.offers_http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.resumption = Resumption::disabled();
        Ok(Loaded {
            config,
            verifier,
            identities_end,
        })
    }
}

pub(crate) fn load_identities(
    identities: &[Placed<(Source, Source)>],
    provider: &CryptoProvider,
    material: &Material,
) -> Result<Vec<Identity>, TransportError> {
    let mut loaded = Vec::with_capacity(identities.len());
    for Placed { field, value } in identities {
        let (chain, key) = value;
        let text = |source, key| match material.identity(source, key) {
            Found::Here(text) => Ok(text),
            Found::Missing => Err(TransportError::missing(field, source)),
            Found::NoKey(key) => Err(TransportError::no_key(field, source, key)),
        };
        let identity = Identity::from_pem(text(chain, TLS_CRT)?, text(key, TLS_KEY)?, provider)
            .map_err(|error| TransportError::Identity {
                field: field.clone(),
                origin: chain.clone(),
                source: Box::new(error),
            })?;
        loaded.push(identity);
    }
    Ok(loaded)
}

pub(crate) fn identity_sources(
    identities: &[Placed<(Source, Source)>],
) -> impl Iterator<Item = &Source> {
    identities.iter().flat_map(|identity| {
        let (chain, key) = &identity.value;
        core::iter::once(chain).chain((chain != key).then_some(key))
    })
}

impl Default for IdleConnections {
    /// Go's default, two.
    fn default() -> Self {
        Self::AtMost(2)
    }
}
