//! Servers that are not rustls: OpenSSL and nginx, with mutual TLS, TLS 1.2 and 1.3, RSA and ECDSA.
//!
//! A missing program is said on standard error and is a failure under `CI=true`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/wire.rs"]
mod wire;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_transport::identity::Candidates;
use certwright_transport::servers_transport::{CertificateFiles, RootCa, Spiffe};
use certwright_transport::{Identity, Material, PeerError, Roots, ServersTransport, Upstream};
use pki::{Authority, Pair, Spec};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, Stream};
use tempfile::TempDir;
use wire::{Clock, provider};

const SERVER: &str = "spiffe://td.test/server";
const CLIENT: &str = "spiffe://td.test/client";

/// Kills the program when the test is over, however it ends.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_missing(program: &str, argument: &str) -> bool {
    let run = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if run.is_ok() {
        return false;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{program} is missing, and CI=true wants it"
    );
    // The handle itself: the macros' output is swallowed for tests that pass.
    writeln!(std::io::stderr(), "SKIPPED: {program} is missing").ok();
    true
}

/// A CA, a server and a client, in files, valid whatever the peer's clock says.
struct World {
    ca: Authority,
    client: Pair,
    directory: TempDir,
}

impl World {
    fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let days = (-3650, 36500);
        let ca = Authority::root_of(&Spec {
            days,
            ..Spec::ca("ca")
        });
        let issue = |spec: Spec| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            ca.issue_for(&Spec { days, ..spec }, key)
        };
        let dns = vec!["web.test".to_owned()];
        let server = issue(Spec {
            dns,
            ..Spec::svid(SERVER)
        });
        let client = issue(Spec::svid(CLIENT));
        let directory = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
        write("ca.pem", ca.pem());
        write("server.pem", server.chain_pem());
        write("server.key", server.key_pem());
        Self {
            ca,
            client,
            directory,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn roots(&self) -> Roots {
        Roots::from_der([self.ca.certificate.clone()]).unwrap()
    }

    /// Every mode that should accept the server, with our certificate to show.
    fn modes(&self, version: &str) -> Vec<ClientConfig> {
        let mut files = CertificateFiles::default();
        files.cert_file = "client.pem".to_owned();
        files.key_file = "client.key".to_owned();
        let mut root = RootCa::default();
        root.file = Some("ca.pem".to_owned());
        let mut name = ServersTransport::default();
        name.min_version = Some(version.to_owned());
        name.max_version = Some(version.to_owned());
        name.certificates = vec![files];
        name.root_cas = vec![root];
        let mut peer = name.clone();
        peer.peer_cert_uri = Some(SERVER.to_owned());
        let mut material = Material::default();
        material.insert_file("ca.pem", self.ca.pem());
        material.insert_file("client.pem", self.client.chain_pem());
        material.insert_file("client.key", self.client.key_pem());
        vec![config(name, &material), config(peer, &material)]
    }

    fn spiffe(&self, id: &str) -> ClientConfig {
        let mut spiffe = Spiffe::default();
        spiffe.ids = vec![id.to_owned()];
        let mut transport = ServersTransport::default();
        transport.spiffe = Some(spiffe);
        let mut material = Material::default();
        material
            .bundles
            .insert(&"td.test".parse().unwrap(), self.roots());
        let key = self.client.key_der();
        material.identities =
            vec![Identity::from_der(self.client.chain.clone(), key, &provider()).unwrap()];
        config(transport, &material)
    }
}

fn nobody() -> Arc<dyn rustls::client::ResolvesClientCert> {
    Arc::new(Candidates::new(Vec::new()))
}

fn config(transport: ServersTransport, material: &Material) -> ClientConfig {
    let Upstream::Verified(upstream) = transport.validate().unwrap() else {
        panic!("not verified");
    };
    let mut config = upstream
        .client_config(&provider(), Clock::fixed(), material)
        .unwrap();
    // The peers here speak no HTTP/2, and s_server no ALPN at all.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Says `question` over TLS; the first bytes of the answer, and the version.
fn talk(
    config: ClientConfig,
    mut socket: impl Read + Write,
    question: &str,
) -> Result<(String, ProtocolVersion), std::io::Error> {
    let name = "web.test".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(question.as_bytes())?;
    let mut answer = [0; 12];
    let length = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    Ok((answer, connection.protocol_version().unwrap()))
}

fn refusal(error: &std::io::Error) -> &'static str {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref());
    let refusal = error.and_then(PeerError::from_rustls);
    refusal.map_or("no refusal", |refusal| refusal.code())
}

const VERSIONS: [(&str, &str, ProtocolVersion); 2] = [
    ("VersionTLS12", "-tls1_2", ProtocolVersion::TLSv1_2),
    ("VersionTLS13", "-tls1_3", ProtocolVersion::TLSv1_3),
];

fn openssl(world: &World, version: &str) -> (Peer, String) {
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-rev", version])
        .args([
            "-cert",
            "server.pem",
            "-key",
            "server.key",
            "-CAfile",
            "ca.pem",
        ])
        .args(["-Verify", "3", "-verify_return_error"])
        .current_dir(world.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let peer = Peer(child);
    let address = lines
        .find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.trim().to_owned()))
        .expect("s_server says where it listens");
    // Whatever it prints must be read, or it stops when the pipe is full.
    std::thread::spawn(move || lines.count());
    (peer, address)
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket
}

#[test]
fn openssl_s_server() {
    if is_missing("openssl", "version") {
        return;
    }
    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let world = World::new(algorithm);
        for (name, option, version) in VERSIONS {
            let (_peer, address) = openssl(&world, option);
            let mut modes = world.modes(name);
            modes.push(world.spiffe(SERVER));
            for config in modes {
                let socket = connect(&address);
                let closer = socket.try_clone().unwrap();
                let (answer, spoken) = talk(config, socket, "abc\n").unwrap();
                closer.shutdown(Shutdown::Both).ok();
                assert_eq!((answer.trim_end(), spoken), ("cba", version));
            }
            let error = talk(
                world.spiffe("spiffe://td.test/other"),
                connect(&address),
                "abc\n",
            );
            assert_eq!(refusal(&error.unwrap_err()), "unauthorized");
            let mut anonymous = world.spiffe(SERVER);
            anonymous.client_auth_cert_resolver = nobody();
            assert!(talk(anonymous, connect(&address), "abc\n").is_err());
        }
    }
}

#[cfg(unix)]
#[test]
fn nginx() {
    use std::os::unix::net::UnixStream;

    if is_missing("nginx", "-v") {
        return;
    }
    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let world = World::new(algorithm);
        let text = "daemon off; master_process off; pid nginx.pid; error_log stderr crit; events {} http {\n\
             access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
             server { listen unix:nginx.sock ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate server.pem; ssl_certificate_key server.key;\n\
             ssl_client_certificate ca.pem; ssl_verify_client on; location / { return 204; } } }\n";
        std::fs::write(world.path().join("nginx.conf"), text).unwrap();
        let socket = world.path().join("nginx.sock");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(world.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .current_dir(world.path())
            .spawn()
            .unwrap();
        let _peer = Peer(child);
        let end = Instant::now() + Duration::from_secs(20);
        let connect = || loop {
            match UnixStream::connect(&socket) {
                Ok(socket) => {
                    socket
                        .set_read_timeout(Some(Duration::from_secs(20)))
                        .unwrap();
                    return socket;
                }
                Err(error) => assert!(Instant::now() < end, "nginx does not start: {error}"),
            }
            std::thread::yield_now();
        };
        let question = "GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n";
        for (name, _, version) in VERSIONS {
            let mut modes = world.modes(name);
            if version == ProtocolVersion::TLSv1_3 {
                modes.push(world.spiffe(SERVER));
            }
            for config in modes {
                let answer = talk(config, connect(), question).unwrap();
                assert_eq!(answer, ("HTTP/1.1 204".to_owned(), version));
            }
        }
        let error = talk(world.spiffe("spiffe://td.test/other"), connect(), question);
        assert_eq!(refusal(&error.unwrap_err()), "unauthorized");
        let mut anonymous = world.spiffe(SERVER);
        anonymous.client_auth_cert_resolver = nobody();
        let answer = talk(anonymous, connect(), question);
        assert_eq!(answer.unwrap().0, "HTTP/1.1 400");
    }
}
