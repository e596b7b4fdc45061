//! Kinds about when to renew.

use std::str::FromStr;

use certwright_cert_model::GoDuration;
use certwright_renewal::window::{Cron, Window, Windows, Zone};
use certwright_renewal::{
    AcmeTable, AriWindow, FailureBackoff, Lifetime, NextRequest, Percent, RenewalPolicy, Schedule,
    Seed, renew_before,
};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Case, Verdict, only};

pub(super) fn judge(case: &Case) -> Verdict {
    let verdict = match case.kind.as_str() {
        "acme-renew-durations" => acme_table(case),
        "backoff" => backoff(case),
        "cron-next" => cron_next(case),
        "cron-parse" => {
            let text = case.input.as_str().unwrap_or_default();
            Some(Verdict::equal(
                &Some(text.parse::<Cron>().is_ok()),
                &case.expect["valid"].as_bool(),
            ))
        }
        "renew-before" => lead(case),
        "renewal-time" => renewal_time(case),
        "renewal-time-ari" => ari(case),
        _ => return Verdict::Unsupported,
    };
    verdict.unwrap_or_else(|| Verdict::Failed("the case's input cannot be read".to_owned()))
}

fn acme_table(case: &Case) -> Option<Verdict> {
    only(&case.input, &["hours"])?;
    let table = AcmeTable::for_hours(case.input["hours"].as_u64()?);
    Some(Verdict::equal(
        &(
            Some(table.check_every().whole_seconds()),
            Some(table.renew_before().whole_seconds()),
        ),
        &(
            case.expect["renew_interval_s"].as_i64(),
            case.expect["renew_period_s"].as_i64(),
        ),
    ))
}

fn backoff(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(
        input,
        &[
            "failedIssuanceAttempts",
            "maxBackoff",
            "minBackoff",
            "nextRequestMatchesSpec",
            "sinceFailure",
        ],
    )?;
    let backoff = FailureBackoff::new(
        duration(&input["minBackoff"])?,
        duration(&input["maxBackoff"])?,
    );
    let next = if input["nextRequestMatchesSpec"].as_bool()? {
        NextRequest::Matches
    } else {
        NextRequest::Differs
    };
    let left = backoff.remaining(
        input["failedIssuanceAttempts"].as_i64(),
        duration(&input["sinceFailure"]),
        next,
    );
    Some(Verdict::equal(
        &(Some(left.is_some()), left),
        &(
            case.expect["backoff"].as_bool(),
            duration(&case.expect["delay"]),
        ),
    ))
}

fn cron_next(case: &Case) -> Option<Verdict> {
    only(&case.input, &["after", "cron", "timezone"])?;
    let cron: Cron = case.input["cron"].as_str()?.parse().ok()?;
    let zone = zone(&case.input["timezone"])?.unwrap_or_default();
    let next = cron.next(instant(&case.input["after"])?, &zone);
    Some(Verdict::equal(&next, &instant(&case.expect["next"])))
}

fn lead(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    only(
        input,
        &["actualDuration", "renewBefore", "renewBeforePercentage"],
    )?;
    let percentage = input["renewBeforePercentage"]
        .as_i64()
        .and_then(|p| i32::try_from(p).ok());
    let lead = renew_before(
        duration(&input["actualDuration"])?,
        duration(&input["renewBefore"]),
        percentage,
    );
    Some(Verdict::equal(
        &Some(lead.whole_nanoseconds()),
        &case.expect["nanos"].as_i64().map(i128::from),
    ))
}

fn ari(case: &Case) -> Option<Verdict> {
    let input = &case.input;
    let Ok(window) = AriWindow::new(
        instant(&input["ari"]["start"])?,
        instant(&input["ari"]["end"])?,
    ) else {
        return Some(Verdict::Deliberate("ari-window-not-empty"));
    };
    let schedule = policy(input)?
        .schedule_with_ari(lifetime(input)?, window, Seed::new(case.id.as_bytes()))
        .ok()?;
    let [from, to] = case.expect["between"].as_array()?.as_slice() else {
        return None;
    };
    let inside = instant(from)? <= schedule.due() && schedule.due() < instant(to)?;
    Some(Verdict::equal(&inside, &true))
}

fn renewal_time(case: &Case) -> Option<Verdict> {
    let (input, expect) = (&case.input, &case.expect);
    only(
        input,
        &[
            "notAfter",
            "notBefore",
            "renewBefore",
            "renewBeforePercentage",
            "renewal",
        ],
    )?;
    let renewal = &input["renewal"];
    match renewal["policy"].as_str() {
        None | Some("RenewBefore") => {}
        Some("Disabled") => return Some(Verdict::equal(&expect["renewalTime"], &Value::Null)),
        Some(_) => {
            return Some(Verdict::equal(
                &expect["error"].as_str(),
                &Some("unsupported-policy"),
            ));
        }
    }
    // A certificate that is due at once is reported as a loop; upstream's instant is still at hand.
    let schedule = policy(input)?
        .schedule(lifetime(input)?)
        .unwrap_or_else(|loops| loops.unguarded());
    let listed = renewal["windows"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let windows: Option<Vec<_>> = listed.iter().map(window).collect();
    let Some(windows) = windows else {
        return Some(Verdict::equal(&expect["error"].is_string(), &true));
    };
    let expected = (instant(&expect["renewalTime"]), expect["error"].as_str());
    let found = match Windows::from_iter(windows.clone()).fit(schedule) {
        Ok(fitted) => (Some(fitted.due()), None),
        Err(_) => (Some(schedule.due()), Some("no-window")),
    };
    let beyond = expected
        .0
        .is_some_and(|due| due >= schedule.lifetime().not_after());
    if found != expected && beyond {
        return Some(Verdict::Deliberate("windows-before-expiry"));
    }
    if found != expected && found.0 == earliest(&windows, schedule) {
        return Some(Verdict::Deliberate("windows-in-any-order"));
    }
    Some(Verdict::equal(&found, &expected))
}

/// The earliest instant that any one of several windows allows, if some of them allow none.
fn earliest(windows: &[Window], schedule: Schedule) -> Option<OffsetDateTime> {
    let alone = |window: &Window| Windows::from_iter([window.clone()]).fit(schedule).ok();
    let fits: Vec<_> = windows.iter().filter_map(alone).collect();
    let some_fail = fits.len() < windows.len();
    some_fail.then(|| fits.iter().map(Schedule::due).min())?
}

fn policy(input: &Value) -> Option<RenewalPolicy> {
    let percentage = input["renewBeforePercentage"]
        .as_i64()
        .and_then(|p| i32::try_from(p).ok());
    Some(match (duration(&input["renewBefore"]), percentage) {
        // Validation allows one of the two; the lead of both is a function of its own.
        (Some(before), Some(_)) => {
            let actual = lifetime(input)?.length();
            RenewalPolicy::Before(renew_before(actual, Some(before), percentage))
        }
        (Some(before), None) => RenewalPolicy::Before(before),
        (None, Some(percentage)) => match Percent::try_from(percentage) {
            Ok(percent) => RenewalPolicy::Percent(percent),
            // Upstream ignores a percentage outside 1..=99 that got past validation.
            Err(_) => RenewalPolicy::TwoThirds,
        },
        (None, None) => RenewalPolicy::TwoThirds,
    })
}

fn lifetime(input: &Value) -> Option<Lifetime> {
    Lifetime::new(instant(&input["notBefore"])?, instant(&input["notAfter"])?).ok()
}

fn window(value: &Value) -> Option<Window> {
    let cron = value["cron"].as_str()?.parse().ok()?;
    Window::new(
        cron,
        duration(&value["windowDuration"])?,
        zone(&value["timezone"])?,
    )
    .ok()
}

/// `Some(None)` if no zone is given, `None` if it does not exist.
fn zone(value: &Value) -> Option<Option<Zone>> {
    match value.as_str() {
        None | Some("") => Some(None),
        Some(name) => Zone::from_str(name).ok().map(Some),
    }
}

fn duration(value: &Value) -> Option<Duration> {
    Some(value.as_str()?.parse::<GoDuration>().ok()?.into())
}

fn instant(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}
