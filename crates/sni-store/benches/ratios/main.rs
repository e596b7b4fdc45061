//! The figures this crate is measured by, one per line: `RATIO name value goal`, or
//! `WATCH name value note` without a goal.
//!
//! Times are CPU time, best of the rounds; the rounds of both sides are interleaved in one process.
//! Memory is counted at the allocator, or in a child where a C library allocates too.

#![allow(clippy::unwrap_used, reason = "a bench reports nothing else")]

mod clock;
mod directory;
mod lazy;
mod load;
mod look_up;
mod memory;
mod update;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(kind) = arguments.iter().find_map(|a| a.strip_prefix("--memory=")) {
        return memory::child(kind);
    }
    let parts: [(&str, fn()); 6] = [
        ("look_up", look_up::measure),
        ("update", update::measure),
        ("memory", memory::measure),
        ("lazy", lazy::measure),
        ("directory", directory::measure),
        ("load", load::measure),
    ];
    // Everything, or the parts that are named.
    let any = parts
        .iter()
        .any(|(name, _)| arguments.iter().any(|a| a == name));
    for (name, measure) in parts {
        if !any || arguments.iter().any(|a| a == name) {
            measure();
        }
    }
}
