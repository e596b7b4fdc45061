//! The store in memory, held to the contract.

use std::sync::Arc;
use std::time::{Duration, Instant};

use certwright_storage::conformance::{Outcome, Step, Subject, run};
use certwright_storage::{Clock, MemoryStorage, Storage};

struct Memory {
    storage: MemoryStorage,
    clock: Clock,
}

impl Subject for Memory {
    fn replica(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    fn pass(&mut self, time: Duration) -> Step<'_, ()> {
        self.clock.advance(time);
        Box::pin(async {})
    }

    fn compact(&mut self) -> Step<'_, bool> {
        self.storage.compact();
        Box::pin(async { true })
    }
}

#[tokio::test]
async fn conformance() {
    let clock = Clock::manual(Instant::now());
    let storage = MemoryStorage::new(clock.clone());
    let report = run(&mut Memory { storage, clock }).await;
    assert!(report.passed(), "{report}");
    let skipped = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Skipped);
    assert_eq!(skipped.count(), 2, "{report}");
}
