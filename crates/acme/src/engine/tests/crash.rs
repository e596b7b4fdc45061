//! Crashes, and answers that are lost.

use super::*;

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
fn a_store_that_fails_stops_the_order_and_nothing_else() {
    let setting = Setting::new(&["a.test"]);
    let id = setting.id();
    let broken = Txn::new().put(id.journal(), "{}");
    run(setting.storage.txn(broken)).unwrap();
    let error = run(setting.engine().obtain(&setting.wanted, Demand::Missing)).unwrap_err();
    assert!(matches!(error, EngineError::Record(_)), "{error:?}");
    assert_eq!(setting.ca.calls("new_order"), 0);
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
