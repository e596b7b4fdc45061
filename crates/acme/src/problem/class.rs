use certwright_renewal::Failure;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{ErrorType, Problem};

/// What sort of failure it is, which decides what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Class {
    /// The account is unknown, deactivated or not allowed.
    Account,
    /// Another order has replaced the certificate already (RFC 9773, section 5).
    AlreadyReplaced,
    /// The order, authorization or certificate is unknown: it expired.
    Gone,
    /// The order is in another state than we thought.
    Order,
    /// It cannot work before the configuration changes.
    Permanent,
    /// Too much was asked for; `Retry-After` says until when.
    RateLimited,
    /// It may work in a moment.
    Transient,
    /// The CA could not verify control over a name.
    Validation,
}

/// One thing that may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// A new order; the old one is dropped, its failures still count.
    NewOrder,
    /// The next issuer of the list, at once.
    NextIssuer,
    /// Another type of challenge for the same name, in a new order.
    OtherChallenge,
    /// Nothing before the configuration changes.
    Park,
    /// newAccount with the same key, `onlyReturnExisting` first.
    RebuildAccount,
    /// Read the order again and go on from its state.
    RefreshOrder,
    /// Read the stored certificate again: somebody else may have renewed it.
    ReloadCertificate,
    /// The same request for the same order after a pause.
    RetrySameOrder,
    /// Wait until the instant of `Retry-After`; account and scope are frozen till then.
    Wait,
    /// Once more without `replaces`.
    WithoutReplaces,
}

impl Class {
    /// What to do, in this order: the next if one did not help or cannot be done.
    ///
    /// | class | remedies |
    /// |---|---|
    /// | account | rebuild the account, then the next issuer, then park |
    /// | already replaced | look for the new certificate, else once more without `replaces` |
    /// | gone | new order |
    /// | order | refresh the order |
    /// | permanent | next issuer, then park |
    /// | rate limited | next issuer, then wait |
    /// | transient | the same order, then the next issuer |
    /// | validation | another challenge, the next issuer, then a new order by the long ladder |
    pub fn remedies(self) -> &'static [Remedy] {
        match self {
            Self::Account => &[Remedy::RebuildAccount, Remedy::NextIssuer, Remedy::Park],
            Self::AlreadyReplaced => &[Remedy::ReloadCertificate, Remedy::WithoutReplaces],
            Self::Gone => &[Remedy::NewOrder],
            Self::Order => &[Remedy::RefreshOrder],
            Self::Permanent => &[Remedy::NextIssuer, Remedy::Park],
            Self::RateLimited => &[Remedy::NextIssuer, Remedy::Wait],
            Self::Transient => &[Remedy::RetrySameOrder, Remedy::NextIssuer],
            Self::Validation => &[Remedy::OtherChallenge, Remedy::NextIssuer, Remedy::NewOrder],
        }
    }

    /// The ladder of pauses that fits, once no remedy is left; `frozen_until` is the instant of
    /// `Retry-After`, if the CA named one. A rate limit without an instant counts as a failed
    /// validation, whose pauses are the longest.
    pub fn failure(self, frozen_until: Option<OffsetDateTime>) -> Failure {
        match (self, frozen_until) {
            (Self::Permanent | Self::Account, _) => Failure::Permanent,
            (_, Some(until)) => Failure::RateLimited { until },
            (Self::RateLimited | Self::Validation, None) => Failure::Validation,
            (_, None) => Failure::Transient,
        }
    }

    /// Which of two classes decides for an order that has both: what is refused for good before what
    /// must wait, what must wait before what may be tried again.
    fn rank(self) -> u8 {
        match self {
            Self::Transient | Self::Order | Self::Gone => 0,
            Self::AlreadyReplaced => 1,
            Self::Validation => 2,
            Self::RateLimited => 3,
            Self::Account => 4,
            Self::Permanent => 5,
        }
    }
}

impl Problem {
    /// The class of an answer to a request.
    ///
    /// A status without a problem document is not the CA's word but that of something in between, and
    /// may pass: only 404, 409 and 429 mean what they mean.
    pub fn class(&self) -> Class {
        let by_status = match self.status {
            404 => Some(Class::Gone),
            409 => Some(Class::AlreadyReplaced),
            429 => Some(Class::RateLimited),
            _ => None,
        };
        // Boulder's conflicts and unknown orders are "malformed" and differ by their status only.
        let vague = matches!(
            self.kind,
            ErrorType::Blank | ErrorType::Malformed | ErrorType::Other(_)
        );
        let own = match by_status {
            Some(class) if vague => class,
            _ if self.status >= 500 && vague || !self.is_document() => Class::Transient,
            _ => of_request(&self.kind),
        };
        self.with_subproblems(own, of_request)
    }

    /// The class of an `error` within a challenge or an authorization.
    pub fn challenge_class(&self) -> Class {
        let own = of_challenge(&self.kind);
        self.with_subproblems(own, of_challenge)
    }

    fn with_subproblems(&self, own: Class, of: impl Fn(&ErrorType) -> Class) -> Class {
        let subproblems = self.subproblems.iter().map(|one| of(&one.kind));
        let worst = subproblems.max_by_key(|class| class.rank());
        match (worst, &self.kind) {
            // The document itself only says that there are several.
            (Some(worst), ErrorType::Compound | ErrorType::Blank) => worst,
            (Some(worst), _) if worst.rank() > own.rank() => worst,
            _ => own,
        }
    }
}

fn of_request(kind: &ErrorType) -> Class {
    match kind {
        // An account that was deactivated is "unauthorized" to do anything.
        ErrorType::AccountDoesNotExist
        | ErrorType::ExternalAccountRequired
        | ErrorType::Unauthorized
        | ErrorType::UserActionRequired => Class::Account,
        ErrorType::AlreadyReplaced => Class::AlreadyReplaced,
        ErrorType::OrderNotReady => Class::Order,
        ErrorType::RateLimited => Class::RateLimited,
        ErrorType::BadNonce | ErrorType::ServerInternal => Class::Transient,
        ErrorType::Caa
        | ErrorType::Connection
        | ErrorType::Dns
        | ErrorType::IncorrectResponse
        | ErrorType::Tls => Class::Validation,
        ErrorType::AlreadyRevoked
        | ErrorType::BadCsr
        | ErrorType::BadPublicKey
        | ErrorType::BadRevocationReason
        | ErrorType::BadSignatureAlgorithm
        | ErrorType::Blank
        | ErrorType::Compound
        | ErrorType::InvalidContact
        | ErrorType::InvalidProfile
        | ErrorType::Malformed
        | ErrorType::Other(_)
        | ErrorType::RejectedIdentifier
        | ErrorType::UnsupportedContact
        | ErrorType::UnsupportedIdentifier => Class::Permanent,
    }
}

fn of_challenge(kind: &ErrorType) -> Class {
    match kind {
        ErrorType::RateLimited => Class::RateLimited,
        ErrorType::ServerInternal => Class::Transient,
        ErrorType::RejectedIdentifier | ErrorType::UnsupportedIdentifier => Class::Permanent,
        // The server's answer was wrong in one way or another, which may be mended.
        _ => Class::Validation,
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::problem::Subproblem;

    fn subproblem(kind: ErrorType) -> Subproblem {
        Subproblem {
            kind,
            detail: None,
            identifier: None,
        }
    }

    #[test]
    fn classes_of_answers() {
        use ErrorType::*;
        for (status, kind, class) in [
            (400, AccountDoesNotExist, Class::Account),
            (403, Unauthorized, Class::Account),
            (403, UserActionRequired, Class::Account),
            (401, ExternalAccountRequired, Class::Account),
            (409, AlreadyReplaced, Class::AlreadyReplaced),
            (409, Malformed, Class::AlreadyReplaced),
            (404, Malformed, Class::Gone),
            (404, Blank, Class::Gone),
            (403, OrderNotReady, Class::Order),
            (400, BadCsr, Class::Permanent),
            (400, InvalidProfile, Class::Permanent),
            (400, Malformed, Class::Permanent),
            (400, RejectedIdentifier, Class::Permanent),
            (400, UnsupportedIdentifier, Class::Permanent),
            (400, Other("urn:x".to_owned()), Class::Permanent),
            (400, RateLimited, Class::RateLimited),
            (429, Blank, Class::RateLimited),
            (429, Malformed, Class::RateLimited),
            (503, RateLimited, Class::RateLimited),
            (400, BadNonce, Class::Transient),
            (403, Blank, Class::Transient),
            (500, ServerInternal, Class::Transient),
            (500, Malformed, Class::Transient),
            (502, Other("urn:x".to_owned()), Class::Transient),
            (503, Blank, Class::Transient),
            (403, Caa, Class::Validation),
            (400, Dns, Class::Validation),
        ] {
            let problem = Problem::new(status, kind);
            assert_eq!(problem.class(), class, "{problem}");
        }
    }

    #[test]
    fn classes_within_challenges() {
        use ErrorType::*;
        for (kind, class) in [
            (Unauthorized, Class::Validation),
            (Connection, Class::Validation),
            (Dns, Class::Validation),
            (Caa, Class::Validation),
            (Tls, Class::Validation),
            (IncorrectResponse, Class::Validation),
            (Malformed, Class::Validation),
            (RateLimited, Class::RateLimited),
            (ServerInternal, Class::Transient),
            (RejectedIdentifier, Class::Permanent),
        ] {
            let problem = Problem::new(0, kind);
            assert_eq!(problem.challenge_class(), class, "{problem}");
        }
    }

    #[test]
    fn subproblems_decide_together() {
        use ErrorType::*;
        for (kind, parts, class) in [
            (Compound, vec![Dns, RejectedIdentifier], Class::Permanent),
            (Compound, vec![Dns, Caa], Class::Validation),
            (Blank, vec![ServerInternal, Dns], Class::Validation),
            (Compound, vec![], Class::Permanent),
            (RateLimited, vec![Dns], Class::RateLimited),
            (ServerInternal, vec![RateLimited], Class::RateLimited),
        ] {
            let problem = Problem {
                subproblems: parts.into_iter().map(subproblem).collect(),
                ..Problem::new(400, kind)
            };
            assert_eq!(problem.class(), class, "{problem}");
        }
    }

    #[test]
    fn stored_names_stay() {
        for (class, name) in [
            (Class::Account, "account"),
            (Class::AlreadyReplaced, "already-replaced"),
            (Class::Gone, "gone"),
            (Class::Order, "order"),
            (Class::Permanent, "permanent"),
            (Class::RateLimited, "rate-limited"),
            (Class::Transient, "transient"),
            (Class::Validation, "validation"),
        ] {
            let stored = serde_json::Value::from(name);
            assert_eq!(serde_json::to_value(class).unwrap(), stored);
            assert_eq!(serde_json::from_value::<Class>(stored).unwrap(), class);
        }
    }

    #[test]
    fn pauses() {
        let until = OffsetDateTime::UNIX_EPOCH + Duration::HOUR;
        for (class, frozen, failure) in [
            (Class::Permanent, Some(until), Failure::Permanent),
            (Class::Account, None, Failure::Permanent),
            (
                Class::Transient,
                Some(until),
                Failure::RateLimited { until },
            ),
            (
                Class::RateLimited,
                Some(until),
                Failure::RateLimited { until },
            ),
            (Class::RateLimited, None, Failure::Validation),
            (Class::Validation, None, Failure::Validation),
            (Class::Gone, None, Failure::Transient),
        ] {
            assert_eq!(class.failure(frozen), failure, "{class:?}");
        }
    }
}
