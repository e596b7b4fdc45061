//! Mutual TLS between two SPIFFE identities, while their CA, certificates and bundles change.
//!
//! A server and two clients talk over loopback. Every rotation takes the three steps that keep everybody
//! connected: trust the new CA too, show certificates of the new CA, stop trusting the old one.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Instant;

use certwright_transport::bundle::TrustBundles;
use certwright_transport::peer::SpiffePolicy;
use certwright_transport::server::{ClientVerifier, never_resume};
use certwright_transport::servers_transport::Spiffe;
use certwright_transport::verify::spiffe_id;
use certwright_transport::{
    Identity, Material, PeerVerifier, Roots, Rotating, ServersTransport, Upstream,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConnection, ServerConfig, ServerConnection, Stream};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DOMAIN: &str = "example.org";
const SERVER: &str = "spiffe://example.org/api";
const CLIENT: &str = "spiffe://example.org/gateway";
const ROTATIONS: usize = 4;
/// Handshakes each of the two clients makes before the next step is taken.
const PER_STEP: u64 = 25;

fn main() -> Result<()> {
    let provider = Arc::new(default_provider());
    let mut ca = Authority::new()?;
    let trusted = bundles(&[&ca])?;
    let server = RwLock::new(server_config(&provider, &ca, &trusted)?);
    let client = client(&provider, &ca, trusted)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (stop, made, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let closed = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| -> Result<()> {
        scope.spawn(|| serve(&listener, &server, &closed));
        let outcome = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match call(&client, address) {
                            Ok(()) => made.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                eprintln!("failed: {error}");
                                failed.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    }
                });
            }
            let outcome = rotate(&provider, &mut ca, &server, &client, &made, &failed);
            stop.store(true, Ordering::Relaxed);
            outcome
        });
        // The server sits in accept; this lets it see that it is over.
        closed.store(true, Ordering::Relaxed);
        TcpStream::connect(address)?;
        outcome
    })?;
    let (made, failed) = (made.into_inner(), failed.into_inner());
    println!(
        "{made} handshakes in {:.1?} over {ROTATIONS} rotations, {failed} failed",
        start.elapsed()
    );
    if failed > 0 {
        return Err("a rotation broke connections".into());
    }
    Ok(())
}

fn rotate(
    provider: &Arc<CryptoProvider>,
    ca: &mut Authority,
    server: &RwLock<Arc<ServerConfig>>,
    client: &Rotating,
    made: &AtomicU64,
    failed: &AtomicU64,
) -> Result<()> {
    for rotation in 1..=ROTATIONS {
        let next = Authority::new()?;
        for (shown, trusted) in [
            (&*ca, bundles(&[ca, &next])?),
            (&next, bundles(&[ca, &next])?),
            (&next, bundles(&[&next])?),
        ] {
            let config = server_config(provider, shown, &trusted)?;
            *server.write().map_err(|_| "a server thread panicked")? = config;
            let generation = client.update(&material(provider, shown, trusted)?)?;
            let wanted = made.load(Ordering::Relaxed) + 2 * PER_STEP;
            while made.load(Ordering::Relaxed) < wanted && failed.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            println!("rotation {rotation}: generation {generation} serves");
        }
        *ca = next;
    }
    Ok(())
}

fn serve(listener: &TcpListener, config: &RwLock<Arc<ServerConfig>>, closed: &AtomicBool) {
    for socket in listener.incoming() {
        if closed.load(Ordering::Relaxed) {
            return;
        }
        let answer = || -> Result<()> {
            let config = Arc::clone(&*config.read().map_err(|_| "the rotation panicked")?);
            let mut connection = ServerConnection::new(config)?;
            let mut socket = socket?;
            socket.set_nodelay(true)?;
            let mut stream = Stream::new(&mut connection, &mut socket);
            stream.read_exact(&mut [0; 5])?;
            let id = spiffe_id(stream.conn.peer_certificates().unwrap_or_default())?;
            stream.write_all(format!("hello {id}\n").as_bytes())?;
            stream.conn.send_close_notify();
            stream.flush()?;
            Ok(())
        };
        // What went wrong here is seen, and counted, at the other end.
        let _ = answer();
    }
}

fn call(client: &Rotating, address: SocketAddr) -> Result<()> {
    let generation = client.current();
    let name = client.upstream().server_name("api.example.org")?;
    let mut connection = ClientConnection::new(Arc::clone(&generation.config), name)?;
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(b"hello")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer != format!("hello {CLIENT}\n") {
        return Err(format!("unexpected answer {answer:?}").into());
    }
    Ok(())
}

fn client(
    provider: &Arc<CryptoProvider>,
    ca: &Authority,
    trusted: TrustBundles,
) -> Result<Rotating> {
    let mut transport = ServersTransport::default();
    let mut spiffe = Spiffe::default();
    spiffe.ids = vec![SERVER.to_owned()];
    transport.spiffe = Some(spiffe);
    let Upstream::Verified(upstream) = transport.validate()? else {
        return Err("nothing is verified".into());
    };
    let material = material(provider, ca, trusted)?;
    let clock = Arc::new(DefaultTimeProvider);
    Ok(Rotating::new(
        upstream,
        Arc::clone(provider),
        clock,
        &material,
    )?)
}

fn material(provider: &CryptoProvider, ca: &Authority, trusted: TrustBundles) -> Result<Material> {
    let mut material = Material::default();
    material.bundles = trusted;
    material.identities = vec![ca.identity(CLIENT, provider)?];
    Ok(material)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    ca: &Authority,
    trusted: &TrustBundles,
) -> Result<Arc<ServerConfig>> {
    let algorithms = provider.signature_verification_algorithms.all;
    let policy = SpiffePolicy::Ids(vec![CLIENT.parse()?]);
    let peer = PeerVerifier::spiffe(policy, trusted.clone(), algorithms);
    let identity = Arc::clone(ca.identity(SERVER, provider)?.certified_key());
    let resolver = rustls::sign::SingleCertAndKey::from(identity);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(ClientVerifier::new(peer, provider)))
        .with_cert_resolver(Arc::new(resolver));
    never_resume(&mut config);
    Ok(Arc::new(config))
}

fn bundles(cas: &[&Authority]) -> Result<TrustBundles> {
    let mut bundles = TrustBundles::default();
    let roots = Roots::from_der(cas.iter().map(|ca| ca.certificate.clone()))?;
    bundles.insert(&DOMAIN.parse()?, roots);
    Ok(bundles)
}

struct Authority {
    certificate: rustls::pki_types::CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            certificate,
            issuer,
        })
    }

    fn identity(&self, id: &str, provider: &CryptoProvider) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let chain = vec![params.signed_by(&key, &self.issuer)?.der().clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Identity::from_der(chain, key, provider)?)
    }
}
