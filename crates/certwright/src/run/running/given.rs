//! What documents bring: what is asked for, and Secrets.

use std::collections::BTreeSet;

use certwright_cert_model::TlsSecret;

use super::Running;
use crate::inventory::ResourceName;
use crate::run::{Event, StoreError};

impl Running {
    /// Reads the documents again, if it is time to.
    pub(super) async fn documents(&mut self) {
        let Some(source) = self.runner.source.clone() else {
            return;
        };
        let namespace = &self.runner.cluster_namespace;
        let look = self
            .documents
            .look(&source, namespace, &self.runner.defaults);
        let found = match look.await {
            Ok(None) => return,
            Ok(Some(found)) => found,
            Err(error) => {
                let error = StoreError::failed("list", error);
                return (self.runner.listener)(&Event::Store(&error));
            }
        };
        for problem in &found.documents.problems {
            (self.runner.listener)(&Event::Document(problem));
        }
        self.wrong |= !found.documents.problems.is_empty();
        // What is still being written may be what was wrong.
        if found.whole && core::mem::take(&mut self.wrong) {
            (self.runner.listener)(&Event::Mended);
        }
        let mut inventory = found.documents.inventory;
        let mut kept = Vec::new();
        if !found.whole {
            kept = inventory.keep(self.manager.inventory());
        }
        let outcomes = self.manager.replace_inventory(inventory);
        self.collect(outcomes);
        for command in core::mem::take(&mut self.early).into_values() {
            self.command(Some(command));
        }
        kept.extend(self.give(found.documents.secrets, found.whole));
        if !kept.is_empty() {
            (self.runner.listener)(&Event::Kept { resources: &kept });
        }
    }

    /// Takes the Secrets of documents. One that a Certificate keeps is where it begins, and no more. Those that are
    /// not among them stay unless these are all; which that were.
    fn give(&mut self, secrets: Vec<TlsSecret>, whole: bool) -> Vec<String> {
        let mut given = BTreeSet::new();
        for secret in secrets {
            let name = ResourceName::new(&secret.namespace, &secret.name);
            let kept = self.manager.inventory().owner(&name, None).is_some();
            if kept && (self.manager.secret(&name).is_some() || self.manager.is_unreadable(&name)) {
                continue;
            }
            if !kept {
                given.insert(name.clone());
            }
            for publisher in &mut self.runner.publishers {
                publisher.put(&secret);
            }
            self.manager.observe(secret);
        }
        let mut kept = Vec::new();
        for gone in core::mem::take(&mut self.given) {
            if given.contains(&gone) || self.manager.inventory().owner(&gone, None).is_some() {
                // A Certificate keeps it from now on, and begins with it.
                continue;
            }
            if !whole {
                kept.push(format!("Secret {gone}"));
                given.insert(gone);
                continue;
            }
            self.manager.forget(&gone);
            for publisher in &mut self.runner.publishers {
                publisher.remove(&gone);
            }
        }
        self.given = given;
        kept
    }
}
