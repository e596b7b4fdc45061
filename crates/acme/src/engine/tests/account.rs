//! Accounts, their bindings and contacts.

use super::*;

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
