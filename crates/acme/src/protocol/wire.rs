//! The objects of RFC 8555 section 7.1 as they come.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use time::OffsetDateTime;

use super::{
    AuthorizationState, AuthorizationStatus, ChallengeState, ChallengeStatus, OrderState,
    OrderStatus, ProtocolError, RenewalInfo,
};
use crate::identifier::Identifier;
use crate::problem::{Problem, RetryAfter};

/// The object in the body of an answer.
pub(super) fn read<T: DeserializeOwned>(
    request: &'static str,
    body: &[u8],
) -> Result<T, ProtocolError> {
    serde_json::from_slice(body).map_err(|error| ProtocolError::Malformed {
        request,
        reason: error.to_string(),
    })
}

/// The directory (section 7.1.1), as far as it is used.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    pub(super) revoke_cert: Option<String>,
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// What a CA says about itself.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Meta {
    /// The profiles by name, with a text for people; `None` for a CA without profiles.
    pub(super) profiles: Option<BTreeMap<String, Json>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order {
    status: Status,
    #[serde(default)]
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    error: Option<Json>,
    /// Said again by a CA that took note of it (RFC 9773 section 5).
    pub(super) replaces: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Authorization {
    identifier: Name,
    status: Status,
    #[serde(default)]
    challenges: Vec<Challenge>,
    #[serde(default)]
    wildcard: bool,
}

#[derive(Deserialize)]
struct Name {
    value: String,
}

#[derive(Deserialize)]
struct Challenge {
    r#type: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    token: String,
    status: Status,
    error: Option<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Renewal {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    #[serde(with = "crate::instant")]
    start: OffsetDateTime,
    #[serde(with = "crate::instant")]
    end: OffsetDateTime,
}

/// The states of all objects (section 7.1.6).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Deactivated,
    Expired,
    Invalid,
    Pending,
    Processing,
    Ready,
    Revoked,
    Valid,
}

impl Order {
    pub(super) fn read(self, retry_after: Option<RetryAfter>) -> OrderState {
        let status = match self.status {
            Status::Pending => OrderStatus::Pending,
            Status::Ready => OrderStatus::Ready,
            Status::Processing => OrderStatus::Processing,
            Status::Valid => OrderStatus::Valid,
            Status::Invalid | Status::Deactivated | Status::Expired | Status::Revoked => {
                OrderStatus::Invalid
            }
        };
        OrderState {
            status,
            authorizations: self.authorizations,
            finalize: self.finalize,
            certificate: self.certificate,
            error: problem(self.error.as_ref()),
            retry_after,
        }
    }
}

impl Authorization {
    pub(super) fn read(self) -> Result<AuthorizationState, String> {
        let star = if self.wildcard { "*." } else { "" };
        let name = format!("{star}{}", self.identifier.value);
        let identifier: Result<Identifier, _> = name.parse();
        let identifier = identifier.map_err(|error| format!("identifier {name:?}: {error}"))?;
        let status = match self.status {
            Status::Pending => AuthorizationStatus::Pending,
            Status::Valid => AuthorizationStatus::Valid,
            Status::Invalid => AuthorizationStatus::Invalid,
            Status::Deactivated => AuthorizationStatus::Deactivated,
            Status::Expired => AuthorizationStatus::Expired,
            Status::Revoked => AuthorizationStatus::Revoked,
            Status::Processing | Status::Ready => {
                return Err(format!("an authorization cannot be {:?}", self.status));
            }
        };
        let challenges = self.challenges.into_iter().filter_map(Challenge::read);
        Ok(AuthorizationState {
            identifier,
            status,
            challenges: challenges.collect(),
        })
    }
}

impl Challenge {
    /// `None` for kinds, states and tokens that are none of ours.
    fn read(self) -> Option<ChallengeState> {
        let status = match self.status {
            Status::Pending => ChallengeStatus::Pending,
            Status::Processing => ChallengeStatus::Processing,
            Status::Valid => ChallengeStatus::Valid,
            Status::Invalid => ChallengeStatus::Invalid,
            _ => return None,
        };
        // A token becomes part of a path and of a key.
        let token = crate::challenge::http01::is_token(&self.token);
        let kind = self.r#type.parse().ok().filter(|_| token)?;
        Some(ChallengeState {
            kind,
            url: self.url,
            token: self.token,
            status,
            error: problem(self.error.as_ref()),
        })
    }
}

impl Renewal {
    pub(super) fn read(self, retry_after: Option<RetryAfter>) -> RenewalInfo {
        RenewalInfo {
            start: self.suggested_window.start,
            end: self.suggested_window.end,
            explanation_url: self.explanation_url,
            retry_after,
        }
    }
}

fn problem(error: Option<&Json>) -> Option<Problem> {
    Problem::read_error(error?.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::ChallengeKind;

    #[test]
    fn orders() {
        let order = |status: &str| {
            let text = format!(r#"{{"status":"{status}","finalize":"https://ca.test/f"}}"#);
            OrderState::read(text.as_bytes(), None).map(|order| order.status)
        };
        for (status, expected) in [
            ("pending", OrderStatus::Pending),
            ("ready", OrderStatus::Ready),
            ("processing", OrderStatus::Processing),
            ("valid", OrderStatus::Valid),
            ("invalid", OrderStatus::Invalid),
            ("deactivated", OrderStatus::Invalid),
        ] {
            assert_eq!(order(status), Ok(expected), "{status}");
        }
        assert!(order("ripe").is_err());
        for body in ["", "[]", r#"{"status":"valid"}"#] {
            let read = OrderState::read(body.as_bytes(), None);
            assert!(
                matches!(
                    read,
                    Err(ProtocolError::Malformed {
                        request: "the order",
                        ..
                    })
                ),
                "{read:?}"
            );
        }
    }

    #[test]
    fn authorizations() {
        let text = r#"{"identifier":{"type":"dns","value":"Example.org"},"status":"pending",
            "expires":"2026-01-01T00:00:00Z","wildcard":true,"challenges":[
            {"type":"dns-01","url":"https://ca.test/c/1","token":"aaaaaaaaaaaaaaaaaaaaaaaa","status":"invalid",
             "error":{"type":"urn:ietf:params:acme:error:dns","detail":"no"}},
            {"type":"dns-persist-01","url":"x","status":"pending"},
            {"type":"http-01","url":"x","token":"../../etc/passwd/aaaaaaaaa","status":"pending"}]}"#;
        let read = AuthorizationState::read(text.as_bytes()).unwrap();
        assert_eq!(read.identifier.to_string(), "*.example.org");
        let [challenge] = read.challenges.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!(challenge.kind, ChallengeKind::Dns01);
        assert_eq!(challenge.error.as_ref().unwrap().to_string(), "dns: no");
        for body in [
            "",
            r#"{"status":"pending"}"#,
            r#"{"identifier":{"value":"a b"},"status":"pending"}"#,
            r#"{"identifier":{"value":"a.test"},"status":"ready"}"#,
        ] {
            let read = AuthorizationState::read(body.as_bytes());
            assert!(
                matches!(
                    read,
                    Err(ProtocolError::Malformed {
                        request: "an authorization",
                        ..
                    })
                ),
                "{read:?}"
            );
        }
    }
}
