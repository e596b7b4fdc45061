//! What a store promises its writers and its readers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use certwright_sni_store::{
    CertStore, ChangeSet, DefaultEntry, DefaultMaker, Entry, EntryId, Match, Origin, PatternError,
    Query, SelectionPolicy, WarningKind,
};
use time::OffsetDateTime;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn entry<T>(id: &str, names: &[&str], payload: T) -> Entry<T> {
    Entry::new(id, names.iter().copied(), Arc::new(payload))
}

fn ask<T: Copy>(store: &CertStore<T>, name: &str) -> Option<T> {
    store.select(&Query::new(name, NOW)).as_deref().copied()
}

fn ids(ids: &[EntryId]) -> Vec<&str> {
    ids.iter().map(EntryId::as_str).collect()
}

#[test]
fn reports_tell_what_changed() {
    let store = CertStore::new(SelectionPolicy::Best);
    let print = |n: u8| [n; 32];
    let mut first = ChangeSet::new();
    first
        .put(entry("a", &["a.test"], 1).with_fingerprint(print(1)))
        .put(entry("b", &["b.test"], 2).with_fingerprint(print(2)))
        .put(entry("c", &["c.test"], 3).with_fingerprint(print(3)));
    let report = store.apply(first);
    assert_eq!((report.generation, report.changed()), (1, true));
    assert_eq!(ids(&report.added), ["a", "b", "c"]);

    let mut second = ChangeSet::new();
    second
        .put(entry("a", &["a.test"], 10).with_fingerprint(print(1)))
        .put(entry("b", &["b.test"], 20).with_fingerprint(print(20)))
        .remove("c")
        .remove("never-there")
        .put(entry("d", &["d.test"], 4));
    let report = store.apply(second);
    assert_eq!(report.generation, 2);
    assert_eq!(ids(&report.added), ["d"]);
    assert_eq!(ids(&report.replaced), ["b"]);
    assert_eq!(ids(&report.removed), ["c"]);
    assert_eq!(report.unchanged, 1);
    assert_eq!(
        report.to_string(),
        "generation 2: 1 added, 1 replaced, 1 removed, 1 unchanged, 0 rejected, 0 warnings"
    );
    let served = ["a.test", "b.test", "c.test", "d.test"].map(|name| ask(&store, name));
    assert_eq!(served, [Some(1), Some(20), None, Some(4)]);
}

#[test]
fn identical_content_publishes_nothing() {
    let store = CertStore::new(SelectionPolicy::Best);
    let all = || {
        ChangeSet::from_iter(
            [1u8, 2].map(|n| entry(&format!("{n}"), &["a.test"], n).with_fingerprint([n; 32])),
        )
    };
    assert_eq!(store.replace_all(all()).generation, 1);
    let again = store.replace_all(all());
    assert_eq!((again.generation, again.unchanged), (1, 2));
    assert!(!again.changed());
    // Without fingerprints nobody can tell.
    assert_eq!(store.apply(entry("1", &["a.test"], 1)).generation, 2);
    assert_eq!(store.apply(entry("1", &["a.test"], 1)).generation, 3);
}

#[test]
fn replace_all_removes_what_it_does_not_name() {
    let store = CertStore::new(SelectionPolicy::Best);
    store.apply(ChangeSet::from_iter(
        ["a", "b", "c", "d"].map(|id| entry(id, &[&format!("{id}.test")], 1)),
    ));
    let mut all = ChangeSet::new();
    all.put(entry("a", &["a.test"], 2))
        .keep("b")
        .reject("c", "its key is missing");
    let report = store.replace_all(all);
    assert_eq!(ids(&report.removed), ["d"]);
    assert_eq!(ids(&report.replaced), ["a"]);
    assert_eq!(report.unchanged, 1);
    let [rejection] = &report.rejected[..] else {
        panic!("{report:?}")
    };
    assert_eq!(rejection.origin, Origin::Entry("c".into()));
    assert_eq!(rejection.error.to_string(), "its key is missing");
    assert_eq!(rejection.to_string(), "entry c rejected");
    // The broken pair did not take its good predecessor down.
    let served = ["a.test", "b.test", "c.test", "d.test"].map(|name| ask(&store, name));
    assert_eq!(served, [Some(2), Some(1), Some(1), None]);
}

#[test]
fn names_that_cannot_match_are_warned_of() {
    let store = CertStore::new(SelectionPolicy::Best);
    let report = store.apply(ChangeSet::from_iter([
        entry("broad", &["*.com", "a.test"], 1),
        entry("none", &[], 2),
        entry("cn", &[], 3).with_common_name("cn.test"),
    ]));
    let warnings: Vec<_> = report
        .warnings
        .iter()
        .map(|warning| (warning.id.as_str(), &warning.kind))
        .collect();
    let too_broad = WarningKind::Unmatched {
        name: "*.com".to_owned(),
        reason: PatternError::WildcardTooBroad,
    };
    assert_eq!(
        warnings,
        [
            ("broad", &too_broad),
            ("cn", &WarningKind::NeverMatched),
            ("none", &WarningKind::NeverMatched)
        ]
    );
    assert_eq!(
        report.warnings[0].to_string(),
        "entry broad: the name \"*.com\" is never matched: it has a wildcard with fewer than two labels behind it, which clients refuse"
    );
    assert_eq!(ask(&store, "example.com"), None);
    assert_eq!(ask(&store, "cn.test"), None);
    let traefik = CertStore::new(SelectionPolicy::Traefik);
    let same = entry("broad", &["*.com", "a.test"], 1);
    assert!(traefik.apply(same).warnings.is_empty());
    assert_eq!(ask(&traefik, "example.com"), Some(1));
}

#[test]
fn odd_names_match_nothing_of_others() {
    let store = CertStore::new(SelectionPolicy::Best);
    let patterns = [
        "*.com",
        "*",
        "*.*.x.test",
        "f*.x.test",
        "a.*.x.test",
        "*.xn--*.test",
        "*x.test",
        "x.test",
        "*.x.test",
    ];
    store.apply(entry("odd", &patterns, ()));
    let table = [
        ("x.test", Some(Match::Exact)),
        ("a.x.test", Some(Match::Wildcard)),
        ("xn--bcher-kva.x.test", Some(Match::Wildcard)),
        ("_a.x.test", Some(Match::Wildcard)),
        ("b.a.x.test", None),
        ("fa.x.test.", Some(Match::Wildcard)),
        ("ax.test", None),
        ("a.com", None),
        (".x.test", None),
        ("", None),
        (".", None),
        ("..", None),
        (".a", None),
        ("a..b", None),
        ("a.x.test..", None),
    ];
    for (name, expected) in table {
        let current = store.current();
        let matched = current.select(&Query::new(name, NOW)).map(|s| s.matched());
        assert_eq!(matched, expected, "{name}");
    }
}

#[test]
fn the_default_is_made_once_and_never_matches() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let maker = DefaultMaker::new(move || match counter.fetch_add(1, Ordering::Relaxed) {
        0 => Err("no entropy"),
        1 => panic!("a user's function may panic"),
        _ => Ok(99),
    });
    let store = CertStore::with_default(SelectionPolicy::Best, DefaultEntry::OnDemand(maker));
    assert_eq!(ask(&store, "a.test"), None, "never inside a look-up");
    assert_eq!(made.load(Ordering::Relaxed), 0);
    for expected in [
        "no entropy",
        "the function that makes the default certificate panicked",
    ] {
        let report = store.apply(ChangeSet::new());
        assert_eq!(report.rejected[0].origin, Origin::Default);
        assert_eq!(report.rejected[0].error.to_string(), expected);
    }
    let report = store.apply(entry("a", &["a.test"], 1));
    assert!(report.rejected.is_empty() && report.default_replaced);
    store.apply(entry("b", &["b.test"], 2));
    assert_eq!(made.load(Ordering::Relaxed), 3);
    assert_eq!(ask(&store, "a.test"), Some(1));
    assert_eq!(ask(&store, "unknown.test"), Some(99));
    assert_eq!(store.counts().defaulted, 1);
    let strict = Query::new("unknown.test", NOW).strict();
    assert_eq!(store.select(&strict), None);
    assert_eq!(store.counts().unmatched, 2);

    let mut change = ChangeSet::new();
    change.default_entry(DefaultEntry::None);
    store.apply(change);
    assert_eq!(ask(&store, "unknown.test"), None);
}

#[test]
fn traefik_lowers_both_sides_alike() {
    let store = CertStore::new(SelectionPolicy::Traefik);
    store.apply(entry("greek", &[], 1).with_common_name("ΟΔΟΣ"));
    store.apply(entry("dotted", &[], 2).with_common_name("İ.test"));
    for (name, expected) in [("ΟΔΟΣ", 1), ("οδοσ", 1), ("İ.test", 2), ("i.test", 2)] {
        assert_eq!(ask(&store, name), Some(expected), "{name}");
    }
}

#[test]
fn another_default_is_a_change() {
    let given = Arc::new(1);
    let store = CertStore::with_default(SelectionPolicy::Best, DefaultEntry::Given(given.clone()));
    let put = |default| {
        let mut change = ChangeSet::new();
        change.default_entry(default);
        store.apply(change)
    };
    let report = put(DefaultEntry::Given(given));
    assert_eq!((report.generation, report.changed()), (0, false));
    let report = put(DefaultEntry::Given(Arc::new(2)));
    assert_eq!((report.generation, report.changed()), (1, true));

    // What could not be made at first replaces the old one as soon as it is there.
    let tries = AtomicUsize::new(0);
    let report = put(DefaultEntry::OnDemand(DefaultMaker::new(
        move || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("no entropy"),
            _ => Ok(3),
        },
    )));
    assert_eq!((report.rejected.len(), report.changed()), (1, false));
    assert_eq!(ask(&store, "a.test"), Some(2));
    assert!(store.apply(ChangeSet::new()).default_replaced);
    assert_eq!(ask(&store, "a.test"), Some(3));
}

#[test]
fn validity_includes_both_ends() {
    let at = |second: i64| NOW + time::Duration::seconds(second);
    let store = CertStore::new(SelectionPolicy::Best);
    store.apply(ChangeSet::from_iter([
        entry("early", &["a.test"], "early").with_validity(at(0)..=at(9)),
        entry("late", &["a.test"], "late").with_validity(at(10)..=at(20)),
    ]));
    let table = [
        // Neither is valid: the one that lasts longer.
        (-1, "late", 1),
        (0, "early", 1),
        (9, "early", 1),
        (10, "late", 1),
        (20, "late", 1),
        (21, "late", 2),
    ];
    for (second, expected, invalid) in table {
        let selected = store.select(&Query::new("a.test", at(second)));
        assert_eq!(selected.as_deref(), Some(&expected), "{second}");
        assert_eq!(store.counts().invalid, invalid, "{second}");
    }
    let blind = Query::new("a.test", at(-1)).ignoring_validity();
    assert_eq!(store.select(&blind).as_deref(), Some(&"late"));
    assert_eq!(store.counts().invalid, 2);
}

/// Enough names that single changes are merged on a thread, and enough changes that it happens often.
#[test]
fn merges_lose_no_change() {
    let store = CertStore::new(SelectionPolicy::Best);
    let name = |n: usize| format!("host-{n}.test");
    let total = 40_000;
    let single = |n: usize, payload: usize| Entry::new(name(n), [name(n)], Arc::new(payload));
    store.replace_all((0..total).map(|n| single(n, n)).collect::<ChangeSet<_>>());
    let mut removed = HashSet::new();
    for round in 0..6000 {
        let n = round * 7 % total;
        if round % 3 == 0 {
            store.apply({
                let mut change = ChangeSet::new();
                change.remove(name(n));
                change
            });
            removed.insert(n);
        } else {
            store.apply(single(n, total + n));
            removed.remove(&n);
        }
        assert_eq!(
            ask(&store, &name(n)),
            (round % 3 != 0).then_some(total + n),
            "{round}"
        );
    }
    let touched: HashSet<usize> = (0..6000).map(|round| round * 7 % total).collect();
    for n in 0..total {
        let expected = if removed.contains(&n) {
            None
        } else if touched.contains(&n) {
            Some(total + n)
        } else {
            Some(n)
        };
        assert_eq!(ask(&store, &name(n)), expected, "{n}");
    }
    assert_eq!(store.entries().len(), total - removed.len());
}

/// Each certificate has two names and a payload with the generation it was made for.
#[test]
fn readers_see_one_generation_and_never_nothing() {
    const HOSTS: usize = 64;
    const UPDATES: u64 = 10_000;
    let store = CertStore::new(SelectionPolicy::Best);
    let make = |host: usize, stamp: u64| {
        let names = [format!("a{host}.test"), format!("*.b{host}.test")];
        Entry::new(format!("{host}"), names, Arc::new(stamp))
    };
    store.replace_all(
        (0..HOSTS)
            .map(|host| make(host, 0))
            .collect::<ChangeSet<_>>(),
    );
    let done = AtomicBool::new(false);
    let look_ups = AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (store, done, look_ups) = (&store, &done, &look_ups);
            scope.spawn(move || {
                let names: Vec<_> = (0..HOSTS)
                    .map(|host| (format!("a{host}.test"), format!("x.b{host}.test")))
                    .collect();
                let mut host = reader;
                let mut last = vec![0; HOSTS];
                while !done.load(Ordering::Relaxed) {
                    host = (host + 1) % HOSTS;
                    let current = store.current();
                    let stamp = |name: &str| {
                        let query = Query::new(name, NOW);
                        current.select(&query).map(|s| **s.payload())
                    };
                    let (exact, wildcard) = (stamp(&names[host].0), stamp(&names[host].1));
                    assert_eq!(exact, wildcard, "one certificate, two generations");
                    let Some(exact) = exact else {
                        panic!("host {host} vanished")
                    };
                    assert!(exact >= last[host], "went back in time");
                    last[host] = exact;
                    look_ups.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    for update in 0..UPDATES / 2 {
                        let host = usize::try_from(update * 2 + writer).unwrap_or(0) % HOSTS;
                        let id = format!("extra-{writer}-{}", update % 100);
                        let mut change = ChangeSet::from(make(host, update + 1));
                        if update % 200 < 100 {
                            change.put(Entry::new(id, ["extra.test"], Arc::new(update)));
                        } else {
                            change.remove(id);
                        }
                        store.apply(change);
                    }
                })
            })
            .collect();
        for writer in writers {
            assert!(writer.join().is_ok());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(look_ups.load(Ordering::Relaxed) > 0);
    // Neither writer lost an update: every one made a generation, and the last of each is there.
    assert_eq!(store.current().generation(), UPDATES + 1);
    assert_eq!(store.entries().len(), HOSTS);
    for host in 0..HOSTS {
        let stamp = ask(&store, &format!("a{host}.test"));
        assert!(stamp > Some(UPDATES / 2 - 64), "{host}: {stamp:?}");
    }
}

#[test]
fn an_old_snapshot_is_freed_by_a_writer() {
    struct Freed(Arc<AtomicBool>);
    impl Drop for Freed {
        fn drop(&mut self) {
            let by_reader = thread::current().name() == Some("reader");
            self.0.fetch_or(by_reader, Ordering::Relaxed);
        }
    }
    let by_reader = Arc::new(AtomicBool::new(false));
    let store = CertStore::new(SelectionPolicy::Best);
    let put = || store.apply(entry("a", &["a.test"], Freed(by_reader.clone())));
    put();
    let held = store.current();
    put();
    let reader = thread::Builder::new().name("reader".to_owned());
    thread::scope(|scope| {
        let joined = reader
            .spawn_scoped(scope, move || drop(held))
            .map(thread::ScopedJoinHandle::join);
        assert!(matches!(joined, Ok(Ok(()))));
    });
    put();
    assert!(!by_reader.load(Ordering::Relaxed));
}
