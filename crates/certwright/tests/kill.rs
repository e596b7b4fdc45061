//! A managing process is killed at random moments: what it leaves on the disk is always complete and matching, and
//! the next one finishes the work.
//!
//! `CERTWRIGHT_KILLS` says how often.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use certwright::run::{DirStore, Runner, Source};
use certwright::{Documents, Manager, SecretDir};
use certwright_cert_model::secret::TLS_CRT;
use time::OffsetDateTime;

use self::support::{Random, all_secrets, check_pair, setting};

const ROOT: &str = "CERTWRIGHT_KILL_DIR";
const EPOCH: &str = "CERTWRIGHT_KILL_EPOCH";
const LEAVES: usize = 8;
/// Virtual seconds of a real one: a certificate of 90 days is renewed several times a second.
const SPEED: f64 = 2e7;

#[test]
fn whatever_is_killed_leaves_whole_secrets() {
    let kills = setting("CERTWRIGHT_KILLS", 30);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("pki.yaml"), documents()).unwrap();
    let secrets = SecretDir::new(home.path().join("secrets"));
    let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let epoch = epoch.unwrap().as_secs_f64().to_string();
    let mut random = Random::new(setting("CERTWRIGHT_SIM_SEED", 1));
    let (mut writes, mut versions) = (0, std::collections::BTreeMap::new());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody who reads all the time sees nothing else either.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                check(&secrets);
            }
        });
        for _ in 0..kills {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "managing_process", "--ignored", "--nocapture"])
                .env(ROOT, home.path())
                .env(EPOCH, &epoch)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Most of the time while it writes, however long it takes to begin; now and then before.
            let began = std::time::Instant::now();
            let patience = match random.chance(10) {
                true => Duration::from_millis(random.below(300)),
                false => Duration::from_secs(120),
            };
            while secrets.versions().unwrap() == versions && began.elapsed() < patience {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(random.below(100)));
            child.kill().unwrap();
            child.wait().unwrap();
            check(&secrets);
            let now = secrets.versions().unwrap();
            writes += u64::from(now != versions);
            versions = now;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(
        writes > kills / 4,
        "killed before it wrote anything: {writes}"
    );

    // The next start finds what is there, and finishes.
    let mut found = Documents::default();
    found.read_paths([home.path().join("pki.yaml")]);
    let stored = all_secrets(&secrets);
    let now = virtual_now(&epoch);
    let mut manager = Manager::new(found.inventory, stored);
    manager.reconcile(now);
    for name in manager.order().to_vec() {
        let status = manager.status(&name, now).unwrap();
        assert!(status.ready, "{name}: {status:?}");
    }
}

/// Every Secret there is is whole, and its key is its certificate's.
fn check(secrets: &SecretDir) {
    for secret in all_secrets(secrets) {
        let name = &secret.name;
        check_pair(&secret);
        for file in ["ca.crt", "trust-bundle.pem", "tls-combined.pem"] {
            assert!(secret.get(file).is_some(), "{name} has no {file}");
        }
        let combined = secret.get("tls-combined.pem").unwrap();
        assert!(combined.ends_with(secret.get(TLS_CRT).unwrap()), "{name}");
    }
}

fn documents() -> String {
    let mut text = String::from(
        "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root}
spec: {secretName: root, issuerRef: {name: self}, isCA: true, commonName: Root, duration: 876000h,
  additionalOutputFormats: [{type: CombinedPEM}], privateKey: {algorithm: ECDSA, rotationPolicy: Always}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root}
spec: {ca: {secretName: root}}
",
    );
    for leaf in 0..LEAVES {
        text += &format!(
            "---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: leaf{leaf}}}
spec: {{secretName: leaf{leaf}, issuerRef: {{name: root}}, dnsNames: [leaf{leaf}.example],
  additionalOutputFormats: [{{type: CombinedPEM}}], privateKey: {{algorithm: ECDSA, rotationPolicy: Always}}}}
"
        );
    }
    text
}

fn virtual_now(epoch: &str) -> OffsetDateTime {
    let epoch: f64 = epoch.parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let elapsed = now.unwrap().as_secs_f64() - epoch;
    let start = time::macros::datetime!(2026-03-01 12:00 UTC);
    start + time::Duration::seconds_f64(elapsed * SPEED)
}

/// What is killed; the test above starts it.
#[test]
#[ignore = "no test of its own: a process that whatever_is_killed_leaves_whole_secrets starts and kills"]
fn managing_process() {
    let Some(home) = std::env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    let epoch = std::env::var(EPOCH).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(manage(&home, epoch));
}

async fn manage(home: &Path, epoch: String) {
    let poll = Duration::from_millis(5);
    let store = DirStore::new(SecretDir::new(home.join("secrets")), poll);
    let mut runner = Runner::new(store, move || virtual_now(&epoch));
    let paths = vec![home.join("pki.yaml")];
    runner.source = Some(Source::Paths { paths, poll });
    runner.run(core::future::pending()).await;
}
