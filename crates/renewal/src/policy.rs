//! How long before expiry a certificate is renewed.

use time::Duration;

use crate::acme_table::AcmeTable;
use crate::ari::AriWindow;
use crate::lifetime::Lifetime;
use crate::percent::{Percent, percent_of};
use crate::schedule::{Basis, RenewalLoop, Schedule};
use crate::seed::Seed;

/// When, in a certificate's life, its renewal is due.
///
/// The rules are those of cert-manager's Certificate documentation; they look at
/// the lifetime that was issued, not at the one that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RenewalPolicy {
    /// As long before expiry as Traefik's table says.
    AcmeTable(AcmeTable),
    /// This long before expiry (`renewBefore`).
    ///
    /// A duration that is not positive, or not shorter than the issued lifetime,
    /// counts as unset, as in cert-manager: the schedule is that of
    /// [`TwoThirds`](Self::TwoThirds), and its [`Basis`] and explanation say so.
    Before(Duration),
    /// This share of the lifetime before expiry (`renewBeforePercentage`).
    Percent(Percent),
    /// Two thirds through the lifetime: the default.
    #[default]
    TwoThirds,
}

impl RenewalPolicy {
    /// The schedule of one issued certificate: the due instant is `not_after`
    /// minus the lead, cut down to a whole second.
    ///
    /// # Errors
    /// [`RenewalLoop`] if a certificate fresh from the issuer would already be due,
    /// or be due sooner than the minimum progress (a hundredth of the working
    /// lifetime, at least a second, at most a minute).
    /// [`RenewalLoop::guarded`] gives a schedule to live with until it is repaired.
    pub fn schedule(&self, life: Lifetime) -> Result<Schedule, RenewalLoop> {
        let (basis, lead) = self.lead(life);
        Schedule::guard(life, basis, lead)
    }

    /// The schedule of one certificate for which its CA suggested a window: the CA
    /// first, with a floor. [`AriWindow`] says what overrides what; give the same
    /// seed for the same certificate everywhere.
    ///
    /// # Errors
    /// [`RenewalLoop`] as in [`schedule`](Self::schedule), where the window is set
    /// aside.
    pub fn schedule_with_ari(
        &self,
        life: Lifetime,
        window: AriWindow,
        seed: Seed,
    ) -> Result<Schedule, RenewalLoop> {
        match Schedule::by_ari(life, window, seed) {
            Some(schedule) => Ok(schedule),
            None => Ok(self.schedule(life)?.ignoring(window)),
        }
    }

    fn lead(&self, life: Lifetime) -> (Basis, Duration) {
        match *self {
            Self::AcmeTable(table) => (Basis::AcmeTable, table.renew_before()),
            Self::Before(before) if usable(before, life.length()) => (Basis::Before, before),
            Self::Before(asked) => (Basis::BeforeIgnored { asked }, third(life.length())),
            Self::Percent(percent) => (Basis::Percent(percent), percent.of(life.length())),
            Self::TwoThirds => (Basis::TwoThirds, third(life.length())),
        }
    }
}

/// The lead cert-manager computes for an issued lifetime of `actual`.
///
/// `before` if it is positive and shorter than `actual`; otherwise the percentage
/// if it is between 1 and 99; otherwise a third (integer division, nanoseconds).
/// A validated specification sets at most one of the two.
#[must_use]
pub fn renew_before(
    actual: Duration,
    before: Option<Duration>,
    percentage: Option<i32>,
) -> Duration {
    match (before, percentage) {
        (Some(before), _) if usable(before, actual) => before,
        (_, Some(percentage @ 1..=99)) => percent_of(actual, percentage),
        _ => third(actual),
    }
}

fn usable(before: Duration, actual: Duration) -> bool {
    before.is_positive() && before < actual
}

fn third(actual: Duration) -> Duration {
    // `actual / 3` without the 128-bit division behind it.
    let (seconds, rest) = (actual.whole_seconds() / 3, actual.whole_seconds() % 3);
    let nanos = rest * 1_000_000_000 + i64::from(actual.subsec_nanoseconds());
    Duration::seconds(seconds).saturating_add(Duration::nanoseconds(nanos / 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::{Utc, floor};
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn instant(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    fn life(not_before: &str, not_after: &str) -> Lifetime {
        Lifetime::new(instant(not_before), instant(not_after)).unwrap()
    }

    fn before(hours: i64, minutes: i64) -> RenewalPolicy {
        RenewalPolicy::Before(Duration::minutes(hours * 60 + minutes))
    }

    fn percent(number: i32) -> RenewalPolicy {
        RenewalPolicy::Percent(Percent::try_from(number).unwrap())
    }

    #[test]
    fn due_when_cert_manager_says() {
        use RenewalPolicy::TwoThirds;
        let subsecond = RenewalPolicy::Before(Duration::milliseconds(3_600_400));
        // Every certificate starts with the year 2026.
        for (not_after, policy, due) in [
            ("2026-01-01T03:00:00Z", TwoThirds, "2026-01-01T02:00:00Z"),
            (
                "2026-01-31T10:00:00Z",
                before(706, 0),
                "2026-01-02T00:00:00Z",
            ),
            (
                "2026-01-02T00:03:00Z",
                before(24, 0),
                "2026-01-01T00:03:00Z",
            ),
            ("2026-01-01T23:59:59Z", TwoThirds, "2026-01-01T15:59:59Z"),
            // Not shorter than the lifetime, or not positive: two thirds.
            (
                "2026-01-02T00:00:00Z",
                before(24, 0),
                "2026-01-01T16:00:00Z",
            ),
            ("2026-01-02T00:00:00Z", before(0, 0), "2026-01-01T16:00:00Z"),
            (
                "2026-01-02T00:00:00Z",
                before(-5, 0),
                "2026-01-01T16:00:00Z",
            ),
            ("2026-04-01T00:00:00Z", percent(1), "2026-03-31T02:24:00Z"),
            ("2026-04-01T00:00:00Z", percent(50), "2026-02-15T00:00:00Z"),
            ("2026-04-01T00:00:00Z", percent(99), "2026-01-01T21:36:00Z"),
            (
                "2026-03-31T23:59:59Z",
                before(720, 0),
                "2026-03-01T23:59:59Z",
            ),
            ("2026-01-01T00:45:00Z", TwoThirds, "2026-01-01T00:30:00Z"),
            ("2026-01-02T00:00:00Z", subsecond, "2026-01-01T22:59:59Z"),
            ("2026-01-07T16:00:00Z", TwoThirds, "2026-01-05T10:40:00Z"),
        ] {
            let schedule = policy.schedule(life("2026-01-01T00:00:00Z", not_after));
            let found = Utc(floor(schedule.unwrap().due())).to_string();
            assert_eq!(found, due, "{policy:?} until {not_after}");
        }
    }

    #[test]
    fn leads_of_cert_manager() {
        let hours = Duration::hours;
        for (actual, before, percentage, lead) in [
            (hours(3), None, Some(25), Duration::minutes(45)),
            (hours(3), None, Some(0), hours(1)),
            (hours(3), None, Some(100), hours(1)),
            (hours(3), None, Some(-1), hours(1)),
            (hours(3), None, None, hours(1)),
            (hours(100), Some(hours(10)), Some(50), hours(10)),
            (hours(100), Some(hours(200)), Some(50), hours(50)),
            (hours(100), Some(hours(100)), None, hours(100) / 3),
        ] {
            let found = renew_before(actual, before, percentage);
            assert_eq!(found, lead, "{actual} {before:?} {percentage:?}");
        }
    }

    #[test]
    fn a_lead_the_lifetime_cannot_hold_is_told() {
        let life = Lifetime::from_seconds(0, DAY).unwrap();
        let schedule = before(24, 0).schedule(life).unwrap();
        let asked = Duration::DAY;
        assert_eq!(schedule.basis(), Basis::BeforeIgnored { asked });
    }

    #[test]
    fn a_loop_is_reported_with_both_durations() {
        // cert-manager's issue 4423: asked for 30 days and a bit, clamped.
        let life = Lifetime::from_seconds(0, 30 * DAY + 30).unwrap();
        let error = before(720, 0).schedule(life).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a lead of 720h0m0s makes a certificate of 720h0m30s due 30s after it was obtained, \
             the least is 1m0s after: shorten the lead to 719h59m30s or ask for a longer \
             certificate"
        );
        let longest = RenewalPolicy::Before(error.longest_lead());
        assert!(longest.schedule(life).is_ok());
        assert_eq!(floor(error.unguarded().due()), 30);
        assert_eq!(floor(error.guarded().due()), 20 * DAY + 20);
        assert_eq!(error.guarded().basis(), Basis::Guarded);
    }

    #[test]
    fn backdating_makes_a_loop_that_the_lifetime_alone_hides() {
        let life = Lifetime::from_seconds(0, 90 * DAY).unwrap();
        let policy = before(90 * 24 - 1, 30);
        assert!(policy.schedule(life).is_ok());
        let arrived = life.obtained_at(life.not_before() + Duration::HOUR);
        let error = policy.schedule(arrived).unwrap_err();
        assert_eq!(error.progress, Duration::minutes(-30));
        let text = error.to_string();
        assert!(text.contains("due 30m0s before it was obtained"), "{text}");
        let second = Lifetime::from_seconds(0, 1).unwrap();
        let text = RenewalPolicy::TwoThirds.schedule(second).unwrap_err();
        assert_eq!(
            text.to_string(),
            "a lead of 0.333333333s makes a certificate of 1s due 0s after it was obtained, the \
             least is 1s after: ask for a longer certificate"
        );
    }

    #[test]
    fn traefiks_table_loops_where_traefik_does() {
        let table = RenewalPolicy::AcmeTable(AcmeTable::default());
        let schedule = |days| table.schedule(Lifetime::from_seconds(0, days * DAY).unwrap());
        assert_eq!(floor(schedule(90).unwrap().due()), 60 * DAY);
        assert_eq!(floor(schedule(365).unwrap().due()), 335 * DAY);
        // Six days under the setting for ninety.
        assert_eq!(schedule(6).unwrap_err().progress, Duration::days(-24));
        let six_days = RenewalPolicy::AcmeTable(AcmeTable::for_hours(144));
        let life = Lifetime::from_seconds(0, 6 * DAY).unwrap();
        assert_eq!(floor(six_days.schedule(life).unwrap().due()), 4 * DAY);
    }

    #[test]
    fn the_ca_goes_first_within_bounds() {
        let life = Lifetime::from_seconds(0, 100 * DAY).unwrap();
        let seed = Seed::new(b"www.example.org");
        let by = |start: i64, end: i64| {
            let window = AriWindow::new(crate::instant::at(start), crate::instant::at(end));
            let window = window.unwrap();
            let schedule = RenewalPolicy::TwoThirds.schedule_with_ari(life, window, seed);
            (window, schedule.unwrap())
        };
        let (window, schedule) = by(50 * DAY, 52 * DAY);
        assert_eq!(schedule.due(), window.draw(seed));
        assert_eq!(schedule.basis(), Basis::Ari(window));
        // Too late, even after expiry: a twentieth before it.
        for start in [96 * DAY, 200 * DAY] {
            let (window, schedule) = by(start, start + DAY);
            assert_eq!(floor(schedule.due()), 95 * DAY);
            assert_eq!(schedule.basis(), Basis::AriFloor(window));
        }
        // Opened before the certificate was valid: the policy.
        for start in [-DAY, 0] {
            let (window, schedule) = by(start, start + 1);
            assert_eq!(schedule.basis(), Basis::TwoThirds);
            assert_eq!(schedule.ari_ignored(), Some(window));
        }
        // At once, as after a revocation: the minimum progress.
        let (_, schedule) = by(1, 2);
        assert_eq!(floor(schedule.due()), 60);
    }

    fn any_policy() -> impl Strategy<Value = RenewalPolicy> {
        prop_oneof![
            Just(RenewalPolicy::TwoThirds),
            (1i32..100).prop_map(percent),
            (-1i64..CENTURY * 2, 0i32..1_000_000_000)
                .prop_map(|(s, n)| RenewalPolicy::Before(Duration::new(s, n.max(0)))),
        ]
    }

    const CENTURY: i64 = 100 * 365 * DAY;

    /// Short and long lifetimes alike, one second to a hundred years.
    fn any_length() -> impl Strategy<Value = i64> {
        prop_oneof![1i64..200, 1i64..10 * DAY, 1i64..=CENTURY]
    }

    fn check(life: Lifetime, policy: RenewalPolicy) {
        let guarded = match policy.schedule(life) {
            Ok(schedule) => {
                assert!(life.not_before() < schedule.due());
                assert!(schedule.due() < life.not_after());
                schedule
            }
            Err(error) => {
                assert!(error.progress < error.minimum, "{error}");
                let longest = error.longest_lead();
                if longest.is_positive() {
                    assert!(RenewalPolicy::Before(longest).schedule(life).is_ok());
                }
                error.guarded()
            }
        };
        let progress = guarded.due() - life.obtained();
        let least = (life.working().whole_seconds() / 100).clamp(1, 60);
        let least = Duration::seconds(least);
        assert!(progress >= least, "{progress} of {least}: {policy:?}");
        assert!(guarded.due() <= life.not_after().max(life.obtained() + Duration::SECOND));
    }

    #[test]
    fn short_lifetimes_never_loop() {
        let policies = [
            RenewalPolicy::TwoThirds,
            percent(1),
            percent(50),
            percent(99),
        ];
        for length in 1..=20_000 {
            let life = Lifetime::from_seconds(0, length).unwrap();
            for policy in policies {
                check(life, policy);
            }
            check(life, RenewalPolicy::Before(Duration::seconds(length - 1)));
            check(life, RenewalPolicy::Before(Duration::NANOSECOND));
        }
    }

    proptest! {
        #[test]
        fn a_schedule_is_inside_the_lifetime_or_an_error_says_why(
            length in any_length(), backdated in 0i64..3 * HOUR, policy in any_policy(),
        ) {
            let life = Lifetime::from_seconds(0, length).unwrap();
            check(life, policy);
            check(life.obtained_at(crate::instant::at(backdated)), policy);
        }

        #[test]
        fn a_schedule_by_the_ca_is_inside_the_lifetime_too(
            length in any_length(), backdated in 0i64..3 * HOUR, policy in any_policy(),
            start in -DAY..CENTURY, window in 1i64..100 * DAY, name in "[a-z]{0,9}",
        ) {
            let life = Lifetime::from_seconds(0, length).unwrap();
            let life = life.obtained_at(crate::instant::at(backdated));
            let start = start % (length * 2);
            let instants = (crate::instant::at(start), crate::instant::at(start + window));
            let window = AriWindow::new(instants.0, instants.1).unwrap();
            let seed = Seed::new(name.as_bytes());
            if let Ok(schedule) = policy.schedule_with_ari(life, window, seed) {
                prop_assert!(life.obtained() < schedule.due());
                prop_assert!(schedule.due() < life.not_after());
            } else {
                prop_assert!(policy.schedule(life).is_err());
            }
        }

        #[test]
        fn a_longer_lead_is_due_no_later(length in any_length(), a in 1i32..100, b in 1i32..100) {
            let life = Lifetime::from_seconds(0, length).unwrap();
            let due = |p: i32| match percent(p).schedule(life) {
                Ok(schedule) => schedule.due(),
                Err(error) => error.unguarded().due(),
            };
            prop_assert!(due(a.max(b)) <= due(a.min(b)));
        }

        #[test]
        fn a_longer_certificate_is_due_no_sooner(
            length in any_length(), more in 0i64..DAY, share in 1i32..100,
        ) {
            let due = |length: i64| {
                match percent(share).schedule(Lifetime::from_seconds(0, length).unwrap()) {
                    Ok(schedule) => schedule.due(),
                    Err(error) => error.unguarded().due(),
                }
            };
            prop_assert!(due(length) <= due(length + more));
        }

        #[test]
        fn a_third_is_a_third(seconds: i64, nanos in 0i32..1_000_000_000) {
            let nanos = if seconds < 0 { -nanos } else { nanos };
            let actual = Duration::new(seconds, nanos);
            prop_assert_eq!(renew_before(actual, None, None), actual / 3);
        }

        #[test]
        fn the_policy_and_the_rule_agree(length in any_length(), seconds in -5i64..CENTURY) {
            let life = Lifetime::from_seconds(0, length).unwrap();
            let asked = Duration::seconds(seconds);
            let schedule = match RenewalPolicy::Before(asked).schedule(life) {
                Ok(schedule) => schedule,
                Err(error) => error.unguarded(),
            };
            prop_assert_eq!(schedule.asked(), renew_before(life.length(), Some(asked), None));
        }
    }
}
