use certwright_renewal::Percent;

use crate::certificate::{CertificateSpec, RenewalSpec};
use crate::defaults::Defaults;
use crate::duration::{DurationDialect, GoDuration};
use crate::report::{Report, spec};
use crate::validated::{RenewalRequest, RenewalTiming};
use crate::violation::{FieldPath, ViolationKind};

const MIN_DURATION: GoDuration = GoDuration::from_hours(1);
const MIN_RENEW_BEFORE: GoDuration = GoDuration::from_minutes(5);

pub(super) struct CheckedLifetime {
    pub(super) duration: GoDuration,
    pub(super) is_default: bool,
    pub(super) renewal: RenewalRequest,
}

pub(super) fn lifetime(
    report: &mut Report,
    cert: &CertificateSpec,
    defaults: &Defaults,
) -> CheckedLifetime {
    let asked = duration(
        report,
        || spec("duration"),
        cert.duration.as_deref(),
        defaults.durations,
    );
    let duration_or_default = asked.unwrap_or(defaults.duration);
    if duration_or_default < MIN_DURATION {
        report.invalid(
            spec("duration"),
            format!("{duration_or_default} is shorter than {MIN_DURATION}; write at least 1h"),
        );
    }
    let before = duration(
        report,
        || spec("renewBefore"),
        cert.renew_before.as_deref(),
        defaults.durations,
    );
    if cert.renew_before.is_some() && cert.renew_before_percentage.is_some() {
        let message = "cannot be set together with";
        report.invalid(
            spec("renewBefore"),
            format!("{message} renewBeforePercentage; keep one of the two"),
        );
        report.invalid(
            spec("renewBeforePercentage"),
            format!("{message} renewBefore; keep one of the two"),
        );
    }
    // One that cannot be read is not the default: nothing can be said about its parts.
    let known = (asked.is_some() || cert.duration.is_none()).then_some(duration_or_default);
    if let Some(before) = before {
        check_before(report, before, known);
    }
    let percentage = cert
        .renew_before_percentage
        .and_then(|percentage| check_percentage(report, percentage, known));
    CheckedLifetime {
        duration: duration_or_default,
        is_default: asked.is_none(),
        renewal: match (before, percentage) {
            (Some(before), _) => RenewalRequest::Before(before),
            (None, Some(percentage)) => RenewalRequest::Percentage(percentage),
            (None, None) => RenewalRequest::TwoThirds,
        },
    }
}

pub(super) fn duration(
    report: &mut Report,
    field: impl FnOnce() -> FieldPath,
    text: Option<&str>,
    dialect: DurationDialect,
) -> Option<GoDuration> {
    match GoDuration::parse(text?, dialect) {
        Ok(duration) => Some(duration),
        Err(error) => {
            report.refused(field(), text?, &error);
            None
        }
    }
}

fn check_before(report: &mut Report, before: GoDuration, duration: Option<GoDuration>) {
    let field = || spec("renewBefore");
    if before < MIN_RENEW_BEFORE {
        report.invalid(
            field(),
            format!("{before} is shorter than {MIN_RENEW_BEFORE}; write at least 5m"),
        );
    }
    let Some(duration) = duration else { return };
    if before >= duration {
        report.invalid(
            field(),
            format!(
                "{before} is not shorter than spec.duration {duration}; the certificate would be renewed without end"
            ),
        );
    } else if before.as_nanos() / 2 > duration.as_nanos() / 3 {
        report.warning(
            field(),
            ViolationKind::Invalid,
            format!(
                "{before} is more than two thirds of spec.duration {duration}; an issuer that shortens lifetimes makes it a loop"
            ),
        );
    }
}

/// The rule as cert-manager has it since its pull request 9129: of the percentage itself, in integers.
fn check_percentage(
    report: &mut Report,
    percentage: i64,
    duration: Option<GoDuration>,
) -> Option<Percent> {
    let field = || spec("renewBeforePercentage");
    let Some(valid) = i32::try_from(percentage)
        .ok()
        .and_then(|percentage| Percent::try_from(percentage).ok())
    else {
        report.invalid(field(), format!("{percentage} is not from 1 to 99"));
        return None;
    };
    let Some(duration) = duration else {
        return Some(valid);
    };
    if valid.of(duration.into()) < time::Duration::from(MIN_RENEW_BEFORE) {
        report.invalid(
            field(),
            format!("{valid} of {duration} is shorter than {MIN_RENEW_BEFORE}; write a larger percentage"),
        );
    } else if valid.get() > 66 {
        report.warning(
            field(),
            ViolationKind::Invalid,
            format!("{valid} is more than two thirds of the lifetime; an issuer that shortens lifetimes makes it a loop"),
        );
    }
    Some(valid)
}

pub(super) fn timing(
    report: &mut Report,
    renewal: Option<&RenewalSpec>,
    defaults: &Defaults,
) -> RenewalTiming {
    let Some(renewal) = renewal else {
        return RenewalTiming::AnyTime;
    };
    let field = |name: &str| spec("renewal").child(name);
    match renewal.policy.as_deref() {
        Some("Disabled") => {
            if !renewal.windows.is_empty() {
                report.violation(
                    field("windows"),
                    ViolationKind::Forbidden,
                    "cannot be set when the policy is Disabled",
                );
            }
            return RenewalTiming::Disabled;
        }
        Some("RenewBefore") => {}
        other => report.violation(
            field("policy"),
            ViolationKind::NotSupported,
            format!(
                "{:?} is not supported; write RenewBefore or Disabled",
                other.unwrap_or_default()
            ),
        ),
    }
    super::window::windows(report, &renewal.windows, defaults.durations)
}
