//! Certificates after the first.

use super::*;

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
