//! Several who order at the same time.

use super::*;

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
fn who_waits_for_the_same_names_takes_no_place_from_others() {
    let mut setting = Setting::new(&["a.test"]);
    setting.options.orders = 2;
    // So that nobody waits for the other's registration.
    setting.obtain_at_last();
    let engine = setting.engine();
    let same = ["one", "two"].map(|label| Wanted {
        label: label.to_owned(),
        ..setting.wanted.clone()
    });
    // An order for the same names that stands still.
    let place = engine
        .shared
        .turn(&crate::layout::names_turn(&["a.test".to_owned()]));
    let _still = place.try_lock_owned().unwrap();
    let other = Wanted::new(identifiers(&["b.test"]));
    let begun = setting.world.instant();
    let orders = [&same[0], &same[1], &other].map(|wanted| -> crate::runtime::Task<'_, _> {
        let (engine, world) = (&engine, &setting.world);
        Box::pin(async move {
            let outcome = engine.obtain(wanted, Demand::Missing).await.unwrap();
            assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
            world.instant() - begun
        })
    });
    let took = run(crate::runtime::all(orders.into()));
    assert!(took[2] < setting.options.patience / 2, "{took:?}");
    assert!(took[0] >= setting.options.patience, "{took:?}");
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
