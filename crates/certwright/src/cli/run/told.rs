//! What a command was told of last, over restarts: what a stop or a crash came between is told at the next start.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use certwright::ResourceName;
use certwright_cert_model::TlsSecret;

/// A directory beside the Secrets, which is none of them: `.told/NAMESPACE/SECRET` has the digest of what the Secret
/// held when a command was told of it.
#[derive(Clone, Debug)]
pub(super) struct Told(PathBuf);

/// A digest of what a Secret holds.
pub(super) fn digest(secret: &TlsSecret) -> String {
    let mut context = Context::new(&SHA256);
    for (key, bytes) in secret.data() {
        for part in [key.as_bytes(), bytes] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
    }
    let digest = context.finish();
    let digits = digest.as_ref().iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

impl Told {
    /// For the Secrets in this directory.
    pub(super) fn beside(secrets: &Path) -> Self {
        Self(secrets.join(".told"))
    }

    /// Whether there ever was a command. Without, nobody is to hear of what is there already.
    pub(super) fn has_begun(&self) -> bool {
        self.0.is_dir()
    }

    /// Begins with what is there. Begun is all or nothing.
    pub(super) fn begin(&self, held: &BTreeMap<ResourceName, String>) -> io::Result<()> {
        let next = Self(self.0.with_extension("next"));
        match fs::remove_dir_all(&next.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(secrets) = self.0.parent() {
            fs::create_dir_all(secrets)?;
        }
        // Who knows a digest can try passwords.
        DirBuilder::new().mode(0o700).create(&next.0)?;
        for (secret, digest) in held {
            next.set(secret, digest)?;
        }
        fs::rename(&next.0, &self.0)
    }

    /// The digest of what a command was told of last.
    pub(super) fn get(&self, secret: &ResourceName) -> Option<String> {
        fs::read_to_string(self.path(secret)).ok()
    }

    /// A command was told. What is written by half is told again.
    pub(super) fn set(&self, secret: &ResourceName, digest: &str) -> io::Result<()> {
        // Not what it stands in, which is begun with all there is or not at all.
        match fs::create_dir(self.0.join(&secret.namespace)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(self.path(secret), digest)
    }

    /// A command was told that it is gone.
    pub(super) fn remove(&self, secret: &ResourceName) -> io::Result<()> {
        match fs::remove_file(self.path(secret)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The Secrets that a command was told of.
    pub(super) fn all(&self) -> Vec<ResourceName> {
        let mut all = Vec::new();
        for namespace in names(&self.0) {
            for name in names(&self.0.join(&namespace)) {
                all.push(ResourceName::new(&namespace, name));
            }
        }
        all
    }

    fn path(&self, secret: &ResourceName) -> PathBuf {
        self.0.join(&secret.namespace).join(&secret.name)
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string());
    names.filter_map(Result::ok).collect()
}
