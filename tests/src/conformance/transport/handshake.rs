//! A TLS handshake in memory, for what no certificate shows: whether the peer has its key.

use std::io::Read;
use std::sync::Arc;

use certwright_transport::bundle::TrustBundles;
use certwright_transport::peer::SpiffePolicy;
use certwright_transport::server::ClientVerifier;
use certwright_transport::servers_transport::Spiffe;
use certwright_transport::upstream::Upstream;
use certwright_transport::verify::PeerVerifier;
use certwright_transport::{Material, PeerError, ServersTransport};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, Error, ServerConfig, ServerConnection};

use super::pki::now;
use super::provider;

/// Lets a client of this policy meet a server with this chain and key, which need not belong together. The outer
/// `None` is a handshake that could not begin, or that failed for no reason of the server's certificates.
pub(super) fn meet(
    policy: &SpiffePolicy,
    bundles: TrustBundles,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    name: &ServerName<'_>,
) -> Option<Result<(), PeerError>> {
    let mut spiffe = Spiffe::default();
    match policy {
        SpiffePolicy::Any => {}
        SpiffePolicy::Ids(ids) => spiffe.ids = ids.iter().map(ToString::to_string).collect(),
        SpiffePolicy::TrustDomain(domain) => spiffe.trust_domain = Some(domain.to_string()),
        _ => return None,
    }
    let mut transport = ServersTransport::default();
    transport.spiffe = Some(spiffe);
    let Ok(Upstream::Verified(upstream)) = transport.validate() else {
        return None;
    };
    let mut material = Material::default();
    material.bundles = bundles;
    let provider = provider();
    let config = upstream.client_config(&provider, Arc::new(Fixed), &material);
    let mut client = ClientConnection::new(Arc::new(config.ok()?), name.to_owned()).ok()?;

    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(presenting(chain, key)?);
    let mut server = ServerConnection::new(Arc::new(config)).ok()?;
    verdict(exchange(&mut client, &mut server))
}

/// Lets a client with this chain and key meet a server that verifies it; which server that is, it does not ask.
/// The outer `None` as above.
pub(super) fn receive(
    verifier: PeerVerifier,
    (chain, key): (Vec<CertificateDer<'static>>, Vec<u8>),
    server: (Vec<CertificateDer<'static>>, Vec<u8>),
    name: &ServerName<'_>,
) -> Option<Result<(), PeerError>> {
    let mut transport = ServersTransport::default();
    transport.insecure_skip_verify = true;
    let Ok(Upstream::Danger(upstream)) = transport.validate() else {
        return None;
    };
    let provider = provider();
    let config = upstream.client_config(&provider, Arc::new(Fixed), &Material::default());
    let mut config = config.ok()?;
    config.client_auth_cert_resolver = presenting(chain, key)?;
    let mut client = ClientConnection::new(Arc::new(config), name.to_owned()).ok()?;

    let verifier = ClientVerifier::new(verifier, &provider);
    let config = ServerConfig::builder_with_details(provider, Arc::new(Fixed))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(presenting(server.0, server.1)?);
    let mut server = ServerConnection::new(Arc::new(config)).ok()?;
    verdict(exchange(&mut client, &mut server))
}

/// Shows this chain to everyone, and signs with this key.
fn presenting(chain: Vec<CertificateDer<'static>>, key: Vec<u8>) -> Option<Arc<SingleCertAndKey>> {
    let key = PrivatePkcs8KeyDer::from(key).into();
    let key = provider().key_provider.load_private_key(key).ok()?;
    Some(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        chain, key,
    ))))
}

fn verdict(ended: Result<(), Error>) -> Option<Result<(), PeerError>> {
    match ended {
        Ok(()) => Some(Ok(())),
        Err(error) => PeerError::from_rustls(&error).map(Err),
    }
}

/// Carries flights until both are done; the error of whoever refuses the other counts.
fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Error> {
    while client.is_handshaking() || server.is_handshaking() {
        let mut flight = Vec::new();
        carry(|| client.write_tls(&mut flight));
        deliver(&flight, |bytes| server.read_tls(bytes));
        server.process_new_packets()?;
        let mut flight = Vec::new();
        carry(|| server.write_tls(&mut flight));
        deliver(&flight, |bytes| client.read_tls(bytes));
        client.process_new_packets()?;
    }
    Ok(())
}

/// Writes until there is no more; memory takes everything.
fn carry(mut write: impl FnMut() -> std::io::Result<usize>) {
    while write().is_ok_and(|written| written > 0) {}
}

fn deliver(mut flight: &[u8], mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>) {
    while !flight.is_empty() && read(&mut flight).is_ok_and(|read| read > 0) {}
}

/// The clock of the cases.
#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(now())
    }
}
