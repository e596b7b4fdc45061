//! Replicas that crash, stop, lose their store and their CA and have wrong clocks, in a
//! world where all of it is drawn from a seed; what must hold is checked after every step.
//!
//! | variable | |
//! |---|---|
//! | `SIMULATION_SEED` | `one_seed` runs this one alone and prints what happened |
//! | `SIMULATION_SEEDS` | `many_seeds` runs these, `from..to`, instead of the first 2,000 |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod authority;
mod checker;
mod client;
mod machine;
mod nemesis;
mod random;
mod replica;
mod scenario;
mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use scenario::{Failure, Report, run};
use store::Planted;

/// How many seeds CI runs.
const SEEDS: u64 = 2_000;

/// Runs these seeds on all processors; the reports, and the first failure by seed.
fn run_all(seeds: core::ops::Range<u64>, planted: Planted) -> (Vec<Report>, Option<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let done = Mutex::new((Vec::new(), None::<Failure>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let failed = |done: &Mutex<(_, Option<Failure>)>| {
                        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.1.is_some()
                    };
                    if seed >= seeds.end || failed(&done) {
                        return;
                    }
                    let outcome = run(seed, planted);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(report) => done.0.push(report),
                        Err(failure) => {
                            let first = done.1.as_ref().is_none_or(|one| failure.seed < one.seed);
                            if first {
                                done.1 = Some(failure);
                            }
                        }
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn many_seeds() {
    let seeds = match std::env::var("SIMULATION_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").unwrap();
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => 0..SEEDS,
    };
    let begun = Instant::now();
    let (reports, failure) = run_all(seeds, Planted::Nothing);
    if let Some(failure) = failure {
        panic!("{failure}");
    }
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "{} seeds in {:.1?}: {} steps, {} faults, {} crashes, {} orders, {} certificates",
        reports.len(),
        begun.elapsed(),
        sum(|report| report.steps),
        sum(|report| report.faults),
        sum(|report| report.crashes),
        sum(|report| report.orders),
        sum(|report| report.certificates),
    );
    assert!(sum(|report| report.crashes) > 0, "there were faults");
}

#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("SIMULATION_SEED") else {
        return;
    };
    match run(seed.parse().unwrap(), Planted::Nothing) {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..20 {
        let hash = |outcome: Result<Report, Failure>| match outcome {
            Ok(report) => report.hash,
            Err(failure) => failure.hash,
        };
        let (one, other) = (run(seed, Planted::Nothing), run(seed, Planted::Nothing));
        if let (Ok(one), Ok(other)) = (&one, &other)
            && one.hash != other.hash
        {
            let lines = one.history.iter().zip(&other.history);
            let differ = lines.enumerate().find(|(_, (one, other))| one != other);
            panic!("seed {seed}: {differ:#?}");
        }
        assert_eq!(hash(one), hash(other), "seed {seed}");
    }
}

/// A harness that finds nothing proves nothing.
#[test]
fn a_bug_planted_in_the_fence_is_found() {
    for planted in [Planted::NoFence, Planted::NoGuards] {
        let (reports, failure) = run_all(0..500, planted);
        let failure = failure.unwrap_or_else(|| panic!("{planted:?} is not found"));
        println!(
            "{planted:?}: found by seed {} after {} others: {}",
            failure.seed,
            reports.len(),
            failure.broken
        );
    }
}
