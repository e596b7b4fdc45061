//! From a folder with one manifest to a served certificate that is renewed, with two commands.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::world::{Running, WAIT, World, wait_until};

const MANIFEST: &str = "\
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web}
spec:
  secretName: web-tls
  commonName: web.example
  privateKey: {algorithm: ECDSA}
  dnsNames: [web.example]
  issuerRef: {name: self}
";

/// What a client reads that trusts only what is in the Secret, and the certificate it saw; none while the server does
/// not serve yet what is stored.
fn ask(address: &str, name: &str, root: &std::path::Path) -> Option<(String, Vec<u8>)> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&fs::read(root).unwrap()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // The server closes without a word more.
    let _ = stream.read_to_string(&mut answer);
    let seen = stream.conn.peer_certificates()?;
    Some((answer, seen[0].to_vec()))
}

#[test]
fn two_commands_serve_a_certificate_that_is_renewed() {
    let world = World::empty();
    world.write("manifests/web.yaml", MANIFEST);
    let mut running = Running::start(
        &world,
        &[
            "run",
            "manifests",
            "--secrets",
            "secrets",
            "--serve",
            "127.0.0.1:0",
        ],
    );
    let line = running.wait_for("serving");
    let address = line.rsplit_once("https://").unwrap().1.to_owned();
    running.wait_for("issued default/web");
    let root = world.path("secrets/default/web-tls/tls.crt");
    let (answer, first) = ask(&address, "web.example", &root).unwrap();
    assert!(
        answer.ends_with("certwright serves web.example with Secret default/web-tls\n"),
        "{answer}"
    );
    let output = world.run(&["renew", "web", WAIT]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    wait_until("the new certificate", || {
        let (_, now) = ask(&address, "web.example", &root)?;
        (now != first).then_some(())
    });
    let (code, lines) = running.stop();
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.last().unwrap().ends_with(" stopped"), "{lines:?}");
}
