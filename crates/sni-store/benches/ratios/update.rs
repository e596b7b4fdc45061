//! What a change costs, and what readers feel of it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use certwright_sni_store::{CertStore, Entry, Query};
use rustls::sign::CertifiedKey;

use crate::clock::{best, thread_time};
use crate::load;
use crate::look_up::{Fleet, at};

const BLOCK: usize = 256;

pub(crate) fn measure() {
    let fleet = Fleet::new(1_000_000);
    let mut adds = Vec::new();
    let [clone] = best(
        3,
        [&mut |round| {
            for n in 0..200 {
                let added = extra(round * 200 + n);
                adds.push(thread_time(|| fleet.store.apply(added)));
            }
            thread_time(|| fleet.map.clone())
        }],
    );
    adds.sort_unstable();
    let add = adds[adds.len() / 2].as_secs_f64();
    println!(
        "RATIO add_one_to_1m_vs_clone_map {:.6} <=0.0005",
        add / clone
    );
    println!(
        "WATCH add_one_to_1m_us {:.1} median; p99 {:.1}, clone of the map {:.0}",
        add * 1e6,
        adds[adds.len() * 99 / 100].as_secs_f64() * 1e6,
        clone * 1e6
    );
    drop(fleet);
    tails();
}

fn extra(n: usize) -> Entry<CertifiedKey> {
    let names = [format!("extra{n}.shop.example.com")];
    Entry::new(format!("extra/{n}"), names, load::any_key())
}

/// Wall-clock p99 of blocks of look-ups of known names: quiet, under updates, under a flood.
fn tails() {
    let fleet = Fleet::new(100_000);
    fleet
        .store
        .apply(Entry::new("flood", ["*.flood.example"], load::any_key()));
    let names: Vec<String> = (0..BLOCK)
        .map(|n| format!("www.zone{n:08}.example.net"))
        .collect();
    let store = &fleet.store;
    let quiet = p99(store, &names, |_| ());
    let updates = p99(store, &names, |stop| {
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            store.apply(extra(n % 5000));
            thread::sleep(Duration::from_millis(1));
        }
    });
    let flood = p99(store, &names, |stop| {
        let mut n = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            black_box(store.select(&Query::new(&format!("r{n}.flood.example"), at(1))));
        }
    });
    println!(
        "WATCH p99_under_1000_updates_vs_quiet {:.2} blocks of {BLOCK}, wall clock",
        updates / quiet
    );
    println!(
        "WATCH p99_under_flood_vs_quiet {:.2} blocks of {BLOCK}, wall clock",
        flood / quiet
    );
    let alone = thread_ns(store, &names);
    let both = thread::scope(|scope| {
        let other = scope.spawn(|| thread_ns(store, &names));
        thread_ns(store, &names).max(other.join().unwrap())
    });
    println!(
        "WATCH cpu_per_look_up_2_threads_vs_1 {:.2} same names",
        both / alone
    );
}

fn p99(
    store: &CertStore<CertifiedKey>,
    names: &[String],
    noise: impl FnOnce(&AtomicBool) + Send,
) -> f64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| noise(&stop));
        let start = Instant::now();
        let mut blocks = Vec::new();
        while start.elapsed() < Duration::from_millis(1500) {
            let block = Instant::now();
            for name in names {
                black_box(store.select(&Query::new(name, at(1))));
            }
            blocks.push(block.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        blocks.sort_unstable();
        blocks[blocks.len() * 99 / 100].as_secs_f64()
    })
}

fn thread_ns(store: &CertStore<CertifiedKey>, names: &[String]) -> f64 {
    let spent = thread_time(|| {
        for _ in 0..4000 {
            for name in names {
                black_box(store.select(&Query::new(name, at(1))));
            }
        }
    });
    spent.as_secs_f64()
}
