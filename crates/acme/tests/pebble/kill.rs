//! `kill -9` at every moment of an order: no certificate is lost, none is made twice, and
//! nothing is left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use certwright_acme::account::ExternalBinding;
use certwright_acme::challenge::Solvers;
use certwright_acme::challenge::dns01::Dns01;
use certwright_acme::http::HttpOptions;
use certwright_acme::{
    AcmeServer, CertId, Demand, Engine, IssuedCertificate, Options, Outcome, TokioRuntime, Wanted,
};
use certwright_storage::conformance::Attended;
use certwright_storage::{FileOptions, FileStorage, Storage};

use crate::dns::ChallTestSrv;
use crate::failpoint::{Moments, WatchedServer};
use crate::fake::FakeServer;
use crate::server::{self, Pebble, Settings};

#[test]
fn at_every_moment() {
    if let Some(pebble) = Pebble::start(Settings::default()) {
        at_pebble(&pebble, "http", 1);
    }
}

#[test]
fn at_every_moment_of_a_renewal() {
    if let Some(pebble) = Pebble::start(Settings::default()) {
        at_pebble(&pebble, "http", 2);
    }
}

#[test]
fn at_every_moment_with_records_in_the_dns() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    at_pebble(&pebble, "dns", 1);
    let name = "_acme-challenge.k0.example.test";
    let (management, record) = (ChallTestSrv(pebble.dns_management), "there");
    let added = serde_json::json!({ "host": format!("{name}."), "value": record });
    block_on(management.post("set-txt", added)).unwrap();
    assert_eq!(texts(&pebble, name), 1, "they are seen when they are there");
}

#[test]
fn at_every_moment_with_a_bound_account() {
    let settings = Settings {
        binding: Some(BINDING),
        ..Settings::default()
    };
    if let Some(pebble) = Pebble::start(settings) {
        at_pebble(&pebble, "bound", 1);
    }
}

/// Pebble of Debian knows no `replaces`.
#[test]
fn at_every_moment_of_a_replacement() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(FakeServer::start());
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca {
        directory: server.directory(),
        root: None,
        port: 0,
        dns: 0,
        dir: dir.path().to_owned(),
        kind: "fake",
    };
    let mut moments = 1;
    let mut expected = 0;
    // The first round runs to the end and counts; the others die.
    for round in 0.. {
        let name = format!("k{round}.example.test");
        assert!(ca.order(&name, usize::MAX, 0).starts_with("ISSUED"));
        let first = ca.stored(&name, 1);
        let before = server.state().orders.len();
        if round == 0 {
            let whole = ca.order(&name, usize::MAX, 1);
            moments = seen(&whole);
        } else {
            assert_eq!(ca.order(&name, round - 1, 1), "STOPPED");
            let line = ca.order(&name, usize::MAX, 1);
            assert!(line.starts_with("ISSUED"), "moment {round}: {line}");
        }
        ca.stored(&name, 2);
        expected += 2;
        let state = server.state();
        assert_eq!(state.issued, expected, "moment {round}: one for each");
        let placed = &state.orders[before..];
        assert!((1..=2).contains(&placed.len()), "moment {round}");
        for order in placed {
            assert_eq!(order["replaces"].as_str(), first.ari_id());
        }
        drop(state);
        if round == moments {
            break;
        }
    }
    println!("{moments} moments");
    assert!(moments > 10, "{moments}");
}

/// The last of so many certificates for one name is the one that is interrupted.
fn at_pebble(pebble: &Pebble, kind: &'static str, certificates: u64) {
    let root = pebble.dir.path().join("root.der");
    fs::write(&root, &pebble.root).unwrap();
    let ca = Ca {
        directory: pebble.directory.clone(),
        root: Some(root),
        port: pebble.http_port,
        dns: pebble.dns_management,
        dir: pebble.dir.path().to_owned(),
        kind,
    };
    let before = |name: &str| {
        for after in 0..certificates - 1 {
            let line = ca.order(name, usize::MAX, after);
            assert!(line.starts_with("ISSUED"), "{line}");
        }
    };
    before("whole.example.test");
    let moments = seen(&ca.order("whole.example.test", usize::MAX, certificates - 1));
    assert!(moments > 15, "{moments}");
    let count = |what: &str| pebble.log().matches(what).count();
    let issued = usize::try_from(certificates).unwrap();
    let mut orders = 0;
    for moment in 0..moments {
        let name = format!("k{moment}.example.test");
        before(&name);
        let (placed, accounts) = (count("Added order"), count("accounts in memory"));
        assert_eq!(ca.order(&name, moment, certificates - 1), "STOPPED");
        // It goes on where the dead one stopped.
        let mut line = ca.order(&name, usize::MAX, certificates - 1);
        if line.starts_with("NOT Waiting") {
            // The CA was told, and looked while nobody was there to answer. The minute's
            // pause is left out.
            assert!(
                line.contains("class: Validation"),
                "moment {moment}: {line}"
            );
            line = ca.order(&name, usize::MAX, certificates - 1);
        }
        assert!(line.starts_with("ISSUED"), "moment {moment}: {line}");
        ca.stored(&name, certificates);
        let made = count("Issued certificate serial");
        assert_eq!(made, issued * (moment + 2), "moment {moment}: no more");
        let placed = count("Added order") - placed;
        assert!(
            (1..=2).contains(&placed),
            "moment {moment}: {placed} orders"
        );
        orders += placed;
        let accounts = count("accounts in memory") - accounts;
        assert_eq!(accounts, usize::from(certificates == 1), "moment {moment}");
        if kind == "dns" {
            let record = format!("_acme-challenge.{name}");
            assert_eq!(texts(pebble, &record), 0, "moment {moment}");
        }
    }
    println!("{kind}: {moments} moments, {orders} orders");
    assert!(
        orders <= moments + 4,
        "only around newOrder there may be a second one"
    );
}

/// How many moments a whole order has.
fn seen(line: &str) -> usize {
    line.strip_prefix("ISSUED after ").unwrap().parse().unwrap()
}

/// How many TXT records the DNS has for this name, asked by hand: 12 octets of header, of
/// which the fourth pair is the number of answers (RFC 1035 section 4.1.1).
fn texts(pebble: &Pebble, name: &str) -> u8 {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    // The root, type TXT, class IN.
    query.extend_from_slice(&[0, 0, 16, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
        .send_to(&query, ("127.0.0.1", pebble.dns_port))
        .unwrap();
    let mut answer = [0; 4096];
    socket.recv(&mut answer).unwrap();
    answer[7]
}

/// Where processes order, and how.
struct Ca {
    directory: String,
    root: Option<PathBuf>,
    port: u16,
    dns: u16,
    dir: PathBuf,
    kind: &'static str,
}

impl Ca {
    /// Runs a process that orders a certificate after this generation, and kills it when it
    /// says that it has stopped. Its last words.
    fn order(&self, name: &str, moment: usize, after: u64) -> String {
        let mut child = Running(
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "kill::the_one_that_dies",
                    "--ignored",
                    "--nocapture",
                ])
                .env("KILL_DIRECTORY", &self.directory)
                .env("KILL_ROOT", self.root.as_deref().unwrap_or(Path::new("")))
                .env("KILL_PORT", self.port.to_string())
                .env("KILL_DNS", self.dns.to_string())
                .env("KILL_KIND", self.kind)
                .env("KILL_STORE", self.dir.join(name))
                .env("KILL_NAME", name)
                .env("KILL_MOMENT", moment.to_string())
                .env("KILL_AFTER", after.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let words = ["STOPPED", "ISSUED", "NOT"];
        let said = lines.find(|line| words.iter().any(|word| line.starts_with(word)));
        let said = said.unwrap_or_else(|| "nothing".to_owned());
        if said == "STOPPED" {
            // SIGKILL.
            child.0.kill().unwrap();
        }
        child.0.wait().unwrap();
        said
    }

    /// The certificate in the store, which has nothing else.
    fn stored(&self, name: &str, generation: u64) -> IssuedCertificate {
        let storage = FileStorage::open(&self.dir.join(name), FileOptions::default()).unwrap();
        let (_, id) = wanted(name);
        for prefix in ["/acme/v1/orders/", "/acme/v1/challenges/"] {
            let left = block_on(storage.list(prefix)).unwrap();
            assert_eq!(left.entries, [], "{name}");
        }
        let entry = block_on(storage.get(&id.current())).unwrap().unwrap();
        let certificate = IssuedCertificate::decode(entry.value.as_bytes()).unwrap();
        assert_eq!(certificate.generation(), generation, "{name}");
        certificate
    }
}

#[tokio::main(flavor = "current_thread")]
async fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.await
}

/// Does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BINDING: (&str, &str) = (
    "kid-1",
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
);

fn wanted(name: &str) -> (Wanted, CertId) {
    let wanted = Wanted::new(vec![name.parse().unwrap()]);
    let id = wanted.id("");
    (wanted, id)
}

#[tokio::test]
#[ignore = "no test of its own: a process that the tests above start and kill"]
async fn the_one_that_dies() {
    let of = |name: &str| std::env::var(format!("KILL_{name}")).unwrap();
    let port = |name: &str| of(name).parse::<u16>().unwrap();
    let moments = Moments::until(of("MOMENT").parse().unwrap(), None);
    let storage = FileStorage::open(Path::new(&of("STORE")), FileOptions::default()).unwrap();
    let storage = Arc::new(Attended::new(storage, Arc::clone(&moments)));
    let (directory, kind) = (of("DIRECTORY"), of("KIND"));
    let server = match kind.as_str() {
        "fake" => AcmeServer::new(&directory, HttpOptions::new(Vec::new())).unwrap(),
        _ => server::server(&directory, fs::read(of("ROOT")).unwrap().into()),
    };
    let solvers = match kind.as_str() {
        "dns" => Solvers::dns01(Dns01::new(Arc::new(ChallTestSrv(port("DNS"))))),
        _ => Solvers::http01(),
    };
    let mut issuer = server::issuer(server.clone(), &directory, solvers);
    if kind == "bound" {
        let (kid, mac) = BINDING;
        issuer.account.registration.binding = Some(ExternalBinding::new(kid, mac).unwrap());
    }
    issuer.protocol = Arc::new(WatchedServer(Arc::new(server), Arc::clone(&moments)));
    let runtime = Arc::new(TokioRuntime);
    let engine = Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap();
    let address = ([127, 0, 0, 1], port("PORT")).into();
    let _listener = engine.http01().listen(address).await.unwrap();
    let (wanted, _) = wanted(&of("NAME"));
    let after = of("AFTER").parse().unwrap();
    let outcome = engine.obtain(&wanted, Demand::Force { after }).await;
    match outcome.unwrap() {
        Outcome::Issued(_) | Outcome::Current(_) => println!("\nISSUED after {}", moments.seen()),
        other => println!("\nNOT {other:?}"),
    }
}
