//! When is a certificate renewed, and why then?
//!
//! ```text
//! when NOT_BEFORE NOT_AFTER [--before HOURS | --percent N | --traefik HOURS]
//!      [--obtained INSTANT] [--ari START END] [--window CRON HOURS ZONE]... [--name NAME]
//!      [--svg FILE]
//! ```
//!
//! Instants are RFC 3339. `--name` spreads and draws for that certificate. Without
//! arguments it explains a certificate of 90 days that may only be renewed at night.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;

use certwright_renewal::window::{Window, Windows};
use certwright_renewal::{
    AcmeTable, AriWindow, FailureBackoff, Lifetime, Percent, RenewalPolicy, Schedule, Seed,
    Timeline,
};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const NIGHTS: &[&str] = &[
    "2026-01-01T00:00:00Z",
    "2026-04-01T00:00:00Z",
    "--obtained",
    "2026-01-01T01:00:00Z",
    "--window",
    "0 2 * * *",
    "3",
    "Europe/Berlin",
    "--name",
    "www.example.org",
];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = NIGHTS.iter().map(ToString::to_string).collect();
        println!("when {}\n", shell_words(&arguments));
    }
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    match answer(arguments) {
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

/// The head of this file.
fn usage() -> String {
    let head = include_str!("when.rs").lines();
    let lines = head.map_while(|line| line.strip_prefix("//!"));
    let lines = lines.filter(|line| !line.contains("```"));
    lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The words as a shell takes them.
fn shell_words(words: &[String]) -> String {
    let quoted = words.iter().map(|word| match word.contains([' ', '*']) {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn answer(arguments: Vec<String>) -> Result<String, Box<dyn Error>> {
    let question = Question::read(&mut arguments.into_iter())?;
    let schedule = question.schedule()?;
    if let Some(file) = question.svg {
        // The picture shows what a CA that is down would lead to.
        let backoff = FailureBackoff::default();
        let retries = (1..10).scan(schedule.due(), |last, attempts| {
            *last = backoff.until(*last, Some(attempts));
            Some(*last)
        });
        std::fs::write(file, Timeline::new(schedule).retries(retries).svg())?;
    }
    Ok(schedule.explain().to_string())
}

struct Question {
    life: Lifetime,
    policy: RenewalPolicy,
    ari: Option<AriWindow>,
    windows: Vec<Window>,
    name: Option<String>,
    svg: Option<String>,
}

impl Question {
    fn read(words: &mut impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut question = Self {
            life: Lifetime::new(instant(words)?, instant(words)?)?,
            policy: RenewalPolicy::TwoThirds,
            ari: None,
            windows: Vec::new(),
            name: None,
            svg: None,
        };
        while let Some(option) = words.next() {
            match option.as_str() {
                "--before" => question.policy = RenewalPolicy::Before(hours(words)?),
                "--percent" => {
                    let percent = Percent::try_from(number::<i32>(words)?)?;
                    question.policy = RenewalPolicy::Percent(percent);
                }
                "--traefik" => {
                    let table = AcmeTable::for_hours(number(words)?);
                    question.policy = RenewalPolicy::AcmeTable(table);
                }
                "--obtained" => question.life = question.life.obtained_at(instant(words)?),
                "--ari" => question.ari = Some(AriWindow::new(instant(words)?, instant(words)?)?),
                "--window" => {
                    let (cron, duration) = (word(words)?.parse()?, hours(words)?);
                    let zone = Some(word(words)?.parse()?);
                    question.windows.push(Window::new(cron, duration, zone)?);
                }
                "--name" => question.name = Some(word(words)?),
                "--svg" => question.svg = Some(word(words)?),
                other => return Err(format!("{other} is no option").into()),
            }
        }
        Ok(question)
    }

    fn schedule(&self) -> Result<Schedule, Box<dyn Error>> {
        let seed = Seed::new(self.name.as_deref().unwrap_or_default().as_bytes());
        let schedule = match self.ari {
            Some(window) => self.policy.schedule_with_ari(self.life, window, seed)?,
            None => self.policy.schedule(self.life)?,
        };
        let windows: Windows = self.windows.iter().cloned().collect();
        let schedule = windows.fit(schedule)?;
        Ok(match self.name {
            Some(_) => schedule.spread(seed),
            None => schedule,
        })
    }
}

fn word(words: &mut impl Iterator<Item = String>) -> Result<String, Box<dyn Error>> {
    words.next().ok_or_else(|| "a value is missing".into())
}

fn instant(words: &mut impl Iterator<Item = String>) -> Result<OffsetDateTime, Box<dyn Error>> {
    let word = word(words)?;
    let instant = OffsetDateTime::parse(&word, &Rfc3339);
    Ok(instant.map_err(|error| format!("{word:?} is no RFC 3339 instant: {error}"))?)
}

fn hours(words: &mut impl Iterator<Item = String>) -> Result<Duration, Box<dyn Error>> {
    let hours: i32 = number(words)?;
    Ok(Duration::hours(hours.into()))
}

fn number<N: FromStr>(words: &mut impl Iterator<Item = String>) -> Result<N, Box<dyn Error>>
where
    N::Err: Display,
{
    let word = word(words)?;
    let number = word.parse::<N>();
    Ok(number.map_err(|error| format!("{word:?} is no number to use here: {error}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(rest: &[&str]) -> String {
        let life = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
        let words = life.iter().chain(rest).map(ToString::to_string).collect();
        answer(words).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn explains() {
        let nights = NIGHTS.iter().map(ToString::to_string).collect();
        let text = answer(nights).unwrap();
        assert!(
            text.contains("in the opening from 2026-03-02T01:00:00Z"),
            "{text}"
        );
    }

    #[test]
    fn says_what_is_wrong_in_words() {
        for (rest, beginning) in [
            (
                &["--before", "9000000000000000000"][..],
                "\"9000000000000000000\" is no number",
            ),
            (&["--percent", "100"], "100 is no usable percentage"),
            (
                &["--traefik", "2160"],
                "a lead of 720h0m0s makes a certificate of 24h0m0s due",
            ),
            (&["--obtained", "noon"], "\"noon\" is no RFC 3339 instant"),
            (
                &["--window", "0 0 31 2 *", "1", "UTC"],
                "no renewal window opens",
            ),
            (&["--svg"], "a value is missing"),
        ] {
            let text = answer_to(rest);
            assert!(text.starts_with(beginning), "{text}");
        }
    }

    #[test]
    fn prints_a_command_that_can_be_pasted() {
        let words = ["--window", "0 2 * * *"].map(str::to_owned);
        assert_eq!(shell_words(&words), "--window '0 2 * * *'");
        let usage = usage();
        assert!(
            usage.contains("when NOT_BEFORE NOT_AFTER [--before HOURS"),
            "{usage}"
        );
    }
}
