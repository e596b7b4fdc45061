//! The loop on stores: what is stored is served, one replica issues and another takes over, and who lost the right
//! writes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright::run::{
    DirStore, Event, Keeping, MemoryStore, Runner, SecretStore, Seen, SharedStore, Source,
    StoreError, Unreadable,
};
use certwright::{
    Issuer, IssuerError, Issuing, Outcome, Publisher, Request, ResourceName, SecretDir,
    SniPublisher,
};
use certwright_cert_model::TlsSecret;
use certwright_issuance::{CertificateAuthority, CsrPolicy, Profile};
use certwright_sni_store::{CertStore, PairLoader, Query, SelectionPolicy};
use certwright_storage::{Clock, Key, MemoryStorage, Storage, Txn};
use time::OffsetDateTime;
use time::macros::datetime;

use self::support::{PKI, now_or_never, root_ca};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
/// After every test, and before any renewal.
const LATER: OffsetDateTime = datetime!(2026-03-02 12:00 UTC);
const TTL: Duration = Duration::from_secs(15);

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
            Event::Certificate {
                name,
                outcome: Outcome::Blocked(block),
                ..
            } => format!("blocked {} {}", name.name, block.word()),
            Event::Kept { resources } => format!("kept {}", resources.join(", ")),
            Event::NotStored {
                secret,
                error,
                attempts,
                ..
            } => format!("not stored {} {attempts}: {error}", secret.name),
            Event::Unreadable(error) => format!("unreadable {}", error.secret.name),
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
    let start = tokio::time::Instant::now();
    runner_at(store, documents, move || NOW + start.elapsed())
}

fn runner_at(
    store: impl SecretStore + 'static,
    documents: &std::path::Path,
    clock: impl Fn() -> OffsetDateTime + Send + 'static,
) -> (Runner, Log) {
    let mut runner = Runner::new(store, clock);
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
    // The right to issue lasts however long this takes in real time.
    let clock = Clock::manual(Instant::now());
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(clock));
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
        let (mut runner, log) = runner_at(MemoryStore::default(), &documents, || NOW);
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
fn a_runner_that_is_started_again_asks_no_issuer_sooner() {
    #[derive(Debug, Default)]
    struct Fails(AtomicUsize);
    impl Issuer for Fails {
        fn issue<'a>(&'a self, _: &'a Request) -> Issuing<'a> {
            Box::pin(async move {
                self.0.fetch_add(1, Ordering::Relaxed);
                Err::<Vec<u8>, _>(IssuerError::permanent("no"))
            })
        }
    }
    let theirs = PKI.rsplit_once("---").unwrap().1.replace("web", "theirs");
    let theirs = theirs.replace("{name: root}", "{name: x, kind: Theirs, group: z.example}");
    let (_home, documents) = home(&format!("{PKI}---{theirs}"));
    block_on(async {
        let store = MemoryStore::default();
        let fails = Arc::new(Fails::default());
        let name = ResourceName::new("ns", "theirs");
        for run in 0..2 {
            let (mut runner, _) = runner_at(store.clone(), &documents, || NOW);
            runner.register("z.example", "Theirs", fails.clone());
            let manager = runner
                .run(tokio::time::sleep(Duration::from_secs(30)))
                .await;
            assert_eq!(fails.0.load(Ordering::Relaxed), 1, "run {run}");
            assert_eq!(manager.status(&name, NOW).unwrap().failures, 1, "run {run}");
            let names: Vec<_> = manager.secrets().map(|s| s.name.as_str()).collect();
            assert_eq!(names, ["root", "web"], "records are no Secrets of anybody");
        }
    });
}

type Put = dyn Fn(&TlsSecret) -> Result<(), StoreError> + Send + Sync;
/// What is read of a Secret that is not listed.
type Read = dyn Fn(&ResourceName) -> Result<Seen, StoreError> + Send + Sync;

/// A store in memory that does what a test says first.
struct Scripted {
    inner: MemoryStore,
    put: Box<Put>,
    /// Not listed.
    hidden: Option<(&'static str, Box<Read>)>,
    lead: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Scripted {
    fn new(inner: &MemoryStore) -> Self {
        Self {
            inner: inner.clone(),
            put: Box::new(|_| Ok(())),
            hidden: None,
            lead: Box::new(|| true),
        }
    }

    fn put(
        mut self,
        put: impl Fn(&TlsSecret) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        self.put = Box::new(put);
        self
    }

    fn hide(
        mut self,
        name: &'static str,
        read: impl Fn(&ResourceName) -> Result<Seen, StoreError> + Send + Sync + 'static,
    ) -> Self {
        self.hidden = Some((name, Box::new(read)));
        self
    }

    fn lead(mut self, lead: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.lead = Box::new(lead);
        self
    }
}

impl core::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Scripted")
    }
}

impl SecretStore for Scripted {
    fn load(&self) -> Keeping<'_, Vec<Result<TlsSecret, Unreadable>>> {
        Box::pin(async {
            let mut all = self.inner.load().await?;
            if let Some((hidden, _)) = &self.hidden {
                all.retain(|secret| secret.as_ref().is_ok_and(|secret| secret.name != *hidden));
            }
            Ok(all)
        })
    }
    fn read<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, Seen> {
        match &self.hidden {
            Some((hidden, read)) if secret.name == *hidden => {
                Box::pin(core::future::ready(read(secret)))
            }
            _ => self.inner.read(secret),
        }
    }
    fn put<'a>(&'a self, secret: &'a TlsSecret) -> Keeping<'a, ()> {
        match (self.put)(secret) {
            Ok(()) => self.inner.put(secret),
            Err(error) => Box::pin(core::future::ready(Err(error))),
        }
    }
    fn remove<'a>(&'a self, secret: &'a ResourceName) -> Keeping<'a, ()> {
        self.inner.remove(secret)
    }
    fn changed(&self) -> Keeping<'_, Vec<Seen>> {
        self.inner.changed()
    }
    fn lead(&self) -> Keeping<'_, bool> {
        Box::pin(core::future::ready(Ok((self.lead)())))
    }
    fn resign(&self) -> Keeping<'_, ()> {
        self.inner.resign()
    }
}

fn conflict(secret: &TlsSecret) -> StoreError {
    let secret = ResourceName::new(&secret.namespace, &secret.name);
    StoreError::Conflict { secret }
}

/// The test's PKI, and more leaves of the same CA.
fn pki_with(leaves: &[&str]) -> String {
    let web = PKI.rsplit("---").next().unwrap();
    let leaves = leaves.iter().map(|leaf| web.replace("web", leaf));
    leaves.fold(PKI.to_owned(), |text, leaf| format!("{text}---{leaf}"))
}

/// A directory with a document, and where it is.
fn home(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let documents = home.path().join("pki.yaml");
    std::fs::write(&documents, text).unwrap();
    (home, documents)
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|found| found.starts_with(line)).count()
}

#[test]
fn a_store_that_fails_is_tried_again_and_nothing_is_told_before() {
    let (_home, documents) = home(PKI);
    block_on(async {
        let failures = AtomicUsize::new(0);
        let store = Scripted::new(&MemoryStore::default()).put(move |_| {
            match failures.fetch_add(1, Ordering::Relaxed) {
                0..3 => Err(StoreError::failed("write", "full")),
                _ => Ok(()),
            }
        });
        let (runner, log) = runner(store, &documents);
        runner.run(log.wait_for("issued web true")).await;
        let lines = log.lines();
        let told: Vec<_> = lines
            .iter()
            .filter(|line| !line.starts_with("loaded") && !line.starts_with("leading"))
            .collect();
        assert_eq!(
            told,
            [
                "not stored root 1: the store cannot write",
                "not stored root 2: the store cannot write",
                "not stored root 3: the store cannot write",
                "served root",
                "served web",
                "issued root true",
                "issued web true"
            ]
        );
    });
}

#[test]
fn a_secret_that_cannot_be_stored_holds_up_no_other() {
    let (_home, documents) = home(&pki_with(&["api", "zoo"]));
    block_on(async {
        let full = Arc::new(AtomicBool::new(true));
        let is_full = full.clone();
        let store = Scripted::new(&MemoryStore::default()).put(move |secret| {
            match secret.name == "api" && is_full.load(Ordering::Relaxed) {
                true => Err(StoreError::failed(
                    "write",
                    "a file of theirs is in the way",
                )),
                false => Ok(()),
            }
        });
        let (runner, log) = runner(store, &documents);
        let handle = runner.handle();
        let waited = async {
            log.wait_for("issued zoo true").await;
            log.wait_for("issued web true").await;
            log.wait_for("not stored api 5: the store cannot write")
                .await;
            assert_eq!(count(&log.lines(), "issued api"), 0);
            // The others are kept on meanwhile.
            assert!(handle.renew(ResourceName::new("ns", "zoo")));
            while count(&log.lines(), "issued zoo true") < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let manager = runner.run(waited).await;
        let api = ResourceName::new("ns", "api");
        let status = manager.status(&api, LATER).unwrap();
        assert_eq!((status.ready, status.reason), (false, "NotStored"));
        assert!(status.message.contains("in the way"), "{status:?}");
        let view = manager.certificate_view(&api, LATER).unwrap();
        let reason = view.status.conditions[0].reason.as_deref();
        assert_eq!(reason, Some("NotStored"));

        full.store(false, Ordering::Relaxed);
        let (again, log) = self::runner(MemoryStore::default(), &documents);
        let manager = again.run(log.wait_for("issued api true")).await;
        assert!(manager.status(&api, LATER).unwrap().ready);
    });
}

#[test]
fn what_an_unstored_ca_signed_waits_for_it_and_nothing_else_does() {
    let other = "---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: alone, namespace: ns}
spec: {secretName: alone, commonName: alone.example, dnsNames: [alone.example], privateKey: {algorithm: ECDSA}, issuerRef: {name: self}}
";
    let (_home, documents) = home(&format!("{PKI}{other}"));
    block_on(async {
        let tries = AtomicUsize::new(0);
        let store = Scripted::new(&MemoryStore::default()).put(move |secret| {
            let is_root = secret.name == "root";
            match is_root && tries.fetch_add(1, Ordering::Relaxed) < 4 {
                true => Err(StoreError::failed("write", "full")),
                false => Ok(()),
            }
        });
        let (runner, log) = runner(store, &documents);
        runner.run(log.wait_for("issued web true")).await;
        let lines = log.lines();
        let at = |line: &str| {
            lines
                .iter()
                .position(|found| found.starts_with(line))
                .unwrap()
        };
        assert!(at("issued alone") < at("not stored root 4"), "{lines:?}");
        assert!(at("not stored root 4") < at("served root"), "{lines:?}");
        assert!(at("served root") < at("served web"), "{lines:?}");
    });
}

/// An issuer that never answers, and counts how often it is asked.
#[derive(Debug, Default)]
struct Slow(AtomicUsize);

impl Issuer for Slow {
    fn issue<'a>(&'a self, _: &'a Request) -> Issuing<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(core::future::pending())
    }
}

/// Certificates of an issuer of ours, and where they are.
fn theirs(names: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let (_, web) = PKI.rsplit_once("---").unwrap();
    let theirs = web.replace("{name: root}", "{name: x, kind: Theirs, group: z.example}");
    let all = names.iter().map(|name| theirs.replace("web", name));
    home(&all.collect::<Vec<_>>().join("---"))
}

#[test]
fn nothing_is_ordered_for_a_secret_that_hides() {
    let (_home, documents) = theirs(&["theirs", "other"]);
    block_on(async {
        let store = Scripted::new(&MemoryStore::default()).hide("theirs", |secret| {
            let error = Unreadable::new(secret.clone(), "permission denied");
            Ok(Seen::Unreadable(error))
        });
        let (mut runner, log) = runner(store, &documents);
        let slow = Arc::new(Slow::default());
        runner.register("z.example", "Theirs", slow.clone());
        let manager = runner
            .run(async {
                log.wait_for("unreadable theirs").await;
                tokio::time::sleep(Duration::from_secs(30)).await;
            })
            .await;
        assert_eq!(slow.0.load(Ordering::Relaxed), 1, "the other one");
        let name = ResourceName::new("ns", "theirs");
        let status = manager.status(&name, LATER).unwrap();
        assert_eq!(status.reason, "SecretUnreadable");
    });
}

#[test]
fn nothing_is_ordered_while_nobody_knows_what_is_there() {
    let (_home, documents) = theirs(&["theirs", "other"]);
    block_on(async {
        let broken = Arc::new(AtomicBool::new(true));
        let is_broken = broken.clone();
        let store = Scripted::new(&MemoryStore::default()).hide("theirs", move |secret| {
            match is_broken.load(Ordering::Relaxed) {
                true => Err(StoreError::failed("read", "gone away")),
                false => Ok(Seen::Removed(secret.clone())),
            }
        });
        let (mut runner, log) = runner(store, &documents);
        runner.workers = 2;
        let slow = Arc::new(Slow::default());
        runner.register("z.example", "Theirs", slow.clone());
        let asked = || slow.0.load(Ordering::Relaxed);
        let read = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(asked(), 1, "the other one");
            let tried = count(&log.lines(), "store the store cannot read");
            assert!((10..=20).contains(&tried), "{tried} times in 30 s");
            broken.store(false, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(asked(), 2);
        };
        runner.run(read).await;
    });
}

/// An issuer that signs, and counts how often it is asked.
#[derive(Debug)]
struct Signs(CertificateAuthority, AtomicUsize);

impl Issuer for Signs {
    fn issue<'a>(&'a self, request: &'a Request) -> Issuing<'a> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let csr = request.csr.verify(&CsrPolicy::default()).unwrap();
        let profile = Profile::for_spec(&request.spec);
        let signed = self.0.sign(&csr, &profile, NOW).unwrap();
        Box::pin(core::future::ready(Ok(signed.chain_pem().into_bytes())))
    }
}

#[test]
fn nothing_is_ordered_for_a_secret_that_is_found_just_before() {
    let (_home, documents) = theirs(&["theirs"]);
    block_on(async {
        let inner = MemoryStore::default();
        let ca = root_ca("Theirs", NOW, time::Duration::days(3650));
        let signs = Arc::new(Signs(ca, AtomicUsize::new(0)));
        let (mut first, log) = runner(Scripted::new(&inner), &documents);
        first.register("z.example", "Theirs", signs.clone());
        first.run(log.wait_for("issued theirs true")).await;
        assert_eq!(signs.1.load(Ordering::Relaxed), 1);

        let behind = inner.clone();
        let found =
            move |secret: &ResourceName| Ok(Seen::Put(Box::new(behind.get(secret).unwrap())));
        let store = Scripted::new(&inner).hide("theirs", found);
        let (mut second, log) = runner(store, &documents);
        second.register("z.example", "Theirs", signs.clone());
        let served = async {
            log.wait_for("served theirs").await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        };
        let manager = second.run(served).await;
        assert_eq!(signs.1.load(Ordering::Relaxed), 1, "not asked again");
        let name = ResourceName::new("ns", "theirs");
        assert_eq!(manager.status(&name, LATER).unwrap().reason, "Ready");
        let lines = log.lines();
        assert!(lines.contains(&"loaded 0".to_owned()), "{lines:?}");
    });
}

#[test]
fn a_lost_race_is_about_one_secret_and_forgets_nothing() {
    let (ca, web) = PKI.rsplit_once("---").unwrap();
    let theirs = web
        .replace("web", "theirs")
        .replace("{name: root}", "{name: x, kind: Theirs, group: z.example}");
    let nobody = web
        .replace("web", "nobody")
        .replace("{name: root}", "{name: nobody}");
    let (_home, documents) = home(&format!("{ca}---{web}---{theirs}---{nobody}"));
    block_on(async {
        let inner = MemoryStore::default();
        let races = Arc::new(AtomicUsize::new(0));
        let lost = races.clone();
        // Somebody else wins the first write of the renewed one.
        let store = Scripted::new(&inner).put(move |secret| {
            let web = secret.name == "web";
            match web && lost.fetch_add(1, Ordering::Relaxed) == 1 {
                true => Err(conflict(secret)),
                false => Ok(()),
            }
        });
        let (mut runner, log) = runner(store, &documents);
        let slow = Arc::new(Slow::default());
        runner.register("z.example", "Theirs", slow.clone());
        runner.patience = Duration::from_secs(1);
        let handle = runner.handle();
        let name = ResourceName::new("ns", "web");
        let raced = async {
            log.wait_for("issued web true").await;
            let first = inner.get(&name).unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            handle.renew(name.clone());
            while count(&log.lines(), "issued web true") < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let key = |secret: &TlsSecret| secret.get("tls.crt").map(<[u8]>::to_vec);
            assert_ne!(key(&first), key(&inner.get(&name).unwrap()), "renewed");
        };
        let manager = runner.run(raced).await;
        assert_eq!(races.load(Ordering::Relaxed), 3, "once more after the race");
        assert_eq!(slow.0.load(Ordering::Relaxed), 1, "asked once");
        let lines = log.lines();
        assert_eq!(
            count(&lines, "store somebody else changed Secret ns/web"),
            1
        );
        assert_eq!(count(&lines, "leading"), 1, "{lines:?}");
        let nobody = manager.status(&ResourceName::new("ns", "nobody"), LATER);
        assert_eq!(nobody.unwrap().failures, 1, "its pause goes on");
    });
}

#[test]
fn a_new_key_that_was_asked_for_is_not_lost_in_a_race() {
    let policy = "privateKey: {algorithm: ECDSA, rotationPolicy: Never}";
    let text = PKI.replace("privateKey: {algorithm: ECDSA}", policy);
    let (_home, documents) = home(&text);
    block_on(async {
        let inner = MemoryStore::default();
        let writes = AtomicUsize::new(0);
        let store = Scripted::new(&inner).put(move |secret| {
            let web = secret.name == "web";
            match web && writes.fetch_add(1, Ordering::Relaxed) == 1 {
                true => Err(conflict(secret)),
                false => Ok(()),
            }
        });
        let (runner, log) = runner(store, &documents);
        let handle = runner.handle();
        let name = ResourceName::new("ns", "web");
        let key = |secret: Option<TlsSecret>| secret.unwrap().get("tls.key").map(<[u8]>::to_vec);
        let asked = async {
            log.wait_for("issued web true").await;
            let first = key(inner.get(&name));
            for (same, issued) in [(false, 2), (true, 3)] {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let before = key(inner.get(&name));
                // The first of these races.
                match issued {
                    2 => assert!(handle.rekey(name.clone())),
                    _ => assert!(handle.renew(name.clone())),
                }
                while count(&log.lines(), "issued web true") < issued {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                assert_eq!(key(inner.get(&name)) == before, same, "{issued}");
            }
            assert_ne!(key(inner.get(&name)), first);
        };
        runner.run(asked).await;
        let lines = log.lines();
        let races = count(&lines, "store somebody else changed Secret ns/web");
        assert_eq!(races, 1, "{lines:?}");
    });
}

#[test]
fn who_leads_again_forgets_no_pause_and_no_request() {
    let (ca, web) = PKI.rsplit_once("---").unwrap();
    let nobody = web
        .replace("web", "nobody")
        .replace("{name: root}", "{name: nobody}");
    let (_home, documents) = home(&format!("{ca}---{web}---{nobody}"));
    block_on(async {
        let inner = MemoryStore::default();
        let (writes, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let lost = Arc::new(AtomicBool::new(false));
        let is_lost = lost.clone();
        let store = Scripted::new(&inner)
            .put(move |secret| {
                let web = secret.name == "web";
                match web && writes.fetch_add(1, Ordering::Relaxed) == 1 {
                    true => {
                        is_lost.store(true, Ordering::Relaxed);
                        Err(StoreError::LeaseLost)
                    }
                    false => Ok(()),
                }
            })
            // Somebody else has it for a while.
            .lead(move || {
                !lost.load(Ordering::Relaxed) || asked.fetch_add(1, Ordering::Relaxed) > 3
            });
        let (runner, log) = runner(store, &documents);
        let handle = runner.handle();
        let name = ResourceName::new("ns", "web");
        let led = async {
            log.wait_for("issued web true").await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            handle.renew(name.clone());
            while count(&log.lines(), "issued web true") < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let manager = runner.run(led).await;
        let lines = log.lines();
        let leading: Vec<_> = lines.iter().filter(|l| l.starts_with("leading")).collect();
        assert_eq!(leading, ["leading true", "leading false", "leading true"]);
        assert_eq!(count(&lines, "issued root"), 1, "{lines:?}");
        let nobody = manager.status(&ResourceName::new("ns", "nobody"), LATER);
        assert_eq!(nobody.unwrap().failures, 1, "its pause goes on");
    });
}

#[test]
fn who_comes_to_lead_reads_everything_first() {
    let (_home, documents) = home(PKI);
    block_on(async {
        let inner = MemoryStore::default();
        let asked = AtomicUsize::new(0);
        let store = Scripted::new(&inner).lead(move || asked.fetch_add(1, Ordering::Relaxed) > 3);
        let (standby, told) = runner(store, &documents);
        let first = async {
            told.wait_for("loaded 0").await;
            // The one that leads issues, and the store tells nobody.
            let (leader, log) = runner(inner.clone(), &documents);
            leader.run(log.wait_for("issued web true")).await;
            told.wait_for("leading true").await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        };
        standby.run(first).await;
        let lines = told.lines();
        assert_eq!(count(&lines, "issued"), 0, "{lines:?}");
        let at = |line: &str| lines.iter().position(|found| found == line).unwrap();
        assert!(at("served web") < at("leading true"), "{lines:?}");
    });
}

#[test]
fn a_problem_with_a_document_takes_nothing_away() {
    let whole = pki_with(&["api"]);
    let (_home, documents) = home(&whole);
    block_on(async {
        let store = MemoryStore::default();
        let (mut runner, log) = runner(store.clone(), &documents);
        runner.options.owner_references = true;
        let there = |name: &str| store.get(&ResourceName::new("ns", name)).is_some();
        let edited = async {
            log.wait_for("issued api true").await;
            log.wait_for("issued web true").await;
            // Half-written, mistyped, no YAML, no text: each for a while.
            let half = &whole[..whole.rfind("secretName").unwrap()];
            let typo = whole.replace("[api.example]", "[api.example], dnsName: [x]");
            for broken in [half.as_bytes(), typo.as_bytes(), b"a: [", b"\xff"] {
                std::fs::write(&documents, broken).unwrap();
                let problems = count(&log.lines(), "document ");
                while count(&log.lines(), "document ") == problems {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
                assert!(there("api") && there("web") && there("root"), "{broken:?}");
                assert_eq!(count(&log.lines(), "gone"), 0);
            }
            assert!(count(&log.lines(), "kept Certificate ns/api") > 0);
            // The rest of a file with a problem is followed.
            let more = pki_with(&["more"]);
            std::fs::write(&documents, format!("{more}---\na: [\n")).unwrap();
            log.wait_for("issued more true").await;
            assert!(there("api"));
            // It is really gone once everything reads well.
            std::fs::write(&documents, &more).unwrap();
            log.wait_for("gone api").await;
            assert!(!there("api") && there("web") && there("more"));
        };
        runner.run(edited).await;
    });
}

#[test]
fn what_is_asked_for_before_its_document_is_there_waits_for_it() {
    let whole = pki_with(&["api"]);
    let (_home, documents) = home(&whole);
    block_on(async {
        let store = MemoryStore::default();
        let (first, log) = runner(store.clone(), &documents);
        first.run(log.wait_for("issued api true")).await;

        std::fs::write(&documents, PKI).unwrap();
        let (second, log) = runner(store, &documents);
        let handle = second.handle();
        let asked = async {
            log.wait_for("leading true").await;
            handle.renew(ResourceName::new("ns", "api"));
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(count(&log.lines(), "issued api"), 0);
            std::fs::write(&documents, &whole).unwrap();
            log.wait_for("issued api true").await;
        };
        second.run(asked).await;
    });
}

/// A directory of Secrets with what the test's documents ask for.
async fn issued(root: &std::path::Path, documents: &std::path::Path) -> SecretDir {
    let secrets = SecretDir::new(root);
    let store = DirStore::new(secrets.clone(), Duration::from_secs(1));
    let (runner, log) = runner(store, documents);
    runner.run(log.wait_for("issued web true")).await;
    secrets
}

#[test]
fn what_cannot_be_read_is_not_replaced_and_hides_nothing() {
    let (home, documents) = home(PKI);
    block_on(async {
        let root = home.path().join("secrets");
        let secrets = issued(&root, &documents).await;
        let metadata = root.join("ns/root/..data/.metadata.json");
        let good = std::fs::read(&metadata).unwrap();
        let key = || std::fs::read(root.join("ns/root/tls.key")).unwrap();
        let before = key();
        std::fs::write(&metadata, "{").unwrap();

        let store = DirStore::new(secrets.clone(), Duration::from_secs(1));
        let (runner, log) = runner(store, &documents);
        let handle = runner.handle();
        let certificate = ResourceName::new("ns", "root");
        let mended = async {
            log.wait_for("blocked root SecretUnreadable").await;
            log.wait_for("blocked web SecretUnreadable").await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            handle.renew(certificate.clone());
            // The others are seen.
            let mut other = TlsSecret::new("ns", "other");
            other.insert("password", "x");
            secrets.write(&other).unwrap();
            log.wait_for("served other").await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(key(), before, "the only copy of a CA's key");
            let lines = log.lines();
            assert_eq!(count(&lines, "issued"), 0, "{lines:?}");
            assert_eq!(count(&lines, "unreadable"), 1, "told once: {lines:?}");
            std::fs::write(&metadata, &good).unwrap();
            log.wait_for("served root").await;
            // What was asked for meanwhile is done with the key that was there.
            log.wait_for("issued root true").await;
        };
        let manager = runner.run(mended).await;
        assert_eq!(key(), before, "rotationPolicy Never");
        assert!(manager.status(&certificate, LATER).unwrap().ready);

        // As a tool leaves it that follows links when it copies.
        let (keys, chain) = (key(), std::fs::read(root.join("ns/root/tls.crt")).unwrap());
        secrets.remove("ns", "root").unwrap();
        std::fs::create_dir(root.join("ns/root")).unwrap();
        std::fs::write(root.join("ns/root/tls.key"), &keys).unwrap();
        std::fs::write(root.join("ns/root/tls.crt"), &chain).unwrap();
        let store = DirStore::new(secrets, Duration::from_secs(1));
        let (runner, log) = self::runner(store, &documents);
        let manager = runner
            .run(log.wait_for("blocked root SecretUnreadable"))
            .await;
        assert_eq!(key(), before);
        let status = manager.status(&certificate, LATER).unwrap();
        assert!(!status.ready && status.message.contains("was not written here"));
    });
}

#[test]
fn an_edit_of_any_kind_is_seen_and_not_written_over() {
    let home = tempfile::tempdir().unwrap();
    let secrets = SecretDir::new(home.path());
    let of = |text: &str| {
        let mut secret = TlsSecret::new("ns", "web");
        secret.insert("tls.crt", text);
        secret
    };
    let name = ResourceName::new("ns", "web");
    block_on(async {
        let store = DirStore::new(secrets.clone(), Duration::from_secs(1));
        assert!(store.load().await.unwrap().is_empty());
        store.put(&of("1")).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_secs(5), store.changed());
        assert!(
            quiet.await.is_err(),
            "its own write is nothing to be told of"
        );
        let told = async |text: &str| {
            let seen = tokio::time::timeout(Duration::from_secs(5), store.changed()).await;
            let seen = seen.expect("told").unwrap();
            assert!(
                matches!(&seen[..], [Seen::Put(found)] if **found == of(text)),
                "{text}: {seen:?}"
            );
        };
        // Through the link, with the same length and at once.
        let file = home.path().join("ns/web/tls.crt");
        std::fs::write(&file, "2").unwrap();
        assert!(matches!(
            store.put(&of("3")).await,
            Err(StoreError::Conflict { secret }) if secret == name
        ));
        told("2").await;
        store.put(&of("3")).await.unwrap();

        // Removed and written again by another process between two looks.
        secrets.remove("ns", "web").unwrap();
        secrets.write(&of("4")).unwrap();
        told("4").await;
        secrets.remove("ns", "web").unwrap();
        assert!(matches!(
            store.remove(&name).await,
            Err(StoreError::Conflict { .. })
        ));
        let seen = store.changed().await.unwrap();
        assert!(
            matches!(&seen[..], [Seen::Removed(gone)] if *gone == name),
            "{seen:?}"
        );
    });
}

#[test]
fn two_processes_on_one_directory_are_kept_apart() {
    let home = tempfile::tempdir().unwrap();
    let store = || DirStore::new(SecretDir::new(home.path()), Duration::from_secs(1));
    let (first, second) = (store(), store());
    let secret = TlsSecret::new("ns", "web");
    block_on(async {
        assert!(first.lead().await.unwrap() && first.lead().await.unwrap());
        first.put(&secret).await.unwrap();
        let refused = second.lead().await.unwrap_err();
        let refused = std::error::Error::source(&refused).unwrap().to_string();
        let expected = format!(
            "{} is kept by process {}; stop that one, or give this one another directory",
            home.path().display(),
            std::process::id()
        );
        assert_eq!(refused, expected);
        assert!(second.put(&secret).await.is_err());
        assert!(
            second
                .remove(&ResourceName::new("ns", "web"))
                .await
                .is_err()
        );
        assert_eq!(second.load().await.unwrap().len(), 1, "who only reads may");
        first.resign().await.unwrap();
        assert!(second.lead().await.unwrap());
        second.put(&secret).await.unwrap();

        // Somebody tidied up, so that there is nothing left that the first one could be kept away by.
        std::fs::remove_file(home.path().join(".lock")).unwrap();
        assert!(first.lead().await.unwrap());
        let lost = second.put(&secret).await;
        assert!(matches!(lost, Err(StoreError::LeaseLost)), "{lost:?}");
        std::fs::remove_file(home.path().join(".lock")).unwrap();
        assert!(!first.lead().await.unwrap(), "it was lost");
        assert!(first.lead().await.unwrap(), "and may be had again");
    });
}

#[test]
fn a_second_process_serves_and_takes_over() {
    let (home, documents) = home(PKI);
    let store = || {
        let secrets = SecretDir::new(home.path().join("secrets"));
        DirStore::new(secrets, Duration::from_secs(1))
    };
    block_on(async {
        let (first, told_first) = runner(store(), &documents);
        let (second, told_second) = runner(store(), &documents);
        let first = first.run(async {
            told_first.wait_for("issued web true").await;
            told_second.wait_for("served web").await;
        });
        let taken = async {
            told_second.wait_for("leading true").await;
            std::fs::write(&documents, pki_with(&["api"])).unwrap();
            told_second.wait_for("issued api true").await;
        };
        tokio::join!(first, async {
            told_first.wait_for("leading true").await;
            second.run(taken).await
        });
        let lines = told_second.lines();
        assert_eq!(count(&lines, "store the store cannot lead"), 1, "{lines:?}");
        assert_eq!(count(&lines, "issued web"), 0, "{lines:?}");
    });
}

#[test]
fn a_shared_secret_that_cannot_be_read_is_told_of() {
    let storage = Arc::new(MemoryStorage::default());
    let store = SharedStore::new(storage.clone(), "/v1/certwright", "me", TTL);
    let key = |name: &str| Key::new(&format!("/v1/certwright/secret/ns/{name}")).unwrap();
    let write = |name: &str, text: &[u8]| {
        now_or_never(storage.txn(Txn::new().put(key(name), text))).unwrap();
    };
    assert!(now_or_never(store.load()).unwrap().is_empty());
    let mut other = TlsSecret::new("ns", "other");
    other.insert("tls.crt", "x");
    for broken in [&b"\xff"[..], b"a: [", other.to_manifest().as_bytes()] {
        write("web", broken);
        let seen = now_or_never(store.changed()).unwrap();
        let [Seen::Unreadable(error)] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(error.secret, ResourceName::new("ns", "web"));
        assert!(error.source.to_string().contains("/secret/ns/web"));
    }
    write("other", other.to_manifest().as_bytes());
    let loaded = now_or_never(store.load()).unwrap();
    assert!(matches!(&loaded[..], [Ok(_), Err(error)] if error.secret.name == "web"));
}

#[test]
fn a_right_that_was_lost_is_told_of_before_it_is_had_again() {
    let clock = Clock::manual(Instant::now());
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let store = SharedStore::new(storage, "/v1/certwright", "me", TTL);
    assert!(now_or_never(store.lead()).unwrap());
    assert!(clock.advance(TTL * 2));
    assert!(!now_or_never(store.lead()).unwrap());
    assert!(now_or_never(store.lead()).unwrap());
}
