mod abandon;
mod account;
mod challenge;
mod crash;
mod failure;
mod renewal;
mod replica;

use std::sync::Arc;
use std::time::Duration;

use certwright_cert_model::key::RotationPolicy;
use certwright_issuance::{Certificate, KeyPair};
use certwright_storage::conformance::Attended;
use certwright_storage::{MemoryStorage, Storage, Txn};

use super::*;
use crate::account::{AccountSpec, ExternalBinding};
use crate::challenge::dns01::Dns01;
use crate::challenge::{ChallengeKind, Pause, Solvers};
use crate::journal::Journal;
use crate::limits::Quotas;
use crate::problem::{Class, ErrorType, Problem, RetryAfter};
use crate::testing::{
    FakeCa, FakeDns, Fault, Slow, WholeRecords, World, identifiers, run, run_for,
};

/// A CA, a store, and an engine on both.
struct Setting {
    /// Those of issuers after the first, if they are others.
    more_solvers: Vec<Solvers>,
    world: World,
    storage: MemoryStorage,
    ca: FakeCa,
    wanted: Wanted,
    solvers: Solvers,
    issuers: usize,
    options: Options,
    max_names: usize,
    registration: crate::account::Registration,
    quotas: Quotas,
}

impl Setting {
    fn new(names: &[&str]) -> Self {
        let world = World::new();
        let storage = world.storage();
        let ca = FakeCa::new(&world, &storage);
        Self {
            wanted: Wanted::new(identifiers(names)),
            more_solvers: Vec::new(),
            solvers: Solvers::http01(),
            issuers: 1,
            options: Options::default(),
            max_names: 100,
            registration: crate::account::Registration::default(),
            quotas: Quotas::unlimited(),
            world,
            storage,
            ca,
        }
    }

    /// As after a restart of the process.
    fn engine(&self) -> Engine {
        let issuers = (0..self.issuers).map(|index| {
            let mut account = AccountSpec::new(&format!("https://ca-{index}.test/dir"));
            account.registration = self.registration.clone();
            let protocol = Arc::new(self.ca.called(&format!("ca-{index}")));
            let mut issuer = Issuer::new(
                &format!("ca-{index}"),
                account,
                protocol,
                match index {
                    0 => None,
                    more => self.more_solvers.get(more - 1),
                }
                .unwrap_or(&self.solvers)
                .clone(),
            );
            issuer.quotas = self.quotas;
            issuer.max_names = self.max_names;
            issuer
        });
        let storage = Arc::new(Attended::new(self.storage.clone(), Slow));
        let runtime = Arc::new(self.world.clone());
        Engine::new(storage, runtime, issuers.collect(), self.options.clone()).unwrap()
    }

    fn obtain(&self, demand: Demand) -> Outcome {
        run(self.engine().obtain(&self.wanted, demand)).unwrap()
    }

    /// Tries until there is a certificate, as a caller does.
    fn obtain_at_last(&self) -> Arc<IssuedCertificate> {
        for _ in 0..20 {
            match self.obtain(Demand::Missing) {
                Outcome::Issued(certificate) | Outcome::Current(certificate) => return certificate,
                Outcome::Waiting { until, .. } => {
                    let pause = (until - self.world.now()).max(time::Duration::ZERO);
                    self.world.advance(pause.try_into().unwrap());
                }
                Outcome::Busy { .. } => self.world.advance(Duration::from_secs(15)),
                parked @ Outcome::Parked(_) => panic!("{parked:?}"),
            }
        }
        panic!("no certificate after many tries: {:?}", self.journal());
    }

    fn id(&self) -> CertId {
        self.engine().id(&self.wanted)
    }

    fn journal(&self) -> Option<Journal> {
        let entry = run(self.storage.get(&self.id().journal())).unwrap()?;
        Some(Journal::decode(entry.value.as_bytes()).unwrap())
    }

    /// What is left in the store besides accounts and certificates.
    fn litter(&self) -> Vec<String> {
        let all = run(self.storage.list("/")).unwrap().entries.into_iter();
        let keys = all.map(|entry| entry.key.as_str().to_owned());
        keys.filter(|key| !key.contains("/accounts/") && !key.contains("/certificates/"))
            .collect()
    }
}

#[test]
fn a_certificate_and_nothing_left_behind() {
    let setting = Setting::new(&["a.test", "B.test", "192.0.2.1"]);
    let mut events = setting.engine().events().listen();
    let outcome = setting.obtain(Demand::Missing);
    let Outcome::Issued(certificate) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(certificate.generation(), 1);
    assert_eq!(certificate.chain_pem(), setting.ca.state().issued[0]);
    assert_eq!(setting.litter(), Vec::<String>::new());
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Current(_)
    ));
    assert_eq!(setting.ca.calls("new_order"), 1);
    assert!(
        run_for(1, events.next()).is_some_and(|event| event.is_none()),
        "another engine's"
    );
}

#[test]
fn a_ca_that_goes_by_another_validity_is_told_of() {
    use time::Duration as Span;

    for (not_before, not_after, obeys, told) in [
        (None, None, false, false),
        (None, Some(Span::days(7)), false, true),
        (None, Some(Span::days(7)), true, false),
        (None, Some(Span::days(90)), false, false),
        (Some(Span::seconds(-30)), None, false, false),
        (Some(Span::hours(-2)), None, false, true),
        (Some(Span::minutes(50)), None, false, false),
    ] {
        let mut setting = Setting::new(&["a.test"]);
        setting.wanted.not_before = not_before;
        setting.wanted.not_after = not_after;
        setting.ca.state().obeys = obeys;
        let engine = setting.engine();
        let mut events = engine.events().listen();
        run(engine.obtain(&setting.wanted, Demand::Missing)).unwrap();
        drop(engine);
        let mut heard = false;
        while let Some(event) = run(events.next()) {
            heard |= matches!(event, Ok(crate::event::Event::OtherValidity { .. }));
        }
        assert_eq!(heard, told, "{not_before:?} {not_after:?} {obeys}");
    }
}

#[test]
fn as_many_names_as_a_ca_takes() {
    for (count, kind) in [(100, "alpn"), (100, "http"), (500, "http"), (130, "alpn")] {
        let names: Vec<String> = (0..count).map(|number| format!("{number}.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut setting = Setting::new(&names);
        setting.max_names = 1000;
        if kind == "alpn" {
            setting.solvers = Solvers::tls_alpn01();
        }
        let outcome = setting.obtain(Demand::Missing);
        assert!(
            matches!(outcome, Outcome::Issued(_)),
            "{count} {kind}: {outcome:?}"
        );
        assert_eq!(setting.litter(), Vec::<String>::new(), "{count} {kind}");
    }
}

#[test]
fn more_names_than_a_ca_takes_are_said_before() {
    let names: Vec<String> = (0..101).map(|number| format!("{number}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let setting = Setting::new(&names);
    let engine = setting.engine();
    let said = "101 names in one certificate, the CA takes at most 100; make several of it, or raise the issuer's max_names";
    assert_eq!(engine.check(&setting.wanted).unwrap_err().to_string(), said);
    let refused = run(engine.obtain(&setting.wanted, Demand::Missing));
    assert_eq!(refused.unwrap_err().to_string(), said);
    assert_eq!(setting.ca.calls("register"), 0);
}
