//! The store in memory, held to the contract.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright_storage::conformance::{Attendant, Attended, Call, Outcome, Step, Subject, run};
use certwright_storage::{
    Clock, Key, MemoryStorage, Operation, Revision, Storage, StorageError, Txn,
};

struct Memory {
    storage: MemoryStorage,
    clock: Clock,
    /// Who sees every operation, if anybody.
    attendant: Option<Arc<Witness>>,
}

impl Subject for Memory {
    fn replica(&self) -> Arc<dyn Storage> {
        match &self.attendant {
            Some(attendant) => Arc::new(Attended::new(self.storage.clone(), Arc::clone(attendant))),
            None => Arc::new(self.storage.clone()),
        }
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

/// Notes what was done, and may be in the way.
#[derive(Debug, Default)]
struct Witness {
    seen: Mutex<BTreeSet<(Call, &'static str)>>,
    refuses: Option<(Call, &'static str)>,
}

impl Witness {
    fn see(&self, call: Call, when: &'static str) -> Operation<'_, ()> {
        Box::pin(async move {
            self.seen
                .lock()
                .expect("nobody panicked")
                .insert((call, when));
            match self.refuses {
                Some(refused) if refused == (call, when) => Err(StorageError::Closed),
                _ => Ok(()),
            }
        })
    }
}

impl Attendant for Witness {
    fn before(&self, call: Call) -> Operation<'_, ()> {
        self.see(call, "before")
    }

    fn after(&self, call: Call) -> Operation<'_, ()> {
        self.see(call, "after")
    }
}

#[tokio::test]
async fn conformance() {
    for attendant in [None, Some(Arc::<Witness>::default())] {
        let clock = Clock::manual(Instant::now());
        let mut subject = Memory {
            storage: MemoryStorage::new(clock.clone()),
            clock,
            attendant,
        };
        let report = run(&mut subject).await;
        assert!(report.passed(), "{report}");
        let skipped = report
            .outcomes
            .iter()
            .filter(|(_, outcome)| *outcome == Outcome::Skipped);
        assert_eq!(skipped.count(), 2, "{report}");
        if let Some(witness) = &subject.attendant {
            assert_eq!(witness.seen.lock().unwrap().len(), 2 * 7);
        }
    }
}

#[tokio::test]
async fn an_attendant_refuses_operations_and_loses_answers() {
    let key = Key::new("a").unwrap();
    for (when, there) in [("before", false), ("after", true)] {
        let storage = MemoryStorage::default();
        let witness = Witness {
            refuses: Some((Call::Txn, when)),
            ..Witness::default()
        };
        let attended = Attended::new(storage.clone(), witness);
        let put: Result<Revision, _> = attended.txn(Txn::new().put(key.clone(), "x")).await;
        assert!(matches!(put, Err(StorageError::Closed)), "{put:?}");
        let found = attended.get(&key).await.unwrap();
        assert_eq!(found.is_some(), there, "{when}");
    }
}
