use certwright_cert_model::status::{
    AcmeStatus, AriStatus, CertificateStatus, Condition, ConditionStatus, SuggestedWindow,
    set_condition,
};
use certwright_cert_model::validated::ValidatedSpec;
use certwright_issuance::Certificate;
use certwright_renewal::AriWindow;
use time::OffsetDateTime;

use super::observed::Observed;
use super::readiness::readiness;
use super::reason::{Reason, instant};
use super::stored::Stored;
use super::{Plan, plan};

/// What a Certificate's `status` is to say at the instant `now`, and when issuing is tried next if it waits.
///
/// `before` is what it said: conditions keep their transition times while they stay the same, and what a plan does not
/// know, such as the revision, stays. The condition `Issuing` is there while something is to be issued: true if it is
/// its time, false while it waits or somebody has to decide. `SecretContested` is there while the Secret around the
/// certificate is not rewritten because somebody else undoes it.
pub fn status(
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    before: &CertificateStatus,
    now: OffsetDateTime,
) -> (CertificateStatus, Option<OffsetDateTime>) {
    let plan = plan(spec, seen, now);
    let mut status = before.clone();
    set_condition(&mut status.conditions, readiness(spec, seen, now));
    match contested(&plan, now) {
        Some(condition) => set_condition(&mut status.conditions, condition),
        None => status
            .conditions
            .retain(|condition| condition.kind != CONTESTED),
    }
    match issuing(&plan, now) {
        Some(condition) => set_condition(&mut status.conditions, condition),
        None => status
            .conditions
            .retain(|condition| condition.kind != ISSUING),
    }
    let stored = Stored::read(seen.secret).ok();
    let leaf = stored.as_ref().map(Stored::leaf);
    status.not_before = leaf.map(Certificate::not_before);
    status.not_after = leaf.map(Certificate::not_after);
    status.renewal_time = match &plan {
        Plan::Idle(schedule)
        | Plan::Contested { schedule, .. }
        | Plan::Reapply { schedule, .. } => schedule.map(|schedule| schedule.due()),
        Plan::Issue { reason, .. } | Plan::Wait { reason, .. } => match reason {
            Reason::Renewing(due) | Reason::Suggested { due, .. } => Some(*due),
            _ => None,
        },
        Plan::Blocked(_) => None,
    };
    status.last_failure_time = seen.failures.map(|failures| failures.last);
    status.failed_issuance_attempts = seen.failures.map(|failures| failures.attempts);
    if let Some(window) = seen.ari {
        let acme = status.acme.get_or_insert_with(AcmeStatus::default);
        let ari = acme.ari.get_or_insert_with(AriStatus::default);
        ari.suggested_window = Some(suggested(window));
    }
    let next = match plan {
        Plan::Contested { until, .. } | Plan::Wait { until, .. } => Some(until),
        _ => None,
    };
    (status, next)
}

const ISSUING: &str = "Issuing";
const CONTESTED: &str = "SecretContested";

/// The condition of a Secret that somebody else keeps rewriting.
fn contested(plan: &Plan, now: OffsetDateTime) -> Option<Condition> {
    let Plan::Contested { what, until, .. } = plan else {
        return None;
    };
    let condition = Condition::new(CONTESTED, ConditionStatus::True, now);
    Some(condition.because("RewrittenTooOften", contest_text(what, *until)))
}

/// That somebody else keeps rewriting a Secret, for people.
pub(crate) fn contest_text(what: &[impl ToString], until: OffsetDateTime) -> String {
    let what: Vec<_> = what.iter().map(ToString::to_string).collect();
    let what = what.join("; ");
    let until = instant(until);
    format!("somebody else undoes what is written, so not before {until}: {what}")
}

fn issuing(plan: &Plan, now: OffsetDateTime) -> Option<Condition> {
    let (status, word, message) = match plan {
        Plan::Blocked(block) => (ConditionStatus::False, block.word(), block.to_string()),
        Plan::Idle(_) | Plan::Contested { .. } | Plan::Reapply { .. } => return None,
        Plan::Issue { reason, .. } => (ConditionStatus::True, reason.word(), reason.to_string()),
        Plan::Wait { reason, until, .. } => {
            let (word, message) = backing_off(reason, *until);
            (ConditionStatus::False, word, message)
        }
    };
    Some(Condition::new(ISSUING, status, now).because(word, message))
}

/// That issuing waits, as a word for programs and a text for people.
pub(crate) fn backing_off(reason: &Reason, until: OffsetDateTime) -> (&'static str, String) {
    let until = instant(until);
    let message = format!("not before {until}, after failures or too many certificates: {reason}");
    ("BackingOff", message)
}

fn suggested(window: AriWindow) -> SuggestedWindow {
    let mut suggested = SuggestedWindow::default();
    (suggested.start, suggested.end) = (Some(window.start()), Some(window.end()));
    suggested
}
