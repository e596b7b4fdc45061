//! How costs grow, one measured point per line: `POINT chart series x value`.
//!
//! `cargo bench -p certwright-bench --bench scaling`, for everything or the charts that are named. The lines are what
//! `docs/benchmarks/charts.py` draws. What the processor does is the thread's CPU time, best of interleaved rounds; what
//! waits for a server is wall time, the median.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

mod certificates;
mod clock;
mod names;
mod replicas;
mod subtrees;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let charts: [(&str, fn()); 4] = [
        ("names", names::measure),
        ("certificates", certificates::measure),
        ("subtrees", subtrees::measure),
        ("replicas", replicas::measure),
    ];
    let any = charts
        .iter()
        .any(|(name, _)| arguments.iter().any(|a| a == name));
    for (name, measure) in charts {
        if !any || arguments.iter().any(|a| a == name) {
            measure();
        }
    }
}

fn point(chart: &str, series: &str, x: usize, value: f64) {
    println!("POINT {chart} {series} {x} {value:.4}");
}
