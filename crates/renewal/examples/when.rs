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

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = NIGHTS.iter().map(ToString::to_string).collect();
        println!("when {}\n", NIGHTS.join(" "));
    }
    let question = Question::read(&mut arguments.into_iter())?;
    let schedule = question.schedule()?;
    println!("{}", schedule.explain());
    if let Some(file) = question.svg {
        // The picture shows what a CA that is down would lead to.
        let backoff = FailureBackoff::default();
        let retries = (1..10).scan(schedule.due(), |last, attempts| {
            *last = backoff.until(*last, Some(attempts));
            Some(*last)
        });
        std::fs::write(file, Timeline::new(schedule).retries(retries).svg())?;
    }
    Ok(())
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
                    let percent = Percent::try_from(word(words)?.parse::<i32>()?)?;
                    question.policy = RenewalPolicy::Percent(percent);
                }
                "--traefik" => {
                    let table = AcmeTable::for_hours(word(words)?.parse()?);
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
    Ok(OffsetDateTime::parse(&word(words)?, &Rfc3339)?)
}

fn hours(words: &mut impl Iterator<Item = String>) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::hours(word(words)?.parse()?))
}
