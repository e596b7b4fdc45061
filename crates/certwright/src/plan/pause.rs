use certwright_cert_model::validated::ValidatedSpec;
use certwright_renewal::{FailureBackoff, NextRequest};
use time::{Duration, OffsetDateTime};

use super::observed::Observed;
use super::reason::Reason;

/// Until when issuing for this reason waits, if it does.
pub(super) fn pause(
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    reason: &Reason,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    after_failures(spec, seen, now).or_else(|| storm(reason, seen, now))
}

/// Until when issuing waits after failures; a user's request since then, and a repaired specification, end the pause.
fn after_failures(
    spec: &ValidatedSpec,
    seen: &Observed<'_>,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let failures = seen.failures?;
    let asked = |at: OffsetDateTime| at > failures.last && at <= now;
    if seen.requested.is_some_and(asked) {
        return None;
    }
    let next = if failures.spec == spec.fingerprint() {
        NextRequest::Matches
    } else {
        NextRequest::Differs
    };
    let attempts = Some(failures.attempts);
    let left = seen
        .backoff
        .remaining(attempts, Some(now - failures.last), next)?;
    // A pause longer than the whole one comes from a clock that was ahead.
    (left <= seen.backoff.delay(attempts)?).then(|| seen.backoff.until(failures.last, attempts))
}

/// How many certificates are issued at most for one specification within [`STORM_TIME`].
const STORM: usize = 5;

/// The shortest lifetime that can be asked for is an hour, so that renewals are no storm.
const STORM_TIME: Duration = Duration::HOUR;

/// Until when issuing waits because it was done so often lately, unless a user wants something else each time.
fn storm(reason: &Reason, seen: &Observed<'_>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    if matches!(
        reason,
        Reason::RequestChanged(_) | Reason::SpecChanged(_) | Reason::Requested(_)
    ) {
        return None;
    }
    let since = now.saturating_sub(STORM_TIME);
    let lately = seen.issued.iter().filter(|at| (since..=now).contains(*at));
    let mut lately: Vec<_> = lately.copied().collect();
    lately.sort_unstable();
    let first = *lately.iter().rev().nth(STORM - 1)?;
    let until = first.saturating_add(STORM_TIME);
    (now < until).then_some(until)
}

/// Until when a Secret is not rewritten, after these times that it was: so often for free, then after the pauses of
/// failures, until somebody leaves it alone for twice the last pause.
pub(crate) fn contested_until(
    rewritten: &[OffsetDateTime],
    backoff: &FailureBackoff,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let free = i64::try_from(STORM - 1).unwrap_or_default();
    let pause = |times: i64| -> Duration {
        match times - free {
            paid @ 1.. => backoff.delay(Some(paid)).unwrap_or(Duration::ZERO),
            _ => Duration::ZERO,
        }
    };
    let mut rewritten: Vec<_> = rewritten.iter().filter(|at| **at <= now).copied().collect();
    rewritten.sort_unstable();
    let mut times = 0;
    let mut last: Option<OffsetDateTime> = None;
    for at in rewritten {
        let quiet = pause(times).saturating_mul(2).max(STORM_TIME);
        times = match last {
            Some(last) if at - last <= quiet => times + 1,
            _ => 1,
        };
        last = Some(at);
    }
    let until = last?.saturating_add(pause(times));
    (now < until).then_some(until)
}
