//! The loop around a [`Manager`]: documents and Secrets in, signatures on threads, Secrets stored and served.
//!
//! ```no_run
//! use std::time::Duration;
//! use certwright::run::{DirStore, Runner, Source};
//! use certwright::SecretDir;
//!
//! # async fn example() {
//! let store = DirStore::new(SecretDir::new("secrets"), Duration::from_secs(5));
//! let mut runner = Runner::new(store, time::OffsetDateTime::now_utc);
//! runner.source = Some(Source::Paths { paths: vec!["manifests".into()], poll: Duration::from_secs(5) });
//! runner.on_event(|event| println!("{event:?}"));
//! runner.run(async { /* until a signal comes */ }).await;
//! # }
//! ```

mod dir;
mod documents;
mod lock;
mod memory;
mod running;
mod shared;
mod store;
mod unsaved;

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use certwright_cert_model::{Defaults, TlsSecret};
use time::OffsetDateTime;
use tokio::sync::mpsc;

pub use self::dir::DirStore;
pub use self::documents::Source;
pub use self::memory::MemoryStore;
use self::running::Running;
pub use self::shared::SharedStore;
pub use self::store::{Keeping, SecretStore, Seen, StoreError, Unreadable};
use crate::documents::Problem;
use crate::inventory::{Inventory, ResourceName};
use crate::issuer::Issuer;
use crate::manager::{Manager, Options, Outcome};
use crate::publish::Publisher;

/// Keeps every certificate issued, stored and served until it is told to stop.
pub struct Runner {
    /// Where documents come from; none leaves [`inventory`](Self::inventory) as it is.
    pub source: Option<Source>,
    /// What is to be kept true, before the first documents are read.
    pub inventory: Inventory,
    /// Where the CA Secrets of ClusterIssuers are; `cert-manager` by default.
    pub cluster_namespace: String,
    /// What absent fields of documents mean.
    pub defaults: Defaults,
    /// How the manager decides.
    pub options: Options,
    /// How many certificates are signed at a time; as many as there are processors by default.
    pub workers: usize,
    /// How long a stop waits for issuers of yours; 10 s by default.
    pub patience: Duration,
    store: Arc<dyn SecretStore>,
    clock: Box<dyn Fn() -> OffsetDateTime + Send>,
    issuers: Vec<(String, String, Arc<dyn Issuer>)>,
    publishers: Vec<Box<dyn Publisher>>,
    listener: Box<dyn FnMut(&Event<'_>) + Send>,
    commands: (
        mpsc::UnboundedSender<Command>,
        mpsc::UnboundedReceiver<Command>,
    ),
}

/// Talks to a [`Runner`] that runs.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::UnboundedSender<Command>);

#[derive(Debug)]
enum Command {
    DropOldAnchors(ResourceName),
    Rekey(ResourceName),
    Renew(ResourceName),
}

impl Handle {
    /// Asks for a new certificate, like `cmctl renew`; `false` if the runner has ended.
    pub fn renew(&self, certificate: ResourceName) -> bool {
        self.0.send(Command::Renew(certificate)).is_ok()
    }

    /// The same with a new key, even under `rotationPolicy: Never`; see [`Manager::rekey`].
    pub fn rekey(&self, certificate: ResourceName) -> bool {
        self.0.send(Command::Rekey(certificate)).is_ok()
    }

    /// Takes the old anchors out of every bundle below a CA, see [`Manager::drop_old_anchors`]; `false` if the runner
    /// has ended. Ask for it after the [event](Event::Certificate) of the CA's new certificate: before, the old anchor
    /// is the one that it has. A replica that does not issue does nothing.
    pub fn drop_old_anchors(&self, ca: ResourceName) -> bool {
        self.0.send(Command::DropOldAnchors(ca)).is_ok()
    }
}

/// What a runner tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something was done, or not, about a Certificate. What it changed is stored and served already: the place to
    /// restart an application that reads its certificate only once.
    Certificate {
        /// The Certificate.
        name: &'a ResourceName,
        /// What.
        outcome: &'a Outcome,
        /// Its Secret as it is stored.
        secret: Option<&'a TlsSecret>,
    },
    /// Something is wrong with a document. What was asked for last stays in force ([`Kept`](Self::Kept)).
    Document(&'a Problem),
    /// Nothing is wrong with any document any more, after [`Document`](Self::Document).
    Mended,
    /// These are not among the documents that could be read, and stay in force as they were: something is wrong with
    /// a document, which may be theirs.
    Kept {
        /// Kind and name of each, for example `Certificate shop/web`.
        resources: &'a [String],
    },
    /// This replica issues from now on, or no longer.
    Leading(bool),
    /// A Secret could not be stored. It is tried again by itself; others go on, but for those that its CA signed.
    NotStored {
        /// The Secret.
        secret: &'a ResourceName,
        /// Why not.
        error: &'a StoreError,
        /// How often it was tried, from 1.
        attempts: i64,
        /// When it is tried again.
        retry: Duration,
    },
    /// The stored Secrets are read, and served.
    Loaded {
        /// How many there are.
        secrets: usize,
    },
    /// How many certificates are still to be signed, and how many are being signed.
    Progress {
        /// They wait for a worker.
        waiting: usize,
        /// Workers are at them.
        running: usize,
    },
    /// When a Certificate whose Secret was written is renewed.
    Scheduled {
        /// The Certificate.
        name: &'a ResourceName,
        /// The instant.
        renewal: OffsetDateTime,
    },
    /// The store failed; it is tried again.
    Store(&'a StoreError),
    /// A Secret is there and cannot be read: nothing is issued into it, nor below it if it is a CA's.
    Unreadable(&'a Unreadable),
}

impl Runner {
    /// A runner on a store, by a clock such as [`OffsetDateTime::now_utc`].
    pub fn new(
        store: impl SecretStore + 'static,
        clock: impl Fn() -> OffsetDateTime + Send + 'static,
    ) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            source: None,
            inventory: Inventory::default(),
            cluster_namespace: "cert-manager".to_owned(),
            defaults: Defaults::default(),
            options: Options::default(),
            workers,
            patience: Duration::from_secs(10),
            store: Arc::new(store),
            clock: Box::new(clock),
            issuers: Vec::new(),
            publishers: Vec::new(),
            listener: Box::new(|_| {}),
            commands: mpsc::unbounded_channel(),
        }
    }

    /// Registers an issuer of yours, see [`Manager::register`].
    pub fn register(
        &mut self,
        group: impl Into<String>,
        kind: impl Into<String>,
        issuer: Arc<dyn Issuer>,
    ) {
        self.issuers.push((group.into(), kind.into(), issuer));
    }

    /// Tells this publisher of every Secret that is stored.
    pub fn publish_to(&mut self, publisher: impl Publisher + 'static) {
        self.publishers.push(Box::new(publisher));
    }

    /// Calls this with every event, in the order in which things happen; it must not wait.
    pub fn on_event(&mut self, listener: impl FnMut(&Event<'_>) + Send + 'static) {
        self.listener = Box::new(listener);
    }

    /// Something to talk to the runner with while it runs.
    pub fn handle(&self) -> Handle {
        Handle(self.commands.0.clone())
    }

    /// Runs until `stop` is ready: what is being signed is finished and stored, nothing else is begun. The manager as
    /// it is then.
    ///
    /// A stored certificate is served before anything else is done. The future may be dropped at any moment: what is
    /// stored is whole.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Manager {
        tokio::pin!(stop);
        let mut running = tokio::select! {
            biased;
            running = Running::start(self) => running,
            // The store never answered: nothing was begun.
            () = &mut stop => return Manager::new(Inventory::default(), []),
        };
        loop {
            running.advance().await;
            let sleep = running.sleep();
            tokio::select! {
                biased;
                () = &mut stop => break,
                done = running.jobs.join_next(), if !running.jobs.is_empty() => running.done(done),
                seen = running.runner.store.changed(), if !running.deaf => running.seen(seen),
                command = running.runner.commands.1.recv() => running.command(command),
                () = tokio::time::sleep(sleep) => {}
            }
        }
        running.stop().await
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("store", &self.store)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
