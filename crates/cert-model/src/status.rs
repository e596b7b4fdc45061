//! What controllers write into the `status` of Certificates and issuers.

#[cfg(feature = "documents")]
mod decode;

use time::OffsetDateTime;

/// `status` of a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// The state, by type `Ready` and `Issuing`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub conditions: Vec<Condition>,
    /// When issuing failed last; absent after a success.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub last_failure_time: Option<OffsetDateTime>,
    /// When the stored certificate's validity begins.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub not_before: Option<OffsetDateTime>,
    /// The last second of its validity.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub not_after: Option<OffsetDateTime>,
    /// When it is to be renewed.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub renewal_time: Option<OffsetDateTime>,
    /// How many certificates were issued, from 1.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub revision: Option<i64>,
    /// The Secret with the key of the certificate that is being issued.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub next_private_key_secret_name: Option<String>,
    /// How often issuing failed in a row.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub failed_issuance_attempts: Option<i64>,
    /// What the ACME server suggests.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub acme: Option<AcmeStatus>,
}

/// `status.acme` of a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct AcmeStatus {
    /// The server's renewal information (RFC 9773).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub ari: Option<AriStatus>,
}

/// `status.acme.ari` of a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct AriStatus {
    /// When the server would like the renewal.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub suggested_window: Option<SuggestedWindow>,
    /// Why, for people.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "explanationURL", skip_serializing_if = "Option::is_none")
    )]
    pub explanation_url: Option<String>,
    /// When the server was asked last.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub last_checked: Option<OffsetDateTime>,
    /// When it is to be asked next.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub next_check: Option<OffsetDateTime>,
    /// What went wrong the last time.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub last_error: Option<String>,
}

/// A time span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct SuggestedWindow {
    /// When it begins.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub start: Option<OffsetDateTime>,
    /// When it ends.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub end: Option<OffsetDateTime>,
}

/// `status` of a CertificateRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct CertificateRequestStatus {
    /// The state, by type `Ready`, `Approved`, `Denied` and `InvalidRequest`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub conditions: Vec<Condition>,
    /// Base64 of the signed chain in PEM.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub certificate: Option<String>,
    /// Base64 of the signer's certificate in PEM, if it is known.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub ca: Option<String>,
    /// When the request failed.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub failure_time: Option<OffsetDateTime>,
}

/// `status` of an Issuer or ClusterIssuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct IssuerStatus {
    /// The state, by type `Ready`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub conditions: Vec<Condition>,
    /// The account at the ACME server.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub acme: Option<AcmeAccountStatus>,
}

/// `status.acme` of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct AcmeAccountStatus {
    /// The account's URL.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub uri: Option<String>,
    /// The address the server knows.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub last_registered_email: Option<String>,
    /// A hash of the account's key, to see that it changed.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub last_private_key_hash: Option<String>,
}

/// One observation of a controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "camelCase", deny_unknown_fields, default)
)]
#[non_exhaustive]
pub struct Condition {
    /// What is observed, for example `Ready`.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: String,
    /// What was found.
    pub status: ConditionStatus,
    /// Why, as one word for programs.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub reason: Option<String>,
    /// Why, for people.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub message: Option<String>,
    /// When `status` changed last.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::instant", skip_serializing_if = "Option::is_none")
    )]
    pub last_transition_time: Option<OffsetDateTime>,
    /// Which generation of the resource was looked at.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub observed_generation: Option<i64>,
}

/// The status of a condition; complete by definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(missing_docs, reason = "Kubernetes' names")]
pub enum ConditionStatus {
    False,
    True,
    #[default]
    Unknown,
}

impl Condition {
    /// A condition that was observed `now`.
    pub fn new(kind: impl Into<String>, status: ConditionStatus, now: OffsetDateTime) -> Self {
        Self {
            kind: kind.into(),
            status,
            last_transition_time: Some(now),
            ..Self::default()
        }
    }

    /// The same with a reason: a word for programs and a text for people.
    #[must_use]
    pub fn because(self, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            message: Some(message.into()),
            ..self
        }
    }
}

/// Puts a condition in the place of the one of its type; its transition time is that of the old one
/// unless the status changed.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.kind == new.kind) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time;
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_a_change_of_status() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let mut conditions = Vec::new();
        for (status, now, transition) in [
            (ConditionStatus::False, 10, 10),
            (ConditionStatus::False, 20, 10),
            (ConditionStatus::True, 30, 30),
        ] {
            let new = Condition::new("Ready", status, at(now)).because("Why", "because");
            set_condition(&mut conditions, new);
            assert_eq!(conditions.len(), 1);
            assert_eq!(conditions[0].last_transition_time, Some(at(transition)));
            assert_eq!(conditions[0].status, status);
        }
    }
}
