//! Secrets that replicas share, when the store's answers are lost and when its history is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certwright::ResourceName;
use certwright::run::{SecretStore, Seen, SharedStore, StoreError};
use certwright_cert_model::TlsSecret;
use certwright_storage::conformance::{Attendant, Attended, Call};
use certwright_storage::{MemoryStorage, Operation, StorageError};

use self::support::now_or_never;

const TTL: Duration = Duration::from_secs(15);

/// Loses writes, or their answers.
#[derive(Debug, Default)]
struct Loss {
    writes: AtomicBool,
    answers: AtomicBool,
    leases: AtomicBool,
}

impl Loss {
    fn lost(&self, call: Call, what: &AtomicBool) -> Operation<'_, ()> {
        let lost = matches!(call, Call::Txn) && what.load(Ordering::SeqCst);
        let refused = matches!(call, Call::KeepAlive) && self.leases.load(Ordering::SeqCst);
        Box::pin(async move {
            match (lost, refused) {
                (true, _) => Err(StorageError::Indeterminate {
                    place: "here".to_owned(),
                    reason: "no answer".to_owned(),
                }),
                (_, true) => Err(StorageError::Closed),
                _ => Ok(()),
            }
        })
    }
}

impl Attendant for Loss {
    fn before(&self, call: Call) -> Operation<'_, ()> {
        self.lost(call, &self.writes)
    }

    fn after(&self, call: Call) -> Operation<'_, ()> {
        self.lost(call, &self.answers)
    }
}

/// A memory, who loses what is said to it, and a replica that leads.
fn setting() -> (Arc<MemoryStorage>, Arc<Loss>, SharedStore) {
    let memory = Arc::new(MemoryStorage::default());
    let loss = Arc::new(Loss::default());
    let storage = Attended::shared(memory.clone(), loss.clone());
    let store = SharedStore::new(Arc::new(storage), "/v1", "me", TTL);
    assert!(now_or_never(store.load()).unwrap().is_empty());
    assert!(now_or_never(store.lead()).unwrap());
    (memory, loss, store)
}

fn secret(name: &str, value: &str) -> TlsSecret {
    let mut secret = TlsSecret::new("ns", name);
    secret.insert("tls.crt", value);
    secret
}

fn value(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Put(secret) => {
            let value = secret.get("tls.crt").unwrap();
            Some(String::from_utf8(value.to_vec()).unwrap())
        }
        Seen::Removed(_) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_whose_answer_is_lost_is_looked_for() {
    let (_, loss, store) = setting();
    let web = ResourceName::new("ns", "web");
    let stored = || value(&now_or_never(store.read(&web)).unwrap());

    loss.answers.store(true, Ordering::SeqCst);
    now_or_never(store.put(&secret("web", "one"))).unwrap();
    loss.answers.store(false, Ordering::SeqCst);
    // Its revision is known: the next write is guarded by it, and no conflict.
    now_or_never(store.put(&secret("web", "two"))).unwrap();
    assert_eq!(stored().as_deref(), Some("two"));

    loss.writes.store(true, Ordering::SeqCst);
    let lost = now_or_never(store.put(&secret("web", "three"))).unwrap_err();
    assert!(matches!(lost, StoreError::Conflict { .. }), "{lost:?}");
    loss.writes.store(false, Ordering::SeqCst);
    assert_eq!(stored().as_deref(), Some("two"));

    loss.answers.store(true, Ordering::SeqCst);
    now_or_never(store.remove(&web)).unwrap();
    loss.answers.store(false, Ordering::SeqCst);
    now_or_never(store.put(&secret("web", "four"))).unwrap();
    assert_eq!(stored().as_deref(), Some("four"));
}

#[test]
fn after_a_gap_in_the_history_everything_is_told() {
    let (memory, _, store) = setting();
    let other = SharedStore::new(memory.clone(), "/v1", "other", TTL);
    for name in ["kept", "gone"] {
        now_or_never(store.put(&secret(name, "one"))).unwrap();
    }
    now_or_never(other.load()).unwrap();
    now_or_never(store.put(&secret("kept", "two"))).unwrap();
    now_or_never(store.remove(&ResourceName::new("ns", "gone"))).unwrap();
    memory.compact();
    let mut seen: Vec<_> = now_or_never(other.changed())
        .unwrap()
        .iter()
        .map(|seen| (seen.name().name.clone(), value(seen)))
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            ("gone".to_owned(), None),
            ("kept".to_owned(), Some("two".to_owned()))
        ]
    );
}

#[test]
fn a_lease_that_cannot_be_renewed_is_had_until_its_end() {
    let (_, loss, store) = setting();
    loss.leases.store(true, Ordering::SeqCst);
    assert!(now_or_never(store.lead()).unwrap());
    now_or_never(store.put(&secret("web", "one"))).unwrap();
}
