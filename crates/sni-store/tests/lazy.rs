//! A slow source behind a store, under a virtual clock: what is loaded, kept, forgotten and refused.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use certwright_sni_store::{
    CertStore, ChangeSet, DefaultEntry, Entry, EntryId, Lazy, LazyError, LazyOptions, LazySource,
    Query, SelectionPolicy,
};
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);

/// What a test says about the outside world, and what it learns of it.
#[derive(Clone, Default)]
struct World(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// What is there: id to names and payload.
    certificates: Mutex<HashMap<String, (Vec<String>, String)>>,
    loads: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    gate: Mutex<Gate>,
    opened: Condvar,
    broken: Mutex<Option<Break>>,
}

#[derive(Clone, Copy)]
enum Break {
    Error,
    Identify,
    Panic,
    Size,
}

#[derive(Default, PartialEq)]
enum Gate {
    #[default]
    Open,
    Shut,
}

impl World {
    fn put(&self, id: &str, names: &[&str], payload: &str) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let mut certificates = self.0.certificates.lock().unwrap();
        certificates.insert(id.to_owned(), (names, payload.to_owned()));
    }

    fn remove(&self, id: &str) {
        self.0.certificates.lock().unwrap().remove(id);
    }

    fn break_it(&self, how: Option<Break>) {
        *self.0.broken.lock().unwrap() = how;
    }

    fn is(&self, how: fn(&Break) -> bool) -> bool {
        self.0.broken.lock().unwrap().as_ref().is_some_and(how)
    }

    fn shut(&self) {
        *self.0.gate.lock().unwrap() = Gate::Shut;
    }

    fn open(&self) {
        *self.0.gate.lock().unwrap() = Gate::Open;
        self.0.opened.notify_all();
    }

    fn loads(&self) -> usize {
        self.0.loads.lock().unwrap().len()
    }
}

impl LazySource<String> for World {
    /// `a.zone.test` belongs to `zone`; names below `open.test` are each their own; others are unknown.
    fn identify(&self, name: &str) -> Option<EntryId> {
        assert!(!self.is(|b| matches!(b, Break::Identify)), "told to");
        if name.ends_with(".open.test") {
            return Some(name.into());
        }
        let (_, rest) = name.split_once('.')?;
        rest.strip_suffix(".test").map(EntryId::from)
    }

    fn load(&self, id: &EntryId) -> Result<Vec<Entry<String>>, Box<dyn Error + Send + Sync>> {
        let inner = &self.0;
        inner.loads.lock().unwrap().push(id.to_string());
        let running = inner.running.fetch_add(1, Ordering::SeqCst) + 1;
        inner.most_running.fetch_max(running, Ordering::SeqCst);
        let gate = inner.gate.lock().unwrap();
        drop(inner.opened.wait_while(gate, |gate| *gate == Gate::Shut));
        inner.running.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.is(|b| matches!(b, Break::Panic)), "told to");
        if self.is(|b| matches!(b, Break::Error)) {
            return Err("the disk is on fire".into());
        }
        let certificates = inner.certificates.lock().unwrap();
        let found = certificates.get(id.as_str());
        let entries = found.map(|(names, payload)| {
            Entry::new(id.clone(), names.clone(), Arc::new(payload.clone()))
                .with_validity(NOW - Duration::DAY..=NOW + Duration::DAY)
        });
        Ok(entries.into_iter().collect())
    }

    fn size(&self, payload: &String) -> usize {
        assert!(!self.is(|b| matches!(b, Break::Size)), "told to");
        payload.len()
    }

    fn failed(&self, id: &EntryId, error: &LazyError) {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let line = format!("{id}: {error}: {cause}");
        self.0.failures.lock().unwrap().push(line);
    }
}

fn lazy(world: &World, settings: &LazyOptions) -> Lazy<String> {
    let default = DefaultEntry::Given(Arc::new("default".to_owned()));
    let store = CertStore::with_default(SelectionPolicy::Best, default);
    Lazy::new(store, world.clone(), settings)
}

fn ask(lazy: &Lazy<String>, name: &str, now: OffsetDateTime) -> Option<String> {
    let query = Query::new(name, now).strict();
    block_on(lazy.ready(&query)).map(|payload| payload.to_string())
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Waits for another thread to get there.
fn until(reached: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !reached() {
        assert!(start.elapsed().as_secs() < 60, "waited for nothing");
        thread::yield_now();
    }
}

#[test]
fn loads_once_and_keeps_for_the_hour() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "first");
    let lazy = lazy(&world, &LazyOptions::default());
    assert_eq!(ask(&lazy, "a.zone.test", NOW).as_deref(), Some("first"));
    world.put("zone", &["*.zone.test"], "second");
    let hour = Duration::HOUR;
    let table = [
        // Whatever is below the wildcard is the same entry.
        ("b.zone.test", Duration::ZERO, "first", 1),
        ("A.ZONE.test.", hour, "first", 1),
        ("a.zone.test", hour + Duration::SECOND, "second", 2),
        ("c.zone.test", 2 * hour, "second", 2),
        // A clock set back by more than an hour ages like one that goes on.
        ("c.zone.test", -hour, "second", 3),
    ];
    for (name, after, expected, loads) in table {
        let found = ask(&lazy, name, NOW + after);
        assert_eq!(found.as_deref(), Some(expected), "{name} {after}");
        assert_eq!(world.loads(), loads, "{name} {after}");
    }
}

#[test]
fn misses_are_kept_for_thirty_seconds_and_failures_too() {
    let world = World::default();
    let lazy = lazy(&world, &LazyOptions::default());
    let seconds = Duration::seconds;
    assert_eq!(ask(&lazy, "a.zone.test", NOW), None);
    world.put("zone", &["*.zone.test"], "there");
    assert_eq!(ask(&lazy, "b.zone.test", NOW + seconds(30)), None);
    assert_eq!(world.loads(), 1);
    let found = ask(&lazy, "b.zone.test", NOW + seconds(31));
    assert_eq!(found.as_deref(), Some("there"));

    // What fails to load anew is served on, and asked for again after thirty seconds.
    world.break_it(Some(Break::Error));
    let late = NOW + Duration::hours(2);
    assert_eq!(ask(&lazy, "b.zone.test", late).as_deref(), Some("there"));
    assert_eq!(ask(&lazy, "b.zone.test", late).as_deref(), Some("there"));
    assert_eq!((world.loads(), lazy.counts().failed), (3, 1));
    let failures = world.0.failures.lock().unwrap().clone();
    assert_eq!(
        failures,
        ["zone: the source cannot load it: the disk is on fire"]
    );
    // But what the source says is gone, is gone.
    world.break_it(None);
    world.remove("zone");
    assert_eq!(ask(&lazy, "b.zone.test", late + seconds(31)), None);
    assert_eq!(lazy.kept().0, 0);
}

#[test]
fn an_expired_certificate_is_asked_for_again_soon() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "loaded");
    let settings = LazyOptions::default();
    let lazy = lazy(&world, &settings);
    let end = NOW + Duration::DAY;
    assert!(ask(&lazy, "a.zone.test", end).is_some());
    assert_eq!(world.loads(), 1);
    // Nothing better is there: expired it is served, as the store does.
    for (after, loads) in [(1, 1), (30, 1), (31, 2), (40, 2), (62, 3)] {
        let now = end + Duration::seconds(after);
        assert_eq!(ask(&lazy, "a.zone.test", now).as_deref(), Some("loaded"));
        assert_eq!(world.loads(), loads, "{after}");
    }
    assert_eq!(lazy.store().counts().invalid, 5);
}

#[test]
fn what_was_stamped_without_a_clock_does_not_outlive_its_return() {
    let world = World::default();
    let lazy = lazy(&world, &LazyOptions::default());
    let blind = Query::new("a.zone.test", NOW).strict().ignoring_validity();
    for _ in 0..2 {
        assert!(block_on(lazy.ready(&blind)).is_none());
        assert_eq!(world.loads(), 1);
    }
    world.put("zone", &["*.zone.test"], "there");
    assert_eq!(ask(&lazy, "a.zone.test", NOW).as_deref(), Some("there"));
    assert!(block_on(lazy.ready(&blind)).is_some());
    assert_eq!(world.loads(), 2);
}

#[test]
fn a_crowd_is_one_load() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "loaded");
    world.shut();
    let lazy = lazy(&world, &LazyOptions::default());
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..50)
            .map(|n| {
                let lazy = lazy.clone();
                scope.spawn(move || ask(&lazy, &format!("host{n}.zone.test"), NOW))
            })
            .collect();
        until(|| lazy.counts().joined == 49);
        world.open();
        for one in crowd {
            assert_eq!(one.join().unwrap().as_deref(), Some("loaded"));
        }
    });
    assert_eq!((world.loads(), lazy.counts().loads), (1, 1));
}

#[test]
fn whoever_gives_up_leaves_nothing_behind_and_stops_nothing() {
    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let world = World::default();
    world.put("zone", &["*.zone.test"], "loaded");
    world.shut();
    let lazy = lazy(&world, &LazyOptions::default());
    let counted = Arc::new(Counted);
    let waker = Waker::from(counted.clone());
    let query = Query::new("a.zone.test", NOW);
    for _ in 0..1000 {
        let mut future = pin!(lazy.ready(&query));
        for _ in 0..3 {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&counted), 1);
    world.open();
    assert_eq!(ask(&lazy, "a.zone.test", NOW).as_deref(), Some("loaded"));
    assert_eq!(world.loads(), 1);
}

#[test]
fn the_store_comes_first_and_the_default_last() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "lazy");
    let lazy = lazy(&world, &LazyOptions::default());
    let entry = |id: &str, payload: &str| Entry::new(id, [id], Arc::new(payload.to_owned()));
    let expired =
        entry("old.zone.test", "expired").with_validity(NOW - Duration::WEEK..=NOW - Duration::DAY);
    lazy.store().apply(ChangeSet::from_iter([
        entry("a.zone.test", "eager"),
        expired,
    ]));
    let answer = |name: &str| {
        let payload = block_on(lazy.ready(&Query::new(name, NOW)));
        payload.map(|payload| payload.to_string())
    };
    for (name, expected, loads) in [
        ("a.zone.test", "eager", 0),
        ("b.zone.test", "lazy", 1),
        ("old.zone.test", "lazy", 1),
        ("nobody.example", "default", 1),
        ("a.missing.test", "default", 2),
        ("..zone.test", "default", 2),
        ("../../etc/zone.test", "default", 2),
        ("", "default", 2),
    ] {
        assert_eq!(answer(name).as_deref(), Some(expected), "{name}");
        assert_eq!(world.loads(), loads, "{name}");
    }
    let counts = lazy.counts();
    assert_eq!((counts.loads, counts.hits, counts.refused), (2, 1, 4));
    assert_eq!(lazy.store().counts().defaulted, 5);
}

#[test]
fn the_synchronous_path_never_waits() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "first");
    world.shut();
    let lazy = lazy(&world, &LazyOptions::default());
    let select = |after: Duration| {
        let payload = lazy.select(&Query::new("a.zone.test", NOW + after));
        payload.map(|payload| payload.to_string())
    };
    assert_eq!(select(Duration::ZERO).as_deref(), Some("default"));
    world.open();
    until(|| lazy.kept().0 == 1);
    assert_eq!(select(Duration::ZERO).as_deref(), Some("first"));
    // Past its hour it is served until the next one is there.
    world.put("zone", &["*.zone.test"], "second");
    let late = Duration::hours(2);
    assert_eq!(select(late).as_deref(), Some("first"));
    until(|| select(late).as_deref() == Some("second"));
    assert_eq!(world.loads(), 2);
}

#[test]
fn a_new_configuration_makes_everything_new() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "first");
    let lazy = lazy(&world, &LazyOptions::default());
    let mut loads = 0;
    let mut asked_anew = |change: &dyn Fn()| {
        change();
        assert!(ask(&lazy, "a.zone.test", NOW).is_some());
        let before = std::mem::replace(&mut loads, world.loads());
        loads > before
    };
    let entry = |n: u8| Entry::new("eager", ["eager.example"], Arc::new(n.to_string()));
    assert!(asked_anew(&|| {}));
    assert!(!asked_anew(&|| {}));
    // A single change says nothing about what is behind the source.
    assert!(!asked_anew(&|| drop(lazy.store().apply(entry(1)))));
    assert!(asked_anew(&|| drop(lazy.store().replace_all(entry(2)))));
    assert!(asked_anew(&|| lazy.reset()));
    assert!(asked_anew(&|| lazy.forget(&"zone".into())));
    assert!(!asked_anew(&|| lazy.forget(&"other".into())));
}

#[test]
fn a_load_begun_before_a_reset_is_not_taken_for_the_new_world() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "old");
    world.shut();
    let lazy = lazy(&world, &LazyOptions::default());
    thread::scope(|scope| {
        let early = scope.spawn(|| ask(&lazy, "a.zone.test", NOW));
        until(|| world.loads() == 1);
        lazy.reset();
        let late = scope.spawn(|| ask(&lazy, "a.zone.test", NOW));
        until(|| world.loads() == 2);
        world.open();
        assert!(early.join().unwrap().is_some() && late.join().unwrap().is_some());
    });
    assert!(ask(&lazy, "a.zone.test", NOW).is_some());
    assert_eq!(world.loads(), 2);
}

#[test]
fn a_load_begun_before_its_id_was_forgotten_is_not_kept() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "old");
    world.shut();
    let lazy = lazy(&world, &LazyOptions::default());
    thread::scope(|scope| {
        let early = scope.spawn(|| ask(&lazy, "a.zone.test", NOW));
        until(|| world.loads() == 1);
        lazy.forget(&"zone".into());
        world.open();
        assert_eq!(early.join().unwrap().as_deref(), Some("old"));
    });
    world.put("zone", &["*.zone.test"], "new");
    assert_eq!(ask(&lazy, "a.zone.test", NOW).as_deref(), Some("new"));
    assert_eq!(world.loads(), 2);
}

#[test]
fn floods_are_bounded_and_leave_the_honest_alone() {
    let world = World::default();
    let mut settings = LazyOptions::default();
    settings.max_entries = 500;
    settings.max_bytes = 2 << 20;
    settings.max_misses = 1000;
    settings.max_in_flight = 4;
    let lazy = lazy(&world, &settings);
    let honest: Vec<String> = (0..50).map(|n| format!("www.honest{n}.test")).collect();
    for n in 0..50 {
        let id = format!("honest{n}");
        world.put(&id, &[&format!("*.{id}.test")], &id);
    }
    world.put("wild", &["*.wild.test"], "wild");
    let serve_honest = |times: usize| {
        for name in honest.iter().cycle().take(times * honest.len()) {
            assert!(ask(&lazy, name, NOW).is_some(), "{name}");
        }
    };
    serve_honest(3);
    let start = world.loads();
    assert_eq!(start, 50);

    // Names nobody is allowed to ask for cost no load.
    for n in 0..20_000 {
        assert_eq!(ask(&lazy, &format!("host{n}.example"), NOW), None);
    }
    assert_eq!(world.loads(), start);
    // Names below a wildcard are one load and one entry.
    for n in 0..20_000 {
        let name = format!("host{n}.wild.test");
        assert_eq!(ask(&lazy, &name, NOW).as_deref(), Some("wild"));
    }
    assert_eq!(world.loads(), start + 1);
    // Names that each are a miss fill no more than the table of misses.
    for n in 0..3000 {
        assert_eq!(ask(&lazy, &format!("miss{n}.open.test"), NOW), None);
    }
    assert_eq!(lazy.kept().0, 51);
    serve_honest(1);
    assert_eq!(world.loads(), start + 1 + 3000);
    // Names that each are there are held to the bounds, and those in use stay.
    let mut reloaded = 0;
    for n in 0..3000 {
        let id = format!("there{n}.open.test");
        world.put(&id, &[&id], &"x".repeat(2000));
        assert!(ask(&lazy, &id, NOW).is_some());
        let before = world.loads();
        assert!(ask(&lazy, &honest[n % honest.len()], NOW).is_some());
        reloaded += world.loads() - before;
        let (entries, bytes) = lazy.kept();
        assert!(entries <= 500 && bytes <= 2 << 20, "{entries} {bytes}");
    }
    assert!(reloaded <= 50, "{reloaded} honest names were driven out");
    assert!(world.0.most_running.load(Ordering::SeqCst) <= 4);
}

#[test]
fn large_certificates_are_kept_and_too_large_ones_told() {
    let world = World::default();
    let mut settings = LazyOptions::default();
    settings.max_bytes = 4 << 20;
    let four = lazy(&world, &settings);
    world.put("large", &["*.large.test"], &"x".repeat(700 << 10));
    world.put("huge", &["*.huge.test"], &"x".repeat(4 << 20));
    for _ in 0..3 {
        assert_eq!(ask(&four, "a.large.test", NOW).unwrap().len(), 700 << 10);
    }
    assert_eq!((world.loads(), four.kept().0), (1, 1));
    for loads in 2..4 {
        // Served nevertheless.
        assert_eq!(ask(&four, "a.huge.test", NOW).unwrap().len(), 4 << 20);
        assert_eq!((world.loads(), four.kept().0), (loads, 1));
    }
    let failures = world.0.failures.lock().unwrap().clone();
    assert_eq!(failures.len(), 2);
    assert!(
        failures[0].starts_with("huge: what was loaded counts as 52"),
        "{failures:?}"
    );
    // An entry that has outgrown the cache is not served as it was.
    world.put("large", &["*.large.test"], &"y".repeat(4 << 20));
    let later = NOW + Duration::HOUR + Duration::SECOND;
    assert!(ask(&four, "a.large.test", later).unwrap().starts_with('y'));
    assert_eq!(four.kept().0, 0);

    // A single place is one too.
    settings.max_entries = 1;
    let one = lazy(&world, &settings);
    let before = world.loads();
    world.put("small", &["*.small.test"], "small");
    for _ in 0..3 {
        assert!(ask(&one, "a.small.test", NOW).is_some());
    }
    assert_eq!((world.loads() - before, one.kept().0), (1, 1));
}

#[test]
fn too_much_at_once_is_refused_and_not_queued_for_ever() {
    let world = World::default();
    world.shut();
    let mut settings = LazyOptions::default();
    settings.max_in_flight = 2;
    settings.max_waiting = 5;
    let lazy = lazy(&world, &settings);
    for n in 0..2 {
        drop(lazy.select(&Query::new(&format!("w{n}.open.test"), NOW)));
        until(|| world.loads() == n + 1);
    }
    for n in 2..100 {
        drop(lazy.select(&Query::new(&format!("w{n}.open.test"), NOW)));
    }
    assert_eq!((lazy.counts().loads, lazy.counts().busy), (7, 93));
    world.open();
    until(|| world.loads() == 7);
    assert_eq!(world.0.most_running.load(Ordering::SeqCst), 2);
}

#[test]
fn a_panicking_source_is_contained() {
    let world = World::default();
    world.put("zone", &["*.zone.test"], "loaded");
    let lazy = lazy(&world, &LazyOptions::default());
    let minute = Duration::MINUTE;
    for (round, how) in [(1, Break::Identify), (2, Break::Panic), (3, Break::Size)] {
        world.break_it(Some(how));
        assert_eq!(ask(&lazy, "a.zone.test", NOW + minute * round), None);
    }
    assert_eq!(lazy.counts().failed, 2);
    assert_eq!(lazy.counts().refused, 1);
    world.break_it(None);
    let found = ask(&lazy, "a.zone.test", NOW + minute * 4);
    assert_eq!(found.as_deref(), Some("loaded"));
}
