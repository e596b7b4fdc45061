//! What does not work, and what follows.

use super::*;

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
fn a_request_that_is_refused_waits_for_another() {
    let setting = Setting::new(&["a.test"]);
    let refused = Fault::Refuse(Problem::new(400, ErrorType::BadPublicKey), None);
    setting.ca.fault("finalize", refused);
    let obtain = |key: &KeyPair| {
        // Signed anew each time.
        let csr = setting.wanted.csr(key).unwrap();
        let own = OwnRequest { key, csr: &csr };
        let engine = setting.engine();
        run(engine.obtain_with(&setting.wanted, Demand::Missing, &own)).unwrap()
    };
    let (stolen, fresh) = (
        KeyPair::generate(setting.wanted.key).unwrap(),
        KeyPair::generate(setting.wanted.key).unwrap(),
    );
    for _ in 0..3 {
        let outcome = obtain(&stolen);
        assert!(matches!(outcome, Outcome::Parked(Some(_))), "{outcome:?}");
        assert_eq!(setting.ca.calls("new_order"), 1);
    }
    let outcome = obtain(&fresh);
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(setting.litter(), Vec::<String>::new());
}

#[test]
fn a_request_that_came_after_the_refused_one_is_tried() {
    let mut polls = 0;
    let setting = loop {
        let setting = Setting::new(&["a.test"]);
        let key = KeyPair::generate(setting.wanted.key).unwrap();
        let csr = setting.wanted.csr(&key).unwrap();
        let own = OwnRequest {
            key: &key,
            csr: &csr,
        };
        let engine = setting.engine();
        let obtained = engine.obtain_with(&setting.wanted, Demand::Missing, &own);
        assert!(run_for(polls, obtained).is_none());
        let stage = setting.journal().map(|journal| journal.stage());
        if stage == Some("finalizing") {
            break setting;
        }
        polls += 1;
    };
    // The process has died; the CA refuses what it finds of it.
    let refused = Fault::Refuse(Problem::new(400, ErrorType::BadPublicKey), None);
    setting.ca.fault("finalize", refused);
    setting.world.advance(Duration::from_secs(15));
    let key = KeyPair::generate(setting.wanted.key).unwrap();
    let csr = setting.wanted.csr(&key).unwrap();
    let own = OwnRequest {
        key: &key,
        csr: &csr,
    };
    let engine = setting.engine();
    let outcome = run(engine.obtain_with(&setting.wanted, Demand::Missing, &own)).unwrap();
    let Outcome::Issued(certificate) = outcome else {
        panic!("{outcome:?}");
    };
    let kept = KeyPair::from_pem(certificate.key_pem().as_bytes()).unwrap();
    assert_eq!(kept.public_key().spki_der(), key.public_key().spki_der());
    assert_eq!(setting.ca.calls("new_order"), 2);
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
