use certwright_cert_model::status::{Condition, ConditionStatus};
use certwright_cert_model::validated::ValidatedSpec;
use time::OffsetDateTime;

use super::inspect::matches;
use super::observed::Observed;
use super::reason::Reason;
use super::stored::Stored;

/// The `Ready` condition at the instant `now`: whether the stored certificate is what is asked for and has not
/// expired. One whose renewal is due, whose CA changed or that a user wants replaced is ready until its replacement is
/// there.
pub fn readiness(spec: &ValidatedSpec, seen: &Observed<'_>, now: OffsetDateTime) -> Condition {
    match unready(spec, seen, now) {
        None => Condition::new("Ready", ConditionStatus::True, now)
            .because("Ready", "the certificate is up to date and has not expired"),
        Some(reason) => Condition::new("Ready", ConditionStatus::False, now)
            .because(reason.word(), reason.to_string()),
    }
}

fn unready(spec: &ValidatedSpec, seen: &Observed<'_>, now: OffsetDateTime) -> Option<Reason> {
    let stored = match Stored::read(seen.secret) {
        Ok(stored) => stored,
        Err(reason) => return Some(reason),
    };
    if let Err(reason) = matches(spec, seen, &stored) {
        return Some(reason);
    }
    let leaf = stored.leaf();
    if now < leaf.not_before() {
        return Some(Reason::NotYetValid(leaf.not_before()));
    }
    (now > leaf.not_after()).then(|| Reason::Expired(leaf.not_after()))
}
