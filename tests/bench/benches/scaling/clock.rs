//! CPU time of this thread, best of interleaved rounds.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub(crate) fn thread_time<R>(work: impl FnOnce() -> R) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
    };
    let start = now();
    let result = work();
    let spent = now() - start;
    // What is freed is not part of what was measured.
    drop(result);
    spent
}

/// Seconds of each job, one after the other in every round.
pub(crate) fn best<const N: usize>(
    rounds: usize,
    mut jobs: [&mut dyn FnMut() -> Duration; N],
) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for _ in 0..rounds {
        for (best, job) in best.iter_mut().zip(&mut jobs) {
            *best = best.min(job().as_secs_f64());
        }
    }
    best
}
