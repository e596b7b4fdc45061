//! Figures without a goal: `CLUSTER=watch` prints them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use certwright_acme::challenge::http01::PATH;
use certwright_acme::layout::CHALLENGES;
use certwright_storage::{EtcdOptions, EtcdStorage, Key, Storage, Txn};

use crate::stage::Stage;

/// How many challenges are shown.
const ROUNDS: usize = 200;

fn wanted() -> bool {
    std::env::var("CLUSTER").is_ok_and(|which| which == "watch")
}

/// What a replica answers a CA.
fn ask(port: u16, token: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request =
        format!("GET {PATH}{token} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn from_commit_to_an_answer_on_every_replica() {
    if !wanted() {
        return;
    }
    let Some(mut stage) = Stage::set() else {
        return;
    };
    let replicas = [stage.replica(), stage.replica(), stage.replica()];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let storage = runtime
        .block_on(async { EtcdStorage::new(EtcdOptions::new(stage.etcd.endpoints())).unwrap() });
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let token = format!("{round:0>43}");
            let key = Key::new(&format!("{CHALLENGES}http/{token}")).unwrap();
            let answer = format!("{token}.thumb");
            let put = Txn::new().put(key, answer.as_str());
            runtime.block_on(storage.txn(put)).unwrap();
            let committed = Instant::now();
            for replica in &replicas {
                let answer = ask(replica.port, &token);
                assert!(answer.ends_with(&format!("{token}.thumb")), "{answer}");
            }
            committed.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "WATCH commit_to_answer_on_three_replicas p50 {:.1?} p99 {:.1?} ({ROUNDS} challenges, asked one replica after the other, every first answer right)",
        at(50),
        at(99)
    );
}

#[test]
fn many_names_over_three_replicas() {
    if !wanted() {
        return;
    }
    let Some(mut stage) = Stage::set() else {
        return;
    };
    let names = std::env::var("CLUSTER_NAMES").map_or(1_000, |count| count.parse().unwrap());
    let mut replicas = [stage.replica(), stage.replica(), stage.replica()];
    stage.balance(&replicas);
    let begun = Instant::now();
    for number in 0..names {
        for replica in &mut replicas {
            replica
                .tell(&format!("want n{number}.example.test"))
                .unwrap();
        }
    }
    let mut missing = 3 * names;
    while missing > 0 {
        stage.wait(Duration::from_secs(120), |said| {
            said.line.starts_with("SERVES ")
        });
        missing -= 1;
    }
    let (orders, certificates) = stage.seen();
    println!(
        "WATCH names_over_three_replicas {names} in {:.1?}, served by all three ({orders} orders, {certificates} certificates)",
        begun.elapsed()
    );
    assert_eq!(certificates, names);
}
