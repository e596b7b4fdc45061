//! Workloads that know each other by SPIFFE ID, with certificates of one hour, under mutual TLS load: their
//! certificates, their CA and its key change all the time, and no handshake fails.
//!
//! ```console
//! $ cargo run --release -p certwright --example mesh
//! $ cargo run --release -p certwright --example mesh -- 50 7
//! ```
//!
//! The arguments are the number of workloads and of virtual days. Exit code 0: every handshake was good.

#[path = "../lifecycle/clock.rs"]
mod clock;
mod workload;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use certwright::{Documents, Manager, Outcome, SecretChange};
use certwright_cert_model::document::Format;
use time::{Duration, OffsetDateTime};

use crate::clock::Clock;
use crate::workload::{DOMAIN, Workload, handshake};

/// So many handshakes of each thread come to an end between two changes.
const BETWEEN: u64 = 2;
const THREADS: usize = 2;

fn main() -> ExitCode {
    match live() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mesh: {error}");
            ExitCode::FAILURE
        }
    }
}

fn live() -> Result<u64, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: i64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (workloads, days) = (number(20)?.max(2), number(3)?.max(1));
    let start = OffsetDateTime::now_utc();
    let clock = Clock::starting_at(start);
    let mut documents = Documents::default();
    documents.read("mesh", &manifests(workloads), Format::Yaml);
    if let Some(problem) = documents.problems.first() {
        return Err(problem.to_string().into());
    }
    let mut manager = Manager::new(documents.inventory, []);
    manager.reconcile(clock.now());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut mesh = Vec::new();
    for secret in manager.secrets().filter(|secret| secret.name != "mesh-ca") {
        mesh.push(Workload::new(secret, &clock, &provider)?);
    }
    manager.take_changes();

    let (over, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    let made = [const { AtomicU64::new(0) }; THREADS];
    let began = Instant::now();
    let mut lived = Lived::default();
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        for (thread, made) in made.iter().enumerate() {
            let (over, failed, mesh) = (&over, &failed, &mesh);
            scope.spawn(move || {
                // Everybody talks to everybody, in an order of its own on each thread.
                let mut turn = thread;
                while !over.load(Ordering::Relaxed) {
                    turn += 1;
                    let client = turn % mesh.len();
                    let server = (client + 1 + turn / mesh.len() % (mesh.len() - 1)) % mesh.len();
                    match handshake(&mesh[client], &mesh[server]) {
                        Ok(()) => {}
                        Err(error) => {
                            eprintln!("{client} to {server}: {error}");
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let lived = rotate(&mut manager, &mesh, &clock, days, &made, &mut lived);
        over.store(true, Ordering::Relaxed);
        lived
    })?;
    let made: u64 = made.iter().map(|made| made.load(Ordering::Relaxed)).sum();
    let failed = failed.into_inner();
    println!(
        "{workloads} workloads, {days} days in {:.1?}: {} certificates, {} CAs, {} bundles; {made} handshakes, {failed} failed",
        began.elapsed(),
        lived.certificates,
        lived.authorities,
        lived.bundles
    );
    Ok(failed)
}

#[derive(Default)]
struct Lived {
    certificates: usize,
    authorities: usize,
    bundles: usize,
}

/// Moves the clock from one wake to the next, and hands every Secret that changed to its workload.
fn rotate(
    manager: &mut Manager,
    mesh: &[Workload],
    clock: &Clock,
    days: i64,
    made: &[AtomicU64],
    lived: &mut Lived,
) -> Result<(), Box<dyn Error>> {
    let end = clock.now() + Duration::days(days);
    while let Some(wake) = manager.next_wake().filter(|wake| *wake < end) {
        clock.set(wake.max(clock.now()));
        for (name, outcome) in manager.reconcile(clock.now()) {
            match outcome {
                Outcome::Issued { .. } if name.name == "mesh-ca" => lived.authorities += 1,
                Outcome::Issued { .. } => lived.certificates += 1,
                Outcome::Reapplied { .. } => lived.bundles += 1,
                Outcome::Failed { error, .. } => return Err(Box::new(error)),
                _ => {}
            }
        }
        // In this order: a bundle is everywhere before a certificate needs it.
        for change in manager.take_changes() {
            let name = change.name();
            let SecretChange::Put(secret) = change else {
                continue;
            };
            for workload in mesh.iter().filter(|workload| workload.secret == name) {
                workload.update(&secret)?;
            }
        }
        // Whoever began before has ended before the next change.
        let all: Vec<_> = made
            .iter()
            .map(|made| made.load(Ordering::Relaxed))
            .collect();
        for (made, before) in made.iter().zip(all) {
            while made.load(Ordering::Relaxed) < before + BETWEEN {
                std::thread::yield_now();
            }
        }
    }
    Ok(())
}

fn manifests(workloads: i64) -> String {
    let mut text = String::from(
        "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: mesh}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: mesh-ca, namespace: mesh}
spec:
  secretName: mesh-ca
  issuerRef: {name: self}
  isCA: true
  commonName: Mesh CA
  duration: 24h # renewed after 16, with a new key
  usages: [cert sign, crl sign]
  uris: ['spiffe://mesh.example']
  privateKey: {algorithm: ECDSA, rotationPolicy: Always}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: mesh-ca, namespace: mesh}
spec: {ca: {secretName: mesh-ca}}
",
    );
    for workload in 0..workloads {
        text += &format!(
            "---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: w{workload}, namespace: mesh}}
spec:
  secretName: w{workload}
  issuerRef: {{name: mesh-ca}}
  uris: ['spiffe://{DOMAIN}/ns/mesh/sa/w{workload}']
  usages: [digital signature, server auth, client auth]
  duration: 1h
  renewBefore: {}m
  privateKey: {{algorithm: ECDSA, rotationPolicy: Always}}
",
            // Not all at the same moment.
            15 + workload % 10
        );
    }
    text
}
