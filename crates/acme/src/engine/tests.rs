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
fn wildcard_and_apex_share_a_record_and_leave_none() {
    let mut setting = Setting::new(&["a.test", "*.a.test"]);
    let dns = Dns01::new(Arc::new(FakeDns(setting.ca.clone())));
    setting.solvers = Solvers::dns01(dns.with_delay(Duration::from_secs(60)));
    setting.obtain_at_last();
    assert_eq!(setting.ca.state().txt, []);
    assert_eq!(setting.litter(), Vec::<String>::new());
}

#[test]
fn a_crash_at_any_moment_loses_nothing_and_orders_nothing_twice() {
    let mut polls = 0;
    let mut crashes = 0;
    loop {
        let world = Setting::new(&["a.test", "*.b.test"]);
        let setting = Setting {
            solvers: Solvers {
                dns01: Some(Dns01::new(Arc::new(FakeDns(world.ca.clone())))),
                ..Solvers::http01()
            },
            ..world
        };
        setting.ca.state().processing = 2;
        let engine = setting.engine();
        let done = run_for(polls, engine.obtain(&setting.wanted, Demand::Missing));
        let finished = done.is_some();
        drop(engine);
        crashes += usize::from(!finished);
        let certificate = setting.obtain_at_last();
        let state = setting.ca.state();
        // I1 and I2: one finalized order, and its certificate in the store.
        let finalized: usize = state.orders.iter().map(|order| order.finalized).sum();
        assert_eq!(
            (finalized, state.issued.len()),
            (1, 1),
            "after {polls} polls"
        );
        assert_eq!(
            certificate.chain_pem(),
            state.issued[0],
            "after {polls} polls"
        );
        assert!(
            state.orders.len() <= 2,
            "after {polls} polls: {} orders",
            state.orders.len()
        );
        // I3: one account.
        assert_eq!(state.accounts.len(), 1, "after {polls} polls");
        // I9: nothing shown any more.
        assert_eq!(state.txt, [], "after {polls} polls");
        drop(state);
        assert_eq!(
            setting.litter(),
            Vec::<String>::new(),
            "after {polls} polls"
        );
        if finished {
            break;
        }
        polls += 1;
    }
    assert!(crashes > 50, "{crashes}");
}

#[test]
fn what_a_crash_left_shown_is_taken_away_at_the_next_look() {
    use certwright_renewal::RenewalPolicy;

    let mut crashes = 0;
    for polls in 0..400 {
        let mut setting = Setting::new(&["a.test"]);
        let dns = Dns01::new(Arc::new(FakeDns(setting.ca.clone())));
        setting.solvers = Solvers::dns01(dns);
        let engine = setting.engine();
        if run_for(polls, engine.obtain(&setting.wanted, Demand::Missing)).is_some() {
            break;
        }
        let committed = run(setting.storage.get(&setting.id().current())).unwrap();
        if committed.is_none() || setting.ca.state().txt.is_empty() {
            continue;
        }
        crashes += 1;
        setting.world.advance(Duration::from_secs(15));
        let tended = setting.engine();
        let (outcome, _) = run(tended.tend(&setting.wanted, &RenewalPolicy::default())).unwrap();
        assert!(matches!(outcome, Outcome::Current(_)), "{outcome:?}");
        assert_eq!(setting.ca.state().txt, []);
        assert!(setting.journal().is_none());
    }
    assert!(crashes > 0);
}

#[test]
fn a_failed_renewal_does_not_hide_the_certificate() {
    let setting = Setting::new(&["a.test"]);
    setting.obtain_at_last();
    setting.ca.state().blind = vec![ChallengeKind::Http01];
    let outcome = setting.obtain(Demand::Renew { after: 1 });
    assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
    let outcome = setting.obtain(Demand::Missing);
    assert!(matches!(outcome, Outcome::Current(_)), "{outcome:?}");
    assert_eq!(setting.ca.calls("new_order"), 2);
}

#[test]
fn a_lost_answer_costs_at_most_an_order() {
    for request in [
        "register",
        "new_order",
        "authorization",
        "answer",
        "order",
        "finalize",
        "certificate",
    ] {
        for fault in [Fault::Lost, Fault::Away] {
            let setting = Setting::new(&["a.test"]);
            setting.ca.fault(request, fault.clone());
            let certificate = setting.obtain_at_last();
            let state = setting.ca.state();
            assert_eq!(
                state.issued,
                [certificate.chain_pem()],
                "{request} {fault:?}"
            );
            let orders = 1 + usize::from(request == "new_order" && matches!(fault, Fault::Lost));
            assert_eq!(state.orders.len(), orders, "{request} {fault:?}");
            assert_eq!(state.accounts.len(), 1, "{request} {fault:?}");
        }
    }
}

#[test]
fn two_replicas_make_one_certificate() {
    let setting = Setting::new(&["a.test"]);
    let (one, other) = (setting.engine(), setting.engine());
    let mut first = Box::pin(one.obtain(&setting.wanted, Demand::Missing));
    assert!(run_for(20, first.as_mut()).is_none());
    let second = run(other.obtain(&setting.wanted, Demand::Missing)).unwrap();
    assert!(matches!(second, Outcome::Busy { .. }), "{second:?}");
    // The first one is stopped for longer than its lease: the other takes over.
    setting.world.advance(Duration::from_secs(16));
    let second = run(other.obtain(&setting.wanted, Demand::Missing)).unwrap();
    assert!(matches!(second, Outcome::Issued(_)), "{second:?}");
    let error = run(first).unwrap_err();
    assert!(matches!(error, EngineError::Storage(_)), "{error:?}");
    assert_eq!(setting.ca.state().issued.len(), 1);
    assert_eq!(setting.ca.state().accounts.len(), 1);
}

#[test]
fn two_calls_on_one_replica_share_one_order() {
    let setting = Setting::new(&["a.test"]);
    let engine = setting.engine();
    let mut first = Box::pin(engine.obtain(&setting.wanted, Demand::Missing));
    let mut second = Box::pin(engine.obtain(&setting.wanted, Demand::Missing));
    assert!(run_for(20, first.as_mut()).is_none());
    assert!(run_for(20, second.as_mut()).is_none());
    assert!(matches!(run(first).unwrap(), Outcome::Issued(_)));
    assert!(matches!(run(second).unwrap(), Outcome::Current(_)));
    assert_eq!(setting.ca.calls("new_order"), 1);
}

#[test]
fn certificates_for_the_same_names_get_an_order_each() {
    let mut setting = Setting::new(&["a.test", "b.test"]);
    setting.ca.state().reuses = true;
    setting.ca.state().processing = 2;
    // So that neither waits for the other's registration.
    setting.wanted.label = "first".to_owned();
    setting.obtain_at_last();
    let engine = setting.engine();
    let labels = ["one", "two", "three"];
    let wanted = labels.map(|label| Wanted {
        label: label.to_owned(),
        ..setting.wanted.clone()
    });
    let orders = wanted.iter().map(|wanted| -> crate::runtime::Task<'_, _> {
        Box::pin(engine.obtain(wanted, Demand::Missing))
    });
    for outcome in run(crate::runtime::all(orders.collect())) {
        assert!(matches!(outcome, Ok(Outcome::Issued(_))), "{outcome:?}");
    }
    assert_eq!(setting.ca.calls("new_order"), 4);
    assert_eq!(setting.ca.state().issued.len(), 4);
    // One that was left in the middle is not waited for.
    let mut left = Box::pin(engine.obtain(&wanted[0], Demand::Force { after: 1 }));
    while setting.ca.calls("new_order") < 5 {
        assert!(run_for(1, left.as_mut()).is_none());
    }
    drop(left);
    let next = run(engine.obtain(&wanted[1], Demand::Force { after: 1 })).unwrap();
    assert!(matches!(next, Outcome::Issued(_)), "{next:?}");
}

#[test]
fn another_challenge_when_one_fails() {
    let mut setting = Setting::new(&["a.test"]);
    setting.solvers.tls_alpn01 = Some(Pause::default());
    setting.ca.state().blind = vec![ChallengeKind::TlsAlpn01];
    let outcome = setting.obtain(Demand::Missing);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(setting.ca.calls("new_order"), 2);
    assert_eq!(setting.litter(), Vec::<String>::new());
}

#[test]
fn two_orders_for_one_name_show_their_answers_in_turn() {
    for at_once in [1, 2, 5, 20] {
        let mut setting = Setting::new(&["a.test"]);
        setting.solvers = Solvers::tls_alpn01();
        let (one, other) = (setting.engine(), setting.engine());
        let wider = Wanted::new(identifiers(&["b.test", "a.test"]));
        let mut first = Box::pin(one.obtain(&setting.wanted, Demand::Missing));
        let mut second = Box::pin(other.obtain(&wider, Demand::Missing));
        let (mut done, mut also) = (None, None);
        for _ in 0..100_000 {
            if done.is_none() {
                done = run_for(at_once, first.as_mut());
            }
            if also.is_none() {
                also = run_for(1, second.as_mut());
            }
            if done.is_some() && also.is_some() {
                break;
            }
        }
        for outcome in [done, also] {
            let outcome = outcome.unwrap().unwrap();
            assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        }
        assert_eq!(setting.ca.calls("new_order"), 2);
        assert_eq!(setting.litter(), Vec::<String>::new());
    }
}

#[test]
fn two_orders_that_share_a_record_lose_no_value_of_it() {
    for (replicas, at_once) in [(1, 1), (1, 3), (2, 1), (2, 2), (2, 5), (2, 20)] {
        let mut setting = Setting::new(&["a.test"]);
        let provider = Arc::new(WholeRecords(setting.ca.clone()));
        setting.solvers = Solvers::dns01(Dns01::new(provider));
        let one = setting.engine();
        let other = match replicas {
            1 => one.clone(),
            _ => setting.engine(),
        };
        let wildcard = Wanted::new(identifiers(&["*.a.test"]));
        let mut first = Box::pin(one.obtain(&setting.wanted, Demand::Missing));
        let mut second = Box::pin(other.obtain(&wildcard, Demand::Missing));
        let (mut done, mut also) = (None, None);
        for _ in 0..100_000 {
            if done.is_none() {
                done = run_for(at_once, first.as_mut());
            }
            if also.is_none() {
                also = run_for(1, second.as_mut());
            }
            if done.is_some() && also.is_some() {
                break;
            }
        }
        for outcome in [done, also] {
            let outcome = outcome.unwrap().unwrap();
            assert!(
                matches!(outcome, Outcome::Issued(_)),
                "{replicas} {at_once}: {outcome:?}"
            );
        }
        assert_eq!(setting.ca.calls("new_order"), 2, "{replicas} {at_once}");
        assert_eq!(setting.ca.state().txt, [], "{replicas} {at_once}");
        assert_eq!(setting.litter(), Vec::<String>::new());
    }
}

#[test]
fn a_record_that_somebody_else_changes_is_waited_for_and_then_told_of() {
    let mut setting = Setting::new(&["a.test"]);
    let provider = Arc::new(WholeRecords(setting.ca.clone()));
    setting.solvers = Solvers::dns01(Dns01::new(provider));
    let lock = crate::layout::record_lock("_acme-challenge.a.test");
    let day = Duration::from_secs(86_400);
    let lease = run(setting.storage.acquire(&lock, "they", day)).unwrap();
    let Outcome::Waiting { failure, .. } = setting.obtain(Demand::Missing) else {
        panic!();
    };
    assert_eq!(
        failure.unwrap().detail,
        "they is changing _acme-challenge.a.test for another order"
    );
    assert_eq!(setting.ca.state().txt, []);
    let released = setting.storage.release(lease.granted().unwrap());
    run(released).unwrap();
    setting.obtain_at_last();
    assert_eq!(setting.ca.calls("new_order"), 1, "the order was kept");
    assert_eq!(setting.litter(), Vec::<String>::new());
}

#[test]
fn the_answer_of_another_order_for_the_same_name_stays() {
    use crate::layout::{alpn_lock, alpn_name};

    let mut setting = Setting::new(&["a.test"]);
    setting.solvers = Solvers::tls_alpn01();
    let engine = setting.engine();
    let place = alpn_name("a.test");
    let mut order = Box::pin(engine.obtain(&setting.wanted, Demand::Missing));
    while run(setting.storage.get(&place)).unwrap().is_none() {
        assert!(run_for(1, order.as_mut()).is_none());
    }
    // It dies, and another takes its turn.
    drop(order);
    setting.world.advance(Duration::from_secs(15));
    let lock = alpn_lock("a.test");
    let lease = setting
        .storage
        .acquire(&lock, "they", Duration::from_secs(86_400));
    let lease = run(lease).unwrap().granted().unwrap();
    let put = Txn::new()
        .put(place.clone(), "theirs")
        .if_held(lease.fence());
    run(setting.storage.txn(put)).unwrap();
    let outcome = setting.obtain(Demand::Missing);
    let Outcome::Waiting { failure, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        failure.unwrap().detail,
        "they is proving a.test by tls-alpn-01 for another order"
    );
    let left = run(setting.storage.get(&place)).unwrap().unwrap();
    assert_eq!(left.value.as_bytes(), b"theirs");
    run(setting.storage.release(lease)).unwrap();
    setting.obtain_at_last();
    assert_eq!(setting.litter(), Vec::<String>::new());
}

#[test]
fn failed_validations_wait_and_recover_by_themselves() {
    let setting = Setting::new(&["a.test"]);
    setting.ca.state().blind = vec![ChallengeKind::Http01];
    let outcome = setting.obtain(Demand::Missing);
    let Outcome::Waiting { until, failure } = outcome else {
        panic!("{outcome:?}");
    };
    let failure = failure.unwrap();
    assert_eq!(failure.class, Class::Validation);
    assert_eq!(
        failure.detail,
        "a.test by http-01: status 403, unauthorized"
    );
    assert!(until >= setting.world.now() + time::Duration::MINUTE);
    // Not before it is time, and once then.
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Waiting { .. }
    ));
    assert_eq!(setting.ca.calls("new_order"), 1);
    setting.ca.state().blind.clear();
    setting.obtain_at_last();
    assert_eq!(setting.journal().map(|journal| journal.stage()), None);
}

#[test]
fn orders_without_a_certificate_use_up_no_quota_of_their_names() {
    let mut setting = Setting::new(&["a.test"]);
    setting.quotas = Quotas::default();
    setting.ca.state().blind = vec![ChallengeKind::Http01];
    // Of certificates for the same names there are five in a week.
    for number in 1..=7 {
        let outcome = setting.obtain(Demand::Missing);
        let Outcome::Waiting { until, failure } = outcome else {
            panic!("{number}: {outcome:?}");
        };
        assert_eq!(failure.unwrap().class, Class::Validation, "{number}");
        let pause = until - setting.world.now();
        setting.world.advance(pause.try_into().unwrap());
    }
    setting.ca.state().blind.clear();
    setting.obtain_at_last();
    assert_eq!(setting.ca.calls("new_order"), 8);
}

#[test]
fn what_the_ca_says_about_when_is_kept_to_the_second() {
    let setting = Setting::new(&["a.test"]);
    let wait = RetryAfter::Delay(time::Duration::hours(5));
    let limited = Fault::Refuse(Problem::new(429, ErrorType::RateLimited), Some(wait));
    setting.ca.fault("new_order", limited.clone());
    let outcome = setting.obtain(Demand::Missing);
    let Outcome::Waiting { until, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(until, setting.world.now() + time::Duration::hours(5));
    // The account is frozen for other certificates, too.
    let other = Setting {
        wanted: Wanted::new(identifiers(&["b.test"])),
        ..setting
    };
    assert!(matches!(
        other.obtain(Demand::Missing),
        Outcome::Waiting { .. }
    ));
    assert_eq!(other.ca.calls("new_order"), 1);
}

#[test]
fn the_next_issuer_when_one_refuses() {
    for (status, kind) in [
        (429, ErrorType::RateLimited),
        (400, ErrorType::RejectedIdentifier),
    ] {
        let setting = Setting {
            issuers: 2,
            ..Setting::new(&["a.test"])
        };
        setting
            .ca
            .fault("new_order", Fault::Refuse(Problem::new(status, kind), None));
        let certificate = setting.obtain_at_last();
        assert_eq!(certificate.issuer(), "ca-1");
    }
}

#[test]
fn what_cannot_work_waits_for_other_settings() {
    let mut setting = Setting::new(&["a.test"]);
    let refused = Fault::Refuse(Problem::new(400, ErrorType::RejectedIdentifier), None);
    setting.ca.fault("new_order", refused);
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Parked(Some(_))
    ));
    setting.world.advance(Duration::from_secs(1_000_000));
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Parked(_)
    ));
    assert_eq!(setting.ca.calls("new_order"), 1);
    setting.registration.contacts = vec!["mailto:a@b.test".to_owned()];
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Issued(_)
    ));
    assert_eq!(setting.ca.calls("update_contacts"), 1);
    let forced = setting.obtain(Demand::Force { after: 1 });
    assert!(matches!(forced, Outcome::Issued(_)), "{forced:?}");
}

#[test]
fn nothing_that_can_prove_it_is_said_so() {
    let setting = Setting::new(&["*.a.test"]);
    let Outcome::Parked(Some(failure)) = setting.obtain(Demand::Missing) else {
        panic!();
    };
    assert_eq!(
        failure.detail,
        "*.a.test cannot be proven: set up is http-01, the CA offers dns-01, http-01, tls-alpn-01"
    );
}

#[test]
fn a_binding_that_works_once_is_spent_once() {
    let mut setting = Setting::new(&["a.test"]);
    setting.registration.binding = Some(ExternalBinding::new("kid-1", "AAEC").unwrap());
    setting.ca.fault("register", Fault::Lost);
    setting.obtain_at_last();
    assert_eq!(setting.ca.state().accounts.len(), 1);
    assert_eq!(setting.ca.calls("register"), 1);
    assert_eq!(setting.ca.calls("find_account"), 1);
}

#[test]
fn a_binding_is_spent_once_by_two_orders_at_once() {
    let mut setting = Setting::new(&["a.test"]);
    setting.registration.binding = Some(ExternalBinding::new("kid-1", "AAEC").unwrap());
    let engine = setting.engine();
    let other = Wanted::new(identifiers(&["b.test"]));
    let both = [&setting.wanted, &other];
    let both = both.map(|wanted| -> crate::runtime::Task<'_, _> {
        Box::pin(engine.obtain(wanted, Demand::Missing))
    });
    for outcome in run(crate::runtime::all(both.into())) {
        assert!(matches!(outcome, Ok(Outcome::Issued(_))), "{outcome:?}");
    }
    assert_eq!(setting.ca.calls("register"), 1);
}

#[test]
fn an_account_the_ca_forgot_is_registered_again_with_its_key() {
    let setting = Setting::new(&["a.test"]);
    setting.obtain_at_last();
    let key = setting.ca.state().accounts.keys().next().cloned();
    setting.ca.state().accounts.clear();
    let outcome = setting.obtain(Demand::Renew { after: 1 });
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(setting.ca.state().accounts.keys().next().cloned(), key);
}

#[test]
fn renewals_replace_and_rotate() {
    let mut setting = Setting::new(&["a.test"]);
    let first = setting.obtain_at_last();
    setting.world.advance(Duration::from_secs(60 * 86_400));
    let outcome = setting.obtain(Demand::Renew { after: 1 });
    let Outcome::Issued(second) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(second.generation(), 2);
    assert_ne!(first.key_pem(), second.key_pem());
    let replaces = setting.ca.state().orders[1].order.replaces.clone();
    assert_eq!(replaces.as_deref(), first.ari_id());
    assert!(first.ari_id().is_some());
    // Somebody who has not heard of it.
    assert!(matches!(
        setting.obtain(Demand::Renew { after: 1 }),
        Outcome::Current(_)
    ));
    let previous = run(setting.storage.get(&setting.id().previous()))
        .unwrap()
        .unwrap();
    let previous = IssuedCertificate::decode(previous.value.as_bytes()).unwrap();
    assert_eq!(previous.generation(), 1);

    setting.wanted.rotation = RotationPolicy::Never;
    let Outcome::Issued(third) = setting.obtain(Demand::Renew { after: 2 }) else {
        panic!();
    };
    assert_eq!(second.key_pem(), third.key_pem());
}

#[test]
fn without_replaces_when_the_ca_says_so() {
    let setting = Setting::new(&["a.test"]);
    setting.obtain_at_last();
    let refused = Fault::Refuse(Problem::new(409, ErrorType::AlreadyReplaced), None);
    setting.ca.fault("new_order", refused);
    let outcome = setting.obtain(Demand::Renew { after: 1 });
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(setting.ca.state().orders[1].order.replaces, None);
}

#[test]
fn an_order_that_is_gone_is_ordered_anew() {
    let setting = Setting::new(&["a.test"]);
    let gone = Fault::Refuse(Problem::new(404, ErrorType::Malformed), None);
    setting.ca.fault("authorization", Fault::Away);
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Waiting { .. }
    ));
    setting.world.advance(Duration::from_secs(30));
    setting.ca.fault("order", gone);
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Issued(_)
    ));
    assert_eq!(setting.ca.calls("new_order"), 2);
}

#[test]
fn a_day_without_the_ca_is_few_orders() {
    let setting = Setting::new(&["a.test"]);
    for _ in 0..1000 {
        setting.ca.fault("new_order", Fault::Away);
    }
    let end = setting.world.now() + time::Duration::DAY;
    while setting.world.now() < end {
        let outcome = setting.obtain(Demand::Missing);
        let Outcome::Waiting { until, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let pause = until - setting.world.now();
        setting.world.advance(pause.try_into().unwrap());
    }
    assert!(
        setting.ca.calls("new_order") < 50,
        "{}",
        setting.ca.calls("new_order")
    );
    setting.ca.state().faults.clear();
    setting.obtain_at_last();
}

#[test]
fn a_store_that_fails_stops_the_order_and_nothing_else() {
    let setting = Setting::new(&["a.test"]);
    let id = setting.id();
    let broken = Txn::new().put(id.journal(), "{}");
    run(setting.storage.txn(broken)).unwrap();
    let error = run(setting.engine().obtain(&setting.wanted, Demand::Missing)).unwrap_err();
    assert!(matches!(error, EngineError::Record(_)), "{error:?}");
    assert_eq!(setting.ca.calls("new_order"), 0);
}

#[test]
fn the_ca_says_when_to_renew() {
    use crate::protocol::RenewalInfo;
    use certwright_renewal::RenewalPolicy;

    let setting = Setting::new(&["a.test"]);
    let policy = RenewalPolicy::default();
    let engine = setting.engine();
    let tend = || run(engine.tend(&setting.wanted, &policy)).unwrap();
    let window = |start: i64| RenewalInfo {
        start: setting.world.now() + time::Duration::days(start),
        end: setting.world.now() + time::Duration::days(start + 2),
        explanation_url: Some("https://ca.test/why".to_owned()),
        retry_after: Some(RetryAfter::Delay(time::Duration::hours(6))),
    };
    setting.ca.state().renewal = Some(window(30));
    let (outcome, next) = tend();
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    let pause = next.unwrap() - setting.world.now();
    assert_eq!(pause.whole_hours(), 6);
    // Asked once, not again before it is time.
    tend();
    assert_eq!(setting.ca.calls("renewal_info"), 1);
    // A mass revocation: the window is now.
    setting.world.advance(Duration::from_secs(10 * 86_400));
    setting.ca.state().renewal = Some(window(-3));
    let mut events = engine.events().listen();
    let (outcome, _) = tend();
    let Outcome::Issued(second) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(second.generation(), 2);
    let event = run(events.next()).unwrap().unwrap();
    assert!(
        matches!(event, crate::event::Event::RenewalMoved { .. }),
        "{event:?}"
    );
    assert!(setting.ca.state().orders[1].order.replaces.is_some());
}

#[test]
fn a_year_without_hands() {
    use certwright_renewal::RenewalPolicy;

    let setting = Setting::new(&["a.test"]);
    let engine = setting.engine();
    let policy = RenewalPolicy::default();
    let end = setting.world.now() + time::Duration::days(365);
    let mut expires = end;
    while setting.world.now() < end {
        let (outcome, next) = run(engine.tend(&setting.wanted, &policy)).unwrap();
        let certificate = outcome.certificate().unwrap();
        assert!(setting.world.now() < expires, "there was always one in use");
        expires = certificate.not_after();
        let pause = next.unwrap() - setting.world.now();
        setting
            .world
            .advance(pause.max(time::Duration::SECOND).try_into().unwrap());
    }
    // Every 60 days or a little later: the seventh is due at the end of the year.
    let orders = setting.ca.calls("new_order");
    assert!((6..=7).contains(&orders), "{orders}");
    run(engine.revoke(&run(engine.current(&setting.id())).unwrap().unwrap(), None)).unwrap();
    assert_eq!(setting.ca.state().revoked, 1);
}

#[test]
fn another_list_of_issuers_orders_nothing_anew() {
    let mut setting = Setting::new(&["a.test"]);
    let first = setting.obtain_at_last();
    setting.issuers = 2;
    let Outcome::Current(same) = setting.obtain(Demand::Missing) else {
        panic!();
    };
    assert_eq!(same.chain_pem(), first.chain_pem());
    setting.options.group = "internal".to_owned();
    assert!(matches!(
        setting.obtain(Demand::Missing),
        Outcome::Issued(_)
    ));
}

#[test]
fn certificates_of_an_issuer_that_is_gone_are_replaced_if_asked_for() {
    use certwright_renewal::RenewalPolicy;

    for (strangers, issued) in [(Strangers::Keep, 1), (Strangers::Replace, 2)] {
        let mut setting = Setting::new(&["a.test"]);
        setting.issuers = 2;
        let refused = Fault::Refuse(Problem::new(400, ErrorType::RejectedIdentifier), None);
        setting.ca.fault("new_order", refused);
        assert_eq!(setting.obtain_at_last().issuer(), "ca-1");
        setting.issuers = 1;
        setting.options.strangers = strangers;
        for _ in 0..2 {
            let engine = setting.engine();
            run(engine.tend(&setting.wanted, &RenewalPolicy::default())).unwrap();
        }
        assert_eq!(setting.ca.state().issued.len(), issued, "{strangers:?}");
    }
}

#[tokio::test]
async fn an_order_that_is_dropped_lets_go_at_once() {
    let storage = MemoryStorage::default();
    let ca = FakeCa::at_present(&storage);
    let engine = || {
        let account = AccountSpec::new("https://ca.test/dir");
        let protocol = Arc::new(ca.clone());
        let issuer = Issuer::new("ca", account, protocol, Solvers::http01());
        let storage = Arc::new(storage.clone());
        let runtime = Arc::new(crate::runtime::TokioRuntime);
        Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap()
    };
    let wanted = Wanted::new(identifiers(&["a.test"]));
    let one = engine();
    assert!(run_for(5, one.obtain(&wanted, Demand::Missing)).is_none());
    tokio::task::yield_now().await;
    let outcome = engine().obtain(&wanted, Demand::Missing).await.unwrap();
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
}

#[test]
fn nothing_is_shown_for_what_was_not_ordered() {
    type Lie = fn(&mut crate::testing::State);
    let lies: [(Lie, &str); 2] = [
        (
            |state| state.misnamed = Some("victim.test".parse().unwrap()),
            "the answer to an authorization cannot be used: it is for victim.test, which was not ordered",
        ),
        (
            |state| state.surplus = 1,
            "the answer to the order cannot be used: it has 2 authorizations for 1 identifiers",
        ),
    ];
    for (lie, said) in lies {
        let mut setting = Setting::new(&["a.test"]);
        setting.solvers = Solvers::dns01(Dns01::new(Arc::new(FakeDns(setting.ca.clone()))));
        lie(&mut setting.ca.state());
        let outcome = setting.obtain(Demand::Missing);
        let Outcome::Waiting { failure, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(failure.unwrap().detail, said);
        assert_eq!(setting.ca.calls("answer"), 0);
        assert_eq!(setting.ca.state().txt, []);
    }
}

#[test]
fn an_authorization_of_a_wildcard_may_come_without_its_star() {
    let mut setting = Setting::new(&["*.a.test"]);
    setting.solvers = Solvers::dns01(Dns01::new(Arc::new(FakeDns(setting.ca.clone()))));
    setting.ca.state().misnamed = Some("a.test".parse().unwrap());
    let outcome = setting.obtain(Demand::Missing);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
}

#[test]
fn an_answer_that_comes_too_late_is_none_too_many() {
    // It was validated before: the authorization says so when it is read again.
    let setting = Setting::new(&["a.test"]);
    let malformed = || Problem::new(400, ErrorType::Malformed);
    setting.ca.state().late = Some(malformed());
    let outcome = setting.obtain(Demand::Missing);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(setting.ca.calls("new_order"), 1);
    // It is pending, and refused.
    let setting = Setting::new(&["a.test"]);
    let refused = Fault::Refuse(malformed(), None);
    setting.ca.fault("answer", refused);
    let outcome = setting.obtain(Demand::Missing);
    assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
}

#[test]
fn a_dns_provider_that_never_answers_holds_nothing_up() {
    use certwright_renewal::RenewalPolicy;

    let mut setting = Setting::new(&["a.test"]);
    setting.solvers = Solvers::dns01(Dns01::new(Arc::new(FakeDns(setting.ca.clone()))));
    setting.ca.state().dumb = Some(true);
    let outcome = setting.obtain(Demand::Missing);
    let Outcome::Waiting { failure, .. } = outcome else {
        panic!("{outcome:?}");
    };
    let failure = failure.unwrap();
    assert_eq!(
        (failure.class, failure.detail.as_str()),
        (
            Class::Transient,
            "the DNS provider did not change _acme-challenge.a.test: no answer after 60s"
        )
    );
    let spent = setting.world.now() - crate::testing::START;
    assert!(spent < time::Duration::minutes(2), "{spent}");
    // It works for a while, and not when the record is to be removed.
    setting.ca.state().dumb = None;
    let engine = setting.engine();
    let tend = || run(engine.tend(&setting.wanted, &RenewalPolicy::default())).unwrap();
    setting.world.advance(Duration::from_secs(60));
    let mut order = Box::pin(engine.obtain(&setting.wanted, Demand::Missing));
    while setting.ca.calls("finalize") == 0 {
        assert!(run_for(1, order.as_mut()).is_none());
    }
    setting.ca.state().dumb = Some(false);
    assert!(matches!(run(order).unwrap(), Outcome::Issued(_)));
    let (_, next) = tend();
    let pause = next.unwrap() - setting.world.now();
    assert!(pause <= time::Duration::hours(6), "{pause}");
    assert_eq!(setting.ca.state().txt.len(), 1);
    setting.ca.state().dumb = None;
    tend();
    assert_eq!(setting.ca.state().txt, []);
    assert!(setting.journal().is_none());
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
fn contacts_the_ca_refuses_stop_nothing() {
    let mut setting = Setting::new(&["a.test"]);
    setting.obtain_at_last();
    setting.registration.contacts = vec!["mailto:a@nowhere.test".to_owned()];
    let refused = || Fault::Refuse(Problem::new(400, ErrorType::InvalidContact), None);
    setting.ca.fault("update_contacts", refused());
    let engine = setting.engine();
    let mut events = engine.events().listen();
    for after in [1, 2] {
        let renewed = engine.obtain(&setting.wanted, Demand::Renew { after });
        let outcome = run(renewed).unwrap();
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    }
    let mut problems = Vec::new();
    while let Some(Some(Ok(event))) = run_for(1, events.next()) {
        if let crate::event::Event::ContactsRefused { reason, .. } = event {
            problems.push(reason);
        }
    }
    assert_eq!(
        problems,
        ["the CA refused update_contacts: status 400, invalidContact"]
    );
    // Again the next day, and then they are known.
    setting.world.advance(Duration::from_secs(86_400));
    for after in [3, 4] {
        run(engine.obtain(&setting.wanted, Demand::Renew { after })).unwrap();
    }
    assert_eq!(setting.ca.calls("update_contacts"), 2);
}

#[test]
fn a_binding_is_spent_once_by_two_replicas_at_once() {
    let mut setting = Setting::new(&["a.test"]);
    setting.registration.binding = Some(ExternalBinding::new("kid-1", "AAEC").unwrap());
    let (one, two) = (setting.engine(), setting.engine());
    let other = Wanted::new(identifiers(&["b.test"]));
    let both: Vec<crate::runtime::Task<'_, _>> = vec![
        Box::pin(one.obtain(&setting.wanted, Demand::Missing)),
        Box::pin(two.obtain(&other, Demand::Missing)),
    ];
    for outcome in run(crate::runtime::all(both)) {
        assert!(matches!(outcome, Ok(Outcome::Issued(_))), "{outcome:?}");
    }
    assert_eq!(setting.ca.calls("register"), 1);
    assert_eq!(setting.ca.calls("find_account"), 0);
}

#[test]
fn a_ca_that_wants_no_new_accounts_is_not_asked_for_one() {
    let setting = Setting::new(&["a.test"]);
    let mut problem = Problem::new(429, ErrorType::RateLimited);
    problem.detail = Some("too many registrations from this IP".to_owned());
    let wait = RetryAfter::Delay(time::Duration::hours(3));
    setting
        .ca
        .fault("register", Fault::Refuse(problem, Some(wait)));
    let until = |outcome| match outcome {
        Outcome::Waiting { until, .. } => until,
        other => panic!("{other:?}"),
    };
    let expected = until(setting.obtain(Demand::Missing));
    let pause = expected - setting.world.now();
    assert!(pause > time::Duration::minutes(179), "{pause}");
    setting.world.advance(Duration::from_secs(60));
    let other = Setting {
        wanted: Wanted::new(identifiers(&["b.test"])),
        ..setting
    };
    assert_eq!(until(other.obtain(Demand::Missing)), expected);
    assert_eq!(other.ca.calls("register"), 1);
}

#[test]
fn one_ca_that_is_away_holds_up_nobody_for_long() {
    let setting = Setting {
        issuers: 2,
        ..Setting::new(&["a.test"])
    };
    setting.ca.state().away = vec!["ca-0".to_owned()];
    // A request that nobody answers takes as long as its timeout.
    setting.ca.state().timeout = Some(Duration::from_secs(30));
    let engine = setting.engine();
    let names: Vec<String> = (0..20).map(|number| format!("{number}.test")).collect();
    let wanted: Vec<Wanted> = names
        .iter()
        .map(|name| Wanted::new(identifiers(&[name])))
        .collect();
    let (setting, engine) = (&setting, &engine);
    let obtain = |wanted| async move {
        for _ in 0..20 {
            match engine.obtain(wanted, Demand::Missing).await.unwrap() {
                Outcome::Issued(certificate) => return certificate,
                Outcome::Waiting { until, .. } => {
                    let pause = until - setting.world.now();
                    let pause = pause.max(time::Duration::ZERO);
                    let pause = pause.try_into().unwrap();
                    Runtime::sleep(&setting.world, pause).await;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("no certificate after many tries");
    };
    let tasks = wanted
        .iter()
        .map(|wanted| -> crate::runtime::Task<'_, _> { Box::pin(obtain(wanted)) });
    for certificate in run(crate::runtime::all(tasks.collect())) {
        assert_eq!(certificate.issuer(), "ca-1");
    }
    let spent = setting.world.now() - crate::testing::START;
    assert!(spent < time::Duration::minutes(5), "{spent}");
    assert!(
        setting.ca.calls("unanswered") <= 5,
        "{}",
        setting.ca.calls("unanswered")
    );
}

#[test]
fn an_order_nobody_wants_leaves_nothing_behind() {
    let mut crashes = 0;
    for polls in (0..400).step_by(3) {
        let mut setting = Setting::new(&["a.test", "b.test"]);
        setting.solvers = Solvers {
            dns01: Some(Dns01::new(Arc::new(FakeDns(setting.ca.clone())))),
            ..Solvers::default()
        };
        let engine = setting.engine();
        if run_for(polls, engine.obtain(&setting.wanted, Demand::Missing)).is_some() {
            break;
        }
        drop(engine);
        let Some(journal) = setting.journal() else {
            continue;
        };
        let sent = ["finalizing", "issued"].contains(&journal.stage());
        crashes += 1;
        let engine = setting.engine();
        let sweep = || run(engine.sweep(|_| false)).unwrap();
        setting.world.advance(Duration::from_secs(3600));
        assert_eq!(sweep(), 0, "another replica may want it");
        setting.world.advance(Duration::from_secs(86_400));
        assert_eq!(run(engine.sweep(|_| true)).unwrap(), 0);
        assert_eq!(sweep(), usize::from(!sent), "{}", journal.stage());
        if sent {
            setting.world.advance(Duration::from_secs(30 * 86_400));
            assert_eq!(sweep(), 1);
        }
        assert_eq!(setting.ca.state().txt, []);
        assert_eq!(setting.litter(), Vec::<String>::new());
        if ["ordered", "presenting"].contains(&journal.stage()) {
            let state = setting.ca.state();
            let order = state.orders.last().unwrap();
            for at in 0..2 {
                assert!(order.valid[at] || order.deactivated[at], "{order:?}");
            }
        }
    }
    assert!(crashes > 10, "{crashes}");
}

#[test]
fn a_failed_order_keeps_no_authorization_pending() {
    let setting = Setting::new(&["a.test", "b.test"]);
    // The first answer does not arrive, the second one is not found.
    setting.ca.fault("answer", Fault::Away);
    setting.ca.state().blind = vec![ChallengeKind::Http01];
    for class in [Class::Transient, Class::Validation] {
        let Outcome::Waiting { failure, .. } = setting.obtain(Demand::Missing) else {
            panic!();
        };
        assert_eq!(failure.unwrap().class, class);
        setting.world.advance(Duration::from_secs(10));
    }
    assert_eq!(setting.ca.state().orders[0].deactivated, [true, false]);
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

#[test]
fn certificates_nobody_wants() {
    use crate::unused::Unused;
    use certwright_renewal::RenewalPolicy;

    let day = |number: u64| Duration::from_secs(number * 86_400);
    let remove = Unused::Remove {
        after_expiry: day(30),
    };
    // Days since it was obtained; certificates that were made, whether there is one.
    for (unused, steps) in [
        (
            Unused::LetExpire,
            [(80, 1, true), (119, 1, true), (121, 1, true)],
        ),
        (remove, [(80, 1, true), (119, 1, true), (121, 1, false)]),
        (
            Unused::Renew,
            [(50, 1, true), (80, 2, true), (121, 2, true)],
        ),
    ] {
        let mut setting = Setting::new(&["a.test", "192.0.2.1"]);
        setting.wanted.profile = Some("short".to_owned());
        setting.obtain_at_last();
        let start = setting.world.now();
        let policy = RenewalPolicy::default();
        for (days, made, there) in steps {
            let pause = start + day(days) - setting.world.now();
            setting.world.advance(pause.try_into().unwrap());
            let engine = setting.engine();
            let tend = |wanted: bool| run(engine.tend_unused(unused, &policy, |_| wanted)).unwrap();
            assert_eq!(tend(true), 0);
            tend(false);
            let what = format!("{unused:?} after {days} days");
            assert_eq!(setting.ca.state().issued.len(), made, "{what}");
            let current = run(engine.current(&setting.id())).unwrap();
            assert_eq!(current.is_some(), there, "{what}");
        }
        assert_eq!(setting.litter().len(), usize::from(unused == Unused::Renew));
    }
}

#[test]
fn a_day_without_any_ca() {
    let setting = Setting {
        issuers: 2,
        ..Setting::new(&["a.test"])
    };
    setting.ca.state().timeout = Some(Duration::from_secs(30));
    let engine = setting.engine();
    let names = (0..50).map(|number| format!("{number}.test"));
    let wanted: Vec<Wanted> = names
        .map(|name| Wanted::new(identifiers(&[&name])))
        .collect();
    let start = setting.world.now();
    // When each is looked at next; `None` once it is issued.
    let mut due: Vec<Option<OffsetDateTime>> = vec![Some(start); wanted.len()];
    let mut run_until = |end: OffsetDateTime| {
        let mut looks = 0;
        loop {
            let next = due.iter().enumerate();
            let next = next.filter_map(|(index, due)| Some(((*due)?, index)));
            let Some((at, index)) = next.min().filter(|(at, _)| *at < end) else {
                return (looks, due.iter().flatten().count());
            };
            let pause = at - setting.world.now();
            let pause = pause.try_into().unwrap_or_default();
            setting.world.advance(pause);
            looks += 1;
            due[index] = match run(engine.obtain(&wanted[index], Demand::Missing)).unwrap() {
                Outcome::Issued(_) => None,
                Outcome::Waiting { until, .. } => Some(until),
                other => panic!("{other:?}"),
            };
        }
    };
    let both = ["ca-0".to_owned(), "ca-1".to_owned()];
    setting.ca.state().away = both.to_vec();
    let (looks, left) = run_until(start + time::Duration::DAY);
    assert_eq!(left, 50);
    let asked = setting.ca.calls("unanswered");
    println!("{asked} requests of 50 orders to two CAs in a day, {looks} looks");
    // Every ten minutes one to each of them, and a few at the start.
    assert!((20..=300).contains(&asked), "{asked}");
    // Everybody looks at the record of pauses once in each.
    assert!(looks < 50 * 24 * 6, "{looks}");
    // One comes back, and serves them all before the pauses are over.
    setting.ca.state().away = vec!["ca-0".to_owned()];
    let (_, left) = run_until(start + time::Duration::hours(27));
    assert_eq!(left, 0);
    assert_eq!(setting.ca.calls("new_order"), 50, "each once");
    assert_eq!(setting.ca.state().issued.len(), 50);
}

#[test]
fn a_crash_at_any_moment_with_requests_from_elsewhere() {
    let mut polls = 0;
    loop {
        let setting = Setting::new(&["a.test"]);
        let engine = setting.engine();
        // Each process makes a key and a request of its own.
        let request = || {
            let key = KeyPair::generate(setting.wanted.key).unwrap();
            let csr = setting.wanted.csr(&key).unwrap();
            (key, csr)
        };
        let (key, csr) = request();
        let own = OwnRequest {
            key: &key,
            csr: &csr,
        };
        let obtained = engine.obtain_with(&setting.wanted, Demand::Missing, &own);
        let finished = run_for(polls, obtained).is_some();
        drop(engine);
        let (key, csr) = request();
        let own = OwnRequest {
            key: &key,
            csr: &csr,
        };
        let certificate = loop {
            let engine = setting.engine();
            let obtained = engine.obtain_with(&setting.wanted, Demand::Missing, &own);
            match run(obtained).unwrap() {
                Outcome::Issued(certificate) | Outcome::Current(certificate) => break certificate,
                Outcome::Waiting { .. } | Outcome::Busy { .. } => {
                    setting.world.advance(Duration::from_secs(20));
                }
                Outcome::Parked(failure) => panic!("{failure:?}"),
            }
        };
        let finalized: usize = setting
            .ca
            .state()
            .orders
            .iter()
            .map(|order| order.finalized)
            .sum();
        assert_eq!(
            (finalized, setting.ca.state().issued.len()),
            (1, 1),
            "{polls}"
        );
        // It brings the key it is for, whoever made it.
        let kept = KeyPair::from_pem(certificate.key_pem().as_bytes()).unwrap();
        let leaf = Certificate::from_der(certificate.leaf_der().unwrap()).unwrap();
        assert_eq!(leaf.spki_der(), kept.public_key().spki_der(), "{polls}");
        if finished {
            assert_ne!(kept.public_key().spki_der(), key.public_key().spki_der());
            break;
        }
        polls += 1;
    }
    assert!(polls > 20);
}

#[test]
fn all_replicas_together_place_one_order_at_a_time() {
    for (new_orders, alone) in [(1, true), (4, false)] {
        let mut setting = Setting::new(&["a.test"]);
        setting.options.new_orders = new_orders;
        // So that they do not wait for each other's registration.
        setting.obtain_at_last();
        let replicas: Vec<Engine> = (0..4).map(|_| setting.engine()).collect();
        let wanted: Vec<Wanted> = (0..4)
            .map(|number| Wanted::new(identifiers(&[&format!("{number}.test")])))
            .collect();
        let orders = replicas.iter().zip(&wanted);
        let orders = orders.map(|(replica, wanted)| -> crate::runtime::Task<'_, _> {
            Box::pin(replica.obtain(wanted, Demand::Missing))
        });
        for outcome in run(crate::runtime::all(orders.collect())) {
            assert!(matches!(outcome, Ok(Outcome::Issued(_))), "{outcome:?}");
        }
        assert_eq!(setting.ca.state().most_at_once == 1, alone);
        assert_eq!(setting.ca.calls("new_order"), 5);
        assert!(!setting.litter().iter().any(|key| key.contains("/locks/")));
    }
}

#[test]
fn a_replica_that_dies_while_it_orders_holds_up_others_for_seconds() {
    let setting = Setting::new(&["a.test"]);
    setting.obtain_at_last();
    for polls in 0..400 {
        let dying = Wanted::new(identifiers(&[&format!("dying-{polls}.test")]));
        let next = Wanted::new(identifiers(&[&format!("next-{polls}.test")]));
        if run_for(polls, setting.engine().obtain(&dying, Demand::Missing)).is_some() {
            return;
        }
        let at = setting.world.now();
        let outcome = run(setting.engine().obtain(&next, Demand::Missing)).unwrap();
        assert!(
            matches!(outcome, Outcome::Issued(_)),
            "{polls}: {outcome:?}"
        );
        let waited = setting.world.now() - at;
        assert!(waited < time::Duration::seconds(6), "{polls}: {waited}");
    }
    panic!("it never came to its end");
}

#[test]
fn one_replica_asks_when_to_renew_and_all_go_by_it() {
    use crate::protocol::RenewalInfo;
    use certwright_renewal::{Basis, RenewalPolicy};

    let setting = Setting::new(&["a.test"]);
    setting.obtain_at_last();
    setting.ca.state().renewal = Some(RenewalInfo {
        start: setting.world.now() + time::Duration::days(30),
        end: setting.world.now() + time::Duration::days(31),
        explanation_url: None,
        retry_after: Some(RetryAfter::Delay(time::Duration::hours(6))),
    });
    let (id, policy) = (setting.id(), RenewalPolicy::default());
    let replicas: Vec<Engine> = (0..4).map(|_| setting.engine()).collect();
    let ask = || {
        let asked = replicas
            .iter()
            .map(|replica| -> crate::runtime::Task<'_, _> {
                Box::pin(async { replica.renewal(&id, &policy).await.unwrap().unwrap() })
            });
        run(crate::runtime::all(asked.collect()))
    };
    for polls in 1..4 {
        let now = setting.world.now();
        for renewal in ask() {
            // Those who did not ask look soon for what came of it.
            let next = renewal.next_poll.unwrap();
            assert!(
                next > now && next < now + time::Duration::hours(7),
                "{next}"
            );
        }
        assert_eq!(setting.ca.calls("renewal_info"), polls);
        for renewal in ask() {
            assert!(matches!(renewal.schedule.basis(), Basis::Ari(_)));
        }
        assert_eq!(setting.ca.calls("renewal_info"), polls);
        setting.world.advance(Duration::from_secs(7 * 3600));
    }
    // One that dies while it asks is followed by another within minutes.
    for polls in 1..20 {
        let before = setting.ca.calls("renewal_info");
        let _ = run_for(polls, replicas[0].renewal(&id, &policy));
        setting.world.advance(Duration::from_secs(181));
        ask();
        let asked = setting.ca.calls("renewal_info") - before;
        assert!((1..=2).contains(&asked), "{polls}: {asked}");
        setting.world.advance(Duration::from_secs(7 * 3600));
    }
}

#[test]
fn a_record_is_removed_by_the_provider_that_made_it() {
    let mut setting = Setting::new(&["a.test"]);
    let elsewhere = FakeCa::new(&setting.world, &setting.storage);
    let dns = |ca: &FakeCa| Solvers::dns01(Dns01::new(Arc::new(FakeDns(ca.clone()))));
    // The second issuer's provider alone has the zone that its CA looks at.
    setting.solvers = dns(&elsewhere);
    setting.more_solvers = vec![dns(&setting.ca)];
    setting.issuers = 2;
    let refuse = || {
        let problem = Problem::new(400, ErrorType::RejectedIdentifier);
        setting.ca.fault("new_order", Fault::Refuse(problem, None));
    };
    refuse();
    setting.obtain_at_last();
    assert_eq!(setting.ca.calls("finalize"), 1);
    assert_eq!(setting.ca.state().txt, []);
    assert!(setting.journal().is_none());

    // An issuer that was taken out of the list before it could clean up.
    refuse();
    setting.wanted = Wanted::new(identifiers(&["b.test"]));
    let engine = setting.engine();
    let mut order = Box::pin(engine.obtain(&setting.wanted, Demand::Missing));
    while setting.ca.calls("finalize") == 1 {
        assert!(run_for(1, order.as_mut()).is_none());
    }
    drop(order);
    setting.world.advance(Duration::from_secs(15));
    setting.issuers = 1;
    setting.solvers = Solvers::http01();
    let engine = setting.engine();
    let mut events = engine.events().listen();
    // Another replica may still know the issuer, and finish.
    let outcome = run(engine.obtain(&setting.wanted, Demand::Missing)).unwrap();
    assert!(matches!(outcome, Outcome::Waiting { .. }), "{outcome:?}");
    assert_eq!(setting.journal().unwrap().stage(), "finalizing");
    setting.world.advance(Duration::from_secs(3600));
    run(engine.obtain(&setting.wanted, Demand::Missing)).unwrap();
    let reason = run(async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            if let crate::event::Event::NotCleaned { reason, .. } = event {
                break reason;
            }
        }
    });
    assert!(
        reason.contains("of issuer ca-1, which is not set up any more"),
        "{reason}"
    );
    assert_eq!(setting.ca.state().txt.len(), 1);
    // It comes back.
    setting.issuers = 2;
    setting.obtain_at_last();
    assert_eq!(setting.ca.state().txt, []);
    assert!(setting.journal().is_none());
}
