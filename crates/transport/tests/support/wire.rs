//! Both ends of a TLS connection in memory.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test uses another part, and a test may panic"
)]

use std::io::{Read, Write};
use std::sync::Arc;

use certwright_transport::PeerError;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::pki::{Pair, now};

pub fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// A clock that stands still.
#[derive(Debug)]
pub struct Clock(pub UnixTime);

impl Clock {
    pub fn fixed() -> Arc<dyn TimeProvider> {
        Arc::new(Self(now()))
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

pub fn server(pair: &Pair) -> Arc<ServerConfig> {
    let config = builder()
        .with_no_client_auth()
        .with_cert_resolver(certified(pair));
    Arc::new(config)
}

pub fn server_for(pair: &Pair, verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
    let config = builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certified(pair));
    Arc::new(config)
}

/// Does not ask whether the two fit: a thief's do not.
fn certified(pair: &Pair) -> Arc<SingleCertAndKey> {
    let key = provider().key_provider.load_private_key(pair.key_der());
    Arc::new(CertifiedKey::new(pair.chain.clone(), key.unwrap()).into())
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_details(Arc::new(provider()), Clock::fixed())
        .with_safe_default_protocol_versions()
        .unwrap()
}

/// What a finished handshake leaves behind.
#[derive(Debug)]
pub struct Done {
    pub kind: HandshakeKind,
    pub client_chain: Vec<CertificateDer<'static>>,
    pub client: ClientConnection,
    pub server: ServerConnection,
}

/// Runs a handshake and one byte each way, so that tickets arrive.
pub fn connect(
    client: &Arc<ClientConfig>,
    name: &str,
    server: Arc<ServerConfig>,
) -> Result<Done, rustls::Error> {
    let name = ServerName::try_from(name).unwrap().to_owned();
    let mut client = Connection::Client(ClientConnection::new(Arc::clone(client), name)?);
    let mut server = Connection::Server(ServerConnection::new(server)?);
    client.writer().write_all(b"x").unwrap();
    while client.wants_write() || server.wants_write() {
        transfer(&mut client, &mut server)?;
        transfer(&mut server, &mut client)?;
        if !server.is_handshaking() && server.reader().read(&mut [0]).is_ok() {
            server.writer().write_all(b"y").unwrap();
        }
    }
    let (Connection::Client(client), Connection::Server(server)) = (client, server) else {
        unreachable!();
    };
    Ok(Done {
        kind: client.handshake_kind().unwrap(),
        client_chain: server.peer_certificates().unwrap_or_default().to_vec(),
        client,
        server,
    })
}

fn transfer(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

pub fn refusal(error: &rustls::Error) -> PeerError {
    PeerError::from_rustls(error).unwrap_or_else(|| panic!("not a refusal: {error}"))
}
