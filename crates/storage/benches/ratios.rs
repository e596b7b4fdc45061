//! The figures this crate is measured by, one per line:
//! `RATIO name value goal`, or `WATCH name value note` without a goal.
//!
//! Memory and loading are the thread's CPU time, best of the rounds; what waits for a
//! disk or a server is wall time, the median. Both sides are interleaved.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

#[path = "../tests/support/cluster.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod cluster;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use certwright_storage::{
    Entry, EtcdOptions, EtcdStorage, FileOptions, FileStorage, Key, MemoryStorage, Storage, Txn,
    Value,
};
use rustix::time::{ClockId, clock_gettime};

use self::cluster::Cluster;

const SECRETS: usize = 10_000;
/// A chain of two certificates with its key.
const SECRET_LEN: usize = 4_096;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        memory_get().await;
        file_put().await;
        load().await;
        etcd_txn().await;
    });
}

async fn memory_get() {
    let storage = MemoryStorage::default();
    fill(&storage).await;
    let entries = storage.list("").await.unwrap().entries;
    let map = entries.into_iter().map(|entry| (entry.key.clone(), entry));
    let map: RwLock<BTreeMap<Key, Entry>> = RwLock::new(map.collect());
    let keys: Vec<Key> = (0..SECRETS).map(|at| key(at * 7919 % SECRETS)).collect();
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..4 * ROUNDS {
        let start = cpu();
        for key in &keys {
            black_box(storage.get(black_box(key)).await.unwrap());
        }
        ours = ours.min(cpu() - start);
        let start = cpu();
        for key in &keys {
            black_box(map.read().unwrap().get(black_box(key)).cloned());
        }
        theirs = theirs.min(cpu() - start);
    }
    ratio("memory_get_vs_rwlock_btreemap", ours, theirs, "2.0");
    let nanos = ours.as_nanos() / SECRETS as u128;
    println!("WATCH memory_get_ns {nanos} of {SECRETS} keys");
}

async fn file_put() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(&dir.path().join("store"), FileOptions::default()).unwrap();
    let plain = dir.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let value = Value::from(vec![7; SECRET_LEN]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for at in 0..300 {
        let txn = Txn::new().put(key(at % 8), value.clone());
        let start = Instant::now();
        storage.txn(txn).await.unwrap();
        ours.push(start.elapsed());
        let start = Instant::now();
        by_hand(&plain, &format!("{}", at % 8), value.as_bytes());
        theirs.push(start.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    ratio(
        "file_put_vs_write_fsync_rename_fsync_dir",
        ours,
        theirs,
        "1.3",
    );
    println!("WATCH file_put_us {} wall, median", ours.as_micros());
}

fn by_hand(dir: &Path, name: &str, bytes: &[u8]) {
    let new = dir.join(".new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(&new, dir.join(name)).unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
}

async fn load() {
    // In memory where there is such a place: this is about reading, not about filling.
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => tempfile::tempdir_in(shm).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let open = || FileStorage::open(dir.path(), FileOptions::default()).unwrap();
    fill(&open()).await;
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let start = cpu();
        let storage = open();
        ours = ours.min(cpu() - start);
        assert_eq!(storage.list("").await.unwrap().entries.len(), SECRETS);
        drop(storage);
        let start = cpu();
        let files = read_all(dir.path().join("data"));
        theirs = theirs.min(cpu() - start);
        assert_eq!(files.len(), SECRETS);
    }
    ratio("load_10k_secrets_vs_reading_the_files", ours, theirs, "1.5");
    println!("WATCH load_10k_secrets_ms {} CPU", ours.as_millis());
}

fn read_all(root: PathBuf) -> Vec<Vec<u8>> {
    let mut dirs = vec![root];
    let mut files = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir().unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => files.push(std::fs::read(entry.path()).unwrap()),
            }
        }
    }
    files
}

async fn etcd_txn() {
    let Some(cluster) = Cluster::start(1) else {
        println!("WATCH etcd_txn_vs_raw_http_request - etcd is not installed");
        return;
    };
    let storage = EtcdStorage::new(EtcdOptions::new(cluster.endpoints())).unwrap();
    let value = Value::from(vec![7; SECRET_LEN]);
    let mut revision = storage
        .txn(Txn::new().put(key(0), value.clone()))
        .await
        .unwrap();
    let mut raw = TcpStream::connect(("127.0.0.1", cluster.port(0))).unwrap();
    raw.set_nodelay(true).unwrap();
    // The same transaction, written down once: its guard always holds.
    let encoded = "BwcH".repeat(SECRET_LEN / 3) + "Bw==";
    let place = "Y2VydHdyaWdodC9yYXc=";
    let body = format!(
        "{{\"compare\":[{{\"key\":\"{place}\",\"target\":\"VERSION\",\"result\":\"GREATER\",\"version\":\"-1\"}}],\
         \"success\":[{{\"request_put\":{{\"key\":\"{place}\",\"value\":\"{encoded}\"}}}}],\
         \"failure\":[{{\"request_range\":{{\"key\":\"{place}\"}}}}]}}"
    );
    let request = format!(
        "POST /v3/kv/txn HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..600 {
        let txn = Txn::new()
            .if_unchanged(key(0), revision)
            .put(key(0), value.clone());
        let start = Instant::now();
        revision = storage.txn(txn).await.unwrap();
        ours.push(start.elapsed());
        let start = Instant::now();
        raw.write_all(request.as_bytes()).unwrap();
        assert!(answer(&raw).contains("\"succeeded\":true"));
        theirs.push(start.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    ratio("etcd_txn_vs_raw_http_request", ours, theirs, "1.2");
    println!(
        "WATCH etcd_txn_us {} wall, median, one member",
        ours.as_micros()
    );
}

/// One answer of a connection that stays open.
fn answer(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            len = text.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

async fn fill(storage: &dyn Storage) {
    let value = Value::from(vec![7; SECRET_LEN]);
    let all: Vec<usize> = (0..SECRETS).collect();
    for some in all.chunks(100) {
        let puts = some
            .iter()
            .fold(Txn::new(), |txn, at| txn.put(key(*at), value.clone()));
        storage.txn(puts).await.unwrap();
    }
}

fn key(at: usize) -> Key {
    Key::new(&format!("v1/cert/{at:05}/current")).unwrap()
}

fn ratio(name: &str, ours: Duration, theirs: Duration, goal: &str) {
    let value = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("RATIO {name} {value:.2} <={goal}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// This thread's CPU time.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}
