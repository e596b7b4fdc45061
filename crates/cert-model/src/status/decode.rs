use super::*;
use crate::document::{Decoded, Fields, Node, Strictness, Value, decode};
use crate::instant;
use crate::violation::{FieldPath, ViolationKind};

impl CertificateStatus {
    /// Reads the `status` of a Certificate; paths are reported below `status`.
    pub fn decode(status: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        decode(status, FieldPath::root("status"), strictness, Self::read)
    }

    pub(crate) fn read(value: Value<'_>) -> Self {
        let fields = |fields: &mut Fields<'_>| Self {
            conditions: conditions(fields),
            last_failure_time: time(fields, "lastFailureTime"),
            not_before: time(fields, "notBefore"),
            not_after: time(fields, "notAfter"),
            renewal_time: time(fields, "renewalTime"),
            revision: fields.int("revision"),
            next_private_key_secret_name: fields.text("nextPrivateKeySecretName"),
            failed_issuance_attempts: fields.int("failedIssuanceAttempts"),
            acme: fields.object("acme", |acme| AcmeStatus {
                ari: acme.object("ari", |ari| AriStatus {
                    suggested_window: ari.object("suggestedWindow", |window| SuggestedWindow {
                        start: time(window, "start"),
                        end: time(window, "end"),
                    }),
                    explanation_url: ari.text("explanationURL"),
                    last_checked: time(ari, "lastChecked"),
                    next_check: time(ari, "nextCheck"),
                    last_error: ari.text("lastError"),
                }),
            }),
        };
        value.object(fields).unwrap_or_default()
    }
}

impl CertificateRequestStatus {
    /// Reads the `status` of a CertificateRequest; paths are reported below `status`.
    pub fn decode(status: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        decode(status, FieldPath::root("status"), strictness, Self::read)
    }

    pub(crate) fn read(value: Value<'_>) -> Self {
        let fields = |fields: &mut Fields<'_>| Self {
            conditions: conditions(fields),
            certificate: fields.text("certificate"),
            ca: fields.text("ca"),
            failure_time: time(fields, "failureTime"),
        };
        value.object(fields).unwrap_or_default()
    }
}

impl IssuerStatus {
    /// Reads the `status` of an Issuer or ClusterIssuer; paths are reported below `status`.
    pub fn decode(status: &Node, strictness: Strictness) -> Decoded<'_, Self> {
        decode(status, FieldPath::root("status"), strictness, Self::read)
    }

    pub(crate) fn read(value: Value<'_>) -> Self {
        let fields = |fields: &mut Fields<'_>| Self {
            conditions: conditions(fields),
            acme: fields.object("acme", |acme| AcmeAccountStatus {
                uri: acme.text("uri"),
                last_registered_email: acme.text("lastRegisteredEmail"),
                last_private_key_hash: acme.text("lastPrivateKeyHash"),
            }),
        };
        value.object(fields).unwrap_or_default()
    }
}

pub(crate) fn conditions(fields: &mut Fields<'_>) -> Vec<Condition> {
    fields.objects("conditions", |condition| Condition {
        kind: condition.text("type").unwrap_or_default(),
        status: status(condition),
        reason: condition.text("reason"),
        message: condition.text("message"),
        last_transition_time: time(condition, "lastTransitionTime"),
        observed_generation: condition.int("observedGeneration"),
    })
}

fn status(fields: &mut Fields<'_>) -> ConditionStatus {
    match fields.text("status").as_deref() {
        Some("False") => ConditionStatus::False,
        Some("True") => ConditionStatus::True,
        Some("Unknown") | None => ConditionStatus::Unknown,
        Some(other) => {
            let message = format!("{other:?} is not supported; write True, False or Unknown");
            fields.report("status", ViolationKind::NotSupported, message);
            ConditionStatus::Unknown
        }
    }
}

pub(crate) fn time(fields: &mut Fields<'_>, name: &'static str) -> Option<OffsetDateTime> {
    let text = fields.text(name)?;
    let instant = instant::parse(&text);
    if instant.is_none() {
        let message = format!("{text:?} is not a time; write it like 2026-01-31T12:00:00Z");
        fields.report(name, ViolationKind::Invalid, message);
    }
    instant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Format, parse};

    #[test]
    fn a_status_as_a_controller_writes_it() {
        let text = "
conditions:
- {type: Ready, status: 'True', reason: Ready, message: up to date, lastTransitionTime: '2026-01-01T00:00:00Z', observedGeneration: 2}
notBefore: 2026-01-01T00:00:00Z
notAfter: 2026-04-01T00:00:00+01:00
revision: 3
acme: {ari: {suggestedWindow: {start: 2026-02-01T00:00:00Z}, explanationURL: 'https://x'}}
";
        let document = parse(text, Format::Yaml).remove(0).unwrap();
        let status = CertificateStatus::decode(&document.root, Strictness::Strict);
        let status = status.into_result().unwrap();
        assert_eq!(status.conditions[0].status, ConditionStatus::True);
        assert_eq!(
            status.not_after.map(OffsetDateTime::unix_timestamp),
            Some(1_774_998_000)
        );
        assert!(
            status
                .acme
                .unwrap()
                .ari
                .unwrap()
                .suggested_window
                .unwrap()
                .start
                .is_some()
        );
        let wrong = parse(
            "{conditions: [{status: yes}], notAfter: today}",
            Format::Yaml,
        )
        .remove(0)
        .unwrap();
        let violations = IssuerStatus::decode(&wrong.root, Strictness::Lenient).into_result();
        assert_eq!(violations.unwrap_err().iter().count(), 1);
        let violations = CertificateStatus::decode(&wrong.root, Strictness::Lenient).into_result();
        assert_eq!(violations.unwrap_err().iter().count(), 2);
    }
}
