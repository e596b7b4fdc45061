//! CPU clocks and interleaving.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread while `work` runs.
pub(crate) fn thread_time<R>(work: impl FnOnce() -> R) -> Duration {
    time(ClockId::ThreadCPUTime, work)
}

/// CPU time of all threads while `work` runs.
pub(crate) fn process_time<R>(work: impl FnOnce() -> R) -> Duration {
    time(ClockId::ProcessCPUTime, work)
}

fn time<R>(clock: ClockId, work: impl FnOnce() -> R) -> Duration {
    let now = || {
        let time = clock_gettime(clock);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap(),
            u32::try_from(time.tv_nsec).unwrap(),
        )
    };
    let start = now();
    let result = work();
    let spent = now() - start;
    drop(result);
    spent
}

/// The best of `rounds` for each job, in seconds, one job after the other in each round.
pub(crate) fn best<const N: usize>(
    rounds: usize,
    mut jobs: [&mut dyn FnMut(usize) -> Duration; N],
) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for round in 0..rounds {
        for (best, job) in best.iter_mut().zip(&mut jobs) {
            *best = best.min(job(round).as_secs_f64());
        }
    }
    best
}
