//! A command of the user's after every change.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
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
use super::told::{Told, digest};

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
    /// Of what it holds; none if it is gone.
    digest: Option<String>,
}

/// Hears of changes and hands them on.
#[derive(Debug)]
pub(super) struct Changes {
    /// A digest of what each Secret held when it was handed on last; none if that it is gone was.
    held: BTreeMap<ResourceName, Option<String>>,
    dir: SecretDir,
    told: Told,
    events: Events,
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
    pub(super) fn start(
        self,
        dir: SecretDir,
        root: &Path,
        events: Events,
    ) -> (Changes, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Change>();
        let told = Told::beside(root);
        let changes = Changes {
            held: BTreeMap::new(),
            dir: dir.clone(),
            told: told.clone(),
            events: events.clone(),
            sender,
        };
        let task = tokio::spawn(async move {
            while let Some(change) = receiver.recv().await {
                let about = change.secret.to_string();
                let ran = self.run(&dir, &change).await;
                if !matches!(ran, Err(Failure::NotRun(_))) {
                    let kept = match &change.digest {
                        Some(digest) => told.set(&change.secret, digest),
                        None => told.remove(&change.secret),
                    };
                    not_kept(&events, kept);
                }
                match ran {
                    Ok(()) => events.about("command", &about, &format!("{} is done", self.program)),
                    Err(why) => {
                        events.about("command-failed", &about, &format!("{} {why}", self.program));
                    }
                }
            }
        });
        (changes, task)
    }

    async fn run(&self, dir: &SecretDir, change: &Change) -> Result<(), Failure> {
        let ResourceName {
            namespace, name, ..
        } = &change.secret;
        let path = dir
            .path(namespace, name)
            .map_err(|error| Failure::NotRun(error.to_string()))?;
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
            .map_err(|error| Failure::NotRun(format!("cannot be run: {error}")))?;
        let mut group = Group::of(child.id());
        let ended = match tokio::time::timeout(self.timeout, child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                drop(group);
                let _ = child.wait().await;
                let why = format!("took longer than {:?} and was ended", self.timeout);
                return Err(Failure::Told(why));
            }
        };
        group.0 = None;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Told(format!("failed: {status}"))),
            Err(error) => Err(Failure::Told(format!("cannot be waited for: {error}"))),
        }
    }
}

/// Why a command did not do what it is for.
#[derive(Debug)]
enum Failure {
    /// Nobody was told.
    NotRun(String),
    /// It was told, and is not told again.
    Told(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(why) | Self::Told(why) => f.write_str(why),
        }
    }
}

/// What is not written down is told again at the next start.
fn not_kept(events: &Events, kept: io::Result<()>) {
    if let Err(error) = kept {
        let message = format!("what --on-change was told is not written down: {error}");
        events.say("store", &message);
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
    /// Whether a Secret is in the directory: those of documents that no Certificate keeps are nowhere else.
    fn is_there(&self, secret: &TlsSecret) -> bool {
        let path = self.dir.path(&secret.namespace, &secret.name);
        path.is_ok_and(|path| path.exists())
    }

    fn tell(
        &self,
        event: &'static str,
        secret: ResourceName,
        certificate: &str,
        digest: Option<String>,
    ) {
        let certificate = certificate.to_owned();
        // The task lives as long as this.
        let _ = self.sender.send(Change {
            event,
            secret,
            certificate,
            digest,
        });
    }
}

impl Publisher for Changes {
    /// What is there when it begins is no change, unless it is something else than what a command was told of before.
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        if self.held.is_empty() && !self.told.has_begun() {
            let all = secrets.iter().filter(|secret| self.is_there(secret));
            let all = all.map(|secret| (name(secret), digest(secret)));
            let all: BTreeMap<_, _> = all.collect();
            not_kept(&self.events, self.told.begin(&all));
            let held = all.into_iter().map(|(name, digest)| (name, Some(digest)));
            self.held.extend(held);
        }
        for secret in secrets {
            self.put(secret);
        }
        let there: BTreeSet<_> = secrets.iter().copied().map(name).collect();
        let known = self.held.keys().cloned().chain(self.told.all());
        let gone: BTreeSet<_> = known.filter(|known| !there.contains(known)).collect();
        for secret in gone {
            // It may be there and unreadable, or nobody's but this machine's.
            if let Ok(None) = self.dir.read(&secret.namespace, &secret.name) {
                self.remove(&secret);
            }
        }
    }

    fn put(&mut self, secret: &TlsSecret) {
        if !self.is_there(secret) {
            return;
        }
        let (name, digest) = (name(secret), Some(digest(secret)));
        let before = self.held.insert(name.clone(), digest.clone());
        if before.unwrap_or_else(|| self.told.get(&name)) != digest {
            let certificate = secret.annotations.get(CERTIFICATE_NAME);
            let certificate = certificate.map_or("", String::as_str);
            self.tell("changed", name, certificate, digest);
        }
    }

    fn remove(&mut self, secret: &ResourceName) {
        let before = self.held.insert(secret.clone(), None);
        if before.unwrap_or_else(|| self.told.get(secret)).is_some() {
            self.tell("removed", secret.clone(), "", None);
        }
    }
}

fn name(secret: &TlsSecret) -> ResourceName {
    ResourceName::new(&secret.namespace, &secret.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_back_before_a_command_heard_that_it_is_gone_is_told() {
        let home = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(home.path());
        let log = home.path().join("log");
        let script = format!("echo $CERTWRIGHT_EVENT >> {}", log.display());
        let command = OnChange::new(&script, true, Duration::from_secs(60)).unwrap();
        let (mut changes, task) = command.start(dir.clone(), home.path(), Events::new(false));
        let secret = TlsSecret::new("ns", "web");
        dir.write(&secret).unwrap();
        changes.replace(&[&secret]);
        for _ in 0..2 {
            changes.remove(&name(&secret));
        }
        for _ in 0..2 {
            changes.put(&secret);
        }
        drop(changes);
        task.await.unwrap();
        let told = std::fs::read_to_string(&log).unwrap();
        assert_eq!(told, "removed\nchanged\n");
    }

    #[tokio::test]
    async fn what_went_away_while_nobody_kept_the_directory_is_told_once() {
        let home = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(home.path());
        let log = home.path().join("log");
        let script = format!(
            "echo $CERTWRIGHT_EVENT $CERTWRIGHT_SECRET >> {}",
            log.display()
        );
        let mut secrets = Vec::new();
        for name in ["gone", "damaged", "same"] {
            let mut secret = TlsSecret::new("ns", name);
            secret.insert("tls.crt", name);
            dir.write(&secret).unwrap();
            secrets.push(secret);
        }
        for (first, expected) in [(0, None), (2, Some("removed gone\n")), (2, None)] {
            let command = OnChange::new(&script, true, Duration::from_secs(60)).unwrap();
            let (mut changes, task) = command.start(dir.clone(), home.path(), Events::new(false));
            changes.replace(&secrets[first..].iter().collect::<Vec<_>>());
            drop(changes);
            task.await.unwrap();
            let told = std::fs::read_to_string(&log).ok();
            assert_eq!(told.as_deref(), expected, "{first}");
            let _ = std::fs::remove_file(&log);
            dir.remove("ns", "gone").unwrap();
            std::fs::write(home.path().join("ns/damaged/..data/.metadata.json"), "{").unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_in_documents_only_is_told_to_nobody() {
        let home = tempfile::tempdir().unwrap();
        let dir = SecretDir::new(home.path());
        let log = home.path().join("log");
        let script = format!("echo $CERTWRIGHT_EVENT >> {}", log.display());
        let kept = TlsSecret::new("ns", "web");
        dir.write(&kept).unwrap();
        for _ in 0..2 {
            let command = OnChange::new(&script, true, Duration::from_secs(60)).unwrap();
            let (mut changes, task) = command.start(dir.clone(), home.path(), Events::new(false));
            changes.replace(&[&kept]);
            changes.put(&TlsSecret::new("ns", "password"));
            changes.replace(&[&kept, &TlsSecret::new("ns", "password")]);
            changes.remove(&ResourceName::new("ns", "password"));
            drop(changes);
            task.await.unwrap();
            assert!(!log.exists());
        }
    }
}
