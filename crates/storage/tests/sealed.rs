//! A sealed store, held to the contract; its keys rotated.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::conformance::{Outcome, Step, Subject, run};
use certwright_storage::key_wrap::{KeyRing, SealedStorage, WrappingKey};
use certwright_storage::{Clock, Key, MemoryStorage, Storage, StorageError, Txn};
use zeroize::Zeroizing;

struct Sealed {
    storage: SealedStorage<MemoryStorage>,
    clock: Clock,
}

impl Subject for Sealed {
    fn replica(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    fn pass(&mut self, time: Duration) -> Step<'_, ()> {
        self.clock.advance(time);
        Box::pin(async {})
    }
}

fn key(id: &str, byte: u8) -> WrappingKey {
    WrappingKey::new(id, &Zeroizing::new([byte; 32])).unwrap()
}

#[tokio::test]
async fn conformance() {
    let clock = Clock::manual(Instant::now());
    let memory = MemoryStorage::new(clock.clone());
    let storage = SealedStorage::new(memory, KeyRing::new(key("k1", 1)));
    let report = run(&mut Sealed { storage, clock }).await;
    let failed: Vec<&str> = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
        .map(|(rule, _)| *rule)
        .collect();
    // Sealing takes its part of the largest transaction, as documented.
    assert_eq!(failed, ["the largest transaction fits"], "{report}");
}

#[tokio::test]
async fn rotation() {
    let memory = MemoryStorage::default();
    let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
    let before = SealedStorage::new(memory.clone(), KeyRing::new(key("k1", 1)));
    before
        .txn(Txn::new().put(a.clone(), "private"))
        .await
        .unwrap();
    let stored = memory.get(&a).await.unwrap().unwrap();
    assert!(
        !stored
            .value
            .as_bytes()
            .windows(7)
            .any(|part| part == b"private")
    );

    let ring = KeyRing::new(key("k2", 2)).with_former(key("k1", 1));
    let during = SealedStorage::new(memory.clone(), ring);
    during.txn(Txn::new().put(b.clone(), "new")).await.unwrap();
    assert_eq!(during.rotate("").await.unwrap(), 1);
    assert_eq!(during.rotate("").await.unwrap(), 0);

    let after = SealedStorage::new(memory.clone(), KeyRing::new(key("k2", 2)));
    let entry = after.get(&a).await.unwrap().unwrap();
    assert_eq!(entry.value.as_bytes(), b"private");
    let error = before.get(&a).await.unwrap_err();
    let expected = "a cannot be unsealed: it is sealed with key k2, which is not in the ring";
    assert_eq!(error.to_string(), expected);

    memory
        .txn(Txn::new().put(b.clone(), "clear"))
        .await
        .unwrap();
    let error = after.get(&b).await.unwrap_err();
    assert!(matches!(error, StorageError::Unsealed { .. }), "{error}");
}
