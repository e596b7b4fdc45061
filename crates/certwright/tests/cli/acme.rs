//! Issuers with `spec.acme`, against a CA on loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use crate::server::FakeServer;
use crate::world::{Running, World, check_secrets, stderr, stdout};

/// An issuer of each scope at this server, each with a Certificate; issuers have these solvers.
fn manifests(server: &str, solvers: &str) -> String {
    let acme = format!(
        "{{acme: {{server: '{server}', privateKeySecretRef: {{name: account}}, solvers: {solvers}}}}}"
    );
    let certificate = |name: &str, kind: &str| {
        format!(
            "---\napiVersion: cert-manager.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {acme}\n\
             ---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: {name}}}\n\
             spec: {{secretName: {name}, dnsNames: [{name}.example.test], privateKey: {{algorithm: ECDSA}}, \
             issuerRef: {{name: {name}, kind: {kind}}}}}\n"
        )
    };
    certificate("one", "Issuer") + &certificate("all", "ClusterIssuer")
}

/// A world with a root for `--acme-roots`, whatever roots the machine has.
pub(crate) fn world(server: &str, solvers: &str) -> World {
    let world = World::issued();
    fs::remove_dir_all(world.path("manifests")).unwrap();
    let root = fs::read(world.path("secrets/shop/root/tls.crt")).unwrap();
    fs::write(world.path("roots.pem"), root).unwrap();
    fs::remove_dir_all(world.path("secrets")).unwrap();
    world.write("manifests/acme.yaml", &manifests(server, solvers));
    world
}

const RUN: [&str; 5] = [
    "run",
    "manifests",
    "--acme-roots",
    "roots.pem",
    "--poll=100ms",
];

fn run(world: &World, more: &[&str]) -> Running {
    Running::start(world, &[&RUN[..], more].concat())
}

#[test]
fn issuers_of_both_scopes_order_and_keep_what_they_need_beside_the_secrets() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(FakeServer::start());
    let world = world(&server.directory(), "[{http01: {}}]");
    let answering = ["--http-challenges", "127.0.0.1:0"];
    let mut running = run(&world, &answering);
    let line = running.wait_for("challenges");
    let address = line.rsplit_once("http://").unwrap().1.to_owned();
    running.wait_for("issued default/one");
    running.wait_for("issued default/all");
    let mut stream = TcpStream::connect(address).unwrap();
    let asked =
        "GET /.well-known/acme-challenge/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mode = fs::metadata(world.path("secrets/.acme")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o700);
    // What is kept for the issuers is no Secret.
    assert_eq!(check_secrets(&world.secrets()), 2);
    assert_eq!(running.stop().0, Some(0));
    let mut again = run(&world, &answering);
    again.wait_for("kept default/all");
    assert_eq!(again.stop().0, Some(0));
    let state = server.state();
    // One label each, and nothing is ordered twice.
    assert_eq!((state.accounts, state.issued), (2, 2));
}

#[test]
fn what_is_missing_is_told_and_what_failed_without_it_is_tried_at_once_with_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(FakeServer::start());
    let world = world(&server.directory(), "[{http01: {}}]");
    let mut without = run(&world, &[]);
    let line = without.wait_for("failed default/one");
    let expected = "nothing answers its challenges; start run with --http-challenges ADDRESS, port 80 as the CA sees it";
    assert!(line.contains(expected), "{line}");
    assert_eq!(without.stop().0, Some(0));
    assert!(server.state().paths.is_empty());
    // Who only looks has nothing to answer with, and says what run would do.
    let planned = stdout(&world.run(&["plan"]));
    assert!(
        planned.contains("default/one   issue    now    there is no Secret yet"),
        "{planned}"
    );
    let mut with = run(&world, &["--http-challenges", "127.0.0.1:0"]);
    with.wait_for("issued default/one");
    assert_eq!(with.stop().0, Some(0));
}

#[test]
fn what_no_option_helps_with_is_told_too() {
    let world = world("http://127.0.0.1:1", "[{dns01: {cloudflare: {}}}]");
    let mut running = run(&world, &["--http-challenges", "127.0.0.1:0"]);
    let line = running.wait_for("failed default/one");
    let expected = "this command answers no dns01; use http01";
    assert!(line.contains(expected), "{line}");
    running.kill();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, expected) in [
        (
            ["--http-challenges", &address],
            format!("cannot answer challenges at {address}: "),
        ),
        (
            ["--acme-roots", "manifests/acme.yaml"],
            "manifests/acme.yaml: holds no certificate".to_owned(),
        ),
        (["--acme-roots", "none.pem"], "none.pem: ".to_owned()),
    ] {
        let output = world.run(&[&["run", "manifests"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains(&expected), "{output:?}");
    }
}
