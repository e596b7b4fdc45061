//! The figures this crate is measured by, one per line:
//! `RATIO name value goal`, or `WATCH name value note` without a goal.
//!
//! Times are the thread's CPU time, as the median of the ratios of pairs measured right after each other.
//! Instructions are counted by callgrind in children of this program that all read the
//! same certificates, as the difference between N and 2N repetitions. Handshakes run in memory, TLS 1.3, P-256,
//! leaf, intermediate and root, both sides on one thread.
#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

#[path = "ratios/connections.rs"]
mod connections;
#[path = "../tests/support/pki.rs"]
mod pki;
#[path = "../tests/support/wire.rs"]
mod wire;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use certwright_transport::bundle::TrustBundles;
use certwright_transport::peer::{HostName, PeerSan, SpiffePolicy};
use certwright_transport::servers_transport::{RootCa, Spiffe};
use certwright_transport::upstream::{Upstream, Verified};
use certwright_transport::verify::{PeerRole, PeerVerifier};
use certwright_transport::{Material, Roots, Rotating, ServersTransport};
use pki::{Authority, Pair, Spec, now};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use wire::{Clock, connect, provider, server};

const ID: &str = "spiffe://td.test/ns/a/sa/server";
const NAME: &str = "web.test";
const PAIRS: usize = 401;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, side, repetitions, directory] = arguments.as_slice() {
        return repeat(side, repetitions.parse().unwrap(), Path::new(directory));
    }
    let world = World::new();
    world.instructions();
    world.handshakes();
    world.core();
    world.configuration();
    world.rotation();
    world.connections();
}

struct World {
    ca: Authority,
    pair: Pair,
    server: Arc<ServerConfig>,
}

impl World {
    fn new() -> Self {
        let ca = Authority::root("ca");
        let dns = vec![NAME.to_owned()];
        let pair = ca.sub(&Spec::ca("int")).issue(&Spec {
            dns,
            ..Spec::svid(ID)
        });
        let mut config = (*server(&pair)).clone();
        certwright_transport::server::never_resume(&mut config);
        Self {
            ca,
            pair,
            server: Arc::new(config),
        }
    }

    fn roots(&self) -> Roots {
        Roots::from_der([self.ca.certificate.clone()]).unwrap()
    }

    fn instructions(&self) {
        let directory = tempfile::tempdir().unwrap();
        let write =
            |name: &str, der: &[u8]| std::fs::write(directory.path().join(name), der).unwrap();
        write("root", &self.ca.certificate);
        write("leaf", &self.pair.chain[0]);
        write("int", &self.pair.chain[1]);
        let sides = ["--spiffe", "--webpki"].map(|side| instructions(side, 200, directory.path()));
        match sides {
            [Some(spiffe), Some(webpki)] => println!(
                "RATIO spiffe_extra_instructions_per_verification {:.0} <=15000",
                spiffe - webpki
            ),
            _ => println!(
                "WATCH spiffe_extra_instructions_per_verification - valgrind is not installed"
            ),
        }
    }

    fn handshakes(&self) {
        let spiffe = self.spiffe();
        let peer = {
            let mut transport = ServersTransport::default();
            transport.peer_cert_uri = Some(ID.to_owned());
            let mut material = Material::default();
            material.system_roots = Some(self.roots());
            Arc::new(
                verified(transport)
                    .client_config(&provider(), Clock::fixed(), &material)
                    .unwrap(),
            )
        };
        let webpki = self.custom(self.webpki());
        let double = self.custom(Arc::new(Double {
            first: self.webpki(),
            second: self.webpki(),
        }));
        println!(
            "RATIO spiffe_handshake_vs_webpki {:.3} <=1.05",
            self.compare(&spiffe, &webpki)
        );
        println!(
            "RATIO handshake_vs_double_chain_build {:.3} <=0.8",
            self.compare(&peer, &double)
        );
    }

    fn compare(&self, ours: &Arc<ClientConfig>, theirs: &Arc<ClientConfig>) -> f64 {
        let once = |config| {
            black_box(connect(config, NAME, Arc::clone(&self.server)).unwrap());
        };
        median(1, || once(ours), || once(theirs))
    }

    fn core(&self) {
        let algorithms = provider().signature_verification_algorithms.all;
        let name = ServerName::try_from(NAME).unwrap();
        let san = PeerSan::Uri(ID.parse().unwrap());
        let core = PeerVerifier::peer_sans(vec![san], HostName::Checked, self.roots(), algorithms);
        let webpki = self.webpki();
        let (leaf, rest) = self.pair.chain.split_first().unwrap();
        let ours = || {
            black_box(
                core.verify(leaf, rest, PeerRole::Server(&name), now())
                    .unwrap(),
            );
        };
        let theirs = || {
            black_box(
                webpki
                    .verify_server_cert(leaf, rest, &name, &[], now())
                    .unwrap(),
            );
            assert!(leaf_check(leaf));
        };
        println!(
            "RATIO peer_core_vs_x509_parser_leaf_check_plus_webpki {:.3} <=1.0",
            median(5, ours, theirs)
        );
    }

    fn configuration(&self) {
        let cas: Vec<_> = (0..150)
            .map(|i| Authority::root(&format!("root {i}")))
            .collect();
        let text: String = cas.iter().map(Authority::pem).collect();
        let mut root = RootCa::default();
        root.file = Some("ca.pem".to_owned());
        let mut transport = ServersTransport::default();
        transport.root_cas = vec![root];
        let upstream = verified(transport);
        let mut material = Material::default();
        material.insert_file("ca.pem", text.clone());
        let ours = || {
            let config = upstream.client_config(&provider(), Clock::fixed(), &material);
            black_box(config.unwrap());
        };
        let theirs = || {
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                store.add(certificate.unwrap()).unwrap();
            }
            let config = ClientConfig::builder_with_details(Arc::new(provider()), Clock::fixed())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(store)
                .with_no_client_auth();
            black_box(config);
        };
        println!(
            "RATIO client_config_150_roots_vs_rustls_builder {:.3} <=1.2",
            median(1, ours, theirs)
        );
    }

    fn rotation(&self) {
        let rotating = Rotating::new(
            spiffe_transport(),
            Arc::new(provider()),
            Clock::fixed(),
            &self.material(),
        )
        .unwrap();
        let (stop, made, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let mut rotations = 0_u32;
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match connect(&rotating.current().config, NAME, Arc::clone(&self.server)) {
                            Ok(_) => made.fetch_add(1, Ordering::Relaxed),
                            Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                });
            }
            while start.elapsed() < Duration::from_secs(2) {
                rotating.update(&self.material()).unwrap();
                rotations += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
        println!(
            "WATCH rotations_per_second_under_two_threads_of_handshakes {:.0} {} handshakes, {} failed",
            f64::from(rotations) / start.elapsed().as_secs_f64(),
            made.into_inner(),
            failed.into_inner()
        );
    }

    fn material(&self) -> Material {
        let mut material = Material::default();
        material.bundles = bundles(self.roots());
        material
    }

    fn spiffe(&self) -> Arc<ClientConfig> {
        let config =
            spiffe_transport().client_config(&provider(), Clock::fixed(), &self.material());
        Arc::new(config.unwrap())
    }

    fn webpki(&self) -> Arc<WebPkiServerVerifier> {
        let store = RootCertStore {
            roots: self.roots().anchors().to_vec(),
        };
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::new(provider()))
            .build()
            .unwrap()
    }

    /// As ours is made: the same suites, protocols and no resumption.
    fn custom(&self, verifier: Arc<dyn ServerCertVerifier>) -> Arc<ClientConfig> {
        let mut config = (*self.spiffe()).clone();
        config.dangerous().set_certificate_verifier(verifier);
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

fn verified(transport: ServersTransport) -> Verified {
    match transport.validate().unwrap() {
        Upstream::Verified(upstream) => upstream,
        Upstream::Danger(_) => panic!("not verified"),
    }
}

fn spiffe_transport() -> Verified {
    let mut spiffe = Spiffe::default();
    spiffe.ids = vec![ID.to_owned()];
    let mut transport = ServersTransport::default();
    transport.spiffe = Some(spiffe);
    verified(transport)
}

fn bundles(roots: Roots) -> TrustBundles {
    let mut bundles = TrustBundles::default();
    bundles.insert(&"td.test".parse().unwrap(), roots);
    bundles
}

/// The usual way to look at a leaf: parse all of it, then look for the name and the usages.
fn leaf_check(leaf: &[u8]) -> bool {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names
        .value
        .general_names
        .iter()
        .any(|name| matches!(name, x509_parser::extensions::GeneralName::URI(uri) if *uri == ID))
}

/// Traefik's way: the platform's verification, then the chain again and the names.
#[derive(Debug)]
struct Double {
    first: Arc<WebPkiServerVerifier>,
    second: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Double {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        for verifier in [&self.first, &self.second] {
            verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )?;
        }
        match leaf_check(end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first.supported_verify_schemes()
    }
}

/// One side of the instruction count, in a child.
fn repeat(side: &str, repetitions: u64, directory: &Path) {
    let read = |name| CertificateDer::from(std::fs::read(directory.join(name)).unwrap());
    let (root, leaf, rest) = (read("root"), read("leaf"), [read("int")]);
    let algorithms = provider().signature_verification_algorithms.all;
    let roots = Roots::from_der([root]).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let policy = SpiffePolicy::Ids(vec![ID.parse().unwrap()]);
    let verifier = PeerVerifier::spiffe(policy, bundles(roots.clone()), algorithms);
    for _ in 0..repetitions {
        if side == "--spiffe" {
            let verdict = verifier.verify(&leaf, &rest, PeerRole::Server(&name), now());
            black_box(verdict.unwrap());
        } else {
            let certificate = webpki::EndEntityCert::try_from(&leaf).unwrap();
            let path = certificate.verify_for_usage(
                algorithms,
                roots.anchors(),
                &rest,
                now(),
                webpki::KeyUsage::server_auth(),
                None,
                None,
            );
            black_box(path.unwrap());
        }
    }
}

fn instructions(side: &str, repetitions: u64, directory: &Path) -> Option<f64> {
    let once = collected(side, repetitions, directory)?;
    let twice = collected(side, repetitions * 2, directory)?;
    #[allow(clippy::cast_precision_loss, reason = "a small count")]
    let repetitions = repetitions as f64;
    Some((twice - once) / repetitions)
}

fn collected(side: &str, repetitions: u64, directory: &Path) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args([side, &repetitions.to_string()])
        .arg(directory)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let figure = text.split("Collected :").nth(1)?;
    figure.split_whitespace().next()?.parse().ok()
}

/// The median of the ratios of pairs made right after each other.
fn median(repetitions: usize, ours: impl Fn(), theirs: impl Fn()) -> f64 {
    let time = |side: &dyn Fn()| cpu(|| (0..repetitions).for_each(|_| side()));
    let mut ratios: Vec<_> = (0..PAIRS)
        .map(|i| {
            // Who goes first changes, so that what one leaves in the caches favours nobody.
            let (a, b) = if i % 2 == 0 {
                let a = time(&ours);
                (a, time(&theirs))
            } else {
                let b = time(&theirs);
                (time(&ours), b)
            };
            a.as_secs_f64() / b.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[PAIRS / 2]
}

fn cpu(work: impl FnOnce()) -> Duration {
    let start = clock();
    work();
    clock() - start
}

#[cfg(unix)]
fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap()
}

#[cfg(not(unix))]
fn clock() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}
