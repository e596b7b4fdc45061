//! A machine's own copy of the Secrets that machines share.

use certwright::{Publisher, ResourceName, SecretDir};
use certwright_cert_model::TlsSecret;

use super::events::Events;
use crate::cli::explain::is_served;
use crate::cli::with_causes;

/// Writes what servers serve into a directory; keys of CAs stay where they are.
#[derive(Debug)]
pub(super) struct Mirror {
    dir: SecretDir,
    events: Events,
}

impl Mirror {
    pub(super) fn new(dir: SecretDir, events: Events) -> Self {
        Self { dir, events }
    }
}

impl Publisher for Mirror {
    /// What is in the directory and not among the Secrets stays: it may be somebody else's.
    fn replace(&mut self, secrets: &[&TlsSecret]) {
        for secret in secrets {
            self.put(secret);
        }
    }

    fn put(&mut self, secret: &TlsSecret) {
        if !is_served(secret) {
            return;
        }
        let there = self.dir.read(&secret.namespace, &secret.name);
        if there.is_ok_and(|there| there.as_ref() == Some(secret)) {
            return;
        }
        if let Err(error) = self.dir.write(secret) {
            self.events.say("store", &with_causes(&error));
        }
    }

    fn remove(&mut self, secret: &ResourceName) {
        if let Err(error) = self.dir.remove(&secret.namespace, &secret.name) {
            self.events.say("store", &with_causes(&error));
        }
    }
}
