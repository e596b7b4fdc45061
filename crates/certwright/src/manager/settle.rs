//! What becomes of what was signed.

use std::collections::BTreeMap;

use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::{TlsSecret, ValidatedSpec};
use certwright_issuance::{Certificate, KeyPair};
use certwright_renewal::Schedule;
use time::{Duration, OffsetDateTime};

use super::history::{FAILED, Failing};
use super::{Manager, Outcome, SKEW, SecretChange};
use crate::annotation;
use crate::inventory::ResourceName;
use crate::issue::{Done, IssueError, Made};
use crate::plan::{Drift, Observed, Plan, Reason, contest_text, instant, plan};

impl Manager {
    /// Takes what came of a job; what was done, for this Certificate and for those that share its trust anchors. A
    /// result that nobody asks for any more is dropped.
    pub fn finish(&mut self, done: Done, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        let name = done.certificate.clone();
        let running = self.states.get(&name).and_then(|state| state.running);
        let running = running.filter(|running| running.id == done.id);
        let wanted = self.inventory.certificate(&name) == Some(&*done.spec);
        let Some(running) = running.filter(|_| wanted) else {
            self.open.extend(self.ranks.get(&name));
            return Vec::new();
        };
        let done = match self.postpone(&name, done, now) {
            Ok(done) => done,
            Err(held) => return vec![(name, held)],
        };
        let state = self.states.entry(name.clone()).or_default();
        state.running = None;
        let attempts = state.attempts().saturating_add(1);
        let (revision, reason) = (done.revision, done.reason.clone());
        let spec = done.spec.clone();
        let is_acme = done.result.as_ref().is_ok_and(|made| made.is_acme);
        let stored = done
            .result
            .and_then(|made| self.bundle(&name, &spec, revision, made, now))
            .and_then(|(mut secret, csr, warnings)| {
                annotation::started(&mut secret, running.since);
                let accepted = self.accept(&name, &spec, &secret, now)?;
                if let (Some(seal), Some(leaf)) = (self.seal_of(&name), leaf_of(&secret)) {
                    let mark = (annotation::SEAL.to_owned(), seal.mark(&leaf));
                    secret.annotations.extend([mark]);
                }
                // What was signed is stored in any case: another order would not bring the keystores either.
                let stores = self.keystores(&name, &spec);
                let whole = stores.is_ok_and(|stores| stores.write(&mut secret, now).is_ok());
                Ok((secret, csr, warnings, accepted, whole))
            });
        let (secret, csr, warnings, accepted, whole) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                if let IssueError::Unfit { .. } = error {
                    self.refuse(&name);
                }
                let failed = self.fail(&name, error, now);
                let target = ResourceName::new(&name.namespace, spec.secret_name());
                self.wait_no_longer(&target, now);
                return vec![(name, failed)];
            }
        };
        tracing::info!(certificate = %name, %reason, "issued");
        let target = ResourceName::new(&secret.namespace, &secret.name);
        let limit = spec.revision_history_limit();
        let state = self.states.entry(name.clone()).or_default();
        state.succeeded(&name, revision, csr, limit, is_acme, now);
        self.changed_states.insert(name.clone());
        self.touch(&target);
        self.open.remove(&self.ranks[&name]);
        self.secrets.insert(target.clone(), secret);
        match accepted {
            Accepted::Until(schedule) => drop(self.keep_issued(&name, schedule)),
            Accepted::DueAtOnce { why, end } => self.hurry(&name, &why, end, attempts, now),
        }
        if !whole {
            // The next look tells why, and tries again.
            self.open.extend(self.ranks.get(&name));
        }
        let (_, mut outcomes) = self.spread(&name, &target, now);
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

    /// What an issuer of yours sent is not what was asked for.
    fn refuse(&self, name: &ResourceName) {
        let key = self.registered(name);
        let issuer = key.and_then(|key| self.issuers.get(&key));
        if let (Some(issuer), Some(wish)) = (issuer, self.wish(name)) {
            issuer.refused(&wish);
        }
    }

    /// Puts aside what was signed while it is not valid yet and the stored certificate is: nobody would trust it.
    fn postpone(
        &mut self,
        name: &ResourceName,
        done: Done,
        now: OffsetDateTime,
    ) -> Result<Done, Outcome> {
        let leaf = done.result.as_ref().ok();
        let leaf = leaf.and_then(|made| made.bundle.certificate().ok());
        // What is further ahead comes from a wrong clock, and is refused.
        let ahead = now.saturating_add(SKEW);
        let from = leaf.map(|leaf| leaf.not_before());
        let valid = |leaf: Certificate| (leaf.not_before()..=leaf.not_after()).contains(&now);
        match from.filter(|from| *from > now && *from <= ahead) {
            Some(until) if self.served(name).is_some_and(valid) => {
                self.agenda.insert(name.clone(), until);
                self.held.insert(name.clone(), (until, done));
                Err(Outcome::Waiting { until })
            }
            _ => Ok(done),
        }
    }

    /// Takes up what was put aside and is valid now.
    pub(super) fn release(&mut self, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        let held = core::mem::take(&mut self.held);
        let (valid, held) = held.into_iter().partition(|(_, (from, _))| *from <= now);
        self.held = held;
        let valid: BTreeMap<_, _> = valid;
        let outcomes = valid.into_values().map(|(_, done)| self.finish(done, now));
        outcomes.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// A certificate that is better than none, or than the one before, but is to be replaced already: the next one is
    /// asked for after the pause of a failure, or well before this one ends.
    fn hurry(
        &mut self,
        name: &ResourceName,
        why: &str,
        end: OffsetDateTime,
        attempts: i64,
        now: OffsetDateTime,
    ) {
        let early = end.saturating_sub((end - now) / 3);
        let until = self.options.backoff.until(now, Some(attempts)).min(early);
        let failing = Failing {
            attempts,
            last: now,
            until: until.max(now.saturating_add(Duration::MINUTE)),
        };
        tracing::warn!(certificate = %name, why, "to be replaced at once");
        let state = self.states.entry(name.clone()).or_default();
        state.told = Some((
            FAILED,
            format!("what was signed is to be replaced at once: {why}"),
        ));
        state.failing = Some(failing);
        self.look_at(name, failing.until);
    }

    /// Whether a Secret that is about to be stored needs nothing more: what an issuer sent and would be replaced at
    /// once is a failure, not a loop, unless it lasts longer than what is served.
    fn accept(
        &mut self,
        name: &ResourceName,
        spec: &ValidatedSpec,
        secret: &TlsSecret,
        now: OffsetDateTime,
    ) -> Result<Accepted, IssueError> {
        let signer = self.signer(&name.namespace, spec.issuer_ref(), now)?;
        let mut seen = Observed::new(Some(secret), signer.authority());
        seen.certificate = &name.name;
        seen.key_reuse = signer.key_reuse();
        match plan(spec, &seen, now) {
            Plan::Idle(schedule)
            | Plan::Contested { schedule, .. }
            | Plan::Reapply { schedule, .. } => Ok(Accepted::Until(schedule)),
            Plan::Issue { reason, .. } | Plan::Wait { reason, .. } => {
                let why = reason.to_string();
                let due = matches!(
                    reason,
                    Reason::ChainEndsFirst { .. } | Reason::Renewing(_) | Reason::Suggested { .. }
                );
                let end = end_of(secret).filter(|end| due && *end > now);
                let stored = self.served(name).and(self.secret_of(name)).and_then(end_of);
                match end.filter(|end| stored.is_none_or(|stored| stored < *end)) {
                    Some(end) => Ok(Accepted::DueAtOnce { why, end }),
                    None => Err(IssueError::Unfit { reason: why }),
                }
            }
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
            let reason = format!("it expired at {}", instant(leaf.not_after()));
            return Err(IssueError::Unfit { reason });
        }
        let target = ResourceName::new(&name.namespace, spec.secret_name());
        let mut secret = match self.secrets.get(&target) {
            Some(secret) => secret.clone_with_keys(),
            None => TlsSecret::new(&target.namespace, &target.name),
        };
        annotation::number(&mut secret, revision, spec.is_ca(), made.is_acme);
        let warnings = made.bundle.warnings().iter().map(ToString::to_string);
        let warnings = warnings.collect();
        let mut secret = made
            .bundle
            .into_secret(secret, &made.key, spec.key().encoding, spec.outputs())
            .map_err(IssueError::Bundle)?;
        annotation::record(&mut secret, &name.name, spec, now);
        Ok((secret, made.csr.to_pem(), warnings))
    }

    /// A Secret is to be stored as it is now.
    pub(super) fn changed(&mut self, secret: &ResourceName) {
        if let Some(secret) = self.secrets.get(secret) {
            let secret = Box::new(secret.clone_with_keys());
            self.changes.push(SecretChange::Put(secret));
        }
    }

    /// A Secret that is not rewritten because somebody else undoes it.
    pub(super) fn contested(
        &mut self,
        name: &ResourceName,
        what: &[Drift],
        schedule: Option<Schedule>,
        until: OffsetDateTime,
    ) -> Outcome {
        let wake = schedule.map_or(until, |schedule| schedule.due().min(until));
        let text = contest_text(what, until);
        tracing::warn!(certificate = %name, text, "not rewritten");
        let state = self.states.entry(name.clone()).or_default();
        state.contested = Some(text);
        self.look_at(name, wake);
        Outcome::Waiting { until }
    }

    /// Looks at a Certificate again then, or sooner: the CA may ask for an earlier renewal meanwhile, and a user may have.
    fn look_at(&mut self, name: &ResourceName, due: OffsetDateTime) {
        let state = self.states.get(name);
        // What was asked for before this look was heard in it.
        let later = |at: &OffsetDateTime| Some(*at) > self.last;
        let sooner = state.map(|state| [state.suggestion.again, state.requested.filter(later)]);
        let sooner = sooner.into_iter().flatten().flatten();
        let due = sooner.fold(due, OffsetDateTime::min);
        self.agenda.insert(name.clone(), due);
    }

    /// Takes a Secret that was written again with the certificate it had.
    pub(super) fn rewritten(
        &mut self,
        name: &ResourceName,
        secret: TlsSecret,
        what: &[Drift],
        schedule: Option<Schedule>,
        now: OffsetDateTime,
    ) -> Outcome {
        let target = ResourceName::new(&secret.namespace, &secret.name);
        self.touch(&target);
        self.open.remove(&self.ranks[name]);
        self.secrets.insert(target.clone(), secret);
        self.changed(&target);
        self.keep(name, schedule);
        self.states.entry(name.clone()).or_default().rewrote(now);
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
        self.look_at(name, retry);
        Outcome::Failed { error, retry }
    }

    /// The certificate that a Certificate has its key of, unless it is a temporary one.
    pub(super) fn served(&self, name: &ResourceName) -> Option<Certificate> {
        let secret = self.secret_of(name)?;
        usable(secret).filter(|_| !annotation::is_temporary(secret))
    }
}

/// What was found about a Secret that is about to be stored.
enum Accepted {
    /// Nothing is wrong with it before its renewal.
    Until(Option<Schedule>),
    /// It is to be replaced already, for this reason, and ends then.
    DueAtOnce { why: String, end: OffsetDateTime },
}

/// The certificate of a Secret that has its key.
pub(super) fn usable(secret: &TlsSecret) -> Option<Certificate> {
    let key = KeyPair::from_pem(secret.get(TLS_KEY)?).ok()?;
    leaf_of(secret).filter(|leaf| leaf.spki_der() == key.public_key().spki_der())
}

fn leaf_of(secret: &TlsSecret) -> Option<Certificate> {
    let chain = Certificate::read_pem(secret.get(TLS_CRT)?).ok()?;
    chain.into_iter().next()
}

/// When a Secret's certificate ends, or the first one above it.
fn end_of(secret: &TlsSecret) -> Option<OffsetDateTime> {
    let chain = Certificate::read_pem(secret.get(TLS_CRT)?).ok()?;
    let authority = secret.get(CA_CRT).map(Certificate::read_pem);
    let authority = authority.and_then(Result::ok).unwrap_or_default();
    let ends = chain.iter().chain(&authority).map(Certificate::not_after);
    ends.min()
}
