//! Conformance cases as data: `{id, kind, input, expect, …}`, each judged by the family's public API.

mod acme;
mod der;
mod issuance;
mod plan;
mod renewal;
mod resource;
mod sni;
mod transport;
mod vocabulary;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::limbo;

/// One case of a case file.
#[derive(Debug)]
pub struct Case {
    /// The case's name.
    pub id: String,
    /// What is asked; decides who judges.
    pub kind: String,
    /// What is given.
    pub input: Value,
    /// What must come out.
    pub expect: Value,
    /// The whole record, for notes.
    pub record: Value,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// We differ from the expectation, by this rule of `docs/deviations.md`.
    Deliberate(&'static str),
    /// We differ: what came instead.
    Failed(String),
    /// As expected.
    Passed,
    /// Nobody here judges this kind.
    Unsupported,
}

impl Verdict {
    /// Passed if `found` is `expected`.
    pub fn equal<T: PartialEq + fmt::Debug>(found: &T, expected: &T) -> Self {
        if found == expected {
            Self::Passed
        } else {
            Self::Failed(format!("expected {expected:?}, found {found:?}"))
        }
    }
}

/// Reads a case file: an array of cases.
///
/// # Errors
///
/// The text is no JSON array of objects with an `id` and a `kind`.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let records: Vec<Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    records
        .into_iter()
        .map(|record| {
            let text = |key: &str| record[key].as_str().map(str::to_owned);
            Ok(Case {
                id: text("id").ok_or("a case without id")?,
                kind: text("kind").ok_or("a case without kind")?,
                input: record["input"].clone(),
                expect: record["expect"].clone(),
                record,
            })
        })
        .collect()
}

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    for judge in [
        vocabulary::judge,
        renewal::judge,
        resource::judge,
        sni::judge,
        issuance::judge,
        plan::judge,
        transport::judge,
        acme::judge,
    ] {
        let verdict = judge(case);
        if verdict != Verdict::Unsupported {
            return verdict;
        }
    }
    Verdict::Unsupported
}

/// Whether every field of an object is one that is read; what nobody reads would be judged wrongly.
fn only(value: &Value, known: &[&str]) -> Option<()> {
    let mut names = value.as_object()?.keys();
    names
        .all(|name| known.contains(&name.as_str()))
        .then_some(())
}

/// How many cases ended how.
#[derive(Debug, Default)]
pub struct Summary {
    passed: usize,
    failed: usize,
    /// How many nobody here judges.
    pub unsupported: usize,
    deliberate: usize,
    /// How often each kind ended how: passed, failed, unsupported, deliberate.
    pub kinds: BTreeMap<String, [usize; 4]>,
    /// Every failure, as `kind id: what came instead`.
    pub failures: Vec<String>,
    /// Every deviation, as `kind id: rule`.
    pub deviations: Vec<String>,
}

impl Summary {
    /// Judges every case.
    pub fn of(cases: &[Case]) -> Self {
        let mut summary = Self::default();
        for case in cases {
            let place = format!("{} {}", case.kind, case.id);
            let kind = summary.kinds.entry(case.kind.clone()).or_default();
            match judge(case) {
                Verdict::Passed => {
                    summary.passed += 1;
                    kind[0] += 1;
                }
                Verdict::Failed(what) => {
                    summary.failed += 1;
                    kind[1] += 1;
                    summary.failures.push(format!("{place}: {what}"));
                }
                Verdict::Unsupported => {
                    summary.unsupported += 1;
                    kind[2] += 1;
                }
                Verdict::Deliberate(rule) => {
                    summary.deliberate += 1;
                    kind[3] += 1;
                    summary.deviations.push(format!("{place}: {rule}"));
                }
            }
        }
        summary
    }

    /// Counts the judgements of x509-limbo as a kind of their own; one case is judged in several views.
    pub fn add_limbo(&mut self, report: limbo::Report) {
        let [passed, failed, unsupported, deliberate] = [
            report.passed,
            report.failures.len(),
            report.skipped.len(),
            report.excepted,
        ];
        self.passed += passed;
        self.failed += failed;
        self.unsupported += unsupported;
        self.deliberate += deliberate;
        let kind = [passed, failed, unsupported, deliberate];
        self.kinds.insert(LIMBO.to_owned(), kind);
        let failures = report.failures.into_iter();
        self.failures
            .extend(failures.map(|what| format!("{LIMBO} {what}")));
    }
}

/// The kind of the chains of x509-limbo.
const LIMBO: &str = "x509-limbo";

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} unsupported, {} deliberate",
            self.passed, self.failed, self.unsupported, self.deliberate
        )
    }
}

/// How a case of this kind ends: the rule of a deviation, or whether it passes.
#[cfg(test)]
fn ending(kind: &str, input: Value, expect: Value) -> Result<bool, &'static str> {
    let case = Case {
        id: String::new(),
        kind: kind.to_owned(),
        input,
        expect,
        record: Value::Null,
    };
    match judge(&case) {
        Verdict::Deliberate(rule) => Err(rule),
        verdict => Ok(verdict == Verdict::Passed),
    }
}
