//! Orders that nobody wants, and certificates.

use super::*;

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
        let elsewhere = Engine::new(
            Arc::new(setting.storage.clone()),
            Arc::new(setting.world.clone()),
            vec![Issuer::new(
                "other",
                AccountSpec::new("https://other.test/dir"),
                Arc::new(setting.ca.called("other")),
                Solvers::http01(),
            )],
            Options::default(),
        );
        let swept = run(elsewhere.unwrap().sweep(|_| false)).unwrap();
        assert_eq!(swept, 0, "who knows the issuer does it");
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
