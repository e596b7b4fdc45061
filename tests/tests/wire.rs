//! What is published is what clients get: judged by `openssl s_client` and a bare rustls client.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;

use certwright::publish;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT};
use certwright_issuance::Certificate;
use certwright_sni_store::{CertStore, DefaultEntry, PairLoader, Resolver, SelectionPolicy};
use certwright_tests::manifests::{issued, manager};
use certwright_tests::peer::{find, printed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use time::OffsetDateTime;

const MANIFESTS: &str = include_str!("../../crates/certwright/examples/manifests/01-issuers.yaml");
const SERVERS: &str = include_str!("../../crates/certwright/examples/manifests/02-servers.yaml");

/// Which Secret a client that sends this name gets; `None` for the default certificate.
const NAMES: &[(&str, Option<&str>)] = &[
    ("shop.example", Some("storefront-tls")),
    ("www.shop.example", Some("storefront-tls")),
    ("checkout.shop.example", Some("checkout-tls")),
    ("CHECKOUT.Shop.Example", Some("checkout-tls")),
    ("anyone.shop.example", Some("tenants-tls")),
    ("too.deep.shop.example", None),
    ("elsewhere.example", None),
];

/// Greets so many connections, one after the other.
fn serve(config: Arc<ServerConfig>, connections: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(connection, stream.unwrap());
            // A client that refuses the certificate ends the handshake; the next one comes.
            if tls.write_all(b"hello\n").is_ok() {
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (address, thread)
}

#[test]
fn clients_get_the_best_certificate_for_the_name_they_send() {
    let mut manager = manager(&format!("{MANIFESTS}---\n{SERVERS}"));
    issued(&mut manager, OffsetDateTime::now_utc());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clock = Arc::new(DefaultTimeProvider);
    let default = DefaultEntry::self_signed(provider.clone(), clock.clone());
    let store = CertStore::with_default(SelectionPolicy::Best, default);
    let secrets: Vec<_> = manager
        .secrets()
        .filter(|secret| secret.name.ends_with("-tls"))
        .collect();
    let report = publish(
        &store,
        &PairLoader::new(provider.clone()),
        secrets.iter().copied(),
    );
    assert!(
        report.rejected.is_empty() && report.added.len() == 3,
        "{report:?}"
    );
    let again = publish(
        &store,
        &PairLoader::new(provider.clone()),
        secrets.iter().copied(),
    );
    assert!(
        !again.changed(),
        "the same Secrets are no change: {again:?}"
    );

    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(store, clock)));
    let config = Arc::new(config);
    let leaf = |name: &str| {
        let secret = secrets.iter().find(|secret| secret.name == name).unwrap();
        Certificate::read_pem(secret.get(TLS_CRT).unwrap())
            .unwrap()
            .remove(0)
    };
    let mut roots = RootCertStore::empty();
    for certificate in Certificate::read_pem(secrets[0].get(CA_CRT).unwrap()).unwrap() {
        roots.add(certificate.der().clone()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);

    for (name, secret) in NAMES {
        let (address, thread) = serve(config.clone(), 1);
        let server = ServerName::try_from(name.to_string()).unwrap();
        let connection = ClientConnection::new(client.clone(), server).unwrap();
        let mut tls = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
        let mut greeting = String::new();
        let read = tls.read_to_string(&mut greeting);
        thread.join().unwrap();
        match secret {
            Some(secret) => {
                read.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(
                    tls.conn.peer_certificates().unwrap()[0],
                    *leaf(secret).der(),
                    "{name}"
                );
            }
            None => assert!(
                read.unwrap_err().to_string().contains("UnknownIssuer"),
                "{name}"
            ),
        }
    }
    for (name, secret) in NAMES {
        let Some(mut openssl) = find("openssl") else {
            return;
        };
        let (address, thread) = serve(config.clone(), 1);
        let connect = address.to_string();
        openssl.args([
            "s_client",
            "-connect",
            &connect,
            "-servername",
            name,
            "-showcerts",
        ]);
        let output = openssl.stdin(Stdio::null()).output().unwrap();
        thread.join().unwrap();
        let shown = printed(&output);
        let got = Certificate::read_pem(shown.as_bytes())
            .unwrap_or_else(|e| panic!("{name}: {e}\n{shown}"))
            .remove(0);
        match secret {
            Some(secret) => assert_eq!(got, leaf(secret), "{name}"),
            None => assert_eq!(got.subject(), "CN=certwright default certificate", "{name}"),
        }
    }
}
