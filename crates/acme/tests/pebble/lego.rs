//! Debian's `lego` and we ask the same Pebble for the same names: the names, the chain and
//! the kind of key that come back are the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use certwright_acme::chain::Chain;
use certwright_acme::challenge::Solvers;
use certwright_acme::challenge::dns01::Dns01;
use certwright_acme::{Demand, Engine, Options, Outcome, TokioRuntime, Wanted};
use certwright_cert_model::key::{Curve, KeyAlgorithm, RsaSize};
use certwright_cert_model::pem;
use certwright_storage::MemoryStorage;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::alpn::{self, Answers};
use crate::dns::ChallTestSrv;
use crate::server::{self, Pebble, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http01() {
    let names = ["b.example.test", "a.example.test"];
    let key = KeyAlgorithm::Ecdsa(Curve::P256);
    compare(&names, ("ec256", key), How::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_alpn01() {
    let key = KeyAlgorithm::Ecdsa(Curve::P384);
    compare(&["a.example.test"], ("ec384", key), How::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_dns01() {
    let names = ["*.wild.example.test", "wild.example.test"];
    let key = KeyAlgorithm::Rsa(RsaSize::MIN);
    compare(&names, ("rsa2048", key), How::Dns).await;
}

#[derive(Clone, Copy)]
enum How {
    Dns,
    Http,
    Tls,
}

async fn compare(names: &[&str], (legos, key): (&str, KeyAlgorithm), how: How) {
    let Some(lego) = server::find("lego") else {
        return;
    };
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let root = pebble.dir.path().join("root.pem");
    std::fs::write(&root, pem::write("CERTIFICATE", &pebble.root).as_bytes()).unwrap();
    let path = pebble.dir.path().join("lego");
    let loopback = |port: u16| format!("127.0.0.1:{port}");
    let mut command = Command::new(lego);
    command
        .env("LEGO_CA_CERTIFICATES", &root)
        .args(["--server", &pebble.directory, "--email", "a@example.test"])
        .args(["--accept-tos", "--key-type", legos, "--path"])
        .arg(&path);
    match how {
        How::Dns => {
            let bridge = bridge(ChallTestSrv(pebble.dns_management)).await;
            command
                .env("HTTPREQ_ENDPOINT", format!("http://{}", loopback(bridge)))
                .args(["--dns", "httpreq", "--dns.disable-cp"])
                .args(["--dns.resolvers", &loopback(pebble.dns_port)]);
        }
        How::Http => {
            command.args(["--http", "--http.port", &loopback(pebble.http_port)]);
        }
        How::Tls => {
            command.args(["--tls", "--tls.port", &loopback(pebble.tls_port)]);
        }
    }
    for name in names {
        command.args(["--domains", name]);
    }
    let ran = tokio::task::block_in_place(|| command.arg("run").output().unwrap());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let theirs = read(&path, names[0]);

    let ours = obtain(&pebble, names, key, how).await;
    assert_eq!(facts(&ours), facts(&theirs));
    let leaf = ours.leaf().unwrap();
    assert_eq!(leaf.public_key().unwrap().algorithm(), key);
}

/// What both must agree on: the names, the subject, the kind of key, and who signed whom.
fn facts(chain: &Chain) -> (BTreeSet<String>, String, KeyAlgorithm, Vec<Vec<u8>>) {
    let leaf = chain.leaf().unwrap();
    let names = leaf.names().map(|name| format!("{name:?}")).collect();
    let above = chain.certificates()[1..].iter();
    (
        names,
        leaf.subject(),
        leaf.public_key().unwrap().algorithm(),
        above.map(|ca| ca.der().to_vec()).collect(),
    )
}

/// lego writes `*` as `_`.
fn read(path: &Path, name: &str) -> Chain {
    let file = format!("{}.crt", name.replace('*', "_"));
    let text = std::fs::read(path.join("certificates").join(file)).unwrap();
    Chain::read(&text).unwrap()
}

async fn obtain(pebble: &Pebble, names: &[&str], key: KeyAlgorithm, how: How) -> Chain {
    let solvers = match how {
        How::Dns => Solvers::dns01(Dns01::new(Arc::new(ChallTestSrv(pebble.dns_management)))),
        How::Http => Solvers::http01(),
        How::Tls => Solvers::tls_alpn01(),
    };
    let answers = Arc::new(Answers::default());
    let mut options = Options::default();
    options.alpn = Some(answers.clone());
    let storage = Arc::new(MemoryStorage::default());
    let issuers = vec![pebble.issuer(solvers)];
    let engine = Engine::new(storage, Arc::new(TokioRuntime), issuers, options).unwrap();
    let address = ([127, 0, 0, 1], pebble.http_port).into();
    let _http = engine.http01().listen(address).await.unwrap();
    let tls = alpn::listen(pebble.tls_port, answers).await;
    let mut wanted = Wanted::new(names.iter().map(|name| name.parse().unwrap()).collect());
    wanted.key = key;
    let outcome = engine.obtain(&wanted, Demand::Missing).await.unwrap();
    tls.abort();
    let Outcome::Issued(certificate) = outcome else {
        panic!("{outcome:?}");
    };
    Chain::read(certificate.chain_pem().as_bytes()).unwrap()
}

/// Takes what lego's provider `httpreq` posts to the DNS; the port it listens on.
async fn bridge(dns: ChallTestSrv) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).await.unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let path = match first.contains("/present") {
                true => "set-txt",
                false => "clear-txt",
            };
            let record = serde_json::json!({ "host": said["fqdn"], "value": said["value"] });
            dns.post(path, record).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    port
}
