//! `pebble` and `pebble-challtestsrv`, on loopback, for as long as a test takes.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::Solvers;
use certwright_acme::http::HttpOptions;
use certwright_acme::limits::Quotas;
use certwright_acme::{AcmeServer, Issuer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;

/// What is special about a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// The name and MAC key of the only external account.
    pub(crate) binding: Option<(&'static str, &'static str)>,
    /// How many other roots there are.
    pub(crate) alternates: u32,
    /// How many of a hundred nonces are refused.
    pub(crate) bad_nonces: u32,
}

/// A running server with its DNS, and where they are.
#[derive(Debug)]
pub(crate) struct Pebble {
    pub(crate) directory: String,
    pub(crate) http_port: u16,
    pub(crate) tls_port: u16,
    pub(crate) dns_port: u16,
    pub(crate) dns_management: u16,
    pub(crate) management: u16,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Pebble {
    /// A server that answers; `None` if it is not installed, which is said, and in CI
    /// fails.
    pub(crate) fn start(settings: Settings) -> Option<Self> {
        let (pebble, dns) = (find("pebble")?, find("pebble-challtestsrv")?);
        let [
            api,
            management,
            http_port,
            tls_port,
            dns_port,
            dns_management,
        ] = free_ports();
        let dir = tempfile::tempdir().unwrap();
        let root = certificates(dir.path());
        let mut config = serde_json::json!({
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.path().join("server.pem"),
            "privateKey": dir.path().join("server.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": settings.binding.is_some(),
        });
        if let Some((kid, mac)) = settings.binding {
            config["externalAccountMACKeys"] = serde_json::json!({ kid: mac });
        }
        let place = dir.path().join("pebble.json");
        fs::write(&place, serde_json::json!({ "pebble": config }).to_string()).unwrap();
        let log = |name: &str| File::create(dir.path().join(name)).unwrap();
        let dns_address = format!("127.0.0.1:{dns_port}");
        let resolver = Command::new(dns)
            .args([
                "-dns01",
                &dns_address,
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
            ])
            .args(["-management", &format!("127.0.0.1:{dns_management}")])
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .stdout(log("dns.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Command::new(pebble)
            .arg("-config")
            .arg(&place)
            .args(["-dnsserver", &dns_address, "-strict"])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", settings.bad_nonces.to_string())
            .env("PEBBLE_ALTERNATE_ROOTS", settings.alternates.to_string())
            .stdout(log("pebble.log"))
            .stderr(log("pebble.err"))
            .spawn()
            .unwrap();
        let running = Self {
            directory: format!("https://127.0.0.1:{api}/dir"),
            http_port,
            tls_port,
            dns_port,
            dns_management,
            management,
            root,
            dir,
            children: vec![server, resolver],
        };
        for port in [api, management, dns_management] {
            running.wait_for(port);
        }
        Some(running)
    }

    /// The protocol's side of it.
    pub(crate) fn server(&self) -> AcmeServer {
        server(&self.directory, self.root.clone())
    }

    /// An issuer with its account.
    pub(crate) fn issuer(&self, solvers: Solvers) -> Issuer {
        issuer(self.server(), &self.directory, solvers)
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("pebble.log")).unwrap()
    }

    fn wait_for(&self, port: u16) {
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < end,
                "nothing listens on {port}: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client of a server that trusts this root alone.
pub(crate) fn server(directory: &str, root: CertificateDer<'static>) -> AcmeServer {
    let mut options = HttpOptions::new(vec![root]);
    options.timeout = Duration::from_secs(20);
    AcmeServer::new(directory, options).unwrap()
}

/// An issuer without quotas of ours.
pub(crate) fn issuer(server: AcmeServer, directory: &str, solvers: Solvers) -> Issuer {
    let account = AccountSpec::new(directory);
    let mut issuer = Issuer::new("pebble", account, Arc::new(server), solvers);
    issuer.quotas = Quotas::unlimited();
    issuer
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&paths).map(|path| path.join(program));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "{program} is not installed, and this is CI");
        eprintln!("SKIPPED: {program} is not installed; this test judges nothing without it");
    }
    found
}

/// Ports that nobody listens on, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The server's own certificate, and the root it is from.
fn certificates(dir: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &key);
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf_key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(names).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    fs::write(dir.join("server.pem"), leaf.pem()).unwrap();
    fs::write(dir.join("server.key"), leaf_key.serialize_pem()).unwrap();
    root.der().clone()
}
