//! What becomes of a Secret: the signed certificate, a temporary one, the bundle of trust anchors.

use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::{TlsSecret, ValidatedSpec};
use certwright_issuance::temporary::temporary;
use certwright_issuance::{Certificate, KeyPair, Profile};
use certwright_renewal::Schedule;
use time::OffsetDateTime;

use super::anchors::TRUST_BUNDLE;
use super::{Manager, Outcome, SecretChange};
use crate::annotation;
use crate::inventory::ResourceName;
use crate::issue::{Done, IssueError, Job, JobKey, Made, prepare, verify};
use crate::plan::{AuthorityChange, Drift, Observed, Plan, Reason, plan};

impl Manager {
    /// Takes what came of a job; what was done, for this Certificate and for those that share its trust anchors. A
    /// result that nobody asks for any more is dropped.
    pub fn finish(&mut self, done: Done, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        let name = done.certificate.clone();
        let state = self.states.entry(name.clone()).or_default();
        let wanted = state.running.is_some_and(|running| running.id == done.id)
            && self.inventory.certificate(&name) == Some(&*done.spec);
        if !wanted {
            self.open.extend(self.ranks.get(&name));
            return Vec::new();
        }
        state.running = None;
        let (revision, reason) = (done.revision, done.reason.clone());
        let spec = done.spec.clone();
        let stored = done
            .result
            .and_then(|made| self.bundle(&name, &spec, revision, made, now))
            .and_then(|(mut secret, csr, warnings)| {
                let schedule = self.accept(&name, &spec, &secret, now)?;
                // What was signed is stored in any case: another order would not bring the keystores either.
                let stores = self.keystores(&name, &spec);
                let whole = stores.is_ok_and(|stores| stores.write(&mut secret, now).is_ok());
                Ok((secret, csr, warnings, schedule, whole))
            });
        let (secret, csr, warnings, schedule, whole) = match stored {
            Ok(stored) => stored,
            Err(error) => return vec![(name.clone(), self.fail(&name, error, now))],
        };
        tracing::info!(certificate = %name, %reason, "issued");
        let target = ResourceName::new(&secret.namespace, &secret.name);
        let limit = spec.revision_history_limit();
        let state = self.states.entry(name.clone()).or_default();
        state.succeeded(&name, revision, csr, limit, now);
        self.touch(&target);
        self.open.remove(&self.ranks[&name]);
        self.secrets.insert(target.clone(), secret);
        self.keep(&name, schedule);
        if !whole {
            // The next look tells why, and tries again.
            self.open.extend(self.ranks.get(&name));
        }
        let mut outcomes = self.spread(&name, &target, now);
        if let Some(top) = self.tops.get(&name).cloned() {
            self.write_bundle(&top, &target);
        }
        let issued = Outcome::Issued {
            reason,
            revision,
            warnings,
        };
        // New anchors are everywhere before a certificate needs them.
        self.changed(&target);
        outcomes.push((name, issued));
        outcomes
    }

    /// Whether a Secret that is about to be stored needs nothing more: what an issuer sent and would be replaced at
    /// once is a failure, not a loop. When it is renewed.
    fn accept(
        &mut self,
        name: &ResourceName,
        spec: &ValidatedSpec,
        secret: &TlsSecret,
        now: OffsetDateTime,
    ) -> Result<Option<Schedule>, IssueError> {
        let signer = self.signer(&name.namespace, spec.issuer_ref(), now)?;
        let mut seen = Observed::new(Some(secret), signer.authority());
        seen.certificate = &name.name;
        seen.key_reuse = signer.key_reuse();
        match plan(spec, &seen, now) {
            Plan::Idle(schedule) | Plan::Reapply { schedule, .. } => Ok(schedule),
            Plan::Issue { reason, .. } | Plan::Wait { reason, .. } => Err(IssueError::Unfit {
                reason: reason.to_string(),
            }),
            Plan::Blocked(block) => Err(IssueError::Unfit {
                reason: block.to_string(),
            }),
        }
    }

    /// The Secret with a signed certificate.
    fn bundle(
        &self,
        name: &ResourceName,
        spec: &ValidatedSpec,
        revision: u64,
        made: Made,
        now: OffsetDateTime,
    ) -> Result<(TlsSecret, String, Vec<String>), IssueError> {
        let leaf = made.bundle.certificate();
        let leaf = leaf.map_err(|e| IssueError::Unfit {
            reason: e.to_string(),
        })?;
        if leaf.not_after() <= now {
            let reason = format!("it expired at {}", leaf.not_after());
            return Err(IssueError::Unfit { reason });
        }
        let target = ResourceName::new(&name.namespace, spec.secret_name());
        let mut secret = match self.secrets.get(&target) {
            Some(secret) => secret.clone_with_keys(),
            None => TlsSecret::new(&target.namespace, &target.name),
        };
        annotation::record(&mut secret, &name.name, spec, now);
        annotation::number(&mut secret, revision, spec.is_ca(), made.is_acme);
        let warnings = made.bundle.warnings().iter().map(ToString::to_string);
        let warnings = warnings.collect();
        let secret = made
            .bundle
            .into_secret(secret, &made.key, spec.key().encoding, spec.outputs())
            .map_err(IssueError::Bundle)?;
        Ok((secret, made.csr.to_pem(), warnings))
    }

    /// Writes the trust anchors of a Certificate's group into its Secret, and into those of all others if they
    /// changed.
    fn spread(
        &mut self,
        name: &ResourceName,
        target: &ResourceName,
        now: OffsetDateTime,
    ) -> Vec<(ResourceName, Outcome)> {
        let Some(top) = self.tops.get(name).cloned() else {
            return Vec::new();
        };
        let anchor = self
            .secrets
            .get(target)
            .and_then(|secret| secret.get(CA_CRT));
        let changed = match anchor.map(<[u8]>::to_vec) {
            Some(anchor) => self.anchors.join(&top, target, &anchor, now),
            None => self.anchors.leave(target, now),
        };
        match changed {
            true => self.rewrite(&top, Some(target)),
            false => Vec::new(),
        }
    }

    /// Writes a group's bundle into the Secrets of all members but one.
    fn rewrite(
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

    /// A Secret is to be stored as it is now.
    fn changed(&mut self, secret: &ResourceName) {
        if let Some(secret) = self.secrets.get(secret) {
            let secret = Box::new(secret.clone_with_keys());
            self.changes.push(SecretChange::Put(secret));
        }
    }

    /// Writes a group's bundle into a Secret that has a certificate; whether it had another one.
    fn write_bundle(&mut self, top: &ResourceName, secret: &ResourceName) -> bool {
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

    /// Takes note of the anchor of a Certificate's Secret; the Secrets whose bundle had to be written again.
    pub(super) fn trust(
        &mut self,
        name: &ResourceName,
        now: OffsetDateTime,
    ) -> Vec<(ResourceName, Outcome)> {
        let Some(target) = self.inventory.target(name) else {
            return Vec::new();
        };
        let mut outcomes = self.spread(name, &target, now);
        let Some(top) = self.tops.get(name).cloned() else {
            return outcomes;
        };
        if self.write_bundle(&top, &target) {
            self.changed(&target);
            let what = vec![TRUST_BUNDLE.to_owned()];
            outcomes.push((name.clone(), Outcome::Reapplied { what }));
        }
        outcomes
    }

    /// Takes a Secret that was written again with the certificate it had.
    pub(super) fn rewritten(
        &mut self,
        name: &ResourceName,
        secret: TlsSecret,
        what: &[Drift],
        schedule: Option<Schedule>,
    ) -> Outcome {
        let target = ResourceName::new(&secret.namespace, &secret.name);
        self.touch(&target);
        self.open.remove(&self.ranks[name]);
        self.secrets.insert(target.clone(), secret);
        self.changed(&target);
        self.keep(name, schedule);
        let what = what.iter().map(ToString::to_string).collect();
        Outcome::Reapplied { what }
    }

    /// A certificate that needs nothing before its renewal, beside keystores that cannot be written: tried again after
    /// a pause, and with the renewal at the latest.
    pub(super) fn lack(
        &mut self,
        name: &ResourceName,
        error: IssueError,
        schedule: Option<Schedule>,
        now: OffsetDateTime,
    ) -> Outcome {
        let backoff = self.options.backoff;
        let attempts = self.states.entry(name.clone()).or_default().lacked(&error);
        let until = backoff.until(now, Some(attempts));
        let retry = schedule.map_or(until, |schedule| schedule.due().min(until));
        tracing::warn!(certificate = %name, error = &error as &dyn core::error::Error, "no keystores");
        self.agenda.insert(name.clone(), retry);
        Outcome::Failed { error, retry }
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
            if let Some(anchor) = secret.get(CA_CRT) {
                self.anchors.join(top, top, anchor, now);
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

    /// Puts a temporary certificate into the Secret of a Certificate that wants one while an issuer is asked.
    pub(super) fn place_temporary(
        &mut self,
        job: &mut Job,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        if !self.lacks_certificate(&job.certificate) {
            return Ok(());
        }
        let key = core::mem::replace(&mut job.key, JobKey::Generate);
        let (key, csr) = prepare(&job.spec, key)?;
        let csr = verify(&csr)?;
        self.put_temporary(&job.certificate.clone(), &job.spec.clone(), &key, &csr, now);
        job.key = JobKey::Made(key);
        Ok(())
    }

    /// The same for one that was not issued.
    pub(super) fn stand_in(
        &mut self,
        name: &ResourceName,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        let Some(spec) = self.inventory.shared(name) else {
            return Ok(());
        };
        if !self.lacks_certificate(name) {
            return Ok(());
        }
        let (key, csr) = prepare(&spec, JobKey::Generate)?;
        let csr = verify(&csr)?;
        self.put_temporary(name, &spec, &key, &csr, now);
        Ok(())
    }

    /// Whether a Certificate wants a temporary certificate and has nothing to serve.
    fn lacks_certificate(&self, name: &ResourceName) -> bool {
        let Some(target) = self.inventory.target(name) else {
            return false;
        };
        // Another one's Secret has nothing to do with it.
        let owner = self.inventory.owner(&target, self.secrets.get(&target));
        if !self.inventory.is_temporary_wanted(name) || owner != Some(name) {
            return false;
        }
        let usable = |secret: &TlsSecret| {
            let key = KeyPair::from_pem(secret.get(TLS_KEY)?).ok()?;
            let chain = Certificate::read_pem(secret.get(TLS_CRT)?).ok()?;
            Some(chain.first()?.spki_der() == key.public_key().spki_der())
        };
        self.secret_of(name).and_then(usable) != Some(true)
    }

    fn put_temporary(
        &mut self,
        name: &ResourceName,
        spec: &ValidatedSpec,
        key: &KeyPair,
        csr: &certwright_issuance::VerifiedCsr,
        now: OffsetDateTime,
    ) {
        let target = ResourceName::new(&name.namespace, spec.secret_name());
        let placed = temporary(csr, &Profile::for_spec(spec), now)
            .map_err(|error| error.to_string())
            .and_then(|bundle| {
                let mut secret = TlsSecret::new(&target.namespace, &target.name);
                let mark = (annotation::TEMPORARY.to_owned(), "true".to_owned());
                secret.annotations.extend([mark]);
                bundle
                    .into_secret(secret, key, spec.key().encoding, spec.outputs())
                    .map_err(|error| error.to_string())
            });
        match placed {
            Ok(secret) => {
                self.secrets.insert(target.clone(), secret);
                self.changed(&target);
            }
            Err(error) => tracing::warn!(certificate = %name, error, "no temporary certificate"),
        }
    }
}
