//! What is to be done about one Certificate, and the beginning of it.

use std::sync::Arc;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::issuer::IssuerSpec;
use certwright_cert_model::issuer_ref::{IssuerKind, IssuerRef};
use certwright_cert_model::secret::{CA_CRT, TLS_CRT, TLS_KEY};
use certwright_cert_model::validated::ValidatedSpec;
use certwright_issuance::CertificateAuthority;
use certwright_issuance::keystore::SecretKeystores;
use certwright_renewal::{Retry, Schedule, Seed};
use time::{Duration, OffsetDateTime};

use super::change::passwords;
use super::history::{Failing, Running};
use super::{Manager, Outcome};
use crate::annotation;
use crate::inventory::ResourceName;
use crate::issue::{IssueError, Job, JobKey};
use crate::issuer::{ACME_GROUP, AcmeAccount, BindingKey, Held, Signer, Suggestion};
use crate::plan::{
    Authority, Block, Drift, KeyReuse, KeySource, Observed, Plan, Reason, Seal, backing_off, plan,
    reapply,
};

/// Who waits for a job of this process looks again after this.
const PATIENCE: Duration = Duration::MINUTE;
/// How soon, at the soonest, an issuer that cannot be used is looked at again for what it suggests.
const AGAIN: Duration = Duration::HOUR;

/// What came of looking at one certificate.
pub(super) enum Step {
    Did(Outcome),
    Job(Box<Job>),
}

impl Manager {
    /// Looks at one Certificate; `None` if it is being issued, or waits for a CA that is.
    pub(super) fn look(&mut self, name: &ResourceName, now: OffsetDateTime) -> Option<Step> {
        let spec = self.inventory.shared(name)?;
        let target = self.inventory.target(name)?;
        let longest = self.options.backoff.max;
        let state = self.states.entry(name.clone()).or_default();
        if state.running.is_some() {
            return None;
        }
        let (requested, rekey) = (state.requested, state.rekey);
        // What is there and cannot be read is not replaced: it may be the only copy of a key.
        if let Some(block) = self.obstacle(name, &target) {
            return Some(Step::Did(self.hold(name, block)));
        }
        let state = self.states.entry(name.clone()).or_default();
        if let Some(until) = state.paused(now, longest) {
            self.agenda.insert(name.clone(), until);
            return Some(Step::Did(Outcome::Waiting { until }));
        }
        let owner = self.inventory.owner(&target, self.secrets.get(&target));
        let owner = owner.map(|owner| owner.name.clone());
        let signer = match self.signer(&name.namespace, spec.issuer_ref(), now) {
            Ok(signer) => Ok(signer),
            // A certificate that is good as it is needs nobody who signs.
            Err(error) if self.is_acme(name) => Err(error),
            // It is there in a moment, and brings this one back.
            Err(_) if self.is_below(&target, |ca| self.is_being_issued(ca)) => {
                self.wait_for_ca(name, now);
                return None;
            }
            Err(error) => return Some(Step::Did(self.fail(name, error, now))),
        };
        let stored = self.secrets.get(&target);
        let mut keystores = self.keystores(name, &spec);
        let mut outdated = Vec::new();
        if let (Ok(stores), Some(stored)) = (&keystores, stored) {
            match stores.outdated(stored) {
                Ok(keys) => outdated = keys,
                Err(error) => keystores = Err(IssueError::Keystore(error)),
            }
        }
        let suggestion = stored.and_then(|stored| {
            let Ok(Signer::Remote(issuer, account)) = &signer else {
                return None;
            };
            let held = Held {
                certificate: name,
                spec: &spec,
                acme: account.as_deref(),
                chain: stored.get(TLS_CRT)?,
            };
            Some(issuer.suggestion(&held, now))
        });
        let suggestion = match &signer {
            // Who cannot be asked has suggested what it suggested, and is not asked before a while is over.
            Err(_) => {
                let before = self.states[name].suggestion;
                let again = before
                    .again
                    .map(|again| again.max(now.saturating_add(AGAIN)));
                Suggestion::new(before.window, again)
            }
            Ok(_) => suggestion.unwrap_or_default(),
        };
        if let Some(state) = self.states.get_mut(name) {
            state.suggestion = suggestion;
        }
        let state = &self.states[name];
        let (issued, rewritten) = (state.issued(), state.rewritten());
        let seal = self.seal_of(name);
        let authority = signer
            .as_ref()
            .map_or(Authority::Unknown, Signer::authority);
        let mut seen = Observed::new(stored, authority);
        seen.keystores = &outdated;
        (seen.issued, seen.rewritten) = (&issued, &rewritten);
        seen.seal = seal.as_deref();
        seen.certificate = &name.name;
        seen.owner = owner.as_deref();
        seen.key_reuse = signer.as_ref().map_or(KeyReuse::Allowed, Signer::key_reuse);
        (seen.requested, seen.rekey) = (requested, rekey);
        seen.backoff = self.options.backoff;
        seen.ari = suggestion.window;
        let (reason, key) = match plan(&spec, &seen, now) {
            Plan::Issue { reason, key } => (reason, key),
            Plan::Idle(schedule) => {
                return Some(Step::Did(match keystores {
                    Ok(_) => self.keep(name, schedule),
                    Err(error) => self.lack(name, error, schedule, now),
                }));
            }
            Plan::Contested {
                what,
                schedule,
                until,
            } => {
                return Some(Step::Did(self.contested(name, &what, schedule, until)));
            }
            Plan::Reapply { what, schedule } => {
                let stored = seen.secret.map(TlsSecret::clone_with_keys);
                let secret = reapply(stored.unwrap_or_default(), &spec, &seen, &what);
                let mut secret = match secret {
                    Ok(secret) => secret,
                    Err(error) => {
                        let error = IssueError::Reapply(error);
                        return Some(Step::Did(self.fail(name, error, now)));
                    }
                };
                let written = keystores.and_then(|stores| {
                    let written = stores.write(&mut secret, now);
                    written.map_err(IssueError::Keystore)
                });
                return Some(Step::Did(match written {
                    Ok(()) => self.rewritten(name, secret, &what, schedule, now),
                    Err(error) => {
                        let keystore = |drift: &Drift| matches!(drift, Drift::Keystore { .. });
                        if !what.iter().all(keystore) {
                            self.rewritten(name, secret, &what, schedule, now);
                        }
                        self.lack(name, error, schedule, now)
                    }
                }));
            }
            Plan::Blocked(block) => return Some(Step::Did(self.block(name, block))),
            Plan::Wait { reason, until, .. } => {
                self.agenda.insert(name.clone(), until);
                let state = self.states.entry(name.clone()).or_default();
                // Failures say more, and are written down with their text.
                if state.failing.is_none() {
                    state.told = Some(backing_off(&reason, until));
                }
                return Some(Step::Did(Outcome::Waiting { until }));
            }
        };
        let signer = match signer {
            Ok(signer) => signer,
            Err(error) => return Some(Step::Did(self.fail(name, error, now))),
        };
        // The first certificate waits for its passwords; one that is served already is renewed without.
        if let Err(error @ (IssueError::Password(_) | IssueError::Unreadable { .. })) = keystores
            && matches!(reason, Reason::DoesNotExist | Reason::Temporary)
        {
            return Some(Step::Did(self.fail(name, error, now)));
        }
        if let Some(until) = self.wait_for_anchors(name, &reason, now) {
            self.agenda.insert(name.clone(), until);
            return Some(Step::Did(Outcome::Waiting { until }));
        }
        let ca = self.inventory.ca_of(name);
        if ca.is_some_and(|(_, ca)| self.is_being_issued(&ca)) {
            self.wait_for_ca(name, now);
            return None;
        }
        Some(self.start(name, spec, signer, reason, key, now))
    }

    /// An outcome, and what it means for the trust anchors of others.
    pub(super) fn told(
        &mut self,
        name: ResourceName,
        outcome: Outcome,
        now: OffsetDateTime,
    ) -> Vec<(ResourceName, Outcome)> {
        let mut outcomes = match outcome {
            Outcome::Kept(_)
            | Outcome::Reapplied { .. }
            | Outcome::Failed {
                error:
                    IssueError::Keystore(_) | IssueError::Password(_) | IssueError::Unreadable { .. },
                ..
            } => self.trust(&name, now),
            _ => Vec::new(),
        };
        let own = outcomes.iter().any(|(of, _)| *of == name);
        if !own || !matches!(outcome, Outcome::Kept(_)) {
            outcomes.push((name, outcome));
        }
        outcomes
    }

    fn start(
        &mut self,
        name: &ResourceName,
        spec: Arc<ValidatedSpec>,
        signer: Signer,
        reason: Reason,
        key: KeySource,
        now: OffsetDateTime,
    ) -> Step {
        let keeps_key = matches!(key, KeySource::Reuse);
        let key = match (key, self.secret_of(name).and_then(|s| s.get(TLS_KEY))) {
            (KeySource::Reuse, Some(stored)) => JobKey::Stored(stored.to_vec().into()),
            _ => JobKey::Generate,
        };
        self.started += 1;
        let id = self.started;
        let state = self.states.entry(name.clone()).or_default();
        let revision = state.revision + 1;
        state.answering = state.requested;
        state.parked = state.rekey && keeps_key && state.requested.is_some_and(|at| at > now);
        state.remote = matches!(signer, Signer::Remote(..));
        state.running = Some(Running {
            id,
            local: !matches!(signer, Signer::Remote(..)),
            since: now,
        });
        let stored = self.secret_of(name).and_then(|s| s.get(TLS_CRT));
        let mut job = Job {
            id,
            certificate: name.clone(),
            spec,
            signer,
            key,
            reason,
            revision,
            stored: stored.map(<[u8]>::to_vec),
        };
        if job.is_remote()
            && let Err(error) = self.place_temporary(&mut job, now)
        {
            return Step::Did(self.fail(name, error, now));
        }
        Step::Job(Box::new(job))
    }

    /// Leaves a Certificate until the job of a CA above it is done, or has taken too long.
    fn wait_for_ca(&mut self, name: &ResourceName, now: OffsetDateTime) {
        self.agenda
            .insert(name.clone(), now.saturating_add(PATIENCE));
    }

    /// A CA was not issued: who waits for it is looked at now.
    pub(super) fn wait_no_longer(&mut self, ca: &ResourceName, now: OffsetDateTime) {
        if !self.readers.contains_key(ca) {
            return;
        }
        let soon = now.saturating_add(PATIENCE);
        for (name, rank) in &self.ranks {
            let waits = self.agenda.get(name).is_some_and(|due| due <= soon);
            let target = self.inventory.target(name).filter(|_| waits);
            if target.is_some_and(|target| self.is_below(&target, |above| above == ca)) {
                self.open.insert(*rank);
            }
        }
    }

    /// Whether a Secret's Certificate is being issued by a job of this process.
    fn is_being_issued(&self, secret: &ResourceName) -> bool {
        let owner = self.inventory.owner(secret, self.secrets.get(secret));
        let state = owner.and_then(|owner| self.states.get(owner));
        state
            .and_then(|state| state.running)
            .is_some_and(|running| running.local)
    }

    /// The keystores of a Certificate, with their passwords.
    pub(super) fn keystores(
        &self,
        name: &ResourceName,
        spec: &ValidatedSpec,
    ) -> Result<SecretKeystores, IssueError> {
        let lookup = |secret: &str, key: &str| {
            let secret = ResourceName::new(&name.namespace, secret);
            self.secrets.get(&secret)?.get(key)
        };
        SecretKeystores::resolve(spec.keystores(), lookup).map_err(|error| {
            let mut secrets = passwords(name, spec).into_iter().map(|(secret, _)| secret);
            let hidden = |secret: &ResourceName| {
                !self.secrets.contains_key(secret) && self.is_unreadable(secret)
            };
            match secrets.find(hidden) {
                Some(secret) => self.absent(secret),
                None => IssueError::Password(error),
            }
        })
    }

    /// Who signs for Certificates of `namespace` that name this issuer.
    pub(super) fn signer(
        &mut self,
        namespace: &str,
        reference: &IssuerRef,
        now: OffsetDateTime,
    ) -> Result<Signer, IssueError> {
        if let IssuerKind::External { group, kind } = &reference.kind {
            let key = (group.clone(), kind.clone());
            let found = self.issuers.get(&key).cloned();
            let (group, kind) = key;
            return found
                .map(|issuer| Signer::Remote(issuer, None))
                .ok_or(IssueError::Unregistered { group, kind });
        }
        let found = self.inventory.issuer(namespace, reference);
        let found = found.ok_or(IssueError::NoIssuer)?;
        match (found.spec, found.ca_secret()) {
            (IssuerSpec::SelfSigned(issuer), _) => Ok(Signer::SelfSigned(issuer.clone())),
            (IssuerSpec::Ca(issuer), Some(name)) => {
                let issuer = issuer.clone();
                if let Some(known) = self.authorities.get(&name) {
                    return Ok(Signer::Ca(known.clone(), issuer));
                }
                let stored = self
                    .secrets
                    .get(&name)
                    .filter(|s| !annotation::is_temporary(s));
                let Some(stored) = stored else {
                    return Err(self.absent(name));
                };
                let ca = Arc::new(load_ca(&name, stored, now)?);
                let seal = Seal::of_key(stored.get(TLS_KEY).unwrap_or_default());
                self.seals.insert(name.clone(), Arc::new(seal));
                self.authorities.insert(name, ca.clone());
                Ok(Signer::Ca(ca, issuer))
            }
            (IssuerSpec::Acme(issuer), _) => {
                let key = (ACME_GROUP.to_owned(), "Issuer".to_owned());
                let registered = self
                    .issuers
                    .get(&key)
                    .ok_or(IssueError::UnsupportedIssuer)?;
                let mut account = AcmeAccount {
                    namespace: match reference.kind {
                        IssuerKind::ClusterIssuer => String::new(),
                        _ => namespace.to_owned(),
                    },
                    name: reference.name.clone(),
                    spec: issuer.clone(),
                    binding_key: None,
                };
                if let Some((secret, key)) = found.binding_secret() {
                    let stored = self.secrets.get(&secret);
                    let stored = stored.ok_or_else(|| self.absent(secret.clone()))?;
                    let lacks = || IssueError::NoBindingKey {
                        secret,
                        key: key.clone(),
                    };
                    let mac = stored.get(&key).ok_or_else(lacks)?;
                    account.binding_key = Some(BindingKey::new(mac));
                }
                registered.check(&account).map_err(IssueError::Issuer)?;
                Ok(Signer::Remote(registered.clone(), Some(account.into())))
            }
            _ => Err(IssueError::UnsupportedIssuer),
        }
    }

    /// Whether a Certificate's issuer is one with `spec.acme`.
    fn is_acme(&self, name: &ResourceName) -> bool {
        let registered = self.registered(name);
        registered.is_some_and(|(group, _)| group == ACME_GROUP)
    }

    /// What a Certificate's CA marks what it signed with; none before it is known.
    pub(super) fn seal_of(&self, name: &ResourceName) -> Option<Arc<Seal>> {
        let (_, secret) = self.inventory.ca_of(name)?;
        self.seals.get(&secret).cloned()
    }

    pub(super) fn fail(
        &mut self,
        name: &ResourceName,
        error: IssueError,
        now: OffsetDateTime,
    ) -> Outcome {
        let backoff = self.options.backoff;
        let state = self.states.entry(name.clone()).or_default();
        let attempts = state.attempts().saturating_add(1);
        let until = match error.failure() {
            None => backoff.until(now, Some(attempts)),
            Some(failure) => {
                let count = u32::try_from(attempts).unwrap_or(u32::MAX);
                let seed = Seed::new(name.to_string().as_bytes());
                match failure.retry(count, now, seed) {
                    Retry::At(retry) => retry,
                    Retry::Parked => now.saturating_add(backoff.max),
                }
            }
        };
        let failing = Failing {
            attempts,
            last: now,
            until,
        };
        state.failed(name, failing, &error);
        self.changed_states.insert(name.clone());
        tracing::warn!(certificate = %name, error = &error as &dyn core::error::Error, "not issued");
        self.agenda.insert(name.clone(), until);
        if let Err(error) = self.stand_in(name, now) {
            tracing::warn!(certificate = %name, error = &error as &dyn core::error::Error, "no temporary certificate");
        }
        Outcome::Failed {
            error,
            retry: until,
        }
    }

    fn block(&mut self, name: &ResourceName, block: Block) -> Outcome {
        self.agenda.remove(name);
        let state = self.states.entry(name.clone()).or_default();
        state.failing = None;
        (state.requested, state.rekey) = (None, false);
        self.changed_states.insert(name.clone());
        state.told = Some((block.word(), block.to_string()));
        Outcome::Blocked(block)
    }

    /// The same, but what was asked for and how long failures pause comes back when the obstacle is gone.
    fn hold(&mut self, name: &ResourceName, block: Block) -> Outcome {
        self.agenda.remove(name);
        let state = self.states.entry(name.clone()).or_default();
        state.told = Some((block.word(), block.to_string()));
        Outcome::Blocked(block)
    }

    /// A Certificate that needs nothing before its renewal.
    pub(super) fn keep(&mut self, name: &ResourceName, schedule: Option<Schedule>) -> Outcome {
        let state = self.states.entry(name.clone()).or_default();
        if state.requested.is_some_and(|at| Some(at) <= self.last) {
            // It was issued, and the process ended before that was written down.
            (state.requested, state.rekey) = (None, false);
            self.changed_states.insert(name.clone());
        }
        self.keep_issued(name, schedule)
    }

    /// The same for one that was issued just now: what is asked for still was not heard in it.
    pub(super) fn keep_issued(
        &mut self,
        name: &ResourceName,
        schedule: Option<Schedule>,
    ) -> Outcome {
        let state = self.states.entry(name.clone()).or_default();
        if state.failing.take().is_some() {
            self.changed_states.insert(name.clone());
        }
        state.lacking = 0;
        state.told = None;
        state.contested = None;
        let due = schedule.map(|schedule| schedule.due());
        let again = state.suggestion.again;
        let next = due.into_iter().chain(again).chain(state.requested).min();
        match next {
            Some(next) => self.agenda.insert(name.clone(), next),
            None => self.agenda.remove(name),
        };
        Outcome::Kept(schedule)
    }
}

fn load_ca(
    name: &ResourceName,
    stored: &TlsSecret,
    now: OffsetDateTime,
) -> Result<CertificateAuthority, IssueError> {
    let mut chain = stored.get(TLS_CRT).unwrap_or_default().to_vec();
    // The root stands in ca.crt only, and its name constraints count.
    chain.extend_from_slice(b"\n");
    chain.extend_from_slice(stored.get(CA_CRT).unwrap_or_default());
    let key = stored.get(TLS_KEY).unwrap_or_default();
    CertificateAuthority::from_pem(&chain, key, now).map_err(|source| IssueError::Ca {
        secret: name.clone(),
        source,
    })
}
