//! Renewals that somebody asked for, and how they reach the process that issues.
//!
//! A request is a record beside the Secrets: `.renew/NAMESPACE/CERTIFICATE` in the directory, or
//! `PREFIX/renew/NAMESPACE/CERTIFICATE` in etcd. It holds the instant it was made and the Secret's name, and is removed
//! once that Secret holds a certificate that was issued later: a process that dies in between neither forgets it nor
//! does it twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certwright::run::Handle;
use certwright::{ResourceName, SecretDir};
use certwright_cert_model::document::{Format, Strictness};
use certwright_cert_model::{Manifest, TlsSecret, manifest};
use certwright_storage::{Key, Storage, Txn, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::events::Events;
use crate::cli::get::issued_at;

/// How often requests are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// A request that nobody could do in this time is given up.
const OLDEST: time::Duration = time::Duration::days(7);

/// Where requests are kept.
#[derive(Clone, Debug)]
pub(crate) enum Requests {
    /// Beside the Secrets of a directory.
    Dir(SecretDir),
    /// Beside those of storage that machines share.
    Shared {
        /// The storage.
        storage: Arc<dyn Storage>,
        /// What keys start with.
        prefix: String,
    },
}

/// Somebody asked for a new certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) certificate: ResourceName,
    /// The name of the Secret that is to hold it.
    pub(crate) secret: String,
    pub(crate) at: OffsetDateTime,
}

type Failed = Box<dyn Error + Send + Sync>;

impl Request {
    fn to_text(&self) -> Result<String, Failed> {
        Ok(format!("{} {}\n", self.at.format(&Rfc3339)?, self.secret))
    }

    fn read(certificate: ResourceName, text: &str) -> Option<Self> {
        let (at, secret) = text.trim_end().split_once(' ')?;
        Some(Self {
            certificate,
            secret: secret.to_owned(),
            at: OffsetDateTime::parse(at, &Rfc3339).ok()?,
        })
    }
}

impl Requests {
    /// Writes a request down.
    pub(crate) async fn make(&self, request: &Request) -> Result<(), Failed> {
        let text = request.to_text()?;
        match self {
            Self::Dir(dir) => {
                let path = place(dir, &request.certificate)?;
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                // Whoever looks sees all of it or nothing.
                let next = path.with_file_name(format!(".{}", request.certificate.name));
                fs::write(&next, text)?;
                fs::rename(&next, &path)?;
            }
            Self::Shared { storage, prefix } => {
                let key = key(prefix, &request.certificate)?;
                storage
                    .txn(Txn::new().put(key, Value::from(text.as_bytes())))
                    .await?;
            }
        }
        Ok(())
    }

    /// Whether a request is done: the Secret's certificate is younger.
    pub(crate) async fn is_done(&self, request: &Request) -> Result<bool, Failed> {
        let namespace = &request.certificate.namespace;
        let secret = match self {
            Self::Dir(dir) => dir.read(namespace, &request.secret)?,
            Self::Shared { storage, prefix } => {
                let key = Key::new(&format!("{prefix}/secret/{namespace}/{}", request.secret))?;
                let entry = storage.get(&key).await?;
                entry.and_then(|entry| read_secret(entry.value.as_bytes()))
            }
        };
        let issued = secret.as_ref().and_then(issued_at);
        Ok(issued.is_some_and(|issued| issued >= request.at))
    }

    async fn list(&self) -> Result<Vec<Request>, Failed> {
        match self {
            Self::Dir(dir) => Ok(list_dir(dir)?),
            Self::Shared { storage, prefix } => {
                let root = format!("{prefix}/renew/");
                let listed = storage.list(&root).await?;
                let requests = listed.entries.iter().filter_map(|entry| {
                    let name = entry.key.as_str().strip_prefix(&root)?;
                    let (namespace, name) = name.split_once('/')?;
                    let text = core::str::from_utf8(entry.value.as_bytes()).ok()?;
                    Request::read(ResourceName::new(namespace, name), text)
                });
                Ok(requests.collect())
            }
        }
    }

    async fn remove(&self, request: &Request) -> Result<(), Failed> {
        match self {
            Self::Dir(dir) => match fs::remove_file(place(dir, &request.certificate)?) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            Self::Shared { storage, prefix } => {
                let key = key(prefix, &request.certificate)?;
                storage.txn(Txn::new().delete(key)).await?;
                Ok(())
            }
        }
    }

    /// Hands requests on for ever, while this process issues.
    pub(crate) async fn follow(self, handle: Handle, leading: Arc<AtomicBool>, events: Events) {
        let mut handed = BTreeMap::new();
        let mut broken = false;
        loop {
            tokio::time::sleep(EVERY).await;
            if !leading.load(Ordering::Relaxed) {
                handed.clear();
                continue;
            }
            match self.look(&handle, &mut handed, &events).await {
                Ok(()) => broken = false,
                // Told once, not every second.
                Err(error) => {
                    if !broken {
                        events.say("store", &crate::cli::with_causes(&*error));
                    }
                    broken = true;
                }
            }
        }
    }

    async fn look(
        &self,
        handle: &Handle,
        handed: &mut BTreeMap<ResourceName, OffsetDateTime>,
        events: &Events,
    ) -> Result<(), Failed> {
        // One that cannot be looked at keeps no other.
        let mut failed = Ok(());
        for request in self.list().await? {
            let name = &request.certificate;
            match self.is_over(&request).await {
                Ok(true) => {
                    handed.remove(name);
                }
                Ok(false) => {
                    if handed.insert(name.clone(), request.at) != Some(request.at) {
                        events.about("asked", &name.to_string(), "for a new certificate");
                        handle.renew(name.clone());
                    }
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// Removes a request that is done or given up; whether it was.
    async fn is_over(&self, request: &Request) -> Result<bool, Failed> {
        let too_old = OffsetDateTime::now_utc() - request.at > OLDEST;
        let over = too_old || self.is_done(request).await?;
        if over {
            self.remove(request).await?;
        }
        Ok(over)
    }
}

fn place(dir: &SecretDir, certificate: &ResourceName) -> Result<PathBuf, Failed> {
    let path = dir.path(&certificate.namespace, &certificate.name)?;
    let root = path.ancestors().nth(2).unwrap_or(&path);
    Ok(root
        .join(".renew")
        .join(&certificate.namespace)
        .join(&certificate.name))
}

fn key(prefix: &str, certificate: &ResourceName) -> Result<Key, Failed> {
    Ok(Key::new(&format!("{prefix}/renew/{certificate}"))?)
}

fn list_dir(dir: &SecretDir) -> io::Result<Vec<Request>> {
    let Ok(any) = dir.path("a", "b") else {
        return Ok(Vec::new());
    };
    let root = any.ancestors().nth(2).unwrap_or(&any).join(".renew");
    let mut requests = Vec::new();
    let listed = |path: &PathBuf| match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>(),
    };
    for namespace in listed(&root)? {
        if !namespace.is_dir() {
            continue;
        }
        for path in listed(&namespace)? {
            let names =
                [&namespace, &path].map(|path| path.file_name().and_then(|name| name.to_str()));
            if let [Some(namespace), Some(name)] = names
                && !name.starts_with('.')
                && let Ok(text) = fs::read_to_string(&path)
            {
                requests.extend(Request::read(ResourceName::new(namespace, name), &text));
            }
        }
    }
    Ok(requests)
}

fn read_secret(bytes: &[u8]) -> Option<TlsSecret> {
    let text = core::str::from_utf8(bytes).ok()?;
    match manifest::read(text, Format::Yaml, Strictness::Lenient).pop() {
        Some(Ok(Manifest::Secret(secret))) => Some(secret),
        _ => None,
    }
}
