//! What Pebble of Debian does not have: renewal information, profiles, refusals with
//! `Retry-After`, answers that are lost or never come. Over HTTP, on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use std::sync::Arc;
use std::time::Duration;

use certwright_acme::account::AccountSpec;
use certwright_acme::challenge::Solvers;
use certwright_acme::http::HttpOptions;
use certwright_acme::limits::Quotas;
use certwright_acme::problem::Class;
use certwright_acme::{
    AcmeServer, Demand, Engine, Issuer, Options, Outcome, Runtime, TokioRuntime, Wanted,
};
use certwright_renewal::{Basis, RenewalPolicy};
use certwright_storage::MemoryStorage;
use serde_json::json;

use server::{FakeServer, Fault};

fn issuer(server: &FakeServer) -> Issuer {
    let mut options = HttpOptions::new(Vec::new());
    options.header_timeout = Duration::from_millis(500);
    let protocol = AcmeServer::new(&server.directory(), options).unwrap();
    let account = AccountSpec::new(&server.directory());
    let mut issuer = Issuer::new("fake", account, Arc::new(protocol), Solvers::http01());
    issuer.quotas = Quotas::unlimited();
    issuer
}

fn engine(issuer: Issuer) -> Engine {
    let storage = Arc::new(MemoryStorage::default());
    let runtime = Arc::new(TokioRuntime);
    Engine::new(storage, runtime, vec![issuer], Options::default()).unwrap()
}

fn wanted() -> Wanted {
    Wanted::new(vec!["a.example.test".parse().unwrap()])
}

async fn obtain(engine: &Engine, demand: Demand) -> Outcome {
    engine.obtain(&wanted(), demand).await.unwrap()
}

/// Tries until there is a certificate.
async fn obtain_at_last(engine: &Engine) {
    for _ in 0..20 {
        match obtain(engine, Demand::Missing).await {
            Outcome::Issued(_) | Outcome::Current(_) => return,
            Outcome::Waiting { until, failure } => {
                let pause = until - TokioRuntime.now();
                assert!(pause < time::Duration::minutes(1), "{failure:?}");
                tokio::time::sleep(pause.try_into().unwrap_or_default()).await;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no certificate after many tries");
}

#[tokio::test]
async fn renewal_information_and_replaces() {
    let server = FakeServer::start().await;
    let engine = engine(issuer(&server));
    let Outcome::Issued(first) = obtain(&engine, Demand::Missing).await else {
        panic!();
    };
    let (start, end) = (first.not_before(), first.not_after());
    let window = |from: i64| {
        let at = |hours: i64| {
            let half: time::Duration = (end - start) / 2;
            let at = start + half + time::Duration::hours(hours);
            at.format(&time::format_description::well_known::Rfc3339)
                .unwrap()
        };
        json!({ "suggestedWindow": { "start": at(from), "end": at(from + 1) },
            "explanationURL": "https://ca.test/why" })
    };
    server.state().renewal = Some((window(1), Some("21600".to_owned())));
    let id = engine.id(&wanted());
    let policy = RenewalPolicy::default();
    let renewal = engine.renewal(&id, &policy).await.unwrap().unwrap();
    assert!(
        matches!(renewal.schedule.basis(), Basis::Ari(_)),
        "{renewal:?}"
    );
    let asked = server
        .state()
        .paths
        .iter()
        .filter(|path| path.starts_with("/ari/"))
        .count();
    assert_eq!(asked, 1);
    // Not asked again before six hours have gone.
    engine.renewal(&id, &policy).await.unwrap();
    let ari_id = first.ari_id().unwrap();
    let paths = server.state().paths.clone();
    assert_eq!(
        paths
            .iter()
            .filter(|path| **path == format!("/ari/{ari_id}"))
            .count(),
        1
    );

    let outcome = obtain(&engine, Demand::Renew { after: 1 }).await;
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(server.state().orders[1]["replaces"], json!(ari_id));
}

#[tokio::test]
async fn renewal_information_that_cannot_be_used() {
    let window = json!({ "suggestedWindow": { "start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z" } });
    for answer in [
        None,
        Some((window.clone(), Some("60".to_owned()))),
        Some((window, None)),
        Some((json!({ "suggestedWindow": 1 }), Some("60".to_owned()))),
    ] {
        let server = FakeServer::start().await;
        let engine = engine(issuer(&server));
        obtain_at_last(&engine).await;
        server.state().renewal.clone_from(&answer);
        let id = engine.id(&wanted());
        let renewal = engine
            .renewal(&id, &RenewalPolicy::default())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(renewal.schedule.basis(), Basis::TwoThirds, "{answer:?}");
        let pause = renewal.next_poll.unwrap() - TokioRuntime.now();
        assert!((5..7).contains(&pause.whole_hours()), "{answer:?}: {pause}");
    }
}

#[tokio::test]
async fn replacements_a_ca_does_not_know_or_refuses() {
    for refuse in [false, true] {
        let server = FakeServer::start().await;
        let engine = engine(issuer(&server));
        obtain_at_last(&engine).await;
        if refuse {
            let problem =
                r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced","detail":"done"}"#;
            server.fault("/order", Fault::Answer(409, None, problem));
        } else {
            server.state().forgets_replaces = true;
        }
        let outcome = obtain(&engine, Demand::Renew { after: 1 }).await;
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        let last = server.state().orders.last().cloned().unwrap();
        assert_eq!(last.get("replaces"), None);
    }
}

#[tokio::test]
async fn profiles_are_asked_for() {
    let server = FakeServer::start().await;
    let mut issuer = issuer(&server);
    issuer.profile = Some("shortlived".to_owned());
    obtain_at_last(&engine(issuer)).await;
    assert_eq!(server.state().orders[0]["profile"], json!("shortlived"));
}

#[tokio::test]
async fn a_validity_is_asked_for() {
    let server = FakeServer::start().await;
    let engine = engine(issuer(&server));
    let mut wanted = wanted();
    wanted.not_before = Some(-time::Duration::HOUR);
    wanted.not_after = Some(time::Duration::days(7));
    let now = TokioRuntime.now();
    let outcome = engine.obtain(&wanted, Demand::Missing).await.unwrap();
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    let order = server.state().orders[0].clone();
    for (name, hours) in [("notBefore", -1), ("notAfter", 7 * 24)] {
        let text = order[name].as_str().unwrap();
        let format = &time::format_description::well_known::Rfc3339;
        let asked = time::OffsetDateTime::parse(text, format).unwrap();
        let off = asked - now - time::Duration::hours(hours);
        assert!(off.abs() < time::Duration::minutes(1), "{name}: {text}");
        assert_eq!(text.len(), "2026-01-01T00:00:00Z".len(), "{text}");
    }
    // Another CA says no, and not why.
    let refusal = r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"no"}"#;
    server.fault("/order", Fault::Answer(400, None, refusal));
    wanted.identifiers = vec!["b.example.test".parse().unwrap()];
    let outcome = engine.obtain(&wanted, Demand::Missing).await.unwrap();
    let Outcome::Parked(Some(failure)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.class, Class::Permanent);
    let start = "the CA may not take not_before and not_after; leave them out";
    assert!(failure.detail.starts_with(start), "{}", failure.detail);
}

#[tokio::test]
async fn too_many_requests() {
    let in_an_hour = TokioRuntime.now() + time::Duration::HOUR;
    let date = httpdate::fmt_http_date(in_an_hour.into());
    for (header, problem) in [
        (
            "3600",
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"x"}"#,
        ),
        (date.as_str(), "<html>too many</html>"),
    ] {
        let server = FakeServer::start().await;
        server.fault(
            "/order",
            Fault::Answer(429, Some(header.to_owned()), problem),
        );
        let engine = engine(issuer(&server));
        let outcome = obtain(&engine, Demand::Missing).await;
        let Outcome::Waiting { until, failure } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(failure.unwrap().class, Class::RateLimited);
        let pause = until - in_an_hour;
        assert!(
            pause.abs() < time::Duration::minutes(1),
            "{header}: {pause}"
        );
    }
}

#[tokio::test]
async fn answers_that_are_lost_or_never_come() {
    for path in [
        "/account",
        "/order",
        "/authorization/",
        "/challenge/",
        "/finalize/",
        "/certificate/",
    ] {
        for fault in [Fault::Lose, Fault::Hang] {
            let server = FakeServer::start().await;
            server.fault(path, fault.clone());
            obtain_at_last(&engine(issuer(&server))).await;
            let state = server.state();
            assert_eq!(state.issued, 1, "{path} {fault:?}");
            assert_eq!(state.accounts, 1, "{path} {fault:?}");
            assert!(state.orders.len() <= 2, "{path} {fault:?}");
        }
    }
}

#[tokio::test]
async fn slow_finalisation() {
    let server = FakeServer::start().await;
    server.state().processing = 3;
    let engine = engine(issuer(&server));
    let outcome = obtain(&engine, Demand::Missing).await;
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
    assert_eq!(server.state().issued, 1);
}

#[tokio::test]
async fn what_is_in_between_is_not_the_ca() {
    let server = FakeServer::start().await;
    server.fault(
        "/order",
        Fault::Answer(502, None, "<html>bad gateway</html>"),
    );
    server.fault("/finalize/", Fault::Answer(200, None, "not JSON"));
    obtain_at_last(&engine(issuer(&server))).await;
    assert_eq!(server.state().issued, 1);
}
