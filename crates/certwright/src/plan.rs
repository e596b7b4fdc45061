//! What is to be done about one certificate: decided from what is written and what is stored, nothing else.

mod constraints;
mod drift;
mod inspect;
mod observed;
mod pause;
mod readiness;
mod reapply;
mod reason;
mod seal;
mod status;
mod stored;

use core::fmt;

use certwright_cert_model::key::RotationPolicy;
use certwright_cert_model::secret::TLS_KEY;
use certwright_cert_model::validated::ValidatedSpec;
use certwright_issuance::KeyPair;
use certwright_issuance::rotation::{KeyMismatch, mismatch};
use certwright_renewal::Schedule;
use time::OffsetDateTime;

use crate::inventory::ResourceName;

pub use drift::{Drift, OutputDrift};
pub use observed::{Authority, CurrentRequest, Failures, KeyReuse, Observed};
pub(crate) use pause::contested_until;
pub use readiness::readiness;
pub use reapply::{ReapplyError, reapply};
pub use reason::{AuthorityChange, Reason};
pub(crate) use reason::{instant, issuer_text};
pub(crate) use seal::Seal;
pub use status::status;
pub(crate) use status::{backing_off, contest_text};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Plan {
    /// Nothing can be done until somebody decides.
    Blocked(Block),
    /// Nothing before the schedule's due instant; `None` if renewal is disabled.
    Idle(Option<Schedule>),
    /// A certificate is to be issued.
    Issue {
        /// Why.
        reason: Reason,
        /// With which key.
        key: KeySource,
    },
    /// The Secret around the certificate is to be rewritten, but not yet: it was so often lately that somebody else
    /// must be undoing it. Every time that goes on, the pause is twice as long.
    Contested {
        /// What about it; never empty.
        what: Vec<Drift>,
        /// When the certificate is renewed; `None` if renewal is disabled.
        schedule: Option<Schedule>,
        /// When it may be rewritten next.
        until: OffsetDateTime,
    },
    /// The certificate is as it should be, but the Secret around it is to be rewritten ([`reapply`]).
    Reapply {
        /// What about it; never empty.
        what: Vec<Drift>,
        /// When the certificate is renewed; `None` if renewal is disabled.
        schedule: Option<Schedule>,
    },
    /// A certificate is to be issued, but not yet: issuing it failed before and the pause is not over, or it was issued
    /// so often lately that something else must be undoing it.
    Wait {
        /// Why it is to be issued.
        reason: Reason,
        /// With which key.
        key: KeySource,
        /// When the next attempt may start.
        until: OffsetDateTime,
    },
}

/// What somebody has to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Block {
    /// The stored key is of another kind than the specification's, and `rotationPolicy: Never` keeps it.
    KeyMismatch(KeyMismatch),
    /// The issuer signs no key twice, and `rotationPolicy: Never` keeps the key.
    KeyReuse,
    /// The Secret belongs to another Certificate.
    SecretOwned {
        /// That Certificate.
        owner: String,
    },
    /// The Secret, or the one of its CA, is there and cannot be read: a new key in its place might be the end of the
    /// only copy of the old one.
    SecretUnreadable {
        /// The Secret.
        secret: ResourceName,
        /// What cannot be read, and where it is.
        reason: String,
    },
}

impl Block {
    /// The reason as one word for conditions.
    pub fn word(&self) -> &'static str {
        match self {
            Self::KeyMismatch(_) => "CannotRegenerateKey",
            Self::KeyReuse => "KeyReuseForbidden",
            Self::SecretOwned { .. } => "SecretOwnedByAnother",
            Self::SecretUnreadable { .. } => "SecretUnreadable",
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMismatch(mismatch) => write!(
                f,
                "{mismatch}; delete tls.key, ask for a new key once or set privateKey.rotationPolicy to Always"
            ),
            Self::KeyReuse => f.write_str(
                "the issuer does not sign a key twice; set privateKey.rotationPolicy to Always",
            ),
            Self::SecretOwned { owner } => write!(
                f,
                "the Secret belongs to Certificate {owner}; give each its own spec.secretName"
            ),
            Self::SecretUnreadable { secret, reason } => write!(
                f,
                "Secret {secret} is there and cannot be read: {reason}; mend it, or remove it to have it made anew"
            ),
        }
    }
}

/// Where the key of the next certificate comes from; complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A new one is made.
    Generate,
    /// The one in the Secret is used again.
    Reuse,
}

/// Decides what is to be done about a certificate at the instant `now`.
///
/// The first of these that holds decides: the Secret is another Certificate's ([`Plan::Blocked`]); there is a
/// [`Reason`] to issue, in the order of its variants ([`Plan::Issue`], or [`Plan::Wait`] while it failed before);
/// something around the certificate is not as it should be ([`Plan::Reapply`], or [`Plan::Contested`] while somebody
/// else undoes it again and again); nothing ([`Plan::Idle`]).
///
/// The reasons up to [`Reason::SpecMismatch`] and their order are cert-manager's policy chain, but for
/// [`Reason::Temporary`] and [`Reason::SpecChanged`]; what follows is ours, until [`Reason::Renewing`]. The same
/// arguments lead to the same plan, always.
///
/// Usages are compared with what was requested, never with what was issued: an issuer that changes them causes no
/// new request, an edit of the specification does. That holds for the certificate that was issued: one that somebody
/// else put in its place is replaced ([`Reason::Replaced`]).
///
/// ```
/// use certwright::plan::{Observed, Plan, Reason, plan};
/// use certwright_cert_model::{CertificateSpec, Defaults};
/// use time::macros::datetime;
///
/// let mut spec = CertificateSpec::default();
/// (spec.secret_name, spec.issuer_ref.name) = ("web-tls".into(), "ca".into());
/// spec.dns_names = vec!["www.example.com".into()];
/// let spec = spec.validate(&Defaults::documented())?;
/// let now = datetime!(2026-03-01 12:00 UTC);
/// let Plan::Issue { reason, .. } = plan(&spec, &Observed::default(), now) else { panic!() };
/// assert_eq!(reason, Reason::DoesNotExist);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(spec: &ValidatedSpec, seen: &Observed<'_>, now: OffsetDateTime) -> Plan {
    if let Some(owner) = seen.owner.filter(|owner| *owner != seen.certificate) {
        let owner = owner.to_owned();
        return Plan::Blocked(Block::SecretOwned { owner });
    }
    let reason = match inspect::inspect(spec, seen, now) {
        Ok(inspected) => {
            let what = drift::drift(spec, seen, &inspected.stored);
            let schedule = inspected.schedule;
            if what.is_empty() {
                return Plan::Idle(schedule);
            }
            return match contested_until(seen.rewritten, &seen.backoff, now) {
                Some(until) => Plan::Contested {
                    what,
                    schedule,
                    until,
                },
                None => Plan::Reapply { what, schedule },
            };
        }
        Err(reason) => reason,
    };
    let key = match next_key(spec, seen, now) {
        Ok(key) => key,
        Err(block) => return Plan::Blocked(block),
    };
    match pause::pause(spec, seen, &reason, now) {
        Some(until) => Plan::Wait { reason, key, until },
        None => Plan::Issue { reason, key },
    }
}

fn next_key(
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    now: OffsetDateTime,
) -> Result<KeySource, Block> {
    let requested = seen.rekey && inspect::requested(seen, now).is_some();
    if requested || spec.key().rotation == RotationPolicy::Always {
        return Ok(KeySource::Generate);
    }
    if seen.key_reuse == KeyReuse::Forbidden {
        return Err(Block::KeyReuse);
    }
    let stored = seen
        .secret
        .and_then(|secret| KeyPair::from_pem(secret.get(TLS_KEY)?).ok());
    let Some(stored) = stored else {
        return Ok(KeySource::Generate);
    };
    match mismatch(spec.key().algorithm, stored.algorithm()) {
        Some(mismatch) => Err(Block::KeyMismatch(mismatch)),
        None => Ok(KeySource::Reuse),
    }
}
