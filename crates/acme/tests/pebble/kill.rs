//! `kill -9` at every moment of an order: no certificate is lost, none is made twice.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use certwright_acme::challenge::Solvers;
use certwright_acme::{
    CertId, Demand, Engine, IssuedCertificate, Options, Outcome, TokioRuntime, Wanted,
};
use certwright_storage::{FileOptions, FileStorage, Storage};

use crate::server::{self, Pebble, Settings};
use crate::watched::{Moments, WatchedServer, WatchedStorage};

#[test]
fn at_every_moment() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let whole = order(&pebble, "whole.example.test", usize::MAX);
    let moments: usize = whole
        .strip_prefix("ISSUED after ")
        .unwrap()
        .parse()
        .unwrap();
    assert!(moments > 20, "{moments}");
    let mut orders = 1;
    for moment in 0..moments {
        let name = format!("k{moment}.example.test");
        assert_eq!(order(&pebble, &name, moment), "STOPPED");
        // It goes on where the dead one stopped.
        let mut line = order(&pebble, &name, usize::MAX);
        if line.starts_with("NOT Waiting") {
            // The CA was told, and looked while nobody was there to answer. The minute's
            // pause is left out.
            assert!(
                line.contains("class: Validation"),
                "moment {moment}: {line}"
            );
            line = order(&pebble, &name, usize::MAX);
        }
        assert!(line.starts_with("ISSUED"), "moment {moment}: {line}");
        let certificate = stored(&pebble, &name);
        assert_eq!(certificate.generation(), 1);
        let log = pebble.log();
        let made = log.matches("Issued certificate serial").count();
        assert_eq!(made, moment + 2, "moment {moment}: one certificate each");
        let placed = log.matches("Added order").count() - orders;
        assert!(
            (1..=2).contains(&placed),
            "moment {moment}: {placed} orders"
        );
        orders += placed;
    }
    println!("{moments} moments, {} orders", orders - 1);
    assert!(
        orders <= moments + 4,
        "only around newOrder there may be a second one"
    );
}

/// Runs a process that orders a certificate, and kills it when it says that it has
/// stopped. Its last words.
fn order(pebble: &Pebble, name: &str, moment: usize) -> String {
    let root = pebble.dir.path().join("root.der");
    fs::write(&root, &pebble.root).unwrap();
    let mut child = Running(
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::the_one_that_dies",
                "--ignored",
                "--nocapture",
            ])
            .env("KILL_DIRECTORY", &pebble.directory)
            .env("KILL_ROOT", root)
            .env("KILL_PORT", pebble.http_port.to_string())
            .env("KILL_STORE", pebble.dir.path().join(name))
            .env("KILL_NAME", name)
            .env("KILL_MOMENT", moment.to_string())
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

/// Does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wanted(name: &str) -> (Wanted, CertId) {
    let wanted = Wanted::new(vec![name.parse().unwrap()]);
    let id = wanted.id("");
    (wanted, id)
}

#[tokio::main(flavor = "current_thread")]
async fn stored(pebble: &Pebble, name: &str) -> IssuedCertificate {
    let store = pebble.dir.path().join(name);
    let storage = FileStorage::open(&store, FileOptions::default()).unwrap();
    let (_, id) = wanted(name);
    let left = storage.list("/acme/v1/orders/").await.unwrap();
    assert_eq!(left.entries, [], "{name}");
    let left = storage.list("/acme/v1/challenges/").await.unwrap();
    assert_eq!(left.entries, [], "{name}");
    let entry = storage.get(&id.current()).await.unwrap().unwrap();
    IssuedCertificate::decode(entry.value.as_bytes()).unwrap()
}

#[tokio::test]
#[ignore = "started and killed by the test above"]
async fn the_one_that_dies() {
    let of = |name: &str| std::env::var(format!("KILL_{name}")).unwrap();
    let moments = Moments::until(of("MOMENT").parse().unwrap());
    let storage = FileStorage::open(Path::new(&of("STORE")), FileOptions::default()).unwrap();
    let storage = Arc::new(WatchedStorage(storage, Arc::clone(&moments)));
    let root = fs::read(of("ROOT")).unwrap().into();
    let server = server::server(&of("DIRECTORY"), root);
    let mut issuer = server::issuer(server.clone(), &of("DIRECTORY"), Solvers::http01());
    issuer.protocol = Arc::new(WatchedServer(server, Arc::clone(&moments)));
    let runtime = Arc::new(TokioRuntime);
    let engine = Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap();
    let port: u16 = of("PORT").parse().unwrap();
    let _listener = engine
        .http01()
        .listen(([127, 0, 0, 1], port).into())
        .await
        .unwrap();
    let (wanted, _) = wanted(&of("NAME"));
    let demand = Demand::Force { after: 0 };
    let outcome = engine.obtain(&wanted, demand).await.unwrap();
    match outcome {
        Outcome::Issued(_) | Outcome::Current(_) => println!("\nISSUED after {}", moments.seen()),
        other => println!("\nNOT {other:?}"),
    }
}
