//! Certificates by every challenge, and what is special about some CAs.

use std::sync::Arc;

use certwright_acme::account::ExternalBinding;
use certwright_acme::chain::{Chain, ChainPreference};
use certwright_acme::challenge::dns01::{
    Aliases, Authoritative, Dns01, DnsProvider, DnsView, Propagation, TxtRecord,
};
use certwright_acme::challenge::{ChallengeKind, Solvers};
use certwright_acme::problem::Class;
use certwright_acme::{
    Demand, Engine, IssuedCertificate, Issuer, Options, Outcome, TokioRuntime, Wanted,
};
use certwright_storage::{MemoryStorage, Storage};

use crate::alpn::{self, Answers};
use crate::dns::ChallTestSrv;
use crate::server::{Pebble, Settings};

fn wanted(names: &[&str]) -> Wanted {
    Wanted::new(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn engine(issuer: Issuer, options: Options) -> (Engine, MemoryStorage) {
    let storage = MemoryStorage::default();
    let runtime = Arc::new(TokioRuntime);
    let engine = Engine::new(Arc::new(storage.clone()), runtime, vec![issuer], options).unwrap();
    (engine, storage)
}

async fn obtain(engine: &Engine, wanted: &Wanted) -> Arc<IssuedCertificate> {
    let outcome = engine.obtain(wanted, Demand::Missing).await.unwrap();
    match outcome {
        Outcome::Issued(certificate) => certificate,
        other => panic!("{other:?}"),
    }
}

async fn over_http(pebble: &Pebble, issuer: Issuer, names: &[&str]) -> Arc<IssuedCertificate> {
    let (engine, _) = engine(issuer, Options::default());
    let address = ([127, 0, 0, 1], pebble.http_port).into();
    let listener = engine.http01().listen(address).await.unwrap();
    let certificate = obtain(&engine, &wanted(names)).await;
    listener.close().await;
    certificate
}

#[tokio::test]
async fn http01() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let certificate = over_http(
        &pebble,
        pebble.issuer(Solvers::http01()),
        &["a.example.test", "b.example.test"],
    )
    .await;
    let chain = Chain::read(certificate.chain_pem().as_bytes()).unwrap();
    assert_eq!(chain.certificates().len(), 2);
    assert!(certificate.ari_id().is_some());
}

#[tokio::test]
async fn tls_alpn01() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let answers = Arc::new(Answers::default());
    let mut options = Options::default();
    options.alpn = Some(answers.clone());
    let (engine, _) = engine(pebble.issuer(Solvers::tls_alpn01()), options);
    let listener = alpn::listen(pebble.tls_port, answers.clone()).await;
    obtain(&engine, &wanted(&["a.example.test", "127.0.0.1"])).await;
    assert!(answers.is_empty());
    listener.abort();
}

#[tokio::test]
async fn dns01_for_a_wildcard_and_its_apex() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let dns = Dns01::new(Arc::new(ChallTestSrv(pebble.dns_management)));
    let (engine, storage) = engine(pebble.issuer(Solvers::dns01(dns)), Options::default());
    obtain(
        &engine,
        &wanted(&["*.wild.example.test", "wild.example.test"]),
    )
    .await;
    let orders = storage.list("/acme/v1/orders/").await.unwrap();
    assert_eq!(orders.entries, [], "nothing is left to clean");
}

#[tokio::test]
async fn dns01_in_another_zone() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let provider = ChallTestSrv(pebble.dns_management);
    let alias = serde_json::json!({
        "host": "_acme-challenge.a.example.test.", "target": "a.challenges.test."
    });
    provider.post("set-cname", alias).await.unwrap();
    let server: std::net::SocketAddr = ([127, 0, 0, 1], pebble.dns_port).into();
    let mut view = Propagation::new(vec![server]);
    // It knows no zones.
    view.authoritative = Authoritative::Skip;
    let name = "_acme-challenge.a.example.test";
    assert_eq!(view.canonical(name).await.unwrap(), "a.challenges.test");
    let there = TxtRecord {
        name: "a.challenges.test".to_owned(),
        value: "x".to_owned(),
    };
    assert_eq!(view.lacks(&there).await.unwrap(), Some(server.to_string()));
    provider.append(&there).await.unwrap();
    assert_eq!(view.lacks(&there).await.unwrap(), None);
    provider.remove(&there).await.unwrap();
    let dns = Dns01::new(Arc::new(provider)).with_view(Arc::new(view.clone()));
    let (engine, _) = engine(pebble.issuer(Solvers::dns01(dns)), Options::default());
    obtain(&engine, &wanted(&["a.example.test"])).await;
    view.aliases = Aliases::Ignore;
    assert_eq!(view.canonical(name).await.unwrap(), name);
}

#[tokio::test]
async fn a_bound_account() {
    let mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let settings = Settings {
        binding: Some(("kid-1", mac)),
        ..Settings::default()
    };
    let Some(pebble) = Pebble::start(settings) else {
        return;
    };
    let (unbound, _) = engine(pebble.issuer(Solvers::http01()), Options::default());
    let outcome = unbound
        .obtain(&wanted(&["a.example.test"]), Demand::Missing)
        .await
        .unwrap();
    let Outcome::Waiting {
        failure: Some(failure),
        ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.class, Class::Account);
    let mut issuer = pebble.issuer(Solvers::http01());
    issuer.account.registration.binding = Some(ExternalBinding::new("kid-1", mac).unwrap());
    over_http(&pebble, issuer, &["a.example.test"]).await;
}

#[tokio::test]
async fn the_preferred_of_several_chains() {
    let settings = Settings {
        alternates: 2,
        ..Settings::default()
    };
    let Some(pebble) = Pebble::start(settings) else {
        return;
    };
    let first = over_http(
        &pebble,
        pebble.issuer(Solvers::http01()),
        &["a.example.test"],
    )
    .await;
    let top = |certificate: &IssuedCertificate| {
        let chain = Chain::read(certificate.chain_pem().as_bytes()).unwrap();
        chain.top_issuer().unwrap().to_owned()
    };
    let default = top(&first);
    // Pebble's roots have the same name but for a number; it does not say which is which
    // but through its management, so the chain is found by asking for its own name.
    let names = root_names(&pebble).await;
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names.iter().filter(|name| **name != default) {
        let mut issuer = pebble.issuer(Solvers::http01());
        issuer.chain = ChainPreference::named(name);
        let certificate = over_http(&pebble, issuer, &["a.example.test"]).await;
        assert_eq!(top(&certificate), *name);
    }
}

/// The common names of the roots, from the management interface, by our own client.
async fn root_names(pebble: &Pebble) -> Vec<String> {
    let mut names = Vec::new();
    for index in 0..3 {
        let url = format!("https://127.0.0.1:{}/roots/{index}", pebble.management);
        let server = pebble.server();
        let pem = server.get(&url).await.unwrap();
        let chain = Chain::read(pem.as_bytes()).unwrap();
        names.push(chain.top_issuer().unwrap().to_owned());
    }
    names
}

#[tokio::test]
async fn nonces_that_are_refused() {
    let settings = Settings {
        bad_nonces: 50,
        ..Settings::default()
    };
    let Some(pebble) = Pebble::start(settings) else {
        return;
    };
    over_http(
        &pebble,
        pebble.issuer(Solvers::http01()),
        &["a.example.test"],
    )
    .await;
}

/// Debian's Pebble deadlocks when new orders overlap.
#[tokio::test]
async fn new_orders_come_one_by_one() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    let (engine, _) = engine(pebble.issuer(Solvers::http01()), Options::default());
    let address = ([127, 0, 0, 1], pebble.http_port).into();
    let _listener = engine.http01().listen(address).await.unwrap();
    let orders: Vec<_> = (0..40)
        .map(|index| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let name = format!("n{index}.example.test");
                obtain(&engine, &wanted(&[name.as_str()])).await
            })
        })
        .collect();
    for order in orders {
        order.await.unwrap();
    }
    let log = pebble.log();
    let asked = |line: &&str| line.contains("/order-plz -> calling handler");
    let lines = log
        .lines()
        .filter(|line| asked(line) || line.contains("Added order"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 80);
    for pair in lines.chunks(2) {
        assert!(asked(&pair[0]) && !asked(&pair[1]), "{pair:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_as_it_should() {
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    // Nobody listens on the port for HTTP-01.
    let (engine, storage) = engine(pebble.issuer(Solvers::http01()), Options::default());
    let outcome = engine
        .obtain(&wanted(&["a.example.test"]), Demand::Missing)
        .await
        .unwrap();
    let Outcome::Waiting {
        failure: Some(failure),
        ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.class, Class::Validation);
    assert_eq!(failure.challenges[0].1, ChallengeKind::Http01);
    let left = storage.list("/acme/v1/challenges/").await.unwrap();
    assert_eq!(left.entries, []);
}
