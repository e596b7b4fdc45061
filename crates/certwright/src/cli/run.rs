//! `run`: keeps Secrets true to manifests until it is told to stop.

pub(super) mod acme;
mod command;
mod events;
mod metrics;
mod mirror;
pub(super) mod requests;
mod serve;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certwright::run::{DirStore, Event, Runner, SharedStore, Source};
use certwright::{Options, SecretDir};
use certwright_cert_model::duration::{DurationDialect, GoDuration};
use clap::Args;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use self::events::Events;
use self::metrics::Metrics;
use super::output::Output;
use super::place::{Given, Manifests, Place};
use super::{Answer, Exit};

/// Issues, renews and stores what manifests ask for, until it is told to stop (SIGTERM, SIGINT).
///
/// Manifests and Secrets are looked at again and again; every event is one line. Of several processes on one directory of
/// Secrets, or on several machines with --etcd, one issues; the others serve what is there, and one of them takes over when
/// that one is gone.
#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    place: Place,
    /// Runs a program whenever what a Secret holds has changed: its words are separated by blanks, no shell is asked.
    ///
    /// The program finds CERTWRIGHT_EVENT (changed or removed), CERTWRIGHT_NAMESPACE, CERTWRIGHT_SECRET,
    /// CERTWRIGHT_CERTIFICATE and CERTWRIGHT_PATH in its environment. One runs at a time; one that fails is told and
    /// stops nothing.
    #[arg(long, value_name = "COMMAND")]
    on_change: Option<String>,
    /// Gives --on-change to sh -c.
    #[arg(long, requires = "on_change")]
    shell: bool,
    /// How long --on-change may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    on_change_timeout: Duration,
    /// Tells metrics in Prometheus' text format at http://ADDRESS/metrics.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    acme: acme::Acme,
    /// Serves the certificates at https://ADDRESS, for trying out.
    #[arg(long, value_name = "ADDRESS")]
    serve: Option<SocketAddr>,
    /// How often manifests and Secrets are looked at.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    poll: Duration,
    /// How many certificates are signed at a time [default: one per processor].
    #[arg(long, value_name = "NUMBER")]
    workers: Option<usize>,
    /// Removes a Secret with its Certificate.
    #[arg(long)]
    owner_references: bool,
    /// What others are told this process is called [default: host name and process].
    #[arg(long, value_name = "NAME", help_heading = "Several machines")]
    identity: Option<String>,
    /// How long others wait before they take over.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15s",
        value_parser = lease,
        help_heading = "Several machines"
    )]
    lease: Duration,
}

/// How long work on a file system that does not answer is waited for at the end.
const ENDING: Duration = Duration::from_secs(5);

/// A duration as manifests write them.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = GoDuration::parse(text, DurationDialect::Extended);
    let parsed = parsed.map_err(|error| error.to_string())?;
    let duration = Duration::try_from(time::Duration::from(parsed));
    match duration {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be longer than nothing".to_owned()),
    }
}

/// A duration in which the lead is asked for at least once.
fn lease(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < Duration::from_secs(5) => Err("must be 5s at least".to_owned()),
        lease => Ok(lease),
    }
}

impl Run {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let events = Events::new(output.json);
        let answer = runtime.block_on(self.keep_until_told(&events));
        // Who asked twice waits for nobody but what ends with this: a command and all it started.
        runtime.shutdown_timeout(ENDING);
        answer
    }

    /// Stops in order at the first signal, and at once at the second one.
    async fn keep_until_told(self, events: &Events) -> Answer {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut told = async || {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        let stop = Notify::new();
        let signals = async {
            told().await;
            events.say(
                "stopping",
                "what is being signed is finished; another signal ends it at once",
            );
            stop.notify_one();
            told().await;
        };
        tokio::select! {
            answer = self.keep(events, stop.notified()) => answer,
            () = signals => {
                events.say("stopped", "at once: what was not finished is done at the next start");
                Ok(Exit::No)
            }
        }
    }

    async fn keep(self, events: &Events, stop: impl Future<Output = ()>) -> Answer {
        let manifests = Manifests::from(self.given);
        let dir = SecretDir::new(&self.place.secrets);
        let leading = Arc::new(AtomicBool::new(false));
        let clock = OffsetDateTime::now_utc;
        let mut commands = None;
        let mut changes = None;
        if let Some(text) = &self.on_change {
            let command = command::OnChange::new(text, self.shell, self.on_change_timeout)?;
            let (publisher, task) = command.start(dir.clone(), &self.place.secrets, events.clone());
            changes = Some(publisher);
            commands = Some(task);
        }
        let (mut runner, requests, keeps) = if self.place.etcd.wanted() {
            let storage = self.place.etcd.storage()?;
            let prefix = self.place.etcd.etcd_prefix.clone();
            let identity = self.identity.clone().unwrap_or_else(identity);
            let store = SharedStore::new(storage.clone(), &prefix, identity, self.lease);
            let mut runner = Runner::new(store, clock);
            let mirror = mirror::Mirror::new(dir.clone(), events.clone(), changes.take());
            mirror.try_again(self.poll);
            runner.publish_to(mirror);
            let keeps = acme::Keeps::Shared(self.place.etcd.acme_storage()?);
            let requests = requests::Requests::Shared { storage, prefix };
            (runner, requests, keeps)
        } else {
            let store = DirStore::new(dir.clone(), self.poll);
            (
                Runner::new(store, clock),
                requests::Requests::Dir(dir.clone()),
                acme::Keeps::Directory(self.place.secrets.join(".acme")),
            )
        };
        runner.source = Some(Source::Paths {
            paths: manifests.paths.clone(),
            poll: self.poll,
        });
        runner.defaults = manifests.reading.defaults();
        runner.cluster_namespace = manifests.reading.cluster_namespace.clone();
        let mut options = Options::default();
        options.owner_references = self.owner_references;
        runner.options = options;
        if let Some(workers) = self.workers {
            runner.workers = workers.max(1);
        }
        self.acme.start(&mut runner, keeps, events).await?;
        if let Some(address) = self.serve {
            serve::start(&mut runner, address, events).await?;
        }
        if let Some(changes) = changes {
            runner.publish_to(changes);
        }
        let metrics = Metrics::default();
        if let Some(address) = self.metrics {
            metrics.start(address, events).await?;
        }
        let (handle, leads, tells) = (runner.handle(), leading.clone(), events.clone());
        let follower = requests::Follower::new(requests, manifests, handle, leads, tells);
        let asked = tokio::spawn(follower.follow());
        let teller = events.clone();
        runner.on_event(move |event| {
            metrics.count(event);
            if let Event::Leading(leads) = event {
                leading.store(*leads, Ordering::Relaxed);
            }
            teller.tell(event);
        });
        runner.run(stop).await;
        asked.abort();
        if let Some(commands) = commands {
            // What was published before the stop is told of, and each command has its own limit.
            let _ = commands.await;
        }
        events.say("stopped", "");
        Ok(Exit::Done)
    }
}

/// What nobody else is called.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim_end(), std::process::id())
}
