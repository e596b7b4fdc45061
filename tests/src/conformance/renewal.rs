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
            let valid = text.parse::<Cron>().is_ok();
            let expected = case.expect["valid"].as_bool();
            Some(
                match expected == Some(true) && !valid && zone_of_the_machine(text) {
                    true => Verdict::Deliberate("zones-by-name"),
                    false => Verdict::equal(&Some(valid), &expected),
                },
            )
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

/// Whether a schedule that can be read otherwise is in `Local`, the zone of the machine that upstream runs on.
pub(super) fn zone_of_the_machine(cron: &str) -> bool {
    let zoned = ["TZ=Local ", "CRON_TZ=Local "];
    let rest = zoned.iter().find_map(|zone| cron.strip_prefix(zone));
    rest.is_some_and(|rest| rest.trim_start().parse::<Cron>().is_ok())
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
    let (input, expected) = (&case.input, &case.expect["between"]);
    let life = lifetime(input)?;
    let [start, end] = [
        instant(&input["ari"]["start"])?,
        instant(&input["ari"]["end"])?,
    ];
    let windows = match asked(&input["renewal"]) {
        Timing::Windows(windows) => windows?,
        Timing::Disabled => return Some(Verdict::equal(expected, &Value::Null)),
        Timing::Unknown => return Some(Verdict::equal(&case.expect["error"].is_string(), &true)),
    };
    let [from, to] = expected.as_array()?.as_slice() else {
        return None;
    };
    let (from, to) = (instant(from)?, instant(to)?);
    // Where upstream's instant lies: in the CA's window, whatever that is, then moved into those of the schedule.
    let moved = |due: OffsetDateTime| {
        let lead = RenewalPolicy::Before(life.not_after() - due);
        let schedule = lead
            .schedule(life)
            .unwrap_or_else(|loops| loops.unguarded());
        let fitted = Windows::from_iter(windows.clone()).fit(schedule);
        fitted.map_or(due, |schedule| schedule.due())
    };
    let theirs = match windows.is_empty() {
        true => from == start && (to == end || start >= end),
        false => from == moved(start),
    };
    let Ok(window) = AriWindow::new(start, end) else {
        return Some(match theirs {
            true => Verdict::Deliberate("ari-window-not-empty"),
            false => Verdict::Failed(format!("the window begins at {start}")),
        });
    };
    let seed = Seed::new(case.id.as_bytes());
    let schedule = policy(input)?.schedule_with_ari(life, window, seed).ok()?;
    let fitted = Windows::from_iter(windows.clone()).fit(schedule);
    let due = fitted.unwrap_or(schedule).due();
    if (from..to).contains(&due) {
        return Some(Verdict::Passed);
    }
    // Ours is brought forward from the end of the life, held back at its beginning, or the policy's own.
    if schedule.due() != window.draw(seed) && theirs {
        return Some(Verdict::Deliberate("ari-instant-bounded"));
    }
    Some(Verdict::Failed(format!("found {due}")))
}

/// What a case's `renewal` asks for.
enum Timing {
    Disabled,
    Unknown,
    /// Only in these windows, if there are any; `None` if one of them cannot be read.
    Windows(Option<Vec<Window>>),
}

fn asked(renewal: &Value) -> Timing {
    let windows = renewal["windows"].as_array().map(Vec::as_slice);
    let windows = windows.unwrap_or_default().iter().map(window);
    match renewal["policy"].as_str() {
        None if renewal.is_null() => Timing::Windows(Some(Vec::new())),
        Some("Disabled") => Timing::Disabled,
        Some("RenewBefore") => Timing::Windows(windows.collect()),
        _ => Timing::Unknown,
    }
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
    let windows = match asked(&input["renewal"]) {
        Timing::Disabled => return Some(Verdict::equal(&expect["renewalTime"], &Value::Null)),
        Timing::Unknown => {
            return Some(Verdict::equal(
                &expect["error"].as_str(),
                &Some("unsupported-policy"),
            ));
        }
        Timing::Windows(windows) => windows,
    };
    // A certificate that is due at once is reported as a loop; upstream's instant is still at hand.
    let schedule = policy(input)?
        .schedule(lifetime(input)?)
        .unwrap_or_else(|loops| loops.unguarded());
    let Some(windows) = windows else {
        let refused = expect["error"].is_string();
        return Some(
            match !refused && opens_briefly(&input["renewal"]["windows"]) {
                true => Verdict::Deliberate("windows-open-some-day"),
                false => Verdict::equal(&refused, &true),
            },
        );
    };
    let expected = (instant(&expect["renewalTime"]), expect["error"].as_str());
    let found = match Windows::from_iter(windows.clone()).fit(schedule) {
        Ok(fitted) => (Some(fitted.due()), None),
        Err(_) => (Some(schedule.due()), Some("no-window")),
    };
    let unfit = (Some(schedule.due()), Some("no-window"));
    // Upstream looks for an opening until the certificate has been expired for as long as it would last.
    let late = windows.iter().any(|window| {
        let last = schedule.lifetime().not_after();
        let opening = window.next_opening(last - Duration::SECOND);
        opening.is_some_and(|opening| (Some(opening.opens()), None) == expected)
    });
    if found == unfit && late {
        return Some(Verdict::Deliberate("windows-before-expiry"));
    }
    if found != expected && found.0 == earliest(&windows, schedule) && expected == unfit {
        return Some(Verdict::Deliberate("windows-in-any-order"));
    }
    Some(Verdict::equal(&found, &expected))
}

/// Whether what cannot be read of a list of windows is only that some are open for less than a second.
fn opens_briefly(windows: &Value) -> bool {
    let brief = |window: &Value| {
        let open = duration(&window["windowDuration"]);
        open.is_some_and(|open| open.is_positive() && open < Duration::SECOND)
    };
    let longer = |one: &Value| {
        let mut longer = one.clone();
        if brief(one) {
            longer["windowDuration"] = "1s".into();
        }
        window(&longer).is_some()
    };
    let windows = windows.as_array().map(Vec::as_slice).unwrap_or_default();
    windows.iter().any(brief) && windows.iter().all(longer)
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
