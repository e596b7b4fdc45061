//! Runs conformance cases against the family: `conformance FILE.json…`
//!
//! Prints a line per failing case, then the sum alone on the last line. `--kinds` adds a line per kind,
//! `--deviations` one per deliberate deviation. `--limbo FILE` judges the chains of x509-limbo as well.

use std::process::ExitCode;

use certwright_tests::conformance::{Summary, read};
use certwright_tests::limbo;
use rustls::pki_types::UnixTime;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let mut cases = Vec::new();
    let (mut kinds, mut deviations) = (false, false);
    let mut limbo = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--limbo" => {
                let path = arguments.next().ok_or("--limbo wants a file")?;
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
                limbo =
                    Some(limbo::judge(&text, UnixTime::now()).map_err(|e| format!("{path}: {e}"))?);
            }
            "--kinds" => kinds = true,
            "--deviations" => deviations = true,
            path => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
                cases.extend(read(&text).map_err(|e| format!("{path}: {e}"))?);
            }
        }
    }
    let mut summary = Summary::of(&cases);
    if let Some(report) = limbo {
        summary.add_limbo(report);
    }
    for failure in &summary.failures {
        println!("{failure}");
    }
    if deviations {
        for deviation in &summary.deviations {
            println!("deliberate: {deviation}");
        }
    }
    if kinds {
        for (kind, [passed, failed, unsupported, deliberate]) in &summary.kinds {
            println!(
                "{kind}: {passed} passed, {failed} failed, {unsupported} unsupported, {deliberate} deliberate"
            );
        }
    }
    println!("{summary}");
    Ok(summary.failures.is_empty())
}
