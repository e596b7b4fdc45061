//! What the engine asks of a CA (RFC 8555), one request each.

mod by_hand;
mod jws;
mod server;
mod shim;
mod wire;

use core::fmt;

use thiserror::Error;
use time::OffsetDateTime;

use crate::account::{Account, AccountKey, Registration};
use crate::challenge::ChallengeKind;
use crate::identifier::Identifier;
use crate::problem::{Class, Problem, RetryAfter};
use crate::runtime::Task;

pub use server::AcmeServer;

/// The answer of a CA, or why there is none.
pub type Call<'a, T> = Task<'a, Result<T, ProtocolError>>;

/// A CA's ACME server, one request per method. `AcmeServer` is one;
/// a simulation makes another.
///
/// Every method may be called again with the same arguments after any outcome: the
/// engine does, after a crash. No method waits for the CA's work to be done.
pub trait Protocol: Send + Sync + fmt::Debug {
    /// The URL of the account of this key (section 7.3.1); `None` if there is none.
    fn find_account<'a>(&'a self, key: &'a AccountKey) -> Call<'a, Option<String>>;

    /// Registers the key (section 7.3) and answers with the account's URL; the same
    /// URL if it is registered already.
    fn register<'a>(
        &'a self,
        key: &'a AccountKey,
        registration: &'a Registration,
    ) -> Call<'a, String>;

    /// Replaces the account's contacts (section 7.3.2).
    fn update_contacts<'a>(&'a self, account: &'a Account, contacts: &'a [String]) -> Call<'a, ()>;

    /// A new order (section 7.4) and its URL.
    fn new_order<'a>(
        &'a self,
        account: &'a Account,
        order: &'a NewOrder,
    ) -> Call<'a, (String, OrderState)>;

    /// An order as it is now.
    fn order<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, OrderState>;

    /// An authorization as it is now (section 7.5).
    fn authorization<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
    ) -> Call<'a, AuthorizationState>;

    /// Tells the CA to look at the answer to a challenge (section 7.5.1).
    fn answer<'a>(&'a self, account: &'a Account, challenge_url: &'a str) -> Call<'a, ()>;

    /// Gives up an authorization (section 7.5.2).
    fn deactivate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, ()>;

    /// Asks for the certificate of an order that is ready, with a CSR in DER.
    fn finalize<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
        csr: &'a [u8],
    ) -> Call<'a, OrderState>;

    /// A chain and the URLs of its alternates (section 7.4.2).
    fn certificate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, Download>;

    /// When to renew (RFC 9773), for a certificate's identifier of section 4.1 there.
    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Call<'a, RenewalInfo>;

    /// Revokes a certificate in DER (section 7.6).
    fn revoke<'a>(
        &'a self,
        account: &'a Account,
        certificate: &'a [u8],
        reason: Option<RevocationReason>,
    ) -> Call<'a, ()>;
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// What for; without doubles.
    pub identifiers: Vec<Identifier>,
    /// The CA's profile, if one was asked for.
    pub profile: Option<String>,
    /// The certificate this one replaces (RFC 9773 section 5), by its ARI identifier;
    /// left out for CAs without renewal information.
    pub replaces: Option<String>,
    /// From when the certificate is to be valid, to the second; the CA's choice if `None`.
    pub not_before: Option<OffsetDateTime>,
    /// Until when.
    pub not_after: Option<OffsetDateTime>,
}

/// An order (RFC 8555 section 7.1.3).
#[derive(Clone, Debug, PartialEq)]
pub struct OrderState {
    /// Where it stands.
    pub status: OrderStatus,
    /// The authorizations' URLs.
    pub authorizations: Vec<String>,
    /// Where to finalize.
    pub finalize: String,
    /// Where the certificate is, once it is there.
    pub certificate: Option<String>,
    /// Why it is invalid.
    pub error: Option<Problem>,
    /// How long to wait before asking again, if the CA said.
    pub retry_after: Option<RetryAfter>,
}

impl OrderState {
    /// Reads the body of an answer; `retry_after` is that of its header.
    ///
    /// A state that no order can be in counts as [`OrderStatus::Invalid`]. The URLs are those
    /// of the CA, unchecked.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] for a body that is no JSON, or no order: without `finalize`,
    /// or in a state that RFC 8555 does not know.
    pub fn read(body: &[u8], retry_after: Option<RetryAfter>) -> Result<Self, ProtocolError> {
        let order: wire::Order = wire::read("the order", body)?;
        Ok(order.read(retry_after))
    }
}

/// The states of an order (section 7.1.6); complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Waits for authorizations.
    Pending,
    /// All authorizations are valid; waits for the CSR.
    Ready,
    /// The CA makes the certificate.
    Processing,
    /// The certificate is there.
    Valid,
    /// It failed, ran out or was given up.
    Invalid,
}

/// An authorization (section 7.1.4).
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorizationState {
    /// For what; a wildcard with its `*.`.
    pub identifier: Identifier,
    /// Where it stands.
    pub status: AuthorizationStatus,
    /// The ways to prove control, those of kinds unknown here left out.
    pub challenges: Vec<ChallengeState>,
}

impl AuthorizationState {
    /// Reads the body of an answer.
    ///
    /// Left out are challenges of kinds and in states unknown here, and those whose token is
    /// none: it becomes part of a path and of a key. The URLs are those of the CA, unchecked.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] for a body that is no JSON, or no authorization: without an
    /// identifier that is a name or an address, or in a state that no authorization can be in.
    pub fn read(body: &[u8]) -> Result<Self, ProtocolError> {
        let request = "an authorization";
        let authorization: wire::Authorization = wire::read(request, body)?;
        let read = authorization.read();
        read.map_err(|reason| ProtocolError::Malformed { request, reason })
    }
}

/// The states of an authorization (section 7.1.6); complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthorizationStatus {
    /// Waits for a challenge.
    Pending,
    /// Control is proven.
    Valid,
    /// A challenge failed.
    Invalid,
    /// Given up by the account.
    Deactivated,
    /// Out of date.
    Expired,
    /// Taken back by the CA.
    Revoked,
}

/// A challenge (section 7.1.5).
#[derive(Clone, Debug, PartialEq)]
pub struct ChallengeState {
    /// Which.
    pub kind: ChallengeKind,
    /// Where to answer.
    pub url: String,
    /// The token, base64url without padding.
    pub token: String,
    /// Where it stands.
    pub status: ChallengeStatus,
    /// Why it failed.
    pub error: Option<Problem>,
}

/// The states of a challenge (section 7.1.6); complete by definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeStatus {
    /// Waits for the client.
    Pending,
    /// The CA is looking.
    Processing,
    /// It found what it should.
    Valid,
    /// It did not.
    Invalid,
}

/// A downloaded chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The chain, leaf first (RFC 8555 section 9.1).
    pub pem: String,
    /// The URLs of other chains for the same leaf.
    pub alternates: Vec<String>,
}

/// What a CA says about a renewal (RFC 9773 section 4.2), unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    /// The window's start.
    pub start: OffsetDateTime,
    /// The window's end.
    pub end: OffsetDateTime,
    /// Where the reason can be read.
    pub explanation_url: Option<String>,
    /// When to ask again; `None` for a missing or unreadable header, which counts as a
    /// lasting failure (section 4.3.3).
    pub retry_after: Option<RetryAfter>,
}

impl RenewalInfo {
    /// Reads the body of an answer; `retry_after` is that of its header.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] for a body that is no JSON, or without a window of two
    /// instants. Whether the window is one, [`AriWindow`](certwright_renewal::AriWindow) says.
    pub fn read(body: &[u8], retry_after: Option<RetryAfter>) -> Result<Self, ProtocolError> {
        let renewal: wire::Renewal = wire::read("renewal information", body)?;
        Ok(renewal.read(retry_after))
    }
}

/// Why a certificate is revoked (RFC 5280 section 5.3.1), as far as subscribers may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationReason {
    /// The subject's affiliation changed.
    AffiliationChanged,
    /// The site is no more.
    CessationOfOperation,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Another certificate took its place.
    Superseded,
}

impl RevocationReason {
    /// The code of RFC 5280.
    pub fn code(self) -> u8 {
        match self {
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
        }
    }
}

/// Why a CA did not do what was asked.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The answer is not what the RFC says it must be.
    #[error("the answer to {request} cannot be used: {reason}")]
    Malformed {
        /// What was asked.
        request: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The CA answered with an error.
    #[error("the CA refused {request}: {problem}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// Its words.
        problem: Box<Problem>,
        /// When to come back, if it said.
        retry_after: Option<RetryAfter>,
    },
    /// Nothing was sent: the CA did not answer for a while, and is left alone.
    #[error("{request} is not asked for before {until}, as the CA did not answer")]
    LeftAlone {
        /// What was to be asked.
        request: &'static str,
        /// Until when.
        until: OffsetDateTime,
    },
    /// Our own signature could not be made.
    #[error("{request} cannot be signed")]
    Signature {
        /// What was to be asked.
        request: &'static str,
    },
    /// A profile the CA's directory does not list.
    #[error("the CA has no profile {profile:?}, it offers {}", listed(.offered))]
    UnknownProfile {
        /// The profile.
        profile: String,
        /// Those there are.
        offered: Vec<String>,
    },
    /// There was no answer; the CA may have acted.
    #[error("no answer to {request}: {reason}")]
    Unreachable {
        /// What was asked.
        request: &'static str,
        /// What happened instead.
        reason: String,
    },
    /// The CA's directory does not have it.
    #[error("the CA does not offer {what}")]
    Unsupported {
        /// What is missing.
        what: &'static str,
    },
}

impl ProtocolError {
    /// What sort of failure it is.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused { problem, .. } => problem.class(),
            Self::LeftAlone { .. }
            | Self::Malformed { .. }
            | Self::Signature { .. }
            | Self::Unreachable { .. } => Class::Transient,
            Self::UnknownProfile { .. } | Self::Unsupported { .. } => Class::Permanent,
        }
    }

    /// The same about another request.
    fn about(mut self, what: &'static str) -> Self {
        match &mut self {
            Self::LeftAlone { request, .. }
            | Self::Malformed { request, .. }
            | Self::Refused { request, .. }
            | Self::Signature { request }
            | Self::Unreachable { request, .. } => *request = what,
            Self::UnknownProfile { .. } | Self::Unsupported { .. } => {}
        }
        self
    }

    /// When the CA wants to be asked again, if it said.
    pub fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn listed(names: &[String]) -> String {
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}
