//! What users ask for by hand.

use time::{Duration, OffsetDateTime};

use super::{Manager, Outcome, SKEW};
use crate::annotation;
use crate::inventory::ResourceName;

impl Manager {
    /// Asks for a new certificate whatever the old one is, like `cmctl renew`; `false` if there is no such
    /// Certificate. It is issued by the next [`reconcile`](Self::reconcile), with the key that `rotationPolicy` says.
    pub fn renew(&mut self, name: &ResourceName, now: OffsetDateTime) -> bool {
        let Some(rank) = self.ranks.get(name) else {
            return false;
        };
        self.open.insert(*rank);
        // What was issued at the same instant, or by a clock that was ahead, is not what is asked for.
        let issued = self.secret_of(name).and_then(annotation::issued_at);
        let issued = issued.filter(|issued| now <= *issued && *issued <= now.saturating_add(SKEW));
        let after = issued.map(|issued| issued.saturating_add(Duration::NANOSECOND));
        self.states.entry(name.clone()).or_default().requested = after.or(Some(now));
        self.changed_states.insert(name.clone());
        true
    }

    /// Asks for a new certificate with a new key, even under `rotationPolicy: Never`: what to do when others may know
    /// the old one. `false` if there is no such Certificate.
    ///
    /// What is being signed for it now is given up, and asked for anew.
    ///
    /// Whatever a CA signed with the old key is issued again by itself; see [`drop_old_anchors`](Self::drop_old_anchors)
    /// for the trust in it.
    pub fn rekey(&mut self, name: &ResourceName, now: OffsetDateTime) -> bool {
        let known = self.renew(name, now);
        if known {
            let state = self.states.entry(name.clone()).or_default();
            state.rekey = true;
            // What is being signed may be for the old key, and would count as what was asked for.
            state.running = None;
            self.held.remove(name);
        }
        known
    }

    /// Asks once more for what was asked for at this instant, issued and then not stored.
    #[cfg(feature = "run")]
    pub(crate) fn ask_again(&mut self, name: &ResourceName, at: OffsetDateTime) {
        match self.states.get(name).is_some_and(|state| state.rekeyed) {
            true => self.rekey(name, at),
            false => self.renew(name, at),
        };
    }

    /// Takes every anchor out of the `trust-bundle.pem` of everything below a CA but the one that the CA has now, for
    /// the case that others know the key of an old one; what was done. Nothing, if there is no old one, or no such
    /// Certificate.
    ///
    /// Call it after [`rekey`](Self::rekey) and a [`reconcile`](Self::reconcile) at the same instant. Certificates that
    /// only an old anchor verifies are refused by whoever has read the new bundle; they are issued again by the next
    /// [`reconcile`](Self::reconcile), and wait for nobody.
    pub fn drop_old_anchors(&mut self, ca: &ResourceName) -> Vec<(ResourceName, Outcome)> {
        let Some(top) = self.tops.get(ca).cloned() else {
            return Vec::new();
        };
        if !self.anchors.drop_others(&top) {
            return Vec::new();
        }
        // Stored before the bundles: a process that ends between two of them has written down what is to go.
        self.record_changes();
        self.open_group(&top);
        self.rewrite(&top, None)
    }

    /// Everything below a CA is to be looked at.
    pub(super) fn open_group(&mut self, top: &ResourceName) {
        for member in self.groups.get(top).into_iter().flatten() {
            let owner = self.inventory.owner(member, self.secrets.get(member));
            self.open
                .extend(owner.and_then(|owner| self.ranks.get(owner)));
        }
    }
}
