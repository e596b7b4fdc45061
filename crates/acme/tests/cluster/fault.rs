//! The faults.

use std::time::{Duration, Instant};

use crate::etcd::post;
use crate::process::{Process, Said};
use crate::proxy::{Proxy, Weather};
use crate::stage::{LEASE, ORDER, Stage};

/// Whether every moment is wanted.
fn all() -> bool {
    std::env::var("CLUSTER").is_ok_and(|which| which == "all")
}

fn want(replicas: &mut [&mut Process], name: &str) {
    for replica in replicas {
        replica.tell(&format!("want {name}")).unwrap();
    }
}

/// Moments of an order are before and after each of its writes and requests. The first
/// replica's are more, with the account's.
const MOMENTS: usize = 24;

#[test]
fn killed_at_every_moment() {
    let Some(mut stage) = Stage::set() else {
        return;
    };
    let (mut one, mut other) = (stage.replica(), stage.replica());
    // The account is there already, as it nearly always is.
    stage.balance([&one, &other]);
    want(&mut [&mut one], "first.example.test");
    stage.served("first.example.test", &[&one, &other], ORDER);
    assert_eq!(stage.seen(), (1, 1));
    let step = if all() { 1 } else { 5 };
    let (mut extra, mut slowest) = (0, Duration::ZERO);
    for moment in (0..MOMENTS).step_by(step) {
        let name = format!("k{moment}.example.test");
        let endpoints = stage.etcd.endpoints();
        let mut victim = stage.replica_until(moment, &endpoints);
        // The others alone answer the CA: from one that stands still it would get nothing,
        // and the order would fail for that.
        stage.balance([&one, &other]);
        want(&mut [&mut victim], &name);
        let done = format!("SERVES {name} 1");
        let who = victim.name.clone();
        let stopped = stage.wait(ORDER, |said| {
            said.who == who && (said.line == "STOPPED" || said.line == done)
        });
        victim.kill().unwrap();
        let killed = Instant::now();
        want(&mut [&mut one, &mut other], &name);
        // Its first sign: a step, or the certificate if there was nothing left to do.
        let step = format!("STEP {name} ");
        let survivors = [one.name.clone(), other.name.clone()];
        let theirs =
            |said: &Said, line: &str| survivors.contains(&said.who) && said.line.starts_with(line);
        // The victim may have been through with it.
        let over = stage.ear.heard.iter().any(|said| theirs(said, &done));
        let takeover = match over {
            true => Duration::ZERO,
            false => {
                let sign = stage.wait(LEASE + ORDER, |said| {
                    theirs(said, &step) || theirs(said, &done)
                });
                sign.at.saturating_duration_since(killed)
            }
        };
        slowest = slowest.max(takeover);
        let served = stage.served(&name, &[&one, &other], ORDER);
        let certificate = stage.stored(&name);
        assert_eq!(certificate.generation(), 1, "moment {moment}");
        let (orders, certificates) = stage.seen();
        println!(
            "moment {moment} ({}): taken over after {takeover:.1?}, served after {:.1?}, {orders} order(s)",
            stopped.line,
            served.saturating_duration_since(killed),
        );
        assert_eq!(certificates, 1, "moment {moment}:\n{}", stage.story());
        assert!(
            (1..=2).contains(&orders),
            "moment {moment}: {orders} orders"
        );
        extra += orders - 1;
    }
    println!("{extra} order(s) more than certificates; the slowest takeover took {slowest:.1?}");
    assert!(extra <= 2, "only around newOrder there may be a second one");
    assert!(slowest <= LEASE + Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn stopped_for_longer_than_its_lease() {
    let Some(mut stage) = Stage::set() else {
        return;
    };
    let (mut one, mut other) = (stage.replica(), stage.replica());
    // Before the order is asked for, with its answers shown, and before the CSR is sent.
    let moments: &[usize] = if all() {
        &[2, 4, 9, 13, 15, 17, 20]
    } else {
        &[4, 15]
    };
    // Those of the account come first.
    stage.balance([&one, &other]);
    want(&mut [&mut one], "first.example.test");
    stage.served("first.example.test", &[&one, &other], ORDER);
    stage.seen();
    for moment in moments {
        let name = format!("s{moment}.example.test");
        let endpoints = stage.etcd.endpoints();
        let mut victim = stage.replica_until(*moment, &endpoints);
        stage.balance([&one, &other]);
        want(&mut [&mut victim], &name);
        let who = victim.name.clone();
        stage.wait(ORDER, |said| said.who == who && said.line == "STOPPED");
        victim.signal("STOP").unwrap();
        victim.tell("go").unwrap();
        want(&mut [&mut one, &mut other], &name);
        stage.served(&name, &[&one, &other], LEASE + ORDER);
        victim.signal("CONT").unwrap();
        // It goes on as if nothing had happened, and finds that something has.
        stage.served(&name, &[&victim], LEASE + ORDER);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(stage.stored(&name).generation(), 1);
        let (orders, certificates) = stage.seen();
        println!("moment {moment}: {orders} order(s)");
        assert_eq!(certificates, 1, "moment {moment}:\n{}", stage.story());
        assert!(
            (1..=2).contains(&orders),
            "moment {moment}: {orders} orders"
        );
    }
}

#[test]
fn etcd_without_leader_quorum_or_history() {
    let Some(mut stage) = Stage::set() else {
        return;
    };
    let endpoints = stage.etcd.endpoints();
    let (mut one, mut other) = (stage.replica(), stage.replica());
    stage.balance([&one, &other]);
    want(&mut [&mut one, &mut other], "first.example.test");
    stage.served("first.example.test", &[&one, &other], ORDER);
    stage.seen();

    // The leader dies while an order is under way.
    let mut victim = stage.replica_until(9, &endpoints);
    want(&mut [&mut victim], "leader.example.test");
    stage.wait(ORDER, |said| said.line == "STOPPED");
    let leader = stage.etcd.leader();
    stage.etcd.kill(leader);
    victim.tell("go").unwrap();
    want(&mut [&mut one, &mut other], "leader.example.test");
    stage.served("leader.example.test", &[&victim, &one, &other], ORDER * 2);
    let (orders, certificates) = stage.seen();
    assert_eq!(certificates, 1, "{}", stage.story());
    assert!(orders <= 2, "{orders} orders");
    stage.etcd.restart(leader);
    stage.etcd.wait_until_ready();

    // Two of three die: nobody orders, everybody serves what there was, and it all goes
    // on by itself.
    stage.etcd.kill(0);
    stage.etcd.kill(1);
    want(&mut [&mut one, &mut other], "quorum.example.test");
    let removed = stage.ear.wait(Duration::from_secs(6), |said| {
        said.line.starts_with("REMOVED") || said.line.starts_with("ISSUED")
    });
    assert!(removed.is_none(), "{removed:?}");
    assert_eq!(stage.seen(), (0, 0), "{}", stage.story());
    stage.etcd.restart(0);
    stage.etcd.restart(1);
    stage.etcd.wait_until_ready();
    // A keeper whose store was away pauses for up to twice as long as it was away.
    stage.served("quorum.example.test", &[&one, &other], ORDER * 3);
    assert_eq!(stage.seen(), (1, 1), "{}", stage.story());

    // One is cut off in the middle of its order, and compaction takes away what it did
    // not hear.
    let network = tokio::runtime::Runtime::new().unwrap();
    let proxies: Vec<Proxy> = (0..3)
        .map(|at| network.block_on(Proxy::start(stage.etcd.port(at))))
        .collect();
    let through: Vec<String> = proxies
        .iter()
        .map(|proxy| format!("http://127.0.0.1:{}", proxy.port))
        .collect();
    let mut cut = stage.replica_until(9, &through);
    want(&mut [&mut cut], "cut.example.test");
    let who = cut.name.clone();
    stage.wait(ORDER, |said| said.who == who && said.line == "STOPPED");
    for proxy in &proxies {
        proxy.set(Weather::Silence);
    }
    cut.tell("go").unwrap();
    want(&mut [&mut one, &mut other], "cut.example.test");
    stage.served("cut.example.test", &[&one, &other], LEASE + ORDER);
    let written = post(stage.etcd.port(0), "/v3/kv/range", r#"{"key":"YQ=="}"#).unwrap();
    let (_, revision) = written.split_once(r#""revision":""#).unwrap();
    let revision = revision.split('"').next().unwrap();
    let compact = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    let compacted = post(stage.etcd.port(0), "/v3/kv/compaction", &compact).unwrap();
    assert!(compacted.contains("200 OK"), "{compacted}");
    for proxy in &proxies {
        proxy.set(Weather::Reset);
    }
    std::thread::sleep(Duration::from_millis(200));
    for proxy in &proxies {
        proxy.set(Weather::Fair);
    }
    stage.served("cut.example.test", &[&cut], ORDER * 3);
    let (orders, certificates) = stage.seen();
    assert_eq!(certificates, 1, "{}", stage.story());
    assert!(orders <= 2, "{orders} orders");
    for name in ["leader", "quorum", "cut"] {
        assert_eq!(
            stage.stored(&format!("{name}.example.test")).generation(),
            1
        );
    }
}
