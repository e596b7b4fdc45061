//! What a step came to, and what is told about a Certificate.

use certwright_cert_model::TlsSecret;
use certwright_issuance::Certificate;
use certwright_renewal::Schedule;
use time::OffsetDateTime;

use super::history::State;
use crate::inventory::ResourceName;
use crate::issue::IssueError;
use crate::plan::{Block, Reason};

/// What came of a step.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Somebody has to decide.
    Blocked(Block),
    /// Nothing was issued, or keystores are missing beside a good certificate; it is tried again at `retry`.
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
        /// Which certificate of the Certificate it is, from 1.
        revision: u64,
        /// What is unusual about it, for example that rustls will not accept it.
        warnings: Vec<String>,
    },
    /// The stored one is as it should be.
    Kept(Option<Schedule>),
    /// An issuer of yours is asked ([`Manager::take_jobs`](crate::Manager::take_jobs)).
    Ordered {
        /// Why.
        reason: Reason,
    },
    /// The Certificate is gone; its Secret stays, and is renewed no more.
    Orphaned {
        /// The Secret.
        secret: ResourceName,
    },
    /// The Secret was written again with the same certificate.
    Reapplied {
        /// What was not as it should be.
        what: Vec<String>,
    },
    /// The Certificate is gone, and its Secret with it.
    Removed {
        /// The Secret.
        secret: ResourceName,
    },
    /// It failed before, and the pause is not over; or the trust anchors have to spread first; or somebody else undoes
    /// what is written; or what was signed is not valid yet, and the stored one is.
    Waiting {
        /// When the next attempt may start.
        until: OffsetDateTime,
    },
}

/// A Secret that is to be stored or removed; complete by definition.
#[derive(Debug)]
pub enum SecretChange {
    /// Store this. A later change may be of the same Secret; what is written in between counts on this one.
    Put(Box<TlsSecret>),
    /// Remove it.
    Remove(ResourceName),
}

impl SecretChange {
    /// The Secret's name.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Put(secret) => ResourceName::new(&secret.namespace, &secret.name),
            Self::Remove(name) => name.clone(),
        }
    }
}

/// A certificate as `kubectl get certificate` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether there is a certificate that is valid now, and not a temporary one, with the keystores asked for.
    pub ready: bool,
    /// Why, as one word for programs, for example `Ready`, `Failed` or `Pending`.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// The first second of its validity.
    pub not_before: Option<OffsetDateTime>,
    /// The last second of its validity.
    pub not_after: Option<OffsetDateTime>,
    /// When it is renewed, or when the next attempt starts.
    pub next: Option<OffsetDateTime>,
    /// How many certificates were issued, from 1.
    pub revision: Option<u64>,
    /// How often issuing failed since the last success.
    pub failures: i64,
    /// When it failed last.
    pub last_failure: Option<OffsetDateTime>,
}

impl Status {
    pub(super) fn of(
        leaf: Option<&Certificate>,
        state: Option<&State>,
        secret: Option<&TlsSecret>,
        next: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Self {
        let valid = |c: &Certificate| (c.not_before()..=c.not_after()).contains(&now);
        let failing = state.and_then(|state| state.failing);
        let told = state.and_then(|state| state.told.clone());
        let lacks = state.is_some_and(State::lacks_keystores);
        let ready = leaf.is_some_and(valid) && !lacks;
        let contested = state.and_then(|state| state.contested.as_ref());
        let (reason, message) = match told {
            Some(told) if !ready => told,
            _ if ready => (
                "Ready",
                match contested {
                    Some(contested) => {
                        format!("Certificate is up to date and has not expired, but {contested}")
                    }
                    None => "Certificate is up to date and has not expired".to_owned(),
                },
            ),
            _ if secret.is_none() => ("DoesNotExist", "there is no Secret yet".to_owned()),
            _ if leaf.is_some() => ("Expired", "Certificate has expired".to_owned()),
            _ => ("MissingData", "the Secret holds no certificate".to_owned()),
        };
        Self {
            ready,
            reason,
            message,
            not_before: leaf.map(Certificate::not_before),
            not_after: leaf.map(Certificate::not_after),
            next,
            revision: state
                .map(|state| state.revision)
                .filter(|revision| *revision > 0),
            failures: failing.map_or(0, |failing| failing.attempts),
            last_failure: failing.map(|failing| failing.last),
        }
    }
}
