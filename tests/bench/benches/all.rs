//! Every crate's figures, one crate after the other, in one go: `cargo bench -p certwright-bench --bench all`.
//!
//! Each is a process of its own, as it would be alone; the store against a heavy peer and the command are two more. What
//! needs a peer that is not installed says so and goes on. At the end come the goals that were missed.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// What `cargo bench` is told: `-p` and the rest of the line.
const BENCHES: [&str; 10] = [
    "certwright-renewal --bench ratios",
    "certwright-cert-model --bench ratios",
    "certwright-sni-store --bench ratios",
    "certwright-bench --bench sni_store",
    "certwright-transport --bench ratios",
    "certwright-issuance --bench ratios",
    "certwright-storage --bench ratios",
    "certwright-acme --bench ratios",
    "certwright --bench ratios",
    "certwright --bench cli --features cli",
];

fn main() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let (mut missed, mut failed) = (Vec::new(), Vec::new());
    for bench in BENCHES {
        println!("\n== {bench}");
        let mut command = Command::new(&cargo);
        command.args(["bench", "-q", "--locked", "-p"]);
        command.args(bench.split(' '));
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                eprintln!("cargo cannot be started: {error}");
                return ExitCode::FAILURE;
            }
        };
        let lines = child.stdout.take().map(BufReader::new);
        for line in lines
            .into_iter()
            .flat_map(BufRead::lines)
            .map_while(Result::ok)
        {
            println!("{line}");
            if is_missed(&line) {
                missed.push(line);
            }
        }
        if !child.wait().is_ok_and(|status| status.success()) {
            failed.push(bench);
        }
    }
    println!("\n{} goals missed", missed.len());
    for line in &missed {
        println!("{line}");
    }
    for bench in &failed {
        println!("{bench}: the figures could not be taken");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Whether a line `RATIO name value goal` has a value on the wrong side of its goal.
fn is_missed(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["RATIO", _, value, goal, ..] = words.as_slice() else {
        return false;
    };
    let Ok(value) = value.parse::<f64>() else {
        return false;
    };
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    match (goal.strip_prefix("<="), goal.strip_prefix(">=")) {
        (Some(most), _) => value > number(most),
        (_, Some(least)) => value < number(least),
        _ => false,
    }
}
