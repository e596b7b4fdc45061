//! What goes wrong on the way, sorted by who can do something about it.

use certwright_issuance::KeyError;
use certwright_issuance::csr::CsrError;
use certwright_storage::{RecordError, StorageError};
use time::OffsetDateTime;

use super::EngineError;
use crate::account::AccountError;
use crate::challenge::ChallengeKind;
use crate::challenge::dns01::DnsError;
use crate::identifier::Identifier;
use crate::journal::WrongStage;
use crate::problem::{Class, RateLimitScope, RetryAfter};
use crate::protocol::ProtocolError;

/// Why a step was not taken.
pub(super) enum Trouble {
    /// The journal decides what follows.
    Setback(Setback),
    /// Nobody but the caller can help.
    Stop(EngineError),
}

/// A failure of the CA, or in its eyes.
#[derive(Debug)]
pub(super) struct Setback {
    pub(super) class: Class,
    pub(super) detail: String,
    pub(super) wait: Option<Wait>,
    pub(super) scope: Option<RateLimitScope>,
    /// Whether the issuer is left alone, and another one is better asked.
    pub(super) away: bool,
    pub(super) challenges: Vec<(Identifier, ChallengeKind)>,
}

/// Until when the CA wants to be left alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    Said(RetryAfter),
    Until(OffsetDateTime),
}

impl Setback {
    pub(super) fn new(class: Class, detail: impl Into<String>) -> Self {
        Self {
            class,
            detail: detail.into(),
            wait: None,
            scope: None,
            away: false,
            challenges: Vec::new(),
        }
    }
}

impl From<Setback> for Trouble {
    fn from(setback: Setback) -> Self {
        Self::Setback(setback)
    }
}

impl From<ProtocolError> for Trouble {
    fn from(error: ProtocolError) -> Self {
        let mut setback = Setback::new(error.class(), error.to_string());
        setback.wait = error.retry_after().map(Wait::Said);
        if let ProtocolError::LeftAlone { until, .. } = &error {
            setback.wait = Some(Wait::Until(*until));
            setback.away = true;
        }
        if let ProtocolError::Refused { problem, .. } = &error {
            setback.scope = problem.rate_limit_scope();
        }
        Self::Setback(setback)
    }
}

impl From<DnsError> for Trouble {
    /// The name server's or the provider's failures look like the CA's: they may pass.
    fn from(error: DnsError) -> Self {
        Setback::new(Class::Transient, error.to_string()).into()
    }
}

impl Trouble {
    pub(super) fn of_account(issuer: &str, error: AccountError) -> Self {
        match error {
            AccountError::Protocol(error) => error.into(),
            AccountError::Storage(error) => error.into(),
            source => Self::Stop(EngineError::Account {
                issuer: issuer.to_owned(),
                source,
            }),
        }
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Self::Stop(error)
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        Self::Stop(error.into())
    }
}

impl From<RecordError> for Trouble {
    fn from(error: RecordError) -> Self {
        Self::Stop(error.into())
    }
}

impl From<WrongStage> for Trouble {
    fn from(error: WrongStage) -> Self {
        Self::Stop(error.into())
    }
}

impl From<KeyError> for Trouble {
    fn from(error: KeyError) -> Self {
        Self::Stop(error.into())
    }
}

impl From<CsrError> for Trouble {
    fn from(error: CsrError) -> Self {
        Self::Stop(error.into())
    }
}
