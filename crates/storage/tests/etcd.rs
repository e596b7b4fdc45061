//! The store in etcd, held to the contract on one member and three, and through faults.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/proxy.rs"]
mod proxy;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::conformance::{Outcome, Step, Subject, run};
use certwright_storage::{
    Acquisition, Change, EtcdOptions, EtcdStorage, EtcdUser, Event, Key, Storage, StorageError, Txn,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use self::cluster::{Cluster, post};
use self::proxy::{Proxy, Weather};

struct Etcd {
    cluster: Cluster,
    storage: EtcdStorage,
}

impl Etcd {
    fn new(cluster: Cluster) -> Self {
        let storage = open(cluster.endpoints());
        Self { cluster, storage }
    }
}

impl Subject for Etcd {
    fn replica(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    fn pass(&mut self, time: Duration) -> Step<'_, ()> {
        Box::pin(sleep(time))
    }

    fn compact(&mut self) -> Step<'_, bool> {
        Box::pin(async {
            let revision = self.storage.list("").await.unwrap().revision;
            let body = format!("{{\"revision\":\"{revision}\",\"physical\":true}}");
            let answer = post(self.cluster.port(0), "/v3/kv/compaction", &body);
            answer.unwrap().contains("200 OK")
        })
    }

    fn crash(&mut self) -> Step<'_, bool> {
        Box::pin(async {
            let leader = self.cluster.leader();
            self.cluster.kill(leader);
            self.cluster.restart(leader);
            self.cluster.wait_until_ready();
            true
        })
    }
}

#[tokio::test]
async fn conformance_of_one_member() {
    conformance(1).await;
}

#[tokio::test]
async fn conformance_of_three_members() {
    conformance(3).await;
}

async fn conformance(members: usize) {
    let Some(cluster) = Cluster::start(members) else {
        return;
    };
    let mut etcd = Etcd::new(cluster);
    let report = timeout(Duration::from_secs(300), run(&mut etcd))
        .await
        .unwrap();
    assert!(report.passed(), "{report}");
    let skipped = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Skipped);
    assert_eq!(skipped.count(), 0, "{report}");
}

/// What writers were told, to be compared with what is there.
#[derive(Debug, Default)]
struct Told {
    done: u64,
    perhaps: u64,
    unavailable: u64,
}

/// Adds one to a counter until told to stop, as a careful client would.
async fn count(storage: EtcdStorage, counter: Key, stop: Arc<tokio::sync::Notify>) -> Told {
    let mut told = Told::default();
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        let one = add_one(&storage, &counter);
        let outcome = one.await;
        match outcome {
            Ok(()) => told.done += 1,
            Err(StorageError::Conflict { .. }) => {}
            Err(StorageError::Indeterminate { .. }) => told.perhaps += 1,
            Err(StorageError::Unavailable { .. }) => told.unavailable += 1,
            Err(error) => panic!("{error}"),
        }
        if futures_ready(stopped.as_mut()) {
            return told;
        }
    }
}

fn futures_ready<F: Future<Output = ()>>(future: std::pin::Pin<&mut F>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.poll(&mut context).is_ready()
}

async fn add_one(storage: &EtcdStorage, counter: &Key) -> Result<(), StorageError> {
    let found = storage.get(counter).await?;
    let txn = match &found {
        Some(entry) => Txn::new().if_unchanged(counter.clone(), entry.revision),
        None => Txn::new().if_absent(counter.clone()),
    };
    let next = found.map_or(0, |entry| number(entry.value.as_bytes())) + 1;
    storage
        .txn(txn.put(counter.clone(), next.to_string().as_str()))
        .await?;
    Ok(())
}

/// The numbers of a counter as a watch reports them: each once, in order.
async fn follow(storage: EtcdStorage, counter: Key, until: u64) -> u64 {
    let start = certwright_storage::Revision::new(1);
    let mut watch = storage.watch(counter.as_str(), start).await.unwrap();
    let mut last = 0;
    while last < until {
        match watch.next().await.unwrap().unwrap() {
            Event::Changed { changes, .. } => {
                for change in changes {
                    let Change::Put(entry) = change else {
                        panic!("{change:?}");
                    };
                    let next = number(entry.value.as_bytes());
                    assert_eq!(next, last + 1);
                    last = next;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_die_and_nothing_acknowledged_is_lost() {
    let Some(mut cluster) = Cluster::start(3) else {
        return;
    };
    let storage = open(cluster.endpoints());
    let stop = Arc::new(tokio::sync::Notify::new());
    let writers: Vec<_> = (0..3)
        .map(|at| {
            let storage = open(cluster.endpoints());
            tokio::spawn(count(
                storage,
                key(&format!("count/{at}")),
                Arc::clone(&stop),
            ))
        })
        .collect();
    sleep(Duration::from_secs(1)).await;

    let leader = cluster.leader();
    cluster.kill(leader);
    let before = Instant::now();
    let first = loop {
        if add_one(&storage, &key("leader")).await.is_ok() {
            break before.elapsed();
        }
    };
    eprintln!("leader killed: first write after {} ms", first.as_millis());
    assert!(first < Duration::from_secs(10));

    // Quorum lost: nothing is promised, nothing is made up.
    let second = (leader + 1) % 3;
    cluster.kill(second);
    let refused = storage.txn(Txn::new().put(key("without"), "quorum")).await;
    let honest = matches!(
        refused,
        Err(StorageError::Indeterminate { .. } | StorageError::Unavailable { .. })
    );
    assert!(honest, "{refused:?}");
    let read = storage.get(&key("leader")).await;
    assert!(
        matches!(read, Err(StorageError::Unavailable { .. })),
        "{read:?}"
    );

    cluster.restart(leader);
    cluster.restart(second);
    cluster.wait_until_ready();
    while add_one(&storage, &key("leader")).await.is_err() {}
    sleep(Duration::from_secs(1)).await;
    stop.notify_waiters();
    for (at, writer) in writers.into_iter().enumerate() {
        let told = writer.await.unwrap();
        let counter = key(&format!("count/{at}"));
        let found = storage.get(&counter).await.unwrap().unwrap();
        let found = number(found.value.as_bytes());
        eprintln!("{told:?}, found {found}");
        assert!(told.done > 0 && found >= told.done && found <= told.done + told.perhaps);
        let seen = follow(storage.clone(), counter, found);
        assert_eq!(timeout(Duration::from_secs(10), seen).await.unwrap(), found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_loses_and_repeats_nothing() {
    let Some(cluster) = Cluster::start(1) else {
        return;
    };
    let proxy = Proxy::start(cluster.port(0)).await;
    let through = through(&proxy);
    let straight = open(cluster.endpoints());
    let counter = key("count");
    let stop = Arc::new(tokio::sync::Notify::new());
    let writer = tokio::spawn(count(through.clone(), counter.clone(), Arc::clone(&stop)));
    // Watches from the first moment, through all the weather.
    let watching = tokio::spawn(follow_for(through.clone(), counter.clone()));
    for weather in [
        Weather::Delay(Duration::from_millis(20)),
        Weather::NoAnswers,
        Weather::HalfClose,
        Weather::Silence,
        Weather::Reset,
    ] {
        sleep(Duration::from_millis(300)).await;
        proxy.set(weather);
        sleep(Duration::from_millis(1_200)).await;
        proxy.set(Weather::Fair);
    }
    sleep(Duration::from_secs(1)).await;
    stop.notify_waiters();
    let told = writer.await.unwrap();
    let found = number(
        straight
            .get(&counter)
            .await
            .unwrap()
            .unwrap()
            .value
            .as_bytes(),
    );
    eprintln!("{told:?}, found {found}");
    assert!(told.done > 10);
    assert!(found >= told.done && found <= told.done + told.perhaps);
    // Ends the watch, which then has seen every number once.
    straight.txn(Txn::new().delete(counter)).await.unwrap();
    let seen = timeout(Duration::from_secs(20), watching)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen, found);
}

/// Follows a counter until it is deleted.
async fn follow_for(storage: EtcdStorage, counter: Key) -> u64 {
    let start = certwright_storage::Revision::new(1);
    let mut watch = storage.watch(counter.as_str(), start).await.unwrap();
    let mut last = 0;
    loop {
        let Event::Changed { changes, .. } = watch.next().await.unwrap().unwrap() else {
            panic!("compacted");
        };
        for change in changes {
            let Change::Put(entry) = change else {
                return last;
            };
            let next = number(entry.value.as_bytes());
            assert_eq!(next, last + 1);
            last = next;
        }
    }
}

/// Real leases: these wait for them to run out.
#[tokio::test]
async fn a_holder_cut_off_is_fenced_out() {
    let Some(cluster) = Cluster::start(1) else {
        return;
    };
    let proxy = Proxy::start(cluster.port(0)).await;
    let (one, two) = (through(&proxy), open(cluster.endpoints()));
    let mut lease = one
        .acquire(&key("lock"), "one", Duration::from_secs(2))
        .await
        .unwrap()
        .granted()
        .unwrap();
    proxy.set(Weather::Silence);
    let kept = one.keep_alive(&mut lease).await;
    assert!(
        matches!(kept, Err(StorageError::Unavailable { .. })),
        "{kept:?}"
    );
    let mut waited = Duration::ZERO;
    let second = loop {
        match two
            .acquire(&key("lock"), "two", Duration::from_secs(5))
            .await
            .unwrap()
        {
            Acquisition::Granted(second) => break second,
            Acquisition::Held { owner } => assert_eq!(owner, "one"),
        }
        // Whoever can still take it must have stopped before.
        sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
        assert!(waited < Duration::from_secs(20));
    };
    assert!(!lease.is_held(Instant::now()));
    two.txn(Txn::new().put(key("a"), "two").if_held(second.fence()))
        .await
        .unwrap();
    proxy.set(Weather::Fair);
    let late = one
        .txn(Txn::new().put(key("a"), "one").if_held(lease.fence()))
        .await;
    assert!(
        matches!(late, Err(StorageError::LeaseLost { .. })),
        "{late:?}"
    );
    let kept = one.keep_alive(&mut lease).await;
    assert!(
        matches!(kept, Err(StorageError::LeaseLost { .. })),
        "{kept:?}"
    );
    let found = two.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(found.value.as_bytes(), b"two");
}

/// What the stopped holder does; not a test by itself.
#[tokio::test]
async fn child() {
    let Ok(endpoint) = std::env::var("STORAGE_ENDPOINT") else {
        return;
    };
    let storage = open(vec![endpoint]);
    let asked = storage
        .acquire(&key("lock"), "child", Duration::from_secs(2))
        .await;
    let lease = asked.unwrap().granted().unwrap();
    println!("said: held");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let late = storage
        .txn(Txn::new().put(key("a"), "late").if_held(lease.fence()))
        .await;
    match late {
        Err(StorageError::LeaseLost { .. }) => println!("said: refused"),
        other => println!("said: {other:?}"),
    }
}

#[tokio::test]
async fn a_holder_stopped_past_its_lease_cannot_write() {
    let Some(cluster) = Cluster::start(1) else {
        return;
    };
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("STORAGE_ENDPOINT", &cluster.endpoints()[0])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once("said: ")?.1.to_owned()));
    assert_eq!(said.next().unwrap(), "held");
    let pid = Pid::from_child(&process);
    kill_process(pid, Signal::STOP).unwrap();
    let storage = open(cluster.endpoints());
    while storage
        .acquire(&key("lock"), "two", Duration::from_secs(60))
        .await
        .unwrap()
        .granted()
        .is_none()
    {
        sleep(Duration::from_millis(100)).await;
    }
    storage.txn(Txn::new().put(key("a"), "two")).await.unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    process
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"go on\n")
        .unwrap();
    assert_eq!(said.next().unwrap(), "refused");
    process.wait().unwrap();
    let found = storage.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(found.value.as_bytes(), b"two");
}

#[tokio::test]
async fn users_authenticate_and_do_so_again_when_the_token_is_gone() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    for (path, body) in [
        (
            "/v3/auth/user/add",
            r#"{"name":"root","password":"secret"}"#,
        ),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        assert!(
            post(cluster.port(0), path, body)
                .unwrap()
                .contains("200 OK"),
            "{path}"
        );
    }
    let with = |password: &str| {
        let mut options = EtcdOptions::new(cluster.endpoints());
        options.user = Some(EtcdUser {
            name: "root".to_owned(),
            password: password.to_owned().into(),
        });
        EtcdStorage::new(options).unwrap()
    };
    let (right, wrong) = (with("secret"), with("guess"));
    let put = Txn::new().put(key("a"), "1");
    right.txn(put.clone()).await.unwrap();
    let error = wrong.txn(put.clone()).await.unwrap_err();
    assert!(matches!(error, StorageError::Refused { .. }), "{error}");
    // Etcd's simple tokens do not survive it.
    cluster.kill(0);
    cluster.restart(0);
    while let Err(error) = right.get(&key("a")).await {
        assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    }
    right.txn(put).await.unwrap();
}

#[tokio::test]
async fn a_watch_ends_when_it_is_not_allowed_and_goes_on_with_a_new_token() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    for (path, body) in [
        (
            "/v3/auth/user/add",
            r#"{"name":"root","password":"secret"}"#,
        ),
        ("/v3/auth/user/add", r#"{"name":"web","password":"secret"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        let answer = post(cluster.port(0), path, body).unwrap();
        assert!(answer.contains("200 OK"), "{path}");
    }
    let with = |name: &str| {
        let mut options = EtcdOptions::new(cluster.endpoints());
        options.user = Some(EtcdUser {
            name: name.to_owned(),
            password: "secret".to_owned().into(),
        });
        EtcdStorage::new(options).unwrap()
    };
    let (root, other, web) = (with("root"), with("root"), with("web"));
    let start = root.list("").await.unwrap().revision;
    let mut watch = web.watch("", start).await.unwrap();
    let event = timeout(Duration::from_secs(10), watch.next()).await;
    let event = event.unwrap().unwrap();
    assert!(
        matches!(event, Err(StorageError::Refused { .. })),
        "{event:?}"
    );
    assert!(watch.next().await.is_none());

    // Nobody but the watch uses this handle, whose token does not survive.
    let mut watch = root.watch("", start).await.unwrap();
    cluster.kill(0);
    cluster.restart(0);
    while let Err(error) = other.txn(Txn::new().put(key("a"), "1")).await {
        assert!(
            matches!(
                error,
                StorageError::Unavailable { .. } | StorageError::Indeterminate { .. }
            ),
            "{error}"
        );
    }
    let event = timeout(Duration::from_secs(10), watch.next()).await;
    let event = event.unwrap().unwrap();
    assert!(matches!(event, Ok(Event::Changed { .. })), "{event:?}");
}

#[tokio::test]
async fn tls_with_our_roots_and_nobody_elses() {
    let identity = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let cert = params.self_signed(&key).unwrap();
        (cert, key)
    };
    let (cert, key_pair) = identity("127.0.0.1");
    let Some(cluster) = Cluster::start_with(1, "https", |dir| {
        let (chain, private) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        std::fs::write(&chain, cert.pem()).unwrap();
        std::fs::write(&private, key_pair.serialize_pem()).unwrap();
        vec![
            format!("--cert-file={}", chain.display()),
            format!("--key-file={}", private.display()),
        ]
    }) else {
        return;
    };
    let trusting = |cert: &rcgen::Certificate| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut options = EtcdOptions::new(cluster.endpoints());
        options.tls = Some(Arc::new(config));
        options.total_timeout = Duration::from_secs(5);
        EtcdStorage::new(options).unwrap()
    };
    let ours = trusting(&cert);
    ours.txn(Txn::new().put(key("a"), "1")).await.unwrap();
    assert!(ours.get(&key("a")).await.unwrap().is_some());
    let other = trusting(&identity("127.0.0.1").0).get(&key("a")).await;
    assert!(
        matches!(other, Err(StorageError::Unavailable { .. })),
        "{other:?}"
    );
}

fn open(endpoints: Vec<String>) -> EtcdStorage {
    EtcdStorage::new(EtcdOptions::new(endpoints)).unwrap()
}

/// Impatient, so that bad weather is noticed within a test.
fn through(proxy: &Proxy) -> EtcdStorage {
    let mut options = EtcdOptions::new([format!("http://127.0.0.1:{}", proxy.port)]);
    options.request_timeout = Duration::from_millis(500);
    options.total_timeout = Duration::from_secs(3);
    options.watch_idle = Duration::from_secs(1);
    EtcdStorage::new(options).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}
