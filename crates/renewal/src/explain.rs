//! The reasoning of a schedule as text.

use core::fmt;

use crate::instant::Utc;
use crate::schedule::{Basis, Schedule};
use crate::span::Span;

/// A schedule's reasoning; prints a line per step, without a final line break.
#[derive(Clone, Copy, Debug)]
pub struct Explanation(Schedule);

impl Explanation {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self(schedule)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule = &self.0;
        let life = schedule.lifetime();
        writeln!(
            f,
            "valid from {} to {}, {}",
            Utc(life.start()),
            Utc(life.end()),
            Span(life.length())
        )?;
        if life.working() != life.length() {
            let obtained = Utc(life.obtained_second());
            let working = Span(life.working());
            writeln!(f, "obtained at {obtained}, so it works for {working}")?;
        }
        if let Some(window) = schedule.ari_ignored() {
            let start = Utc(window.start_second());
            writeln!(
                f,
                "the CA's window opens at {start}, before the certificate was valid: set aside"
            )?;
        }
        basis(f, schedule.basis())?;
        write!(f, "a lead of {}", Span(schedule.asked()))?;
        if schedule.asked().subsec_nanoseconds() > 0 {
            f.write_str(", the due instant cut down to a whole second")?;
        }
        if schedule.is_held_back() {
            f.write_str("\nheld back to the minimum progress after it was obtained")?;
        }
        if let Some(opening) = schedule.opening() {
            let (opens, closes) = (opening.opening_second(), opening.closing_second());
            write!(f, "\nin the opening from {} to {}", Utc(opens), Utc(closes))?;
        }
        if schedule.spread_by().is_positive() {
            write!(f, "\nspread later by {}", Span(schedule.spread_by()))?;
        }
        let lead = Span(schedule.lead());
        write!(
            f,
            "\ndue at {}, {lead} before expiry",
            Utc(schedule.due_second())
        )
    }
}

fn basis(f: &mut fmt::Formatter<'_>, basis: Basis) -> fmt::Result {
    match basis {
        Basis::AcmeTable => writeln!(f, "the policy takes the lead from Traefik's table"),
        Basis::Ari(window) => {
            let (start, end) = (Utc(window.start_second()), Utc(window.end_second()));
            writeln!(f, "drawn from the CA's window from {start} to {end}")
        }
        Basis::AriFloor(window) => {
            let (start, end) = (Utc(window.start_second()), Utc(window.end_second()));
            writeln!(
                f,
                "drawn from the CA's window from {start} to {end}, but too late: \
                 a twentieth of the lifetime instead"
            )
        }
        Basis::Before => writeln!(f, "the policy names the lead"),
        Basis::BeforeIgnored { asked } => {
            let asked = Span(asked);
            writeln!(
                f,
                "the policy names a lead of {asked}, which the lifetime cannot hold: \
                 two thirds instead"
            )
        }
        Basis::Guarded => writeln!(f, "the policy would loop: two thirds instead"),
        Basis::Percent(percent) => writeln!(f, "the policy takes {percent} of the lifetime"),
        Basis::TwoThirds => writeln!(f, "the policy renews two thirds through the lifetime"),
    }
}

#[cfg(test)]
mod tests {
    use crate::instant::at;
    use crate::{AriWindow, Lifetime, Opening, RenewalPolicy, Schedule, Seed};
    use time::Duration;

    const T: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z
    const DAY: i64 = 86_400;

    fn life() -> Lifetime {
        Lifetime::from_seconds(T, T + 90 * DAY)
            .unwrap()
            .obtained_at(at(T + 3600))
    }

    fn lines(schedule: Schedule) -> Vec<String> {
        let text = schedule.explain().to_string();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn tells_every_step() {
        let policy = RenewalPolicy::Before(Duration::milliseconds(3_600_400));
        let schedule = policy.schedule(life()).unwrap();
        let opening = Opening::new(at(T + 89 * DAY), at(T + 90 * DAY)).unwrap();
        let schedule = schedule
            .moved_into(opening)
            .unwrap()
            .spread(Seed::new(b"a"));
        assert_eq!(
            lines(schedule),
            [
                "valid from 2026-01-01T00:00:00Z to 2026-04-01T00:00:00Z, 2160h0m0s",
                "obtained at 2026-01-01T01:00:00Z, so it works for 2159h0m0s",
                "the policy names the lead",
                "a lead of 1h0m0.4s, the due instant cut down to a whole second",
                "in the opening from 2026-03-31T00:00:00Z to 2026-04-01T00:00:00Z",
                "spread later by 47s",
                "due at 2026-03-31T23:00:46Z, 59m14s before expiry",
            ]
        );
    }

    #[test]
    fn tells_why_not() {
        let seed = Seed::new(b"a");
        let window = |start| AriWindow::new(at(start), at(start + 1)).unwrap();
        let too_long = RenewalPolicy::Before(Duration::days(90));
        let early = too_long.schedule_with_ari(life(), window(T), seed).unwrap();
        assert_eq!(
            lines(early)[2..],
            [
                "the CA's window opens at 2026-01-01T00:00:00Z, before the certificate was valid: \
                 set aside",
                "the policy names a lead of 2160h0m0s, which the lifetime cannot hold: two thirds \
                 instead",
                "a lead of 720h0m0s",
                "due at 2026-03-02T00:00:00Z, 720h0m0s before expiry",
            ]
        );
        let late = window(T + 89 * DAY);
        let late = too_long.schedule_with_ari(life(), late, seed).unwrap();
        assert_eq!(
            lines(late)[2],
            "drawn from the CA's window from 2026-03-31T00:00:00Z to 2026-03-31T00:00:01Z, but too \
             late: a twentieth of the lifetime instead"
        );
        let at_once = window(T + 1);
        let at_once = too_long.schedule_with_ari(life(), at_once, seed).unwrap();
        assert_eq!(
            lines(at_once)[4..],
            [
                "held back to the minimum progress after it was obtained",
                "due at 2026-01-01T01:01:00Z, 2158h59m0s before expiry",
            ]
        );
        // An opening that needs not move it does not hide that.
        let opening = Opening::new(at(T), at(T + DAY)).unwrap();
        let fitted = lines(at_once.moved_into(opening).unwrap());
        assert_eq!(fitted[4], lines(at_once)[4]);
        assert!(fitted[5].starts_with("in the opening"), "{fitted:?}");
        let looping = RenewalPolicy::Before(Duration::days(90) - Duration::SECOND);
        let guarded = looping.schedule(life()).unwrap_err().guarded();
        assert_eq!(
            lines(guarded)[2],
            "the policy would loop: two thirds instead"
        );
    }
}
