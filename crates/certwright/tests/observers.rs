//! What others see of a Secret that rotates many times: a client of a server, a watcher of the directory, and openssl
//! never meet a key beside the certificate of another one.
//!
//! `CERTWRIGHT_ROTATIONS` says how many times at least.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use certwright::run::{DirStore, Event, Runner, Source};
use certwright::{Outcome, ResourceName, SecretDir, SniPublisher};
use certwright_issuance::{Certificate, KeyPair};
use certwright_sni_store::{CertStore, PairLoader, Resolver, SelectionPolicy};
use notify::Watcher as _;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use time::OffsetDateTime;

use self::support::{PATIENCE, PKI, setting};

#[test]
fn nobody_sees_a_key_that_is_not_its_certificates() {
    let rotations = setting("CERTWRIGHT_ROTATIONS", 60);
    let home = tempfile::tempdir().unwrap();
    // A new key every time.
    let (ca, web) = PKI.rsplit_once("---").unwrap();
    let web = web.replace("ECDSA}", "ECDSA, rotationPolicy: Always}");
    std::fs::write(home.path().join("pki.yaml"), format!("{ca}---{web}")).unwrap();
    let root = home.path().join("secrets");
    let web = root.join("ns/web");
    let served = CertStore::new(SelectionPolicy::Best);
    let (over, seen) = (AtomicBool::new(false), Seen::default());
    std::thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let (observing, is_observing) = mpsc::channel();
        let manager = scope.spawn({
            let (served, home) = (served.clone(), home.path());
            let (over, seen) = (&over, &seen);
            move || {
                // Whatever happens, the others end.
                let _end = End(over);
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build();
                let all = rotate(home, served, rotations, &ready, &is_observing, seen, over);
                runtime.unwrap().block_on(all);
            }
        });
        is_ready.recv().unwrap();
        let address = serve(served.clone());
        let client = client(&root);
        let (watching, is_watching) = mpsc::channel();
        let (over, seen, web) = (&over, &seen, &web);
        scope.spawn(move || until(over, &seen.handshakes, || shake_hands(address, &client)));
        if has_openssl() {
            scope.spawn(move || until(over, &seen.openssl, || openssl(web)));
        } else {
            // It is not waited for.
            seen.openssl.store(usize::MAX, Ordering::Relaxed);
        }
        scope.spawn(move || watch(web, over, &seen.events, &watching));
        is_watching.recv().unwrap();
        observing.send(()).unwrap();
        manager.join().unwrap();
    });
    println!("{rotations} rotations: {seen:?}");
    assert!(seen.is_enough(), "{seen:?}");
}

/// How often each looked.
#[derive(Debug, Default)]
struct Seen {
    handshakes: AtomicUsize,
    openssl: AtomicUsize,
    events: AtomicUsize,
}

impl Seen {
    fn is_enough(&self) -> bool {
        let counts = [&self.handshakes, &self.openssl, &self.events];
        counts.iter().all(|count| count.load(Ordering::Relaxed) > 3)
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks until it is over, and ends it all if what it sees is wrong.
fn until(over: &AtomicBool, count: &AtomicUsize, look: impl Fn() -> bool) {
    let _end = End(over);
    while !over.load(Ordering::Relaxed) {
        if look() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Issues, and renews as often as it is asked once somebody observes, and then until all have seen something.
async fn rotate(
    home: &Path,
    served: CertStore<rustls::sign::CertifiedKey>,
    rotations: u64,
    ready: &mpsc::Sender<()>,
    is_observing: &mpsc::Receiver<()>,
    seen: &Seen,
    over: &AtomicBool,
) {
    let poll = Duration::from_millis(20);
    let store = DirStore::new(SecretDir::new(home.join("secrets")), poll);
    let mut runner = Runner::new(store, OffsetDateTime::now_utc);
    let paths = vec![home.join("pki.yaml")];
    runner.source = Some(Source::Paths { paths, poll });
    let loader = PairLoader::new(Arc::new(default_provider()));
    runner.publish_to(SniPublisher::new(served, loader));
    let (issued, mut is_issued) = tokio::sync::mpsc::unbounded_channel();
    let web = ResourceName::new("ns", "web");
    let name = web.clone();
    runner.on_event(move |event| {
        if let Event::Certificate {
            name: of,
            outcome: Outcome::Issued { .. },
            ..
        } = event
            && **of == name
        {
            issued.send(()).unwrap();
        }
    });
    let handle = runner.handle();
    let rotated = async {
        is_issued.recv().await.unwrap();
        ready.send(()).unwrap();
        tokio::task::block_in_place(|| is_observing.recv().unwrap());
        let began = Instant::now();
        let mut rotation = 0;
        let is_over = || over.load(Ordering::Relaxed);
        while !is_over()
            && (rotation < rotations || !seen.is_enough() && began.elapsed() < PATIENCE)
        {
            // Now and then a version is there for as long as a program takes to start, however long that is.
            let longer = rotation.saturating_sub(rotations) * 20;
            tokio::time::sleep(Duration::from_millis(rotation % 4 * 60 + longer)).await;
            handle.renew(web.clone());
            let renewed = tokio::time::timeout(PATIENCE, is_issued.recv());
            renewed.await.expect("renewed").unwrap();
            rotation += 1;
        }
    };
    runner.run(rotated).await;
}

/// A server of whatever the store holds.
fn serve(store: CertStore<rustls::sign::CertifiedKey>) -> SocketAddr {
    let resolver = Resolver::new(store, Arc::new(DefaultTimeProvider));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What goes wrong, the client tells.
            let _ = greet(stream, config.clone());
        }
    });
    address
}

fn greet(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    tls.write_all(b"hello")?;
    tls.conn.send_close_notify();
    tls.flush()
}

fn client(secrets: &Path) -> Arc<ClientConfig> {
    let [anchor] = SecretDir::read_files(secrets.join("ns/root"), ["tls.crt"]).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in Certificate::read_pem(&anchor).unwrap() {
        roots.add(certificate.der().to_vec().into()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed session proves nothing about a key.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The client verifies that the server has the certificate's key: a handshake that works is a pair that fits.
fn shake_hands(address: SocketAddr, config: &Arc<ClientConfig>) -> bool {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("web.example").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    let mut greeting = String::new();
    tls.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "hello");
    true
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "openssl is not installed");
        eprintln!("SKIPPED: openssl is not installed, and observes nothing");
    }
    found
}

/// Another program, which goes into the current version and reads both there; whether it was still there for both.
fn openssl(secret: &Path) -> bool {
    let script = r#"
        cd -P "$1/..data" || exit 9
        certificate=$(openssl x509 -in tls.crt -noout -pubkey) || { test -e tls.crt && exit 1; exit 9; }
        key=$(openssl pkey -in tls.key -pubout) || { test -e tls.key && exit 1; exit 9; }
        test "$certificate" = "$key""#;
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", script, "sh"]).arg(secret).output();
    let output = output.unwrap();
    match output.status.code() {
        Some(0) => true,
        // The version was removed while it was read.
        Some(9) => false,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// On every event reads the pair by the documented way.
fn watch(secret: &Path, over: &AtomicBool, count: &AtomicUsize, ready: &mpsc::Sender<()>) {
    let (send, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(send).unwrap();
    let path = PathBuf::from(secret);
    watcher
        .watch(&path, notify::RecursiveMode::Recursive)
        .unwrap();
    ready.send(()).unwrap();
    while !over.load(Ordering::Relaxed) {
        let Ok(event) = events.recv_timeout(Duration::from_millis(100)) else {
            continue;
        };
        // What is read is told of too, and a directory may be gone before it could be watched.
        if event.is_ok_and(|event| event.kind.is_access()) {
            continue;
        }
        let [chain, key] = SecretDir::read_files(secret, ["tls.crt", "tls.key"]).unwrap();
        let key = KeyPair::from_pem(&key).unwrap();
        let chain = Certificate::read_pem(&chain).unwrap();
        assert_eq!(chain[0].spki_der(), key.public_key().spki_der());
        count.fetch_add(1, Ordering::Relaxed);
    }
}
