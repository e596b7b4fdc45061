//! The figures this crate is measured by, one per line:
//! `RATIO name value goal`, or `WATCH name value note` without a goal.
//!
//! Times are the thread's CPU time, best of the rounds, rounds of both sides
//! interleaved. Instructions are counted by callgrind in a child of this program,
//! as the difference between N and 2N repetitions. Memory is the growth of the
//! data segment of a child.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration as StdDuration;

use certwright_renewal::fleet::{Fleet, Goal, Quota, Renewal};
use certwright_renewal::window::{Window, Windows};
use certwright_renewal::{Agenda, Lifetime, Percent, RenewalPolicy};
use time::{Duration, OffsetDateTime};

const MILLION: u64 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--schedules") => schedules(count(&arguments)),
        Some("--fits") => fits(count(&arguments)),
        Some("--entries") => entries(count(&arguments)),
        _ => measure(),
    }
}

fn measure() {
    match instructions("--schedules", 20_000) {
        Some(value) => println!("RATIO schedule_instructions {value:.0} <=500"),
        None => println!("WATCH schedule_instructions - valgrind is not installed"),
    }
    match instructions("--fits", 2_000) {
        Some(value) => println!("WATCH window_fit_instructions {value:.0} one daily window in UTC"),
        None => println!("WATCH window_fit_instructions - valgrind is not installed"),
    }
    let mut best = [StdDuration::MAX; 5];
    for _ in 0..ROUNDS {
        let times = [
            cpu(|| agenda_insert_pop(Agenda::new())),
            cpu(farthest_first),
            cpu(heap_insert_pop),
            updates(MILLION),
            updates(10_000),
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
    let [agenda, farthest, heap, million, few] = best.map(|time| time.as_secs_f64());
    println!(
        "RATIO agenda_1m_insert_pop_vs_binary_heap {:.2} <=2.0",
        agenda / heap
    );
    println!(
        "RATIO agenda_1m_farthest_first_vs_binary_heap {:.2} <=2.0",
        farthest / heap
    );
    println!(
        "RATIO agenda_update_1m_vs_10k_per_op {:.2} <=3.0",
        million / few
    );
    let nanos = agenda * 1e9 / MILLION as f64;
    println!("WATCH agenda_insert_pop_ns {nanos:.0} of a million, both together");
    fleet();
    match bytes_per_entry() {
        Some(value) => println!("RATIO agenda_bytes_per_entry {value:.1} <=96"),
        None => println!("WATCH agenda_bytes_per_entry - needs /proc"),
    }
}

/// Forecast and smoothing of a million renewals under ten quotas, against sorting
/// their instants.
fn fleet() {
    let (fleet, planned) = million_renewals();
    let seconds: Vec<i64> = planned.iter().map(|due| due.unix_timestamp()).collect();
    let mut best = [StdDuration::MAX; 4];
    for _ in 0..ROUNDS {
        let times = [
            cpu(|| smooth(&fleet, Goal::LowestPeak)),
            cpu(|| smooth(&fleet, Goal::WithinQuotas)),
            sorting(&planned),
            sorting(&seconds),
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
    let [lowest, within, instants, seconds] = best.map(|time| time.as_secs_f64());
    println!(
        "RATIO fleet_forecast_smooth_1m_vs_sort {:.1} <=40.0",
        lowest / seconds
    );
    println!(
        "WATCH fleet_within_quotas_1m_vs_sort {:.1} without lowering the peak",
        within / seconds
    );
    println!(
        "WATCH fleet_forecast_smooth_1m_vs_sort_instants {:.1} sorted as time's type, not as Unix seconds",
        lowest / instants
    );
    println!(
        "WATCH fleet_forecast_smooth_1m_ms {:.0} all of it",
        lowest * 1e3
    );
}

fn smooth(fleet: &Fleet<u64>, goal: Goal) {
    black_box(fleet.forecast(Duration::HOUR));
    let smoothed = fleet.smooth(goal);
    assert!(smoothed.shortages().is_empty());
    black_box(smoothed.forecast(Duration::HOUR));
}

fn sorting<T: Copy + Ord>(instants: &[T]) -> StdDuration {
    let mut instants = instants.to_vec();
    cpu(|| black_box(&mut instants).sort_unstable())
}

/// Planned within 90 days, half of them in crowds; each may come up to 20 days earlier.
fn million_renewals() -> (Fleet<u64>, Vec<OffsetDateTime>) {
    let mut fleet = Fleet::new();
    for key in 0..10 {
        fleet.set_quota(key, Quota::new(100, Duration::HOUR));
    }
    let mut planned = Vec::new();
    for number in 0..MILLION {
        let draw = scramble(number ^ 0x3333_3333);
        let plan = match number % 2 {
            0 => due(number),
            _ => due(number % 64 * 2 + 1) + Duration::seconds((draw % 86_400).cast_signed()),
        };
        let earlier = Duration::seconds((draw >> 20).cast_signed() % (20 * 86_400));
        let latest = plan + Duration::days(10);
        let renewal = Renewal::new(plan - earlier, plan, latest).unwrap();
        fleet.add(&(draw % 10), renewal).unwrap();
        planned.push(plan);
    }
    (fleet, planned)
}

/// Schedules of all policies, from and to instants.
fn schedules(count: u64) {
    let start = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    let percent = |number| RenewalPolicy::Percent(Percent::try_from(number).unwrap());
    let policies = [
        RenewalPolicy::TwoThirds,
        RenewalPolicy::Before(Duration::days(5)),
        percent(33),
        percent(10),
    ];
    let ends: Vec<OffsetDateTime> = (10..14).map(|days| start + Duration::days(days)).collect();
    for _ in 0..count / 4 {
        for (policy, end) in policies.iter().zip(&ends) {
            let life = Lifetime::new(black_box(start), black_box(*end)).unwrap();
            black_box(black_box(policy).schedule(life).unwrap().due());
        }
    }
}

fn fits(count: u64) {
    let start = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    let life = Lifetime::new(start, start + Duration::days(90)).unwrap();
    let cron = "0 10 * * *".parse().unwrap();
    let window = Window::new(cron, Duration::hours(2), None).unwrap();
    let windows: Windows = [window].into_iter().collect();
    let schedule = RenewalPolicy::TwoThirds.schedule(life).unwrap();
    for _ in 0..count {
        black_box(windows.fit(black_box(schedule)).unwrap());
    }
}

fn agenda_insert_pop(mut agenda: Agenda<u64>) {
    for key in 0..MILLION {
        agenda.insert(key, due(key));
    }
    while let Some(popped) = agenda.pop_due(FAR) {
        black_box(popped);
    }
}

/// The first key inserted is due last.
fn farthest_first() {
    let mut agenda = Agenda::new();
    agenda.insert(MILLION, due(0) + Duration::days(400));
    agenda_insert_pop(agenda);
}

/// The peer: no key can be found, moved or removed in it.
fn heap_insert_pop() {
    let mut heap = BinaryHeap::new();
    for key in 0..MILLION {
        heap.push(Reverse((due(key).unix_timestamp(), key)));
    }
    while let Some(popped) = heap.pop() {
        black_box(popped);
    }
}

/// The time of a million updates in an agenda of so many keys.
fn updates(keys: u64) -> StdDuration {
    let mut agenda = filled(keys);
    cpu(|| move_all(&mut agenda, keys, MILLION))
}

fn filled(keys: u64) -> Agenda<u64> {
    let mut agenda = Agenda::new();
    for key in 0..keys {
        agenda.insert(key, due(key));
    }
    agenda
}

fn move_all(agenda: &mut Agenda<u64>, keys: u64, times: u64) {
    for turn in 0..times {
        let key = scramble(turn) % keys;
        black_box(agenda.update(&key, due(turn ^ 0x5555_5555)));
    }
}

/// Prints how many bytes the data segment grew by at its most.
fn entries(count: u64) {
    let Some(before) = data_segment() else { return };
    let mut agenda = filled(count);
    let mut most = data_segment();
    for _ in 0..20 {
        move_all(&mut agenda, count, count / 7);
        most = most.max(data_segment());
    }
    black_box(&agenda);
    println!("{}", most.unwrap_or(before) - before);
}

fn bytes_per_entry() -> Option<f64> {
    let count = MILLION.to_string();
    // Every large block a mapping of its own: freed ones do not linger in the figure.
    let output = Command::new(std::env::current_exe().ok()?)
        .args(["--entries", &count])
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .output()
        .ok()?;
    let bytes: f64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(bytes / MILLION as f64)
}

fn data_segment() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// Instructions of one repetition.
fn instructions(what: &str, repetitions: u64) -> Option<f64> {
    let once = collected(what, repetitions)?;
    let twice = collected(what, repetitions * 2)?;
    Some((twice - once) / repetitions as f64)
}

fn collected(what: &str, repetitions: u64) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args([what, &repetitions.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let figure = text
        .split("Collected :")
        .nth(1)?
        .split_whitespace()
        .next()?;
    figure.parse().ok()
}

fn count(arguments: &[String]) -> u64 {
    arguments[2].parse().unwrap()
}

/// An instant within 90 days, in no order.
fn due(number: u64) -> OffsetDateTime {
    let second = 1_767_225_600 + scramble(number) % (90 * 86_400);
    OffsetDateTime::from_unix_timestamp(second.cast_signed()).unwrap()
}

/// SplitMix64.
fn scramble(number: u64) -> u64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const FAR: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.replace_date(time::Date::MAX);

fn cpu(work: impl FnOnce()) -> StdDuration {
    let start = clock();
    work();
    clock() - start
}

#[cfg(unix)]
fn clock() -> StdDuration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    StdDuration::try_from(now).unwrap()
}

#[cfg(not(unix))]
fn clock() -> StdDuration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}
