//! The loop on stores: what is stored is served, one replica issues and another takes over, and who lost the right
//! writes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright::run::{
    DirStore, Event, MemoryStore, Runner, SecretStore, Seen, SharedStore, Source, StoreError,
};
use certwright::{
    Issuer, IssuerError, Issuing, Outcome, Publisher, Request, ResourceName, SecretDir,
    SniPublisher,
};
use certwright_cert_model::TlsSecret;
use certwright_sni_store::{CertStore, PairLoader, Query, SelectionPolicy};
use certwright_storage::{Clock, Key, MemoryStorage, Storage, Txn};
use time::OffsetDateTime;
use time::macros::datetime;

use self::support::now_or_never;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const TTL: Duration = Duration::from_secs(15);

const PKI: &str = "
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self, namespace: ns}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: ns}
spec: {secretName: root, isCA: true, commonName: Root, privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: ns}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: ns}
spec: {secretName: web, dnsNames: [web.example], privateKey: {algorithm: ECDSA}, issuerRef: {name: root}}
";

/// A runtime in which waiting takes no time.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// What a replica was told, one line each.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn of(&self, event: &Event<'_>) {
        let line = match event {
            Event::Certificate {
                name,
                outcome: Outcome::Issued { .. },
                secret,
            } => format!("issued {} {}", name.name, secret.is_some()),
            Event::Leading(leading) => format!("leading {leading}"),
            Event::Loaded { secrets } => format!("loaded {secrets}"),
            Event::Document(problem) => format!("document {problem}"),
            Event::Store(error) => format!("store {error}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn wait_for(&self, line: &str) {
        for _ in 0..10_000 {
            if self.lines().iter().any(|found| found == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{line:?} never comes: {:?}", self.lines());
    }
}

impl Publisher for Log {
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        for secret in secrets {
            self.put(secret);
        }
    }

    fn put(&mut self, secret: &TlsSecret) {
        self.0
            .lock()
            .unwrap()
            .push(format!("served {}", secret.name));
    }

    fn remove(&mut self, secret: &ResourceName) {
        self.0.lock().unwrap().push(format!("gone {}", secret.name));
    }
}

fn runner(store: impl SecretStore + 'static, documents: &std::path::Path) -> (Runner, Log) {
    let mut runner = Runner::new(store, || NOW);
    let (paths, poll) = (vec![documents.to_owned()], Duration::from_secs(1));
    runner.source = Some(Source::Paths { paths, poll });
    let log = Log::default();
    let told = log.clone();
    runner.on_event(move |event| told.of(event));
    runner.publish_to(log.clone());
    (runner, log)
}

#[test]
fn documents_become_stored_and_served_certificates() {
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    std::fs::write(&documents, format!("{PKI}---\na: [\n")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let served = CertStore::new(SelectionPolicy::Best);
    let secrets = SecretDir::new(home.path().join("secrets"));
    block_on(async {
        let store = DirStore::new(secrets.clone(), Duration::from_secs(1));
        let (mut first, log) = runner(store, &documents);
        first.publish_to(SniPublisher::new(
            served.clone(),
            PairLoader::new(provider.clone()),
        ));
        let handle = first.handle();
        let edited = async {
            log.wait_for("issued web true").await;
            assert!(
                served
                    .current()
                    .select(&Query::new("web.example", NOW))
                    .is_some()
            );
            assert_eq!(served.entries().len(), 1, "CAs are not served");
            // A document more, found by looking again.
            let more = PKI.replace("web", "api");
            std::fs::write(
                &documents,
                format!("{PKI}---{}", more.split("---").last().unwrap()),
            )
            .unwrap();
            log.wait_for("issued api true").await;
            // Somebody removes a Secret.
            secrets.remove("ns", "web").unwrap();
            log.wait_for("gone web").await;
            let issued =
                |lines: &[String]| lines.iter().filter(|l| *l == "issued web true").count();
            while issued(&log.lines()) < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(handle.renew(ResourceName::new("ns", "nobody")));
        };
        first.run(edited).await;
        let lines = log.lines();
        assert_eq!(lines[0], "loaded 0");
        assert!(
            lines.iter().any(|line| line.starts_with("document ")),
            "{lines:?}"
        );
        // Stored and served before it is told.
        let at = |line: &str| lines.iter().position(|found| found == line).unwrap();
        assert!(at("served root") < at("served web") && at("served web") < at("issued web true"));

        let store = DirStore::new(secrets.clone(), Duration::from_secs(1));
        let (second, log) = runner(store, &documents);
        second.run(log.wait_for("leading true")).await;
        let lines = log.lines();
        assert_eq!(lines[3..], ["loaded 3", "leading true"], "served first");
    });
}

#[test]
fn a_secret_of_the_documents_stays_served_when_a_certificate_takes_it() {
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    let (ca, web) = PKI.rsplit_once("---").unwrap();
    let given = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: ns}\nstringData: {tls.crt: x, tls.key: y}\n";
    std::fs::write(&documents, format!("{ca}{given}")).unwrap();
    block_on(async {
        let (runner, log) = runner(MemoryStore::default(), &documents);
        let edited = async {
            log.wait_for("served web").await;
            log.wait_for("issued root true").await;
            std::fs::write(&documents, format!("{ca}{given}---{web}")).unwrap();
            log.wait_for("issued web true").await;
        };
        runner.run(edited).await;
        let lines = log.lines();
        assert!(!lines.contains(&"gone web".to_owned()), "{lines:?}");
    });
}

#[test]
fn one_replica_issues_and_another_takes_over() {
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    std::fs::write(&documents, PKI).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let shared = |owner: &str| SharedStore::new(storage.clone(), "/v1/certwright", owner, TTL);
    block_on(async {
        let (first, told_first) = runner(shared("first"), &documents);
        let (second, told_second) = runner(shared("second"), &documents);
        let both = async {
            told_first.wait_for("issued web true").await;
        };
        let rest = async {
            told_second.wait_for("served web").await;
            assert!(
                told_second
                    .lines()
                    .iter()
                    .all(|line| !line.starts_with("issued"))
            );
            told_second.wait_for("leading true").await;
            let later = PKI.replace("web", "api");
            let later = later.split("---").last().unwrap();
            std::fs::write(&documents, format!("{PKI}---{later}")).unwrap();
            told_second.wait_for("issued api true").await;
        };
        let (_, manager) = tokio::join!(first.run(both), async {
            // The first one asks first.
            told_first.wait_for("leading true").await;
            second.run(rest).await
        });
        assert_eq!(manager.secrets().count(), 3);
        assert!(!told_second.lines().contains(&"issued web true".to_owned()));
    });
}

#[test]
fn who_lost_the_right_or_the_race_writes_nothing() {
    let clock = Clock::manual(Instant::now());
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let shared = |owner: &str| SharedStore::new(storage.clone(), "/v1/certwright", owner, TTL);
    let (first, second) = (shared("first"), shared("second"));
    let mut secret = TlsSecret::new("ns", "web");
    secret.insert("tls.crt", "1");
    assert!(matches!(
        now_or_never(first.put(&secret)),
        Err(StoreError::LeaseLost)
    ));
    assert!(now_or_never(first.lead()).unwrap());
    assert!(!now_or_never(second.lead()).unwrap());
    now_or_never(first.put(&secret)).unwrap();
    secret.insert("tls.crt", "2");
    now_or_never(first.put(&secret)).unwrap();

    // Somebody edits it.
    let key = Key::new("/v1/certwright/secret/ns/web").unwrap();
    let mut edited = secret.clone_with_keys();
    edited.insert("tls.crt", "edited");
    let text = edited.to_manifest();
    now_or_never(storage.txn(Txn::new().put(key.clone(), text.as_bytes()))).unwrap();
    assert!(matches!(
        now_or_never(first.put(&secret)),
        Err(StoreError::Conflict { .. })
    ));
    let seen = now_or_never(first.changed()).unwrap();
    assert!(
        matches!(&seen[..], [Seen::Put(found)] if **found == edited),
        "{seen:?}"
    );
    now_or_never(first.put(&secret)).unwrap();

    // The first one is stopped for longer than its right lasts.
    assert!(clock.advance(TTL * 2));
    assert!(now_or_never(second.lead()).unwrap());
    let loaded = now_or_never(second.load()).unwrap();
    assert_eq!(loaded.len(), 1);
    secret.insert("tls.crt", "late");
    assert!(matches!(
        now_or_never(first.put(&secret)),
        Err(StoreError::LeaseLost)
    ));
    secret.insert("tls.crt", "3");
    now_or_never(second.put(&secret)).unwrap();
    assert!(!now_or_never(first.lead()).unwrap());
    now_or_never(second.remove(&ResourceName::new("ns", "web"))).unwrap();
    assert!(now_or_never(storage.get(&key)).unwrap().is_none());
}

#[test]
fn an_issuer_that_panics_is_not_asked_again_and_again() {
    #[derive(Debug, Default)]
    struct Panics(AtomicUsize);
    impl Issuer for Panics {
        fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
            Box::pin(async move {
                self.0.fetch_add(1, Ordering::Relaxed);
                assert_eq!(request.revision, 0, "it is broken");
                Err::<Vec<u8>, _>(IssuerError::transient("no"))
            })
        }
    }
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    let theirs = PKI.rsplit_once("---").unwrap().1.replace("web", "theirs");
    let theirs = theirs.replace("{name: root}", "{name: x, kind: Theirs, group: z.example}");
    std::fs::write(&documents, format!("{PKI}---{theirs}")).unwrap();
    block_on(async {
        let (mut runner, log) = runner(MemoryStore::default(), &documents);
        let panics = Arc::new(Panics::default());
        runner.register("z.example", "Theirs", panics.clone());
        let name = ResourceName::new("ns", "theirs");
        let manager = runner
            .run(async {
                log.wait_for("issued web true").await;
                while panics.0.load(Ordering::Relaxed) == 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                tokio::time::sleep(Duration::from_secs(10)).await;
            })
            .await;
        assert_eq!(panics.0.load(Ordering::Relaxed), 1);
        let status = manager.status(&name, NOW).unwrap();
        assert_eq!(status.failures, 1);
        assert!(status.message.contains("panicked"), "{status:?}");
    });
}

#[test]
fn what_a_lost_race_threw_away_is_issued_again_though_the_store_fails_then() {
    /// Somebody else wins the first write, and the load after it fails.
    #[derive(Debug, Default)]
    struct Racing(MemoryStore, AtomicUsize, AtomicUsize);
    impl SecretStore for Racing {
        fn load(&self) -> certwright::run::Keeping<'_, Vec<Result<TlsSecret, StoreError>>> {
            match self.1.fetch_add(1, Ordering::Relaxed) {
                1 => Box::pin(core::future::ready(Err(StoreError::failed("list", "gone")))),
                _ => self.0.load(),
            }
        }
        fn put<'a>(&'a self, secret: &'a TlsSecret) -> certwright::run::Keeping<'a, ()> {
            match self.2.fetch_add(1, Ordering::Relaxed) {
                0 => Box::pin(core::future::ready(Err(StoreError::Conflict {
                    secret: ResourceName::new(&secret.namespace, &secret.name),
                }))),
                _ => self.0.put(secret),
            }
        }
        fn remove<'a>(&'a self, secret: &'a ResourceName) -> certwright::run::Keeping<'a, ()> {
            self.0.remove(secret)
        }
        fn changed(&self) -> certwright::run::Keeping<'_, Vec<Seen>> {
            self.0.changed()
        }
        fn lead(&self) -> certwright::run::Keeping<'_, bool> {
            self.0.lead()
        }
        fn resign(&self) -> certwright::run::Keeping<'_, ()> {
            self.0.resign()
        }
    }
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    std::fs::write(&documents, PKI).unwrap();
    block_on(async {
        let (runner, log) = runner(Racing::default(), &documents);
        let manager = runner.run(log.wait_for("issued web true")).await;
        let lines = log.lines();
        assert!(lines.contains(&"issued root true".to_owned()), "{lines:?}");
        assert_eq!(manager.secrets().count(), 2);
    });
}

#[test]
fn a_store_that_fails_is_tried_again_and_nothing_is_told_before() {
    /// Fails the first few writes.
    #[derive(Debug, Default)]
    struct Failing(MemoryStore, AtomicUsize);
    impl SecretStore for Failing {
        fn load(&self) -> certwright::run::Keeping<'_, Vec<Result<TlsSecret, StoreError>>> {
            self.0.load()
        }
        fn put<'a>(&'a self, secret: &'a TlsSecret) -> certwright::run::Keeping<'a, ()> {
            match self.1.fetch_add(1, Ordering::Relaxed) {
                0..3 => Box::pin(core::future::ready(Err(StoreError::failed(
                    "write", "full",
                )))),
                _ => self.0.put(secret),
            }
        }
        fn remove<'a>(&'a self, secret: &'a ResourceName) -> certwright::run::Keeping<'a, ()> {
            self.0.remove(secret)
        }
        fn changed(&self) -> certwright::run::Keeping<'_, Vec<Seen>> {
            self.0.changed()
        }
        fn lead(&self) -> certwright::run::Keeping<'_, bool> {
            self.0.lead()
        }
        fn resign(&self) -> certwright::run::Keeping<'_, ()> {
            self.0.resign()
        }
    }
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    std::fs::write(&documents, PKI).unwrap();
    block_on(async {
        let (runner, log) = runner(Failing::default(), &documents);
        runner.run(log.wait_for("issued web true")).await;
        let lines = log.lines();
        let failed = lines
            .iter()
            .filter(|line| line.starts_with("store "))
            .count();
        assert_eq!(failed, 3, "{lines:?}");
        let issued = lines
            .iter()
            .filter(|line| line.starts_with("issued "))
            .count();
        assert_eq!(issued, 2, "{lines:?}");
    });
}
