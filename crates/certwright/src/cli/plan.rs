//! `plan`: what would happen, and why.

use std::collections::BTreeMap;

use certwright::view::Age;
use certwright::{Outcome, ResourceName};
use clap::Args;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::output::{Output, columns};
use super::place::{Clock, Given, Place, Scope, World, runtime};
use super::{Answer, Exit, with_causes};

/// Shows what run would do now, and why; nothing is done.
///
/// Certificates of CAs are made in memory to see what follows for those below them, and thrown away.
#[derive(Args, Debug)]
pub(crate) struct PlanCommand {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    clock: Clock,
    /// Only what is to be done: leaves out what is as it should be.
    #[arg(long)]
    changes: bool,
    /// Ends with 3 if there is something to do.
    #[arg(long)]
    exit_code: bool,
}

/// What would be done about one Certificate.
#[derive(Clone, Debug)]
struct Row {
    name: ResourceName,
    action: &'static str,
    /// One word for programs.
    reason: String,
    /// For people.
    message: String,
    /// When, if it is not now.
    at: Option<OffsetDateTime>,
}

impl PlanCommand {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let Self {
            given,
            place,
            scope,
            clock,
            ..
        } = self;
        let mut world = World::read(&given.into(), &place, clock.now(), output)?;
        let rows = rows(&mut world)?;
        let idle = |row: &Row| row.action == "keep";
        let shown = |row: &&Row| scope.has(&row.name.namespace) && !(self.changes && idle(row));
        let todo = rows
            .iter()
            .filter(|row| scope.has(&row.name.namespace) && !idle(row));
        let todo = todo.count();
        let rows: Vec<_> = rows.iter().filter(shown).collect();
        if output.json {
            for row in &rows {
                output.object(&json!({
                    "kind": "PlannedAction",
                    "namespace": row.name.namespace,
                    "name": row.name.name,
                    "action": row.action,
                    "reason": row.reason,
                    "message": row.message,
                    "at": row.at.and_then(|at| at.format(&Rfc3339).ok()),
                }))?;
            }
        } else {
            let headings = ["CERTIFICATE", "ACTION", "WHEN", "WHY"].map(str::to_owned);
            let lines = rows.iter().map(|row| {
                let when = row
                    .at
                    .map_or_else(|| "now".to_owned(), |at| when(at, world.now));
                let when = if row.action == "keep" && row.at.is_none() {
                    "never".to_owned()
                } else {
                    when
                };
                vec![
                    row.name.to_string(),
                    row.action.to_owned(),
                    when,
                    row.message.clone(),
                ]
            });
            let lines: Vec<_> = [headings.to_vec()].into_iter().chain(lines).collect();
            if !rows.is_empty() {
                output.text(&columns(&lines))?;
            } else if world.problems == 0 {
                output.line("Nothing to do.")?;
            }
        }
        Ok(match world.problems {
            0 if self.exit_code && todo > 0 => Exit::Attention,
            0 => Exit::Done,
            _ => Exit::Wrong,
        })
    }
}

pub(crate) fn when(at: OffsetDateTime, now: OffsetDateTime) -> String {
    match at > now {
        true => format!("in {}", Age(at - now)),
        false => "now".to_owned(),
    }
}

/// Every Certificate once, CAs first.
fn rows(world: &mut World) -> std::io::Result<Vec<Row>> {
    let (manager, now) = (&mut world.manager, world.now);
    let runtime = runtime()?;
    let mut found: BTreeMap<ResourceName, Row> = BTreeMap::new();
    let mut tell = |name: ResourceName, action, reason: &str, message: String, at| {
        let row = Row {
            name: name.clone(),
            action,
            reason: reason.to_owned(),
            message,
            at,
        };
        // What is done first is why the rest follows; but what failed may only have waited for a CA.
        let known = found.entry(name);
        known
            .and_modify(|known| {
                if known.action == "fail" {
                    *known = row.clone();
                }
            })
            .or_insert(row);
    };
    let mut outcomes = manager.begin(now);
    loop {
        let jobs = manager.take_jobs();
        for job in &jobs {
            let (name, reason) = (job.certificate().clone(), job.reason());
            tell(name, "issue", reason.word(), reason.to_string(), None);
        }
        for (name, outcome) in outcomes {
            match outcome {
                Outcome::Blocked(block) => {
                    tell(name, "blocked", block.word(), block.to_string(), None);
                }
                Outcome::Failed { error, .. } => {
                    tell(name, "fail", "Failed", with_causes(&error), None);
                }
                Outcome::Kept(schedule) => {
                    let due = schedule.map(|schedule| schedule.due());
                    let message = match due {
                        Some(_) => "it is as it should be, and renewed then",
                        None => "it is as it should be, and its renewal is disabled",
                    };
                    tell(name, "keep", "Ready", message.to_owned(), due);
                }
                Outcome::Reapplied { what } => {
                    tell(name, "rewrite", "SecretDrift", what.join("; "), None);
                }
                Outcome::Waiting { until } => {
                    let message = "it waits until everybody trusts the new CA";
                    tell(name, "wait", "Waiting", message.to_owned(), Some(until));
                }
                // Told when the job was handed out, or about no Certificate that is there.
                _ => {}
            }
        }
        let is_ca = |name: &ResourceName| {
            let spec = manager.inventory().certificate(name);
            spec.is_some_and(certwright_cert_model::ValidatedSpec::is_ca)
        };
        let (cas, _): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| is_ca(job.certificate()) && !job.is_remote());
        if cas.is_empty() {
            break;
        }
        outcomes = Vec::new();
        for job in cas {
            let done = runtime.block_on(job.run(now));
            outcomes.extend(manager.finish(done, now));
        }
        outcomes.extend(manager.begin(now));
    }
    let order = manager.order().iter();
    let mut rows: Vec<_> = order.filter_map(|name| found.remove(name)).collect();
    rows.extend(found.into_values());
    Ok(rows)
}
