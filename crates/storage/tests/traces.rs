//! What a store tells the log: that a lease is lost, and nothing of any value.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright_storage::{Clock, FileOptions, FileStorage, Key, MemoryStorage, Storage, Txn};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        event.record(&mut Line(&mut log));
        log.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[tokio::test]
async fn a_lost_lease_is_told_once() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let clock = Clock::manual(Instant::now());
    let storage = MemoryStorage::new(clock.clone());
    let name = key("lock");
    let asked = storage.acquire(&name, "one", Duration::from_secs(5)).await;
    let lease = asked.unwrap().granted().unwrap();
    clock.advance(Duration::from_secs(5));
    let late = Txn::new().if_held(lease.fence()).put(key("a"), "secret");
    assert!(storage.txn(late).await.is_err());
    // Giving back what ran out is nothing to tell.
    storage.release(lease).await.unwrap();
    let told = log.0.lock().unwrap().clone();
    assert_eq!(told, "message=lease lost name=lock token=1 \n");
}

#[test]
fn a_replayed_journal_is_told_without_its_values() {
    let dir = tempfile::tempdir().unwrap();
    drop(FileStorage::open(dir.path(), FileOptions::default()).unwrap());
    // As a crash leaves it: the checksum is that of the line and what follows.
    let body = "put 1 6\nasecretdelete 1\nb";
    let head = format!("certwright txn 1 rev=7 len={}", body.len());
    let crc = crc32fast::hash(format!("{head}{body}").as_bytes());
    let journal = format!("{head} crc={crc:08x}\n{body}");
    std::fs::write(dir.path().join("txn"), journal).unwrap();
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    drop(FileStorage::open(dir.path(), FileOptions::default()).unwrap());
    let told = log.0.lock().unwrap().clone();
    assert!(told.starts_with("message=journal replayed"), "{told}");
    assert!(told.contains("writes=2 revision=7"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    assert!(!dir.path().join("txn").exists());
}
