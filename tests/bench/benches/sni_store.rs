//! The store against a cache in front of a naive search, which is what Traefik's documentation describes:
//! `RATIO name value goal`, thread CPU time, best of interleaved rounds.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use certwright_sni_store::{CertStore, ChangeSet, Entry, Query, SelectionPolicy};
use moka::sync::Cache;
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

const NAMES: usize = 100_000;
const CHUNK: usize = 4096;
const ROUNDS: usize = 60;

type Payload = Arc<[u8; 64]>;

fn main() {
    // Neither order nor neighbourhood for a cache line to profit from.
    let names: Vec<String> = (0..NAMES)
        .map(|n| format!("host{:08}.shop.example.com", n * 7_368_787 % 100_000_007))
        .collect();
    let payloads: Vec<Payload> = names.iter().map(|_| Arc::new([0; 64])).collect();
    let store = CertStore::new(SelectionPolicy::Best);
    let entries = names.iter().zip(&payloads);
    store.replace_all(
        entries
            .map(|(name, payload)| Entry::new(&**name, [&**name], payload.clone()))
            .collect::<ChangeSet<_>>(),
    );
    // Warm: every name was searched for once, within the hour.
    let cache: Cache<String, Payload> = Cache::builder()
        .max_capacity(2 * NAMES as u64)
        .time_to_live(Duration::from_secs(3600))
        .build();
    for (name, payload) in names.iter().zip(&payloads) {
        cache.insert(name.clone(), payload.clone());
    }
    cache.run_pending_tasks();

    let now = OffsetDateTime::UNIX_EPOCH;
    let mut best = [Duration::MAX; 2];
    for round in 0..ROUNDS {
        let asked: Vec<&str> = (0..CHUNK)
            .map(|n| &*names[(round * CHUNK + n * 7919) % NAMES])
            .collect();
        let ours = thread_time(|| {
            for name in &asked {
                black_box(store.select(&Query::new(*name, now)).unwrap());
            }
        });
        let theirs = thread_time(|| {
            for name in &asked {
                black_box(cache.get(*name).unwrap());
            }
        });
        for (best, time) in best.iter_mut().zip([ours, theirs]) {
            *best = time.min(*best);
        }
    }
    let [ours, theirs] = best.map(|time| time.as_secs_f64());
    println!(
        "RATIO exact_hit_100k_vs_moka_over_naive {:.2} <=0.5",
        ours / theirs
    );
    let nanos = |seconds: f64| seconds * 1e9 / CHUNK as f64;
    println!(
        "WATCH moka_hit_100k_ns {:.0} ours {:.0}",
        nanos(theirs),
        nanos(ours)
    );
}

fn thread_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
    };
    let start = now();
    work();
    now() - start
}
