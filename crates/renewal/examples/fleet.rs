//! What will a fleet ask of its CA, and what if its renewals move earlier?
//!
//! ```text
//! fleet [CERTIFICATES [PER_HOUR [--svg FILE]]]
//! ```
//!
//! Certificates of 90 days, most of them issued on one morning, half a day of which the
//! CA has announced to be closed when they come due. Each may be renewed up to five
//! days earlier. Without arguments there are 3000 of them under Let's Encrypt's 300
//! orders in 3 hours.

use std::error::Error;
use std::process::ExitCode;

use certwright_renewal::fleet::{Fleet, Goal, Quota, Renewal};
use certwright_renewal::{Lifetime, LoadTimeline, RenewalPolicy, Seed};
use time::{Duration, OffsetDateTime};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match answer(&arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let (count, per_hour, svg) = match arguments {
        [] => (3000, None, None),
        [count] => (count.parse()?, None, None),
        [count, hour] => (count.parse()?, Some(hour.parse()?), None),
        [count, hour, option, file] if option == "--svg" => {
            (count.parse()?, Some(hour.parse()?), Some(file))
        }
        _ => return Err("usage: fleet [CERTIFICATES [PER_HOUR [--svg FILE]]]".into()),
    };
    let quota = match per_hour {
        Some(count) => Quota::new(count, Duration::HOUR),
        None => Quota::refilled(300, Duration::hours(3)),
    };
    let allowed = usize::try_from(quota.count())?;
    let fleet = morning(count, quota)?;
    let hours = fleet.forecast(Duration::HOUR);
    let mut text = format!(
        "{count} renewals, {allowed} an hour allowed: {} hours ask for more\n",
        fleet.overruns().len()
    );
    for peak in hours.peaks(allowed) {
        text += &format!("peak: {peak}\n");
    }
    for (goal, name) in [
        (Goal::WithinQuotas, "within the quota"),
        (Goal::LowestPeak, "to the lowest peak"),
    ] {
        let smoothed = fleet.smooth(goal);
        let lost = smoothed.iter().filter(Option::is_none).count();
        let after = smoothed.forecast(Duration::HOUR);
        let busiest = after.busiest().map_or(0, |(_, count)| count);
        text += &format!(
            "\n{name}: {} move, {} come late, {lost} cannot be saved, at most {busiest} an hour\n",
            smoothed.moved(),
            smoothed.shortages().len() - lost,
        );
        let shortages = || smoothed.shortages().iter();
        let late = shortages().find(|shortage| shortage.late.is_some());
        let gone = shortages().find(|shortage| shortage.late.is_none());
        for shortage in late.into_iter().chain(gone) {
            text += &format!("{shortage}\n");
        }
        let picture = LoadTimeline::new(hours.clone())
            .after(after)
            .ok_or("both are counted by the hour")?
            .limit(allowed);
        text += &picture.text(40, 24);
        if let Some(file) = svg {
            std::fs::write(file, picture.svg())?;
        }
    }
    Ok(text)
}

/// The fleet as it stands a week before it comes due.
fn morning(count: u32, quota: Quota) -> Result<Fleet<&'static str>, Box<dyn Error>> {
    let start = OffsetDateTime::from_unix_timestamp(1_767_225_600)?;
    let now = start + Duration::days(53);
    let closed = start + Duration::days(60) + Duration::hours(8);
    let mut fleet = Fleet::new();
    fleet.set_quota("le", quota.except(closed, closed + Duration::hours(12), 0));
    for number in 0..count {
        let seed = Seed::new(&number.to_be_bytes());
        let hours = if seed.below(4) == 0 { 72 } else { 6 };
        let after = Duration::seconds(i64::try_from(seed.with(1).below(hours * 3600))?);
        let life = Lifetime::new(start + after, start + after + Duration::days(90))?;
        let schedule = RenewalPolicy::TwoThirds.schedule(life)?;
        fleet.add(&"le", Renewal::of(&schedule, Duration::days(5), now))?;
    }
    Ok(fleet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        answer(&arguments).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn tells_before_and_after() {
        let text = answer_to(&[]);
        for part in [
            "3000 renewals, 100 an hour allowed",
            "within the quota: ",
            " 0 come late, 0 cannot be saved, at most 100 an hour",
            "to the lowest peak: ",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn tells_who_is_left_over() {
        let text = answer_to(&["3000", "1"]);
        assert!(text.contains(" cannot be saved: from "), "{text}");
        assert!(text.contains(" has to wait until "), "{text}");
        assert!(answer_to(&["1", "2", "3"]).starts_with("usage: "));
    }
}
