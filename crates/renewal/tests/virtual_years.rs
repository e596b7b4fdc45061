//! A fleet over five virtual years: issuers that backdate, clamp and fail, a clock
//! that jumps. Nothing expires, nothing loops, nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test reports nothing else")]

use std::collections::BTreeMap;

use certwright_renewal::window::{Window, Windows};
use certwright_renewal::{
    Agenda, FailureBackoff, Lifetime, Percent, RenewalPolicy, Schedule, Seed,
};
use time::{Duration, OffsetDateTime};

const FLEET: u32 = 300;

struct Certificate {
    policy: RenewalPolicy,
    windows: Windows,
    issuer: Issuer,
    seed: Seed,
    schedule: Schedule,
    failures: i64,
    renewals: i64,
}

/// What an issuer makes of a request.
#[derive(Clone, Copy)]
struct Issuer {
    length: Duration,
    backdates: Duration,
    /// Of ten attempts.
    fails: u64,
}

impl Issuer {
    fn issue(self, now: OffsetDateTime) -> Lifetime {
        let start = now - self.backdates;
        let life = Lifetime::new(start, start + self.length).unwrap();
        life.obtained_at(now)
    }
}

impl Certificate {
    fn new(number: u32, now: OffsetDateTime) -> Self {
        let seed = Seed::new(&number.to_be_bytes());
        let days = [1, 6, 30, 47, 90, 398];
        let issuer = Issuer {
            length: Duration::days(days[usize::try_from(seed.below(6)).unwrap()]),
            backdates: Duration::minutes(
                [0, 5, 60][usize::try_from(seed.with(1).below(3)).unwrap()],
            ),
            fails: seed.with(2).below(4),
        };
        let policy = match seed.with(3).below(4) {
            0 => RenewalPolicy::TwoThirds,
            1 => RenewalPolicy::Percent(Percent::try_from(40).unwrap()),
            2 => RenewalPolicy::Before(issuer.length / 4),
            // A loop: the issuer clamps to a little more than the lead.
            _ => RenewalPolicy::Before(issuer.length - Duration::seconds(30)),
        };
        let nights = Window::new("0 2 * * *".parse().unwrap(), Duration::hours(3), None);
        let windows = (issuer.length > Duration::days(20)).then(|| nights.unwrap());
        let mut certificate = Self {
            policy,
            windows: windows.into_iter().collect(),
            issuer,
            seed,
            schedule: schedule(policy, issuer.issue(now)),
            failures: 0,
            renewals: 0,
        };
        certificate.obtain(now);
        certificate
    }

    fn obtain(&mut self, now: OffsetDateTime) {
        let schedule = schedule(self.policy, self.issuer.issue(now));
        self.schedule = self.windows.fit(schedule).unwrap().spread(self.seed);
        assert!(self.schedule.due() > now, "{:?} loops", self.policy);
        self.failures = 0;
    }
}

fn schedule(policy: RenewalPolicy, life: Lifetime) -> Schedule {
    policy
        .schedule(life)
        .unwrap_or_else(|error| error.guarded())
}

#[test]
fn five_years_of_a_fleet() {
    let start = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    let end = start + Duration::days(5 * 365);
    let backoff = FailureBackoff::new(Duration::minutes(10), Duration::hours(1));
    let mut agenda = Agenda::new();
    let mut fleet: BTreeMap<u32, Certificate> = (0..FLEET)
        .map(|number| (number, Certificate::new(number, start)))
        .collect();
    for (number, certificate) in &fleet {
        agenda.insert(*number, certificate.schedule.due());
    }
    let (mut now, mut turn) = (start, 0u64);
    while let Some(wake) = agenda.next_wake().filter(|wake| *wake < end) {
        now = now.max(wake);
        while let Some((number, _)) = agenda.pop_due(now) {
            let certificate = fleet.get_mut(&number).unwrap();
            let life = certificate.schedule.lifetime();
            assert!(now < life.not_after(), "{number} expired before {now}");
            turn += 1;
            let next = if certificate.seed.with(turn).below(10) < certificate.issuer.fails {
                certificate.failures += 1;
                backoff.until(now, Some(certificate.failures))
            } else {
                certificate.renewals += 1;
                certificate.obtain(now);
                certificate.schedule.due()
            };
            assert_eq!(agenda.insert(number, next), None);
        }
        // The clock steps back a minute now and then: what is due waits, no more.
        if turn % 97 == 0 {
            let before = now - Duration::MINUTE;
            assert_eq!(agenda.pop_due(before), None);
        }
        assert_eq!(agenda.len(), fleet.len());
    }
    for (number, certificate) in &fleet {
        // No policy here renews in the first half of a life, and none forgets.
        let most = (end - start) / (certificate.issuer.length / 2);
        let least = (end - start) / certificate.issuer.length;
        let renewals = f64::from(i32::try_from(certificate.renewals).unwrap());
        assert!(
            least - 1.0 <= renewals && renewals <= most,
            "{number}: {renewals} of {least} to {most}"
        );
    }
}
