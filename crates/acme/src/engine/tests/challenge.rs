//! Answers shown, and taken away.

use super::*;

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
fn another_challenge_when_one_fails() {
    let mut setting = Setting::new(&["a.test"]);
    setting.solvers.tls_alpn01 = Some(Pause::default());
    setting.ca.state().blind = vec![ChallengeKind::TlsAlpn01];
    let outcome = setting.obtain(Demand::Missing);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(setting.ca.calls("new_order"), 2);
    assert_eq!(setting.litter(), Vec::<String>::new());
}

/// What becomes of two that run side by side, `at_once` polls of the first for one of the second.
fn in_turn<T>(
    at_once: usize,
    first: impl Future<Output = T>,
    second: impl Future<Output = T>,
) -> [T; 2] {
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    let (mut done, mut also) = (None, None);
    for _ in 0..100_000 {
        done = done.or_else(|| run_for(at_once, first.as_mut()));
        also = also.or_else(|| run_for(1, second.as_mut()));
        if let (Some(_), Some(_)) = (&done, &also) {
            break;
        }
    }
    [done, also].map(Option::unwrap)
}

#[test]
fn two_orders_for_one_name_show_their_answers_in_turn() {
    for at_once in [1, 2, 5, 20] {
        let mut setting = Setting::new(&["a.test"]);
        setting.solvers = Solvers::tls_alpn01();
        let (one, other) = (setting.engine(), setting.engine());
        let wider = Wanted::new(identifiers(&["b.test", "a.test"]));
        let first = one.obtain(&setting.wanted, Demand::Missing);
        let second = other.obtain(&wider, Demand::Missing);
        for outcome in in_turn(at_once, first, second) {
            let outcome = outcome.unwrap();
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
        let first = one.obtain(&setting.wanted, Demand::Missing);
        let second = other.obtain(&wildcard, Demand::Missing);
        for outcome in in_turn(at_once, first, second) {
            let outcome = outcome.unwrap();
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
