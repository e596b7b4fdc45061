//! Counts and instants in Prometheus' text format.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use certwright::run::Event;
use certwright::{Outcome, ResourceName};
use certwright_cert_model::secret::TLS_CRT;
use certwright_issuance::Certificate;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::net::TcpListener;

use super::events::Events;
use super::serve::{accept, talk};

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    /// By what came of it.
    outcomes: BTreeMap<&'static str, u64>,
    store_errors: u64,
    documents: u64,
    leading: bool,
    waiting: usize,
    certificates: BTreeMap<ResourceName, Dates>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Dates {
    renewal: Option<OffsetDateTime>,
    not_after: Option<OffsetDateTime>,
    failing: bool,
}

impl Metrics {
    /// Takes note of an event.
    pub(super) fn count(&self, event: &Event<'_>) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Certificate {
                name,
                outcome,
                secret,
            } => {
                *counted.outcomes.entry(word(outcome)).or_default() += 1;
                if matches!(outcome, Outcome::Orphaned { .. } | Outcome::Removed { .. }) {
                    counted.certificates.remove(*name);
                    return;
                }
                let dates = counted.certificates.entry((*name).clone()).or_default();
                dates.failing = matches!(outcome, Outcome::Failed { .. } | Outcome::Blocked(_));
                if let Outcome::Kept(schedule) = outcome {
                    dates.renewal = schedule.map(|schedule| schedule.due());
                }
                let chain = secret.and_then(|secret| secret.get(TLS_CRT));
                let chain = chain.and_then(|pem| Certificate::read_pem(pem).ok());
                if let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) {
                    dates.not_after = Some(leaf.not_after());
                }
            }
            Event::Document(_) => counted.documents += 1,
            Event::Leading(leading) => counted.leading = *leading,
            Event::Progress { waiting, .. } => counted.waiting = *waiting,
            Event::Scheduled { name, renewal } => {
                let dates = counted.certificates.entry((*name).clone()).or_default();
                dates.renewal = Some(*renewal);
            }
            Event::NotStored { .. } | Event::Store(_) | Event::Unreadable(_) => {
                counted.store_errors += 1;
            }
            _ => {}
        }
    }

    /// Answers at an address from now on.
    pub(super) async fn start(&self, address: SocketAddr, events: &Events) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        events.say("metrics", &format!("http://{local}/metrics"));
        let metrics = self.clone();
        tokio::spawn(accept(listener, events.clone(), move |stream, _| {
            let metrics = metrics.clone();
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = metrics.answer(request.uri().path());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                talk(connection).await;
            }
        }));
        Ok(())
    }

    fn answer(&self, path: &str) -> Response<String> {
        let mut response = Response::new(String::new());
        let kind = match path {
            "/metrics" => {
                let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *response.body_mut() = counted.text(OffsetDateTime::now_utc());
                "text/plain; version=0.0.4"
            }
            "/healthz" => {
                *response.body_mut() = "ok\n".to_owned();
                "text/plain"
            }
            _ => {
                *response.status_mut() = StatusCode::NOT_FOUND;
                *response.body_mut() = "look at /metrics\n".to_owned();
                "text/plain"
            }
        };
        let kind = hyper::header::HeaderValue::from_static(kind);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Blocked(_) => "blocked",
        Outcome::Failed { .. } => "failed",
        Outcome::Issued { .. } => "issued",
        Outcome::Kept(_) => "kept",
        Outcome::Ordered { .. } => "ordered",
        Outcome::Orphaned { .. } => "orphaned",
        Outcome::Reapplied { .. } => "rewritten",
        Outcome::Removed { .. } => "removed",
        Outcome::Waiting { .. } => "waiting",
        _ => "other",
    }
}

impl Counted {
    fn text(&self, now: OffsetDateTime) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, now);
        text
    }

    fn write(&self, text: &mut String, now: OffsetDateTime) -> std::fmt::Result {
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            writeln!(
                text,
                "# HELP certwright_{name} {help}\n# TYPE certwright_{name} {kind}"
            )
        };
        head(
            text,
            "outcomes_total",
            "counter",
            "What came of looking at Certificates.",
        )?;
        for (word, count) in &self.outcomes {
            writeln!(
                text,
                "certwright_outcomes_total{{result=\"{word}\"}} {count}"
            )?;
        }
        for (name, kind, help, value) in [
            (
                "store_errors_total",
                "counter",
                "How often the store failed.",
                self.store_errors,
            ),
            (
                "document_errors_total",
                "counter",
                "Mistakes found in manifests.",
                self.documents,
            ),
            (
                "leading",
                "gauge",
                "Whether this process issues.",
                u64::from(self.leading),
            ),
            (
                "waiting",
                "gauge",
                "Certificates to be signed.",
                u64::try_from(self.waiting).unwrap_or(u64::MAX),
            ),
        ] {
            head(text, name, kind, help)?;
            writeln!(text, "certwright_{name} {value}")?;
        }
        let label = |name: &ResourceName| {
            format!(
                "{{namespace=\"{}\",name=\"{}\"}}",
                escaped(&name.namespace),
                escaped(&name.name)
            )
        };
        let seconds = |at: OffsetDateTime| (at - now).whole_seconds();
        head(
            text,
            "certificate_renewal_seconds",
            "gauge",
            "Seconds until the renewal.",
        )?;
        for (name, dates) in &self.certificates {
            if let Some(renewal) = dates.renewal {
                writeln!(
                    text,
                    "certwright_certificate_renewal_seconds{} {}",
                    label(name),
                    seconds(renewal)
                )?;
            }
        }
        head(
            text,
            "certificate_expiry_seconds",
            "gauge",
            "Seconds until the certificate ends.",
        )?;
        for (name, dates) in &self.certificates {
            if let Some(end) = dates.not_after {
                writeln!(
                    text,
                    "certwright_certificate_expiry_seconds{} {}",
                    label(name),
                    seconds(end)
                )?;
            }
        }
        head(
            text,
            "certificate_failing",
            "gauge",
            "Whether issuing failed last.",
        )?;
        for (name, dates) in &self.certificates {
            let failing = u8::from(dates.failing);
            writeln!(
                text,
                "certwright_certificate_failing{} {failing}",
                label(name)
            )?;
        }
        Ok(())
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
