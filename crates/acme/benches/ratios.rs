//! Our orders against a plain loop on instant-acme, both at the same Pebble:
//! `cargo bench -p certwright-acme --bench ratios`.
//!
//! The loop is the one of instant-acme's documentation, with its own HTTP client and
//! retry policy, and keeps nothing; ours writes every step to a directory. Pebble does not
//! sleep between validations, for either side.
//!
//! Our thousand certificates are a thousand, wanted at once. The loop gets through a part of
//! its thousand before and after them, and its time is scaled: all of them take most of ten
//! minutes. `RATIOS_WHOLE=1` runs them all.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

#[path = "../tests/pebble/server.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod server;

use std::collections::HashMap;
use std::ops::Range;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certwright_acme::challenge::Solvers;
use certwright_acme::{Demand, Engine, Options, Outcome, TokioRuntime, Wanted};
use certwright_storage::{FileOptions, FileStorage};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use instant_acme::{
    Account, ChallengeType, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use tokio::net::TcpListener;

use server::{Pebble, Settings};

/// Single orders of each side, taken in turns.
const ROUNDS: usize = 9;
/// Certificates that are wanted at once.
const BATCH: u16 = 1000;
/// How many of as many the plain loop gets, unless it is to get them all.
const SAMPLE: u16 = 60;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test` runs benches, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(pebble) = Pebble::start(Settings::default()) else {
        return;
    };
    lego(&pebble);
    let answers = Answers::default();
    let listener = TcpListener::bind(("127.0.0.1", pebble.http_port))
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(&dir.path().join("store"), FileOptions::default()).unwrap();
    let issuer = pebble.issuer(Solvers::http01());
    let runtime = Arc::new(TokioRuntime);
    let options = Options::default();
    let engine = Engine::new(Arc::new(storage), runtime, vec![issuer], options).unwrap();
    tokio::spawn(serve(listener, answers.clone(), engine.clone()));
    let naive = naive_account(&pebble).await;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    obtain(&engine, "warm.example.test").await;
    for round in 0..ROUNDS {
        let start = Instant::now();
        obtain(&engine, &format!("o{round}.example.test")).await;
        ours.push(start.elapsed());
        let start = Instant::now();
        order(&naive, &answers, &format!("n{round}.example.test")).await;
        theirs.push(start.elapsed());
    }
    let (one, other) = (median(&mut ours), median(&mut theirs));
    ratio("http01_issuance_vs_naive_instant_acme", one, other, "0.8");

    let whole = std::env::var_os("RATIOS_WHOLE").is_some();
    let sample = if whole { BATCH } else { SAMPLE };
    let mut theirs = serialised(&naive, &answers, 0..sample / 2).await;
    let start = Instant::now();
    let batch: Vec<_> = (0..BATCH)
        .map(|index| {
            let engine = engine.clone();
            tokio::spawn(async move { obtain(&engine, &format!("b{index}.example.test")).await })
        })
        .collect();
    for order in batch {
        order.await.unwrap();
    }
    let ours = start.elapsed();
    theirs += serialised(&naive, &answers, sample / 2..sample).await;
    let each = millis(theirs) / f64::from(sample);
    let theirs = theirs.mul_f64(f64::from(BATCH) / f64::from(sample));
    ratio(
        "thousand_certificates_vs_naive_serialised",
        ours,
        theirs,
        "0.5",
    );
    println!(
        "WATCH http01_issuance {:.0} ms, median of {ROUNDS}",
        millis(one)
    );
    println!(
        "WATCH certificates_per_second {:.0} {BATCH} wanted at once, all in {:.1} s",
        f64::from(BATCH) * 1000.0 / millis(ours),
        ours.as_secs_f64()
    );
    println!("WATCH naive_serialised {each:.0} ms each, over {sample} of {BATCH}, scaled");
}

/// The plain loop, one certificate after the other.
async fn serialised(account: &Account, answers: &Answers, which: Range<u16>) -> Duration {
    let start = Instant::now();
    for index in which {
        order(account, answers, &format!("s{index}.example.test")).await;
    }
    start.elapsed()
}

/// Debian's lego at the same Pebble: one process, which registers and gets one certificate.
fn lego(pebble: &Pebble) {
    let Some(lego) = server::find("lego") else {
        return;
    };
    let root = pebble.dir.path().join("lego.pem");
    let pem = certwright_cert_model::pem::write("CERTIFICATE", &pebble.root);
    std::fs::write(&root, pem.as_bytes()).unwrap();
    let port = format!("127.0.0.1:{}", pebble.http_port);
    let start = Instant::now();
    let ran = Command::new(lego)
        .env("LEGO_CA_CERTIFICATES", &root)
        .args(["--server", &pebble.directory, "--email", "a@example.test"])
        .args(["--accept-tos", "--key-type", "ec256", "--http"])
        .args(["--http.port", &port, "--domains", "lego.example.test"])
        .arg("--path")
        .arg(pebble.dir.path().join("lego"))
        .arg("run")
        .output()
        .unwrap();
    let took = millis(start.elapsed());
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    println!("WATCH lego_http01_issuance {took:.0} ms, one run of Debian's lego, account included");
}

fn ratio(name: &str, ours: Duration, theirs: Duration, goal: &str) {
    println!("RATIO {name} {:.2} <={goal}", millis(ours) / millis(theirs));
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn obtain(engine: &Engine, name: &str) {
    let wanted = Wanted::new(vec![name.parse().unwrap()]);
    let outcome = engine.obtain(&wanted, Demand::Missing).await.unwrap();
    assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
}

async fn naive_account(pebble: &Pebble) -> Account {
    let root = pebble.dir.path().join("root.pem");
    let pem = certwright_cert_model::pem::write("CERTIFICATE", &pebble.root);
    std::fs::write(&root, pem.as_bytes()).unwrap();
    let new = NewAccount {
        contact: &[],
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let builder = Account::builder_with_root(root).unwrap();
    let made = builder.create(&new, pebble.directory.clone(), None).await;
    made.unwrap().0
}

async fn order(account: &Account, answers: &Answers, name: &str) {
    let identifiers = [Identifier::Dns(name.to_owned())];
    let mut order = account
        .new_order(&NewOrder::new(&identifiers))
        .await
        .unwrap();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        let mut challenge = authorization.challenge(ChallengeType::Http01).unwrap();
        let answer = challenge.key_authorization().as_str().to_owned();
        answers
            .0
            .lock()
            .unwrap()
            .insert(challenge.token.clone(), answer);
        challenge.set_ready().await.unwrap();
    }
    let status = order.poll_ready(&RetryPolicy::default()).await.unwrap();
    assert_eq!(status, OrderStatus::Ready);
    order.finalize().await.unwrap();
    order
        .poll_certificate(&RetryPolicy::default())
        .await
        .unwrap();
}

/// The loop's answers, by token.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<HashMap<String, String>>>);

/// Both sides' answers on one port.
async fn serve(listener: TcpListener, answers: Answers, engine: Engine) {
    while let Ok((stream, _)) = listener.accept().await {
        let (answers, engine) = (answers.clone(), engine.clone());
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (answers, engine) = (answers.clone(), engine.clone());
            async move {
                let token = request.uri().path().rsplit('/').next().unwrap_or_default();
                let known = answers.0.lock().unwrap().get(token).cloned();
                Ok::<_, hyper::Error>(match known {
                    Some(answer) => Response::new(Full::new(Bytes::from(answer))),
                    None => engine.http01().respond(&request).await,
                })
            }
        });
        tokio::spawn(async move {
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
