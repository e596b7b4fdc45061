//! Keeps certificates true to their specifications, one step at a time; the caller brings the time.

use std::collections::BTreeMap;

use certwright_cert_model::TlsSecret;
use certwright_cert_model::secret::TLS_CRT;
use certwright_cert_model::validated::ValidatedSpec;
use certwright_issuance::Certificate;
use certwright_renewal::{Agenda, FailureBackoff, Schedule};
use time::OffsetDateTime;

use crate::annotation;
use crate::inventory::{Inventory, OrderError, ResourceName};
use crate::issue::{IssueError, Signer};
use crate::plan::{Authority, Block, Observed, Plan, Reason, plan};

/// Issues and renews what an [`Inventory`] asks for, and holds the Secrets.
///
/// It reads no clock and does no I/O: give it the Secrets that exist ([`new`](Self::new)), call
/// [`reconcile`](Self::reconcile) at [`next_wake`](Self::next_wake), and store what it issued.
#[derive(Debug)]
pub struct Manager {
    inventory: Inventory,
    order: Vec<ResourceName>,
    secrets: BTreeMap<ResourceName, TlsSecret>,
    failures: BTreeMap<ResourceName, Failing>,
    agenda: Agenda<ResourceName>,
    backoff: FailureBackoff,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct Failing {
    attempts: i64,
    until: OffsetDateTime,
}

/// What came of a step.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Somebody has to decide.
    Blocked(Block),
    /// Nothing was issued; it is tried again at `retry`.
    Failed {
        /// Why not.
        error: IssueError,
        /// When the next attempt may start.
        retry: OffsetDateTime,
    },
    /// A certificate was issued.
    Issued {
        /// Why.
        reason: Reason,
        /// What is unusual about it, for example that rustls will not accept it.
        warnings: Vec<String>,
    },
    /// The stored one is as it should be.
    Kept(Option<Schedule>),
    /// It failed before, and the pause is not over.
    Waiting {
        /// When the next attempt may start.
        until: OffsetDateTime,
    },
}

/// A certificate as `kubectl get certificate` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether there is a certificate that is valid now.
    pub ready: bool,
    /// The first second of its validity.
    pub not_before: Option<OffsetDateTime>,
    /// The last second of its validity.
    pub not_after: Option<OffsetDateTime>,
    /// When it is renewed, or when the next attempt starts.
    pub next: Option<OffsetDateTime>,
}

impl Manager {
    /// A manager for these resources; `stored` are the Secrets that exist already, of two with one name the later.
    ///
    /// # Errors
    ///
    /// Everything that leaves no order in which to issue.
    pub fn new(
        inventory: Inventory,
        stored: impl IntoIterator<Item = TlsSecret>,
    ) -> Result<Self, Vec<OrderError>> {
        let named =
            |secret: TlsSecret| (ResourceName::new(&secret.namespace, &secret.name), secret);
        let secrets: BTreeMap<_, _> = stored.into_iter().map(named).collect();
        let order = inventory.order(|secret| secrets.contains_key(secret))?;
        Ok(Self {
            inventory,
            order,
            secrets,
            failures: BTreeMap::new(),
            agenda: Agenda::new(),
            backoff: FailureBackoff::default(),
        })
    }

    /// What is to be kept true.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The Certificates in the order in which they are issued: every CA before what it signs.
    pub fn order(&self) -> &[ResourceName] {
        &self.order
    }

    /// The Secret of this name.
    pub fn secret(&self, name: &ResourceName) -> Option<&TlsSecret> {
        self.secrets.get(name)
    }

    /// Every Secret, by name.
    pub fn secrets(&self) -> impl Iterator<Item = &TlsSecret> {
        self.secrets.values()
    }

    /// The Secret of a Certificate.
    pub fn secret_of(&self, certificate: &ResourceName) -> Option<&TlsSecret> {
        let spec = self.inventory.certificate(certificate)?;
        self.secrets.get(&secret_name(certificate, spec))
    }

    /// When [`reconcile`](Self::reconcile) has something to do next, by what earlier calls found; `None` if never.
    ///
    /// Call it once at the start, and whenever the clock was set: nothing is known before the first call.
    pub fn next_wake(&self) -> Option<OffsetDateTime> {
        self.agenda.next_wake()
    }

    /// Brings every Certificate up to date, CAs first; what was done, in that order.
    pub fn reconcile(&mut self, now: OffsetDateTime) -> Vec<(ResourceName, Outcome)> {
        let mut outcomes = Vec::with_capacity(self.order.len());
        for name in self.order.clone() {
            if let Some(outcome) = self.step(&name, now) {
                outcomes.push((name, outcome));
            }
        }
        outcomes
    }

    /// Brings one Certificate up to date; `None` if there is none of this name.
    pub fn step(&mut self, name: &ResourceName, now: OffsetDateTime) -> Option<Outcome> {
        let spec = self.inventory.certificate(name)?;
        // A pause longer than any comes from a clock that was ahead.
        let paused =
            |failing: &&Failing| now < failing.until && failing.until - now <= self.backoff.max;
        if let Some(failing) = self.failures.get(name).filter(paused) {
            return Some(Outcome::Waiting {
                until: failing.until,
            });
        }
        let outcome = match self.renew(name, spec, now) {
            Ok(Renewed::No(outcome)) => outcome,
            Ok(Renewed::Yes {
                secret,
                reason,
                warnings,
            }) => {
                tracing::info!(certificate = %name, %reason, "issued");
                self.secrets.insert(secret_name(name, spec), secret);
                Outcome::Issued { reason, warnings }
            }
            Err(error) => {
                let attempts = self
                    .failures
                    .get(name)
                    .map_or(0, |failing| failing.attempts)
                    + 1;
                let until = self.backoff.until(now, Some(attempts));
                tracing::warn!(certificate = %name, error = &error as &dyn core::error::Error, "not issued");
                self.failures
                    .insert(name.clone(), Failing { attempts, until });
                self.agenda.insert(name.clone(), until);
                return Some(Outcome::Failed {
                    error,
                    retry: until,
                });
            }
        };
        self.failures.remove(name);
        match self.status(name, now).and_then(|status| status.next) {
            Some(due) => self.agenda.insert(name.clone(), due),
            None => self.agenda.remove(name),
        };
        Some(outcome)
    }

    fn renew(
        &self,
        name: &ResourceName,
        spec: &ValidatedSpec,
        now: OffsetDateTime,
    ) -> Result<Renewed, IssueError> {
        let issuer = self
            .inventory
            .issuer(&name.namespace, spec.issuer_ref())
            .ok_or(IssueError::NoIssuer)?;
        let load = |secret: &ResourceName| self.secrets.get(secret).map(TlsSecret::clone_with_keys);
        let signer = Signer::load(issuer, load, now)?;
        let target = secret_name(name, spec);
        let stored = self.secrets.get(&target);
        let authority = signer.ca().map_or(Authority::OwnKey, |ca| {
            Authority::Chain(ca.chain().certificates())
        });
        let mut seen = Observed::new(stored, authority);
        seen.certificate = &name.name;
        let (reason, key) = match plan(spec, &seen, now) {
            Plan::Blocked(blocked) => return Ok(Renewed::No(Outcome::Blocked(blocked))),
            Plan::Idle(schedule) | Plan::Reapply { schedule, .. } => {
                return Ok(Renewed::No(Outcome::Kept(schedule)));
            }
            Plan::Issue { reason, key } | Plan::Wait { reason, key, .. } => (reason, key),
        };
        let mut secret = match stored {
            Some(secret) => secret.clone_with_keys(),
            None => TlsSecret::new(&target.namespace, &target.name),
        };
        annotation::record(&mut secret, &name.name, spec, now);
        let (secret, warnings) = signer.issue(spec, issuer.spec, key, secret, now)?;
        Ok(Renewed::Yes {
            secret,
            reason,
            warnings,
        })
    }

    /// When a Certificate is renewed, and why then; `None` if it is not scheduled, because there is nothing to renew,
    /// something is due or wrong already, or renewal is disabled.
    pub fn schedule(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Schedule> {
        let spec = self.inventory.certificate(name)?;
        let seen = Observed::new(self.secret_of(name), Authority::Unknown);
        match plan(spec, &seen, now) {
            Plan::Idle(schedule) | Plan::Reapply { schedule, .. } => schedule,
            Plan::Blocked(_) | Plan::Issue { .. } | Plan::Wait { .. } => None,
        }
    }

    /// A Certificate's state at the instant `now`; `None` if there is none of this name.
    pub fn status(&self, name: &ResourceName, now: OffsetDateTime) -> Option<Status> {
        let spec = self.inventory.certificate(name)?;
        let stored = self.secrets.get(&secret_name(name, spec));
        let certificate = stored.and_then(|secret| {
            let chain = Certificate::read_pem(secret.get(TLS_CRT)?).ok()?;
            chain.into_iter().next()
        });
        let scheduled = self.schedule(name, now).map(|schedule| schedule.due());
        let retry = self.failures.get(name).map(|failing| failing.until);
        let valid = |c: &Certificate| (c.not_before()..=c.not_after()).contains(&now);
        Some(Status {
            ready: certificate.as_ref().is_some_and(valid),
            not_before: certificate.as_ref().map(Certificate::not_before),
            not_after: certificate.as_ref().map(Certificate::not_after),
            next: retry.or(scheduled),
        })
    }
}

enum Renewed {
    No(Outcome),
    Yes {
        secret: TlsSecret,
        reason: Reason,
        warnings: Vec<String>,
    },
}

fn secret_name(certificate: &ResourceName, spec: &ValidatedSpec) -> ResourceName {
    ResourceName::new(&certificate.namespace, spec.secret_name())
}
