//! Three replicas behind one name: one orders, all answer the CA, all serve; the one that
//! orders is killed while it does, and another goes on with its order.
//!
//! Starts everything itself, on loopback: three etcd nodes and Let's Encrypt's test
//! server (Debian: `apt-get install etcd-server pebble`), a balancer, and itself three
//! times as the replicas.
//!
//! `cargo run -p certwright-acme --all-features --example cluster`

#![allow(clippy::unwrap_used, reason = "what starts the peers is a test's")]

mod balancer;
#[allow(dead_code, reason = "more than this example needs")]
#[path = "../../../storage/tests/support/cluster.rs"]
mod etcd;
#[allow(dead_code, reason = "more than this example needs")]
#[path = "../../tests/pebble/server.rs"]
mod pebble;
#[allow(dead_code, reason = "more than this example needs")]
mod process;
mod replica;

use std::error::Error;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balancer::Balancer;
use etcd::Cluster;
use pebble::{Pebble, Settings};
use process::{Ear, Process, Said};

const NAME: &str = "www.example.test";
const LEASE: &str = "3";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("replica") {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let told = replica::input();
        return runtime.block_on(replica::live(told, |etcd, server| {
            (Arc::new(etcd), Arc::new(server))
        }));
    }
    let (Some(etcd), Some(pebble)) = (Cluster::start(3), Pebble::start(Settings::default())) else {
        return Err("etcd and pebble are needed".into());
    };
    let root = pebble.dir.path().join("root.der");
    fs::write(&root, &pebble.root)?;
    let balancer = Balancer::listen(pebble.http_port)?;
    let mut ear = Ear::new();
    let begun = Instant::now();
    let start = |name: &str, ear: &mut Ear| {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("replica")
            .env("REPLICA_ETCD", etcd.endpoints().join(","))
            .env("REPLICA_DIRECTORY", &pebble.directory)
            .env("REPLICA_ROOT", &root)
            .env("REPLICA_LEASE", LEASE);
        let process = Process::start(command, name, ear)?;
        println!("{:>6} ms  {name} starts", begun.elapsed().as_millis());
        Ok::<_, std::io::Error>(process)
    };
    let mut replicas = Vec::new();
    for name in ["one", "two", "three"] {
        replicas.push(start(name, &mut ear)?);
    }
    balancer.set(replicas.iter().map(|replica| replica.port));

    println!("all want {NAME}; whoever shows its answers to the CA first is killed");
    for replica in &mut replicas {
        replica.tell(&format!("want {NAME}"))?;
    }
    let show = |said: &Said| {
        let after = said.at.duration_since(begun).as_millis();
        println!("{after:>6} ms  {}: {}", said.who, said.line);
    };
    let patience = Duration::from_secs(30);
    let shown = ear.wait(patience, |said| {
        show(said);
        said.line == format!("STEP {NAME} presenting")
    });
    let shown = shown.ok_or("nobody orders")?;
    let victim = replicas.iter().position(|one| one.name == shown.who);
    let mut victim = replicas.remove(victim.ok_or("nobody orders")?);
    victim.kill()?;
    let killed = Instant::now();
    println!(
        "{:>6} ms  {} is killed",
        begun.elapsed().as_millis(),
        victim.name
    );
    balancer.set(replicas.iter().map(|replica| replica.port));

    let serves = format!("SERVES {NAME} 1");
    for _ in &replicas {
        let served = ear.wait(patience, |said| {
            show(said);
            said.line == serves
        });
        served.ok_or("not served")?;
    }
    println!(
        "served {:.1?} after the kill, with a lease of {LEASE} s",
        killed.elapsed()
    );
    let _back = start(&victim.name, &mut ear)?;
    let served = ear
        .heard
        .iter()
        .any(|said| said.at > killed && said.who == victim.name && said.line == serves)
        || ear
            .wait(patience, |said| {
                show(said);
                said.who == victim.name && said.line == serves
            })
            .is_some();
    assert!(served, "the one that was killed serves as well");
    let log = pebble.log();
    println!(
        "the CA has seen {} order(s) and made {} certificate(s)",
        log.matches("Added order").count(),
        log.matches("Issued certificate serial").count()
    );
    Ok(())
}
