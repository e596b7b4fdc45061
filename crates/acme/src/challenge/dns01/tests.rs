use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::*;
use crate::account::AccountSpec;
use crate::challenge::Solvers;
use crate::event::Event;
use crate::issuer::Issuer;
use crate::limits::Quotas;
use crate::testing::{FakeCa, FakeDns, World, identifiers, run};
use crate::{Demand, Engine, Options, Outcome, Runtime, Wanted};

#[test]
fn a_name_and_its_wildcard_share_one_record() {
    let record = |name: &str| TxtRecord::new(&name.parse().unwrap(), "a.b");
    assert_eq!(record("*.Example.org"), record("example.org"));
    assert_eq!(record("example.org").name, "_acme-challenge.example.org");
    // printf a.b | openssl dgst -sha256 -binary | basenc --base64url
    assert_eq!(record("a.test").value.len(), 43);
}

/// Sees records so long after the beginning, and notes when it is asked.
#[derive(Debug)]
struct Late {
    world: World,
    begun: Instant,
    after: Duration,
    ttl: Option<Duration>,
    asked: Mutex<Vec<Duration>>,
}

impl Late {
    fn looks(&self) -> Vec<Duration> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl DnsView for Late {
    fn canonical<'a>(&'a self, name: &'a str) -> Task<'a, Result<String, DnsError>> {
        Box::pin(async move { Ok(name.to_owned()) })
    }

    fn lacks<'a>(&'a self, _: &'a TxtRecord) -> Task<'a, Result<Option<String>, DnsError>> {
        Box::pin(async move {
            let passed = self.world.instant() - self.begun;
            self.asked.lock().unwrap().push(passed);
            Ok((passed < self.after).then(|| "ns2.a.test".to_owned()))
        })
    }

    fn ttl<'a>(&'a self, _: &'a str) -> Task<'a, Result<Option<Duration>, DnsError>> {
        Box::pin(async move { Ok(self.ttl) })
    }
}

/// What came of an order with this solver; when was looked, in whole seconds; and the
/// events about long lives.
fn order(
    after: Duration,
    ttl: Option<Duration>,
    change: impl FnOnce(&mut Dns01),
) -> (Outcome, Vec<u64>, Vec<(String, Duration, Duration)>) {
    let world = World::new();
    let storage = world.storage();
    let ca = FakeCa::new(&world, &storage);
    let view = Arc::new(Late {
        begun: world.instant(),
        world: world.clone(),
        after,
        ttl,
        asked: Mutex::default(),
    });
    let mut dns = Dns01::new(Arc::new(FakeDns(ca.clone()))).with_view(view.clone());
    change(&mut dns);
    let account = AccountSpec::new("https://ca.test/dir");
    let mut issuer = Issuer::new("ca", account, Arc::new(ca), Solvers::dns01(dns));
    issuer.quotas = Quotas::unlimited();
    let (storage, runtime) = (Arc::new(storage), Arc::new(world));
    let engine = Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap();
    let mut events = engine.events().listen();
    let wanted = Wanted::new(identifiers(&["a.test", "*.a.test"]));
    let outcome = run(engine.obtain(&wanted, Demand::Missing)).unwrap();
    drop(engine);
    let mut long = Vec::new();
    while let Some(Ok(event)) = run(events.next()) {
        if let Event::LongTtl {
            name, ttl, wait, ..
        } = event
        {
            long.push((name, ttl, wait));
        }
    }
    let looks = view.looks().iter().map(Duration::as_secs).collect();
    (outcome, looks, long)
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_first_look_is_after_the_delay() {
    let (outcome, looks, _) = order(Duration::ZERO, None, |_| {});
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    // Two values of one name.
    assert_eq!(looks, [0, 0]);
    let (outcome, looks, _) = order(Duration::ZERO, None, |dns| dns.delay = MINUTE);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(looks, [60, 60], "one delay for all");
}

#[test]
fn looks_until_the_record_is_there_or_the_time_is_over() {
    let (outcome, looks, _) = order(Duration::from_secs(5), None, |_| {});
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(looks, [0, 2, 4, 6, 6]);
    let never = Duration::from_secs(1 << 30);
    let (outcome, looks, _) = order(never, None, |dns| dns.propagation_timeout = MINUTE);
    let Outcome::Waiting {
        failure: Some(failure),
        ..
    } = &outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        failure.detail,
        "_acme-challenge.a.test does not have its value at ns2.a.test after 60s; look at the zone, or raise the timeout"
    );
    assert_eq!(looks.last(), Some(&62));
}

#[test]
fn nobody_looks_if_checks_are_switched_off() {
    let never = Duration::from_secs(1 << 30);
    let (outcome, looks, _) = order(never, None, |dns| dns.checks = Checks::Skip);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert!(looks.is_empty(), "{looks:?}");
}

/// Says how long its records live.
#[derive(Debug)]
struct Keeping(Arc<dyn DnsProvider>, Duration);

impl DnsProvider for Keeping {
    fn append<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        self.0.append(record)
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> Task<'a, Result<(), DnsError>> {
        self.0.remove(record)
    }

    fn ttl(&self) -> Option<Duration> {
        Some(self.1)
    }
}

#[test]
fn records_that_live_longer_than_is_waited() {
    let hour = 60 * MINUTE;
    let keeping = |ttl: Duration| {
        move |dns: &mut Dns01| dns.provider = Arc::new(Keeping(Arc::clone(&dns.provider), ttl))
    };
    let told = |ttl, wait| vec![("_acme-challenge.a.test".to_owned(), ttl, wait)];
    // Seen in the zone, once for both values.
    let (_, _, long) = order(Duration::ZERO, Some(hour), |_| {});
    assert_eq!(long, told(hour, 2 * MINUTE));
    let (_, _, long) = order(Duration::ZERO, Some(2 * MINUTE), |_| {});
    assert_eq!(long, []);
    let longer = Some(Duration::from_secs(150));
    let (_, _, long) = order(Duration::ZERO, longer, |_| {});
    assert_eq!(long.len(), 1);
    // The delay is a part of the wait.
    let (_, _, long) = order(Duration::ZERO, longer, |dns| dns.delay = MINUTE);
    assert_eq!(long, []);
    // Said by the provider, when nobody looks.
    let (_, _, long) = order(Duration::ZERO, None, keeping(hour));
    assert_eq!(long, told(hour, 2 * MINUTE));
    let (_, _, long) = order(Duration::ZERO, Some(hour), |dns| {
        keeping(2 * MINUTE)(dns);
        dns.checks = Checks::Skip;
        dns.delay = MINUTE;
    });
    assert_eq!(long, told(2 * MINUTE, MINUTE));
}
