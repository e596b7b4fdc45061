//! Trust anchors in the Secrets of everything below one CA.

use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::{CA_CRT, TLS_CRT};
use certwright_issuance::{Certificate, chain};
use time::OffsetDateTime;

use super::anchors::TRUST_BUNDLE;
use super::history::State;
use super::{Manager, Outcome};
use crate::annotation;
use crate::inventory::ResourceName;
use crate::plan::{AuthorityChange, Reason, contest_text, contested_until};

impl Manager {
    /// Takes note of the anchor of a Certificate's Secret; the Secrets whose bundle had to be written again.
    pub(super) fn trust(
        &mut self,
        name: &ResourceName,
        now: OffsetDateTime,
    ) -> Vec<(ResourceName, Outcome)> {
        let Some(target) = self.inventory.target(name) else {
            return Vec::new();
        };
        let (changed, mut outcomes) = self.spread(name, &target, now);
        let Some(top) = self.tops.get(name).cloned() else {
            return outcomes;
        };
        let rewritten = self.states.get(name).map(State::rewritten);
        let rewritten = rewritten.filter(|_| !changed).unwrap_or_default();
        let pause = contested_until(&rewritten, &self.options.backoff, now);
        let before = pause
            .and(self.secrets.get(&target))
            .map(TlsSecret::clone_with_keys);
        if !self.write_bundle(&top, &target) {
            return outcomes;
        }
        if let (Some(until), Some(before)) = (pause, before) {
            self.secrets.insert(target, before);
            let due = self.agenda.get(name);
            self.agenda
                .insert(name.clone(), due.map_or(until, |due| due.min(until)));
            let state = self.states.entry(name.clone()).or_default();
            state.contested = Some(contest_text(&[TRUST_BUNDLE], until));
            outcomes.push((name.clone(), Outcome::Waiting { until }));
            return outcomes;
        }
        if !changed {
            self.states.entry(name.clone()).or_default().rewrote(now);
        }
        self.changed(&target);
        let what = vec![TRUST_BUNDLE.to_owned()];
        outcomes.push((name.clone(), Outcome::Reapplied { what }));
        outcomes
    }

    /// Writes the trust anchors of a Certificate's group into its Secret, and into those of all others if they
    /// changed; whether they did.
    pub(super) fn spread(
        &mut self,
        name: &ResourceName,
        target: &ResourceName,
        now: OffsetDateTime,
    ) -> (bool, Vec<(ResourceName, Outcome)>) {
        let Some(top) = self.tops.get(name).cloned() else {
            return (false, Vec::new());
        };
        let given = !self.anchors.is_member(&top) && self.join_given(&top, now);
        let anchor = self
            .secrets
            .get(target)
            .and_then(|secret| secret.get(CA_CRT));
        let changed = match anchor.map(<[u8]>::to_vec) {
            Some(anchor) => self.anchors.join(&top, target, &anchor, now),
            None => self.anchors.leave(target, now),
        };
        let changed = changed || given;
        let outcomes = match changed {
            true => self.rewrite(&top, Some(target)),
            false => Vec::new(),
        };
        (changed, outcomes)
    }

    /// Writes a group's bundle into the Secrets of all members but one.
    pub(super) fn rewrite(
        &mut self,
        top: &ResourceName,
        but: Option<&ResourceName>,
    ) -> Vec<(ResourceName, Outcome)> {
        let mut outcomes = Vec::new();
        for member in self.groups.get(top).cloned().unwrap_or_default() {
            if Some(&member) == but || !self.write_bundle(top, &member) {
                continue;
            }
            let owner = self.inventory.owner(&member, self.secrets.get(&member));
            let what = vec![TRUST_BUNDLE.to_owned()];
            outcomes.extend(owner.map(|owner| (owner.clone(), Outcome::Reapplied { what })));
            self.changed(&member);
        }
        outcomes
    }

    /// Writes a group's bundle into a Secret that has a certificate; whether it had another one.
    pub(super) fn write_bundle(&mut self, top: &ResourceName, secret: &ResourceName) -> bool {
        if self.is_unreadable(top) || self.is_unreadable(secret) {
            // Nobody knows what it trusted, or what would be written over.
            return false;
        }
        let bundle = self.anchors.bundle(top);
        let Some(secret) = self.secrets.get_mut(secret) else {
            return false;
        };
        match bundle.filter(|_| secret.get(CA_CRT).is_some()) {
            Some(bundle) if secret.get(TRUST_BUNDLE) == Some(&*bundle) => false,
            Some(bundle) => {
                secret.insert(TRUST_BUNDLE, bundle);
                true
            }
            None => secret.remove(TRUST_BUNDLE),
        }
    }

    /// What is known before the first step: revisions, and the anchors that were trusted.
    ///
    /// A group trusts what the Secret of its highest CA says, and nothing else: who may write one Secret below it does
    /// not become trusted by all.
    pub(super) fn first(&mut self, now: OffsetDateTime) {
        for top in self.groups.keys() {
            let Some(secret) = self.secrets.get(top) else {
                continue;
            };
            let is_kept = self.inventory.owner(top, None).is_some();
            if let Some(anchor) = anchor_of(secret, is_kept) {
                self.anchors.join(top, top, &anchor, now);
            }
            if let Some(bundle) = secret.get(TRUST_BUNDLE) {
                self.anchors.remember(top, bundle, now);
            }
        }
        for name in &self.order {
            let (Some(target), Some(top)) = (self.inventory.target(name), self.tops.get(name))
            else {
                continue;
            };
            let Some(secret) = self.secrets.get(&target) else {
                continue;
            };
            if let Some(revision) = annotation::revision(secret) {
                self.states.entry(name.clone()).or_default().revision = revision;
            }
            let anchor = secret.get(CA_CRT);
            if let Some(anchor) = anchor.filter(|anchor| self.anchors.knows(top, anchor)) {
                self.anchors.join(top, &target, anchor, now);
            }
        }
    }

    /// Somebody else replaced a CA's Secret, perhaps one that no Certificate keeps, which no step looks at: its anchor is
    /// in every bundle below before anything is signed with it.
    pub(super) fn trust_replaced(&mut self, top: &ResourceName) {
        let Some(now) = self.last.filter(|_| self.anchors.bundle(top).is_some()) else {
            return;
        };
        if self.join_given(top, now) {
            let outcomes = self.rewrite(top, None);
            self.untold.extend(outcomes);
        }
    }

    /// Takes note of the anchor of a CA's Secret that no Certificate keeps; whether the group's bundle changed.
    fn join_given(&mut self, top: &ResourceName, now: OffsetDateTime) -> bool {
        if self.inventory.owner(top, None).is_some() {
            return false;
        }
        let secret = self.secrets.get(top);
        let anchor = secret.and_then(|secret| anchor_of(secret, false));
        anchor.is_some_and(|anchor| self.anchors.join(top, top, &anchor, now))
    }

    /// Drops trust anchors that nothing needs any more.
    pub(super) fn drop_anchors(&mut self, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        let changed = self.anchors.drop_unused(now, self.options.anchor_grace);
        let rewritten = changed.iter().map(|top| self.rewrite(top, None));
        rewritten
            .collect::<Vec<_>>()
            .into_iter()
            .flatten()
            .collect()
    }

    /// Until when a certificate that is still good has to wait because its CA's anchor is not everywhere yet.
    pub(super) fn wait_for_anchors(
        &self,
        name: &ResourceName,
        reason: &Reason,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        // The same key under the same name is the same anchor.
        let rekeyed = AuthorityChange::Rekeyed;
        if !matches!(reason, Reason::IssuerChanged { change, .. } if *change == rekeyed) {
            return None;
        }
        let since = self.anchors.overlap_since(self.tops.get(name)?)?;
        let until = since.saturating_add(self.options.anchor_lead);
        let stored = self.secret_of(name)?.get(TLS_CRT)?;
        let leaf = Certificate::read_pem(stored).ok()?.into_iter().next()?;
        // With a tenth of its time left it waits for nobody.
        let life = leaf.not_after() - leaf.not_before();
        let until = until.min(leaf.not_after().saturating_sub(life / 10));
        // What began after now is a clock's that was ahead.
        (since <= now && now < until).then_some(until)
    }
}

/// The anchor of a CA's Secret. What others keep may have none in `ca.crt`, or one of an earlier chain: then it is the
/// highest of the chain, which is the `ca.crt` of all below.
fn anchor_of(secret: &TlsSecret, is_kept: bool) -> Option<Vec<u8>> {
    let given = secret.get(CA_CRT);
    let read = |pem| Certificate::read_pem(pem).ok();
    let certificates = secret.get(TLS_CRT).and_then(read).filter(|_| !is_kept);
    let Some(certificates) = certificates else {
        return given.map(<[u8]>::to_vec);
    };
    let first = given.and_then(read).and_then(|all| all.into_iter().next());
    if let Some(first) = first
        && let Ok(whole) = chain::assemble([certificates.clone(), vec![first.clone()]].concat())
        && whole.authority.as_ref() == Some(&first)
    {
        return given.map(<[u8]>::to_vec);
    }
    let own = chain::assemble(certificates).ok()?;
    let highest = own.authority.or_else(|| own.chain.last().cloned())?;
    Some(highest.to_pem().into_bytes())
}
