//! What a store counts, and when each of its certificates was last used.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use certwright_sni_store::{
    CertStore, ChangeSet, DefaultEntry, Entry, Query, ReplacedError, SchemeMask, SelectionPolicy,
};
use time::OffsetDateTime;

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

fn store() -> CertStore<u8> {
    let store = CertStore::with_default(SelectionPolicy::Best, DefaultEntry::Given(Arc::new(0)));
    let mut change = ChangeSet::new();
    change.put(Entry::new("exact", ["a.test"], Arc::new(1)));
    change.put(Entry::new("wildcard", ["*.a.test"], Arc::new(2)));
    change.put(Entry::new("old", ["old.test"], Arc::new(3)).with_validity(at(0)..=at(10)));
    let rsa = SchemeMask::from_code_points([0x0804]);
    change.put(Entry::new("rsa", ["rsa.test"], Arc::new(4)).with_schemes(rsa));
    store.replace_all(change);
    store
}

#[test]
fn each_answer_counts_once_and_good_ones_on_request() {
    let store = store();
    let ask_all = || {
        for (name, times) in [
            ("a.test", 5),
            ("b.a.test", 4),
            ("unknown.test", 3),
            ("old.test", 2),
            ("rsa.test", 1),
        ] {
            for _ in 0..times {
                let ecdsa = SchemeMask::from_code_points([0x0403]);
                let query = Query::new(name, at(100)).with_schemes(ecdsa);
                store.select(&query);
                store.current().select(&query);
            }
        }
        store.select(&Query::new("unknown.test", at(100)).strict());
    };
    ask_all();
    let counts = store.counts();
    assert_eq!((counts.exact, counts.wildcard), (0, 0));
    assert_eq!((counts.defaulted, counts.unmatched), (3, 1));
    assert_eq!((counts.invalid, counts.unusable), (2, 1));
    assert_eq!(store.entry("exact").unwrap().last_used(), None);
    store.track_use();
    ask_all();
    let counts = store.counts();
    assert_eq!((counts.exact, counts.wildcard), (5, 4));
    assert_eq!((counts.defaulted, counts.unmatched), (6, 2));
    assert_eq!((counts.invalid, counts.unusable), (4, 2));
    assert_eq!((counts.challenged, counts.rejected), (0, 0));
}

#[test]
fn the_last_use_outlives_a_renewal() {
    let store = store();
    store.track_use();
    let used = |id: &str| store.entry(id).unwrap().last_used();
    let ask = |name: &str, second| store.select(&Query::new(name, at(second)));
    assert_eq!(used("exact"), None);
    ask("a.test", 100);
    ask("b.a.test", 200);
    ask("a.test", 50);
    ask("old.test", 300);
    let blind = Query::new("rsa.test", at(0)).ignoring_validity();
    assert!(store.select(&blind).is_some());
    assert_eq!(
        ["exact", "wildcard", "old", "rsa"].map(used),
        [Some(at(100)), Some(at(200)), Some(at(300)), None]
    );
    let held = store.current();
    store.apply(Entry::new("exact", ["a.test"], Arc::new(9)));
    assert_eq!(used("exact"), Some(at(100)));
    assert_eq!(ask("a.test", 400).as_deref(), Some(&9));
    assert_eq!(used("exact"), Some(at(400)));
    drop(held);
    let mut change = ChangeSet::new();
    change.set_payload(&store.entry("exact").unwrap(), Arc::new(10));
    store.apply(change);
    assert_eq!(used("exact"), Some(at(400)));
}

#[test]
fn a_payload_is_set_for_the_entry_it_was_made_for() {
    let store = store();
    let entry = |payload| {
        Entry::new("exact", ["a.test"], Arc::new(payload)).with_fingerprint([payload; 32])
    };
    store.apply(entry(20));
    let seen = store.entry("exact").unwrap();
    let set = |payload: u8| {
        let mut change = ChangeSet::new();
        change.set_payload(&seen, Arc::new(payload));
        store.apply(change)
    };
    let report = set(21);
    assert_eq!((report.replaced.len(), report.rejected.len()), (1, 0));
    let ask = || store.select(&Query::new("a.test", at(0)));
    assert_eq!(ask().as_deref(), Some(&21));
    // The pair is the same, hence loading it again keeps what was set.
    assert_eq!(store.apply(entry(20)).unchanged, 1);
    assert_eq!(ask().as_deref(), Some(&21));
    // What was seen is not what is there any more.
    let report = set(22);
    assert!(!report.changed());
    assert!(report.rejected[0].error.is::<ReplacedError>());
    assert_eq!(ask().as_deref(), Some(&21));
    let mut gone = ChangeSet::new();
    gone.remove("exact");
    store.apply(gone);
    assert_eq!(set(23).rejected.len(), 1);
    assert!(store.entry("exact").is_none());
}
