//! What is told of Secrets where they are kept: that one cannot be read or stored, or all of them anew.

use std::collections::BTreeMap;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::CA_CRT;

use super::Manager;
use super::anchors::TRUST_BUNDLE;
use crate::annotation;
use crate::inventory::ResourceName;
use crate::issue::IssueError;
use crate::plan::Block;

/// What is wrong with Secrets, by name, and why.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    unreadable: BTreeMap<ResourceName, String>,
    unstored: BTreeMap<ResourceName, String>,
}

impl Manager {
    /// Takes note that a Secret is there and cannot be read, which is not the same as [absent](Self::forget): nothing
    /// is issued into it, and nothing below it if it is a CA's, until it is [read](Self::observe) or gone.
    ///
    /// `reason` is for people: what cannot be read, and where.
    pub fn unreadable(&mut self, secret: &ResourceName, reason: impl Into<String>) {
        let known = &mut self.troubles.unreadable;
        known.insert(secret.clone(), reason.into());
        self.touch(secret);
        // What is being signed would take its place.
        let owner = self.inventory.owner(secret, self.secrets.get(secret));
        if let Some(state) = owner.and_then(|owner| self.states.get_mut(owner)) {
            state.running = None;
        }
    }

    /// Takes note that a Secret could not be stored, for this reason, or that it was after all.
    pub fn unstored(&mut self, secret: &ResourceName, reason: Option<String>) {
        match reason {
            Some(reason) => self.troubles.unstored.insert(secret.clone(), reason),
            None => self.troubles.unstored.remove(secret),
        };
    }

    /// Begins anew with these Secrets, which are all that are stored: what others wrote, and what was not stored. Jobs
    /// are given up and handed out anew. Pauses, and what users asked for, are not forgotten.
    pub fn reload(&mut self, stored: impl IntoIterator<Item = TlsSecret>) {
        self.secrets.clear();
        self.records.clear();
        self.unread.clear();
        self.take_stored(stored);
        // What is remembered of these and was not stored is to be stored again.
        self.changed_states.extend(self.states.keys().cloned());
        self.troubles = Troubles::default();
        self.authorities.clear();
        self.seals.clear();
        self.anchors.clear();
        self.changes.clear();
        self.untold.clear();
        self.abandon_jobs();
        self.open.extend(0..self.order.len());
        // The next step begins like the first one.
        self.last = None;
    }

    /// Takes Secrets that are stored, records among them.
    pub(super) fn take_stored(&mut self, stored: impl IntoIterator<Item = TlsSecret>) {
        for secret in stored {
            if let Err(secret) = self.take_record(secret) {
                let name = ResourceName::new(&secret.namespace, &secret.name);
                self.secrets.insert(name, secret);
            }
        }
    }

    /// Whether a Secret is there and cannot be read.
    pub(crate) fn is_unreadable(&self, secret: &ResourceName) -> bool {
        self.troubles.unreadable.contains_key(secret)
    }

    /// Why there is nothing of a Secret that an issuer or a keystore needs.
    pub(super) fn absent(&self, secret: ResourceName) -> IssueError {
        match self.troubles.unreadable.get(&secret).cloned() {
            Some(reason) => IssueError::Unreadable { secret, reason },
            None => IssueError::NoCaSecret { secret },
        }
    }

    /// Whether a Secret is below one of these by its issuers.
    pub(crate) fn is_below(
        &self,
        secret: &ResourceName,
        one_of: impl Fn(&ResourceName) -> bool,
    ) -> bool {
        let mut at = secret.clone();
        // No path without a cycle is longer.
        for _ in 0..=self.order.len() {
            let owner = self.inventory.owner(&at, self.secrets.get(&at));
            match owner.and_then(|owner| self.inventory.ca_of(owner)) {
                Some((_, ca)) if ca != at && one_of(&ca) => return true,
                Some((_, ca)) if ca != at => at = ca,
                _ => return false,
            }
        }
        false
    }

    /// What is wrong with a Secret where it is kept, as a word for programs and a text for people.
    pub(super) fn trouble(&self, secret: &ResourceName) -> Option<(&'static str, &str)> {
        let Troubles {
            unreadable,
            unstored,
        } = &self.troubles;
        let unreadable = unreadable.get(secret).map(|why| ("SecretUnreadable", why));
        let trouble = unreadable.or_else(|| Some(("NotStored", unstored.get(secret)?)));
        trouble.map(|(word, why)| (word, why.as_str()))
    }

    /// The Secret that cannot be read without which nothing is decided about a Certificate.
    pub(super) fn obstacle(&self, name: &ResourceName, target: &ResourceName) -> Option<Block> {
        let ca = self.inventory.ca_of(name).map(|(_, secret)| secret);
        // A CA that was read before signs on.
        let ca = ca.filter(|ca| !self.secrets.contains_key(ca));
        let secrets = [Some(target), ca.as_ref()];
        secrets.into_iter().flatten().find_map(|secret| {
            let reason = self.troubles.unreadable.get(secret)?.clone();
            let secret = secret.clone();
            Some(Block::SecretUnreadable { secret, reason })
        })
    }

    /// Takes note that a Secret can be read, or is gone; whether that is new.
    pub(super) fn is_mended(&mut self, secret: &ResourceName) -> bool {
        self.troubles.unreadable.remove(secret).is_some()
    }

    /// What a Secret would have told at the beginning, if it could have been read then.
    pub(super) fn recall(&mut self, secret: &ResourceName) {
        let (Some(stored), Some(now)) = (self.secrets.get(secret), self.last) else {
            return;
        };
        let owner = self.inventory.owner(secret, Some(stored)).cloned();
        if self.groups.contains_key(secret) {
            // Of one that nobody here keeps whoever observes it takes note.
            if let Some(anchor) = stored.get(CA_CRT).filter(|_| owner.is_some()) {
                self.anchors.join(secret, secret, anchor, now);
            }
            if let Some(bundle) = stored.get(TRUST_BUNDLE) {
                self.anchors.remember(secret, bundle, now);
            }
        }
        if let (Some(owner), Some(revision)) = (owner, annotation::revision(stored)) {
            let state = self.states.entry(owner).or_default();
            state.revision = state.revision.max(revision);
        }
    }
}
