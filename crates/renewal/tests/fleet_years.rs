//! A fleet over five virtual years, planned anew every midnight: issuers that backdate,
//! clamp and fail, outages announced and not, a quota cut down for months. No hour
//! exceeds a quota, and a certificate that expires was named before.
//!
//! `CERTWRIGHT_FLEET=100000 cargo test --release -p certwright-renewal --test fleet_years`
//! runs it at full size.

#![allow(clippy::unwrap_used, reason = "a test reports nothing else")]

use std::collections::BTreeMap;

use certwright_renewal::fleet::{Fleet, Goal, Quota, Renewal, Smoothed};
use certwright_renewal::{FailureBackoff, Lifetime, RenewalPolicy, Schedule, Seed};
use time::{Duration, OffsetDateTime};

const YEARS: i64 = 5;
const SMALL: u32 = 200;
const CAS: usize = 4;

#[test]
fn five_years_of_quotas() {
    let size = std::env::var("CERTWRIGHT_FLEET").map_or(SMALL, |size| size.parse().unwrap());
    let mut world = World::new(size);
    for midnight in 0..YEARS * 365 {
        world.live(midnight * 24);
    }
    let Tally {
        renewed,
        failed,
        expired,
        late,
        notice,
        peaks,
    } = &world.tally;
    println!(
        "{size} certificates: {renewed} renewals, {failed} failures, {late} late by name, \
         {expired} expired by name, the least notice {} hours; the peak of a plan fell from {} to {}",
        notice.unwrap_or_default().whole_hours(),
        peaks.0,
        peaks.1
    );
    let least = u64::from(size) * 5 * 4;
    assert!(*renewed > least, "{renewed} renewals");
    assert!(*failed > least / 100, "{failed} failures");
    assert!(*expired > 0, "the starving CA lost nobody");
    assert!(peaks.1 < peaks.0, "{peaks:?}");
    let starving = world.certificates.iter().filter(|c| c.ca == 3).count();
    assert!(
        *expired < u64::try_from(starving).unwrap() * 2,
        "{expired} expired"
    );
}

struct World {
    cas: [Ca; CAS],
    certificates: Vec<Certificate>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    renewed: u64,
    failed: u64,
    late: u64,
    expired: u64,
    /// The least from being named to expiry.
    notice: Option<Duration>,
    /// The highest before and after smoothing.
    peaks: (usize, usize),
}

struct Ca {
    /// The days it issues for, from these days on.
    lengths: &'static [(i64, i64)],
    backdates: Duration,
    policy: RenewalPolicy,
    /// Of a hundred attempts.
    fails: u64,
    /// How many an hour.
    quota: u32,
    /// From one hour to another; unannounced.
    outages: Vec<(i64, i64)>,
    /// From one hour to another no more than so many, known ten days before.
    announced: Vec<(i64, i64, u32)>,
}

struct Certificate {
    ca: usize,
    seed: Seed,
    schedule: Schedule,
    failures: i64,
    not_before: OffsetDateTime,
    /// Since when a plan has called it lost.
    named: Option<OffsetDateTime>,
    expired: bool,
}

impl Ca {
    fn all(each: u32) -> [Self; CAS] {
        let days = |n: u32| each / (n * 24);
        let policy = RenewalPolicy::TwoThirds;
        // Four outages a year, of 3 to 20 hours.
        let outages = |ca: u64| -> Vec<(i64, i64)> {
            let draws =
                (0..YEARS.unsigned_abs() * 4).map(|n| Seed::new(b"outage").with(ca).with(n));
            let at =
                |seed: Seed| i64::try_from(seed.below(YEARS.unsigned_abs() * 365 * 24)).unwrap();
            draws
                .map(|seed| (at(seed), at(seed) + 3 + at(seed.with(1)) % 18))
                .collect()
        };
        // A day every second month.
        let announced = || {
            (1..YEARS * 6)
                .map(|n| (n * 61 * 24, n * 61 * 24 + 24, 0))
                .collect()
        };
        [
            Self {
                lengths: &[(0, 90)],
                backdates: Duration::HOUR,
                policy,
                fails: 1,
                quota: days(60) * 3 + 2,
                outages: outages(0),
                announced: announced(),
            },
            // Asked for 90 days with a lead of 30, it clamps more and more: first the lead
            // is most of the life, then all but a minute of it, then more than it.
            Self {
                lengths: &[(0, 90), (365, 47), (800, 30), (1300, 20)],
                backdates: Duration::minutes(-1),
                policy: RenewalPolicy::Before(Duration::days(30)),
                fails: 2,
                quota: days(12) * 3 + 2,
                outages: outages(1),
                announced: announced(),
            },
            Self {
                lengths: &[(0, 30)],
                backdates: Duration::ZERO,
                policy,
                fails: 20,
                quota: days(18) * 3 + 2,
                outages: outages(2),
                announced: announced(),
            },
            // In its third year, for 80 days, it gives a quarter of what is needed.
            Self {
                lengths: &[(0, 90)],
                backdates: Duration::HOUR,
                policy,
                fails: 1,
                quota: days(60) * 3 + 2,
                outages: outages(3),
                announced: vec![(800 * 24, 880 * 24, days(60) / 4)],
            },
        ]
    }

    fn issue(&self, now: OffsetDateTime) -> Lifetime {
        let day = (now - START).whole_days().max(0);
        let lengths = self.lengths.iter().rev();
        let (_, length) = lengths.copied().find(|(from, _)| *from <= day).unwrap();
        // A clamp is to the validity from now on, and a little more.
        let start = now - self.backdates.max(Duration::ZERO);
        let extra = -self.backdates.min(Duration::ZERO);
        let life = Lifetime::new(start, start + Duration::days(length) + extra).unwrap();
        life.obtained_at(now)
    }

    fn schedule(&self, seed: Seed, now: OffsetDateTime) -> Schedule {
        let schedule = self.policy.schedule(self.issue(now));
        schedule
            .unwrap_or_else(|error| error.guarded())
            .spread(seed)
    }

    /// What is known of it at `now`.
    fn quota(&self, now: OffsetDateTime) -> Quota {
        let quota = Quota::new(self.quota, Duration::HOUR);
        let known = self
            .announced
            .iter()
            .filter(|(from, ..)| hour(*from) < now + Duration::days(10));
        known.fold(quota, |quota, (from, until, count)| {
            quota.except(hour(*from), hour(*until), *count)
        })
    }

    fn is_down(&self, now: OffsetDateTime) -> bool {
        let mut outages = self.outages.iter();
        outages.any(|(from, until)| hour(*from) <= now && now < hour(*until))
    }
}

impl World {
    fn new(size: u32) -> Self {
        let cas = Ca::all(size / 4);
        let certificates = (0..size).map(|number| {
            let seed = Seed::new(&number.to_be_bytes());
            let ca = usize::try_from(number).unwrap() % CAS;
            // Nearly all came in the three days before the story begins.
            let days = if seed.below(5) == 0 { 15 } else { 3 };
            let before =
                Duration::seconds(i64::try_from(seed.with(1).below(days * 86_400)).unwrap());
            let schedule = cas[ca].schedule(seed, START - before);
            Certificate {
                ca,
                seed,
                schedule,
                failures: 0,
                not_before: START,
                named: None,
                expired: false,
            }
        });
        Self {
            certificates: certificates.collect(),
            cas,
            tally: Tally::default(),
        }
    }

    /// One day, from the plan at its beginning.
    fn live(&mut self, midnight: i64) {
        let (now, end) = (hour(midnight), hour(midnight + 24));
        for certificate in &mut self.certificates {
            certificate.notice_expiry(now, &mut self.tally);
        }
        let mut fleet = Fleet::new();
        for (key, ca) in self.cas.iter().enumerate() {
            fleet.set_quota(key, ca.quota(now));
        }
        for certificate in &self.certificates {
            fleet
                .add(&certificate.ca, certificate.renewal(now))
                .unwrap();
        }
        let smoothed = fleet.smooth(Goal::LowestPeak);
        self.hear(&fleet, &smoothed, now);
        let today = smoothed.iter().enumerate();
        let mut today: Vec<_> = today
            .filter_map(|(n, at)| Some((at?, n)))
            .filter(|(at, _)| *at < end)
            .collect();
        today.sort_unstable();
        let mut used: BTreeMap<(usize, i64), u32> = BTreeMap::new();
        for (at, number) in today {
            assert!(at >= now, "{number} is planned in the past");
            let ca = self.certificates[number].ca;
            let used = used.entry((ca, (at - START).whole_hours())).or_default();
            *used += 1;
            let allowed = self.cas[ca].quota(at).count_at(at);
            assert!(
                *used <= allowed,
                "CA {ca} allows {allowed} in the hour of {at}"
            );
            self.attempt(number, at);
        }
    }

    fn attempt(&mut self, number: usize, now: OffsetDateTime) {
        let certificate = &mut self.certificates[number];
        certificate.notice_expiry(now, &mut self.tally);
        let ca = &self.cas[certificate.ca];
        let draw = certificate
            .seed
            .with((now - START).whole_seconds().unsigned_abs());
        // One that fails again and again is not what smoothing can help.
        let fails = draw.below(100) < ca.fails && certificate.failures < 3;
        if fails || ca.is_down(now) {
            self.tally.failed += 1;
            certificate.failures += 1;
            let backoff = FailureBackoff::default();
            certificate.not_before = backoff.until(now, Some(certificate.failures.min(4)));
            return;
        }
        self.tally.renewed += 1;
        certificate.schedule = ca.schedule(certificate.seed, now);
        assert!(certificate.schedule.due() > now, "{number} loops");
        (certificate.failures, certificate.named, certificate.expired) = (0, None, false);
    }

    fn hear(&mut self, fleet: &Fleet<usize>, smoothed: &Smoothed<'_, usize>, now: OffsetDateTime) {
        for shortage in smoothed.shortages() {
            match shortage.late {
                Some(_) => self.tally.late += 1,
                None => {
                    self.certificates[shortage.renewal].named.get_or_insert(now);
                }
            }
        }
        let peak = |load: certwright_renewal::fleet::Load| load.busiest().map_or(0, |(_, n)| n);
        let (before, after) = &mut self.tally.peaks;
        *before = peak(fleet.forecast(Duration::HOUR)).max(*before);
        *after = peak(smoothed.forecast(Duration::HOUR)).max(*after);
    }
}

impl Certificate {
    fn renewal(&self, now: OffsetDateTime) -> Renewal {
        if self.expired {
            // It needs another as soon as there is one.
            let soon = now.max(self.not_before);
            return Renewal::new(soon, soon, soon + Duration::days(30)).unwrap();
        }
        let earlier = self.schedule.lifetime().length() / 9;
        let renewal = Renewal::of(&self.schedule, earlier, now);
        let earliest = renewal.earliest().max(self.not_before);
        let planned = renewal.planned().max(earliest);
        Renewal::new(earliest, planned, renewal.latest().max(planned)).unwrap()
    }

    fn notice_expiry(&mut self, now: OffsetDateTime, tally: &mut Tally) {
        let end = self.schedule.lifetime().not_after();
        if now <= end || self.expired {
            return;
        }
        let notice = self.named.map(|named| end - named);
        assert!(
            notice.is_some_and(Duration::is_positive),
            "CA {}: expired at {end}, {} failures, unannounced",
            self.ca,
            self.failures
        );
        assert_eq!(self.ca, 3, "only the CA that starves loses any");
        tally.notice = tally.notice.map_or(notice, |least| notice.min(Some(least)));
        self.expired = true;
        tally.expired += 1;
    }
}

const START: OffsetDateTime = OffsetDateTime::new_utc(DATE, time::Time::MIDNIGHT);
const DATE: time::Date = match time::Date::from_ordinal_date(2026, 1) {
    Ok(date) => date,
    Err(_) => time::Date::MIN,
};

fn hour(hour: i64) -> OffsetDateTime {
    START + Duration::hours(hour)
}
