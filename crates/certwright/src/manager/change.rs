//! What others change: what is asked for, and the Secrets.

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::output::KeystorePassword;
use certwright_cert_model::validated::ValidatedSpec;
use time::OffsetDateTime;

use super::{Manager, Outcome, SecretChange};
use crate::annotation;
use crate::inventory::{Inventory, ResourceName};
use crate::issuer::{ACME_GROUP, Wish};

impl Manager {
    /// Takes another inventory; what is the same in both is left alone. What became of the Secrets of Certificates
    /// that are gone.
    pub fn replace_inventory(&mut self, inventory: Inventory) -> Vec<(ResourceName, Outcome)> {
        let old = core::mem::replace(&mut self.inventory, inventory);
        let new = &self.inventory;
        let issuer = |of: &Inventory, name: &ResourceName, reference: &IssuerRef| {
            let found = of.issuer(&name.namespace, reference);
            found.map(|found| (found.spec.clone(), found.namespace.to_owned()))
        };
        let same = |name: &ResourceName, spec: &ValidatedSpec| {
            old.certificate(name) == Some(spec)
                && issuer(&old, name, spec.issuer_ref()) == issuer(new, name, spec.issuer_ref())
                && new
                    .target(name)
                    .is_some_and(|target| old.owner(&target, None) == new.owner(&target, None))
        };
        let changed: Vec<_> = new
            .certificates()
            .filter(|(name, spec)| !same(name, spec))
            .map(|(name, _)| name.clone())
            .collect();
        let still_open: Vec<_> = self
            .open
            .iter()
            .map(|rank| self.order[*rank].clone())
            .collect();
        let gone: Vec<_> = old
            .certificates()
            .filter(|(name, _)| new.certificate(name).is_none())
            .map(|(name, _)| (name.clone(), old.target(name)))
            .collect();
        let left: Vec<_> = old
            .certificates()
            .filter_map(|(name, _)| {
                let target = old.target(name)?;
                (new.target(name).as_ref() != Some(&target)).then_some(target)
            })
            .collect();
        self.index();
        for name in changed.iter().chain(&still_open) {
            self.open.extend(self.ranks.get(name));
        }
        // Whoever waited for a Secret that another one had has it now.
        for target in &left {
            let owner = self.inventory.owner(target, self.secrets.get(target));
            self.open
                .extend(owner.and_then(|owner| self.ranks.get(owner)));
        }
        for name in &changed {
            if let Some(state) = self.states.get_mut(name) {
                state.configuration_changed();
                self.changed_states.insert(name.clone());
            }
            self.held.remove(name);
        }
        let new = &self.inventory;
        let wanting = new.certificates().map(|(name, _)| name);
        let wanting = wanting.filter(|name| new.is_temporary_wanted(name));
        let wanting = wanting.filter(|name| !old.is_temporary_wanted(name));
        self.wanting.extend(wanting.cloned());
        self.tell_wishes();
        let mut outcomes = Vec::new();
        for (name, target) in gone {
            self.agenda.remove(&name);
            self.states.remove(&name);
            self.changed_states.insert(name.clone());
            self.held.remove(&name);
            let Some(target) = target.filter(|target| self.inventory.owner(target, None).is_none())
            else {
                continue;
            };
            let owned = self.secrets.get(&target).and_then(annotation::certificate);
            if owned != Some(name.name.as_str()) {
                continue;
            }
            if self.options.owner_references {
                self.forget(&target);
                self.changes.push(SecretChange::Remove(target.clone()));
                outcomes.push((name, Outcome::Removed { secret: target }));
            } else {
                outcomes.push((name, Outcome::Orphaned { secret: target }));
            }
        }
        outcomes
    }

    /// Takes a Secret that somebody else wrote.
    pub fn observe(&mut self, secret: TlsSecret) {
        let Err(secret) = self.take_record(secret) else {
            return;
        };
        let name = ResourceName::new(&secret.namespace, &secret.name);
        let mended = self.is_mended(&name);
        let changed = mended || self.secrets.get(&name) != Some(&secret);
        if changed {
            self.touch(&name);
            self.secrets.insert(name.clone(), secret);
            // It may be another Certificate's now.
            self.touch(&name);
        }
        if mended {
            self.recall(&name);
        }
        if changed {
            self.trust_replaced(&name);
        }
    }

    /// Takes note that somebody else removed a Secret.
    pub fn forget(&mut self, secret: &ResourceName) {
        self.forget_record(secret);
        let mended = self.is_mended(secret);
        if self.secrets.remove(secret).is_some() || mended {
            self.touch(secret);
            let now = self.last.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            self.anchors.leave(secret, now);
        }
    }

    /// Tells every issuer of yours what is wanted of it.
    pub(super) fn tell_wishes(&self) {
        for (key, issuer) in &self.issuers {
            let theirs = |(name, _): (&ResourceName, _)| {
                (self.registered(name).as_ref() == Some(key)).then(|| self.wish(name))?
            };
            let wishes: Vec<_> = self.inventory.certificates().filter_map(theirs).collect();
            issuer.wanted(&wishes);
        }
    }

    /// Group and kind for which the issuer of yours is registered that a Certificate names.
    pub(super) fn registered(&self, name: &ResourceName) -> Option<(String, String)> {
        let reference = self.inventory.certificate(name)?.issuer_ref();
        if let IssuerKind::External { group, kind } = &reference.kind {
            return Some((group.clone(), kind.clone()));
        }
        let found = self.inventory.issuer(&name.namespace, reference)?;
        let is_acme = matches!(found.spec, IssuerSpec::Acme(_));
        is_acme.then(|| (ACME_GROUP.to_owned(), "Issuer".to_owned()))
    }

    pub(super) fn wish(&self, name: &ResourceName) -> Option<Wish> {
        let spec = self.inventory.shared(name)?;
        let issuer_namespace = match spec.issuer_ref().kind {
            IssuerKind::ClusterIssuer => String::new(),
            _ => name.namespace.clone(),
        };
        Some(Wish {
            certificate: name.clone(),
            spec,
            issuer_namespace,
        })
    }

    /// Rebuilds what is derived from the inventory.
    fn index(&mut self) {
        self.unseen = true;
        let (order, _) = self.inventory.sorted();
        self.ranks = order
            .iter()
            .enumerate()
            .map(|(rank, name)| (name.clone(), rank))
            .collect();
        self.readers.clear();
        self.tops.clear();
        self.groups.clear();
        self.open.clear();
        for (rank, name) in order.iter().enumerate() {
            let ca = self.inventory.ca_of(name).map(|(_, secret)| secret);
            let spec = self.inventory.certificate(name);
            let passwords = spec.into_iter().flat_map(|spec| passwords(name, spec));
            let binding = self.inventory.binding_of(name).map(|(secret, _)| secret);
            let passwords = passwords.map(|(secret, _)| secret);
            for secret in ca.into_iter().chain(passwords).chain(binding) {
                self.readers.entry(secret).or_default().push(rank);
            }
            if let (Some(top), Some(target)) =
                (self.inventory.top(name), self.inventory.target(name))
            {
                self.groups.entry(top.clone()).or_default().push(target);
                self.tops.insert(name.clone(), top);
            }
        }
        self.order = order;
    }

    /// Whoever depends on a Secret is to look again.
    pub(super) fn touch(&mut self, secret: &ResourceName) {
        self.authorities.remove(secret);
        self.seals.remove(secret);
        let owner = self.inventory.owner(secret, self.secrets.get(secret));
        let owner = owner.and_then(|owner| self.ranks.get(owner)).copied();
        let readers = self.readers.get(secret).into_iter().flatten().copied();
        for rank in readers {
            self.open.insert(rank);
            if let Some(state) = self.states.get_mut(&self.order[rank]) {
                // What the CA before it signs is not what is asked for any more.
                state.running = state.running.filter(|running| !running.local);
                if state.failing.take().is_some() {
                    self.changed_states.insert(self.order[rank].clone());
                }
            }
        }
        self.open.extend(owner);
    }
}

/// The Secrets and keys with the passwords of a Certificate's keystores.
pub(super) fn passwords(name: &ResourceName, spec: &ValidatedSpec) -> Vec<(ResourceName, String)> {
    let stores = spec.keystores();
    let jks = stores.jks.as_ref().map(|store| &store.password);
    let pkcs12 = stores.pkcs12.as_ref().map(|store| &store.password);
    let named = |password: &KeystorePassword| match password {
        KeystorePassword::Literal(_) => None,
        KeystorePassword::SecretKey { name: secret, key } => {
            Some((ResourceName::new(&name.namespace, secret), key.clone()))
        }
    };
    jks.into_iter().chain(pkcs12).filter_map(named).collect()
}
