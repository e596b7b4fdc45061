//! The peers, the replicas, and what the CA has seen.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use certwright_acme::{CertId, IssuedCertificate, Wanted};
use certwright_storage::conformance::Attended;
use certwright_storage::{EtcdOptions, EtcdStorage, Storage};
use tokio::sync::mpsc::unbounded_channel;

use crate::balancer::Balancer;
use crate::etcd::Cluster;
use crate::failpoint::{Moments, WatchedServer};
use crate::process::{Ear, Process, Said};
use crate::replica;
use crate::server::{Pebble, Settings};

/// How long a lease outlives its holder.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How long an order may take, on a machine that is busy.
pub(crate) const ORDER: Duration = Duration::from_secs(15);

pub(crate) struct Stage {
    pub(crate) etcd: Cluster,
    pub(crate) pebble: Pebble,
    pub(crate) ear: Ear,
    balancer: Balancer,
    orders: usize,
    certificates: usize,
    started: usize,
}

impl Stage {
    /// Everything but replicas; `None`, loudly, if something is not installed.
    pub(crate) fn set() -> Option<Self> {
        let (etcd, pebble) = (Cluster::start(3)?, Pebble::start(Settings::default())?);
        fs::write(pebble.dir.path().join("root.der"), &pebble.root).unwrap();
        let balancer = Balancer::listen(pebble.http_port).unwrap();
        Some(Self {
            etcd,
            pebble,
            ear: Ear::new(),
            balancer,
            orders: 0,
            certificates: 0,
            started: 0,
        })
    }

    /// A replica that stands still at a moment.
    pub(crate) fn replica_until(&mut self, moment: usize, endpoints: &[String]) -> Process {
        self.started += 1;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "stage::a_replica", "--ignored", "--nocapture"])
            .env("REPLICA_ETCD", endpoints.join(","))
            .env("REPLICA_DIRECTORY", &self.pebble.directory)
            .env("REPLICA_ROOT", self.pebble.dir.path().join("root.der"))
            .env("REPLICA_LEASE", LEASE.as_secs().to_string())
            .env("REPLICA_MOMENT", moment.to_string());
        let name = format!("r{}", self.started);
        Process::start(command, &name, &mut self.ear).unwrap()
    }

    pub(crate) fn replica(&mut self) -> Process {
        let endpoints = self.etcd.endpoints();
        self.replica_until(usize::MAX, &endpoints)
    }

    /// Those the CA is led to.
    pub(crate) fn balance<'a>(&self, replicas: impl IntoIterator<Item = &'a Process>) {
        self.balancer
            .set(replicas.into_iter().map(|replica| replica.port));
    }

    /// Waits until all of them serve it; when the last one began to.
    pub(crate) fn served(&mut self, name: &str, by: &[&Process], patience: Duration) -> Instant {
        let line = format!("SERVES {name} 1");
        let mut missing: Vec<String> = by.iter().map(|one| one.name.clone()).collect();
        let mut last = Instant::now();
        let said = self.ear.heard.iter().filter(|said| said.line == line);
        for said in said {
            missing.retain(|name| *name != said.who);
        }
        while !missing.is_empty() {
            let said = self.ear.wait(patience, |said| said.line == line);
            let Some(said) = said else {
                panic!("{missing:?} do not serve {name}:\n{}", self.story());
            };
            missing.retain(|name| *name != said.who);
            last = said.at;
        }
        last
    }

    pub(crate) fn wait(&mut self, patience: Duration, is: impl FnMut(&Said) -> bool) -> Said {
        match self.ear.wait(patience, is) {
            Some(said) => said,
            None => panic!("it does not happen:\n{}", self.story()),
        }
    }

    /// The last of what everybody said.
    pub(crate) fn story(&self) -> String {
        let heard = &self.ear.heard;
        let last = heard.iter().skip(heard.len().saturating_sub(60));
        let first = heard.first().map(|said| said.at);
        last.map(|said| {
            let at = first.map_or(0, |first| said.at.duration_since(first).as_millis());
            format!("{at:>7} ms {}: {}\n", said.who, said.line)
        })
        .collect()
    }

    /// How many orders and certificates the CA has seen since the last time.
    pub(crate) fn seen(&mut self) -> (usize, usize) {
        let log = self.pebble.log();
        let orders = log.matches("Added order").count();
        let certificates = log.matches("Issued certificate serial").count();
        let since = (orders - self.orders, certificates - self.certificates);
        (self.orders, self.certificates) = (orders, certificates);
        since
    }

    /// What is stored of a certificate, once nothing is under way for it any more.
    pub(crate) fn stored(&self, name: &str) -> IssuedCertificate {
        let endpoints = self.etcd.endpoints();
        let id = id(name);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let storage = EtcdStorage::new(EtcdOptions::new(endpoints)).unwrap();
            let end = Instant::now() + ORDER;
            while storage.get(&id.journal()).await.unwrap().is_some() {
                assert!(
                    Instant::now() < end,
                    "{name}: an order is left:\n{}",
                    self.story()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let entry = storage.get(&id.current()).await.unwrap().unwrap();
            IssuedCertificate::decode(entry.value.as_bytes()).unwrap()
        })
    }
}

fn id(name: &str) -> CertId {
    Wanted::new(vec![name.parse().unwrap()]).id("")
}

#[tokio::test]
#[ignore = "no test of its own: a process that the tests of replicas start"]
async fn a_replica() {
    println!();
    let (go, going) = channel();
    let (sender, told) = unbounded_channel();
    let mut input = replica::input();
    std::thread::spawn(move || {
        while let Some(line) = input.blocking_recv() {
            let gone = match line.as_str() {
                "go" => go.send(()).is_err(),
                _ => sender.send(line).is_err(),
            };
            if gone {
                return;
            }
        }
    });
    let moment = std::env::var("REPLICA_MOMENT").unwrap().parse().unwrap();
    let moments = Moments::until(moment, Some(going));
    let lived = replica::live(told, |etcd, server| {
        let storage = Attended::new(etcd, Arc::clone(&moments));
        let server = WatchedServer(Arc::new(server), moments);
        (Arc::new(storage), Arc::new(server))
    });
    lived.await.unwrap();
}
