//! A command of the user's after every change.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::process::Stdio;
use std::time::Duration;

use certwright::{Publisher, ResourceName, SecretDir};
use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::annotation::CERTIFICATE_NAME;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::events::Events;

/// A command and how long it may take.
#[derive(Debug)]
pub(super) struct OnChange {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

/// What a command is told.
#[derive(Debug)]
struct Change {
    event: &'static str,
    secret: ResourceName,
    certificate: String,
}

/// Hears of changes and hands them on.
#[derive(Debug)]
pub(super) struct Changes {
    /// What each Secret held when it was told of last. Not for security: it tells a change.
    held: BTreeMap<ResourceName, u64>,
    sender: mpsc::UnboundedSender<Change>,
}

impl OnChange {
    pub(super) fn new(text: &str, shell: bool, timeout: Duration) -> Result<Self, Box<dyn Error>> {
        let mut words: Vec<String> = match shell {
            true => ["sh", "-c", text].map(str::to_owned).to_vec(),
            false => text.split_whitespace().map(str::to_owned).collect(),
        };
        if words.is_empty() {
            return Err("--on-change needs a command".into());
        }
        Ok(Self {
            program: words.remove(0),
            arguments: words,
            timeout,
        })
    }

    /// What hears of changes, and the task that ends after the last command once nothing can change any more.
    pub(super) fn start(self, dir: SecretDir, events: Events) -> (Changes, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Change>();
        let task = tokio::spawn(async move {
            while let Some(change) = receiver.recv().await {
                let about = change.secret.to_string();
                match self.run(&dir, &change).await {
                    Ok(()) => events.about("command", &about, &format!("{} is done", self.program)),
                    Err(why) => {
                        events.about("command-failed", &about, &format!("{} {why}", self.program));
                    }
                }
            }
        });
        let held = BTreeMap::new();
        (Changes { held, sender }, task)
    }

    async fn run(&self, dir: &SecretDir, change: &Change) -> Result<(), String> {
        let ResourceName {
            namespace, name, ..
        } = &change.secret;
        let path = dir
            .path(namespace, name)
            .map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("CERTWRIGHT_EVENT", change.event)
            .env("CERTWRIGHT_NAMESPACE", namespace)
            .env("CERTWRIGHT_SECRET", name)
            .env("CERTWRIGHT_CERTIFICATE", &change.certificate)
            .env("CERTWRIGHT_PATH", path)
            .stdin(Stdio::null())
            // Standard output is for events.
            .stdout(Stdio::from(io::stderr()))
            // Whatever it starts ends with it, if it takes too long.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot be run: {error}"))?;
        let mut group = Group::of(child.id());
        let ended = match tokio::time::timeout(self.timeout, child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                drop(group);
                let _ = child.wait().await;
                return Err(format!("took longer than {:?} and was ended", self.timeout));
            }
        };
        group.0 = None;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("failed: {status}")),
            Err(error) => Err(format!("cannot be waited for: {error}")),
        }
    }
}

/// A command and all it started, which end with this.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        let id = id.and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Changes {
    fn tell(&self, event: &'static str, secret: ResourceName, certificate: &str) {
        let certificate = certificate.to_owned();
        // The task lives as long as this.
        let _ = self.sender.send(Change {
            event,
            secret,
            certificate,
        });
    }

    /// Whether a Secret holds something else than before.
    fn note(&mut self, secret: &TlsSecret) -> bool {
        let mut hasher = DefaultHasher::new();
        for (key, bytes) in secret.data() {
            (key, bytes).hash(&mut hasher);
        }
        let name = ResourceName::new(&secret.namespace, &secret.name);
        let held = hasher.finish();
        self.held.insert(name, held) != Some(held)
    }
}

impl Publisher for Changes {
    /// What is there when it begins is no change.
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        let first = self.held.is_empty();
        for secret in secrets {
            if first {
                self.note(secret);
            } else {
                self.put(secret);
            }
        }
    }

    fn put(&mut self, secret: &TlsSecret) {
        if self.note(secret) {
            let name = ResourceName::new(&secret.namespace, &secret.name);
            let certificate = secret.annotations.get(CERTIFICATE_NAME);
            let certificate = certificate.map_or("", String::as_str);
            self.tell("changed", name, certificate);
        }
    }

    fn remove(&mut self, secret: &ResourceName) {
        if self.held.remove(secret).is_some() {
            self.tell("removed", secret.clone(), "");
        }
    }
}
