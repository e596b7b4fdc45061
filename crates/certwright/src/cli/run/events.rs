//! What happens, as one line each.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use certwright::Outcome;
use certwright::run::Event;
use certwright::view::Age;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::{one_line, with_causes};

/// Tells events on standard output; how much is still to be signed is shown on terminals.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    json: bool,
    progress: Arc<Mutex<Option<ProgressBar>>>,
}

/// One event.
#[derive(Debug, Default)]
struct Line {
    event: &'static str,
    /// What it is about, such as a Certificate.
    about: String,
    message: String,
    /// What only programs are told.
    more: Vec<(&'static str, Value)>,
}

impl Events {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            progress: Arc::default(),
        }
    }

    /// Tells what is no event of the library.
    pub(crate) fn say(&self, event: &'static str, message: &str) {
        self.about(event, "", message);
    }

    /// The same about something.
    pub(crate) fn about(&self, event: &'static str, about: &str, message: &str) {
        let (about, message) = (about.to_owned(), message.to_owned());
        self.write(&Line {
            event,
            about,
            message,
            more: Vec::new(),
        });
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(line) = self.line(event) {
            self.write(&line);
        }
    }

    fn write(&self, line: &Line) {
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let time = now.format(&Rfc3339).unwrap_or_default();
        let text = if self.json {
            let mut object = json!({"kind": "Event", "time": time, "event": line.event});
            if !line.about.is_empty() {
                object["about"] = json!(line.about);
            }
            if !line.message.is_empty() {
                object["message"] = json!(line.message);
            }
            for (key, value) in &line.more {
                object[*key] = value.clone();
            }
            object.to_string()
        } else {
            let about = match line.about.is_empty() {
                true => String::new(),
                false => format!(" {}", one_line(&line.about)),
            };
            let message = match line.message.is_empty() {
                true => String::new(),
                false => format!(": {}", one_line(&line.message)),
            };
            format!("{time} {}{about}{message}", line.event)
        };
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || {
            // A reader that is gone must not stop the renewals.
            let mut out = io::stdout().lock();
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        };
        match &*progress {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn line(&self, event: &Event<'_>) -> Option<Line> {
        let line = |event, about: String, message: String| Line {
            event,
            about,
            message,
            more: Vec::new(),
        };
        Some(match event {
            Event::Certificate { name, outcome, .. } => {
                let mut line = about_certificate(outcome);
                line.about = name.to_string();
                line.more.push(("namespace", json!(name.namespace)));
                line.more.push(("name", json!(name.name)));
                line
            }
            Event::Document(problem) => line("document", String::new(), problem.to_string()),
            Event::Mended => line(
                "mended",
                String::new(),
                "nothing is wrong with any document any more".to_owned(),
            ),
            Event::Leading(true) => line(
                "leading",
                String::new(),
                "this process issues from now on".to_owned(),
            ),
            Event::Leading(false) => line(
                "following",
                String::new(),
                "another process issues".to_owned(),
            ),
            Event::Loaded { secrets } => {
                line("loaded", String::new(), format!("{secrets} Secrets"))
            }
            Event::Progress { waiting, running } => {
                self.progress(*waiting, *running);
                return None;
            }
            // Programs hear of it; people are told with the outcome.
            Event::Scheduled { name, renewal } if self.json => Line {
                more: vec![("renewal", json!(renewal.format(&Rfc3339).ok()))],
                ..line("scheduled", name.to_string(), String::new())
            },
            Event::Kept { resources } => {
                let message = format!("still asked for as before: {}", resources.join(", "));
                line("unread", String::new(), message)
            }
            Event::NotStored {
                secret,
                error,
                attempts,
                retry,
            } => {
                let message = format!(
                    "attempt {attempts}: {}; tried again in {}s",
                    with_causes(*error),
                    retry.as_secs()
                );
                line("not-stored", secret.to_string(), message)
            }
            Event::Unreadable(unreadable) => line(
                "unreadable",
                unreadable.secret.to_string(),
                with_causes(*unreadable),
            ),
            Event::Store(error) => line("store", String::new(), with_causes(*error)),
            _ => return None,
        })
    }

    /// Shows how many are to be signed.
    fn progress(&self, waiting: usize, running: usize) {
        if !io::stderr().is_terminal() {
            return;
        }
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting == 0 {
            if let Some(bar) = progress.take() {
                bar.finish_and_clear();
            }
            return;
        }
        let bar = progress.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            let bar = ProgressBar::new_spinner();
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_message(format!("{running} being signed, {waiting} to go"));
        bar.tick();
    }
}

fn about_certificate(outcome: &Outcome) -> Line {
    let now = OffsetDateTime::now_utc();
    let left = |at: OffsetDateTime| format!("in {}", Age(at - now));
    let mut line = Line::default();
    (line.event, line.message) = match outcome {
        Outcome::Blocked(block) => ("blocked", block.to_string()),
        Outcome::Failed { error, retry } => {
            line.more
                .push(("retry", json!(retry.format(&Rfc3339).ok())));
            let again = left(*retry);
            (
                "failed",
                format!("{}; tried again {again}", with_causes(error)),
            )
        }
        Outcome::Issued {
            reason,
            revision,
            warnings,
        } => {
            line.more.push(("revision", json!(revision)));
            line.more.push(("reason", json!(reason.word())));
            line.more.push(("warnings", json!(warnings)));
            let mut text = format!("revision {revision}, because {reason}");
            for warning in warnings {
                text.push_str("; note: ");
                text.push_str(warning);
            }
            ("issued", text)
        }
        Outcome::Kept(Some(schedule)) => ("kept", format!("renewed {}", left(schedule.due()))),
        Outcome::Kept(None) => ("kept", "never renewed".to_owned()),
        Outcome::Ordered { reason } => ("ordered", format!("because {reason}")),
        Outcome::Orphaned { secret } => (
            "orphaned",
            format!("Secret {secret} stays and is renewed no more"),
        ),
        Outcome::Reapplied { what } => ("rewritten", what.join("; ")),
        Outcome::Removed { secret } => ("removed", format!("with Secret {secret}")),
        Outcome::Waiting { until } => ("waiting", left(*until)),
        other => ("other", format!("{other:?}")),
    };
    line
}
