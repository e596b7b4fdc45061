//! One workload: a server and a client in one, both of one SPIFFE identity.

use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};

use certwright::{ResourceName, TRUST_BUNDLE};
use certwright_cert_model::TlsSecret;
use certwright_transport::bundle::TrustBundles;
use certwright_transport::peer::SpiffePolicy;
use certwright_transport::server::{ClientVerifier, never_resume};
use certwright_transport::servers_transport::Spiffe;
use certwright_transport::{
    Identity, Material, PeerVerifier, Roots, Rotating, ServersTransport, Upstream,
};
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use crate::clock::Clock;

pub(crate) const DOMAIN: &str = "mesh.example";

pub(crate) struct Workload {
    /// The Secret it lives on.
    pub(crate) secret: ResourceName,
    client: Rotating,
    server: RwLock<Arc<ServerConfig>>,
    clock: Clock,
    provider: Arc<CryptoProvider>,
}

impl Workload {
    pub(crate) fn new(
        secret: &TlsSecret,
        clock: &Clock,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut transport = ServersTransport::default();
        let mut spiffe = Spiffe::default();
        spiffe.trust_domain = Some(DOMAIN.to_owned());
        transport.spiffe = Some(spiffe);
        let Upstream::Verified(upstream) = transport.validate()? else {
            return Err("nothing is verified".into());
        };
        let material = material(secret, provider)?;
        let time = Arc::new(clock.clone());
        Ok(Self {
            secret: ResourceName::new(&secret.namespace, &secret.name),
            client: Rotating::new(upstream, provider.clone(), time, &material)?,
            server: RwLock::new(server(&material, clock, provider)?),
            clock: clock.clone(),
            provider: provider.clone(),
        })
    }

    /// Goes on with what the Secret holds now.
    pub(crate) fn update(&self, secret: &TlsSecret) -> Result<(), Box<dyn Error>> {
        let material = material(secret, &self.provider)?;
        let config = server(&material, &self.clock, &self.provider)?;
        self.client.update(&material)?;
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

/// The identity of a Secret, and the roots of its trust domain: not `ca.crt`, which changes with the certificate, but
/// the bundle that is ahead of it.
fn material(secret: &TlsSecret, provider: &CryptoProvider) -> Result<Material, Box<dyn Error>> {
    let mut material = Material::default();
    let roots = Roots::from_pem(secret.get(TRUST_BUNDLE).unwrap_or_default())?;
    material.bundles.insert(&DOMAIN.parse()?, roots);
    material.identities = vec![Identity::from_secret(secret, provider)?];
    Ok(material)
}

fn server(
    material: &Material,
    clock: &Clock,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let algorithms = provider.signature_verification_algorithms.all;
    let policy = SpiffePolicy::TrustDomain(DOMAIN.parse()?);
    let bundles: TrustBundles = material.bundles.clone();
    let peer = PeerVerifier::spiffe(policy, bundles, algorithms);
    let identity = material.identities.first().ok_or("no identity")?;
    let resolver = SingleCertAndKey::from(identity.certified_key().clone());
    let mut config = ServerConfig::builder_with_details(provider.clone(), Arc::new(clock.clone()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(peer, provider)))
        .with_cert_resolver(Arc::new(resolver));
    never_resume(&mut config);
    Ok(Arc::new(config))
}

/// A whole handshake in memory, both sides verified.
pub(crate) fn handshake(from: &Workload, to: &Workload) -> Result<(), Box<dyn Error>> {
    let generation = from.client.current();
    let name = from.client.upstream().server_name("peer.mesh.invalid")?;
    let mut client = ClientConnection::new(generation.config.clone(), name)?;
    let config = to
        .server
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut server = ServerConnection::new(config)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire)?;
        server.read_tls(&mut &wire[..])?;
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire)?;
        client.read_tls(&mut &wire[..])?;
        client.process_new_packets()?;
    }
    Ok(())
}
