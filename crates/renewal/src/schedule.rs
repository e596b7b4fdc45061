//! One certificate's renewal, decided.

use core::fmt;

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::ari::AriWindow;
use crate::explain::Explanation;
use crate::instant::{at, floor};
use crate::lifetime::Lifetime;
use crate::opening::Opening;
use crate::percent::Percent;
use crate::seed::Seed;
use crate::span::Span;

/// When one certificate is renewed, and why then.
///
/// The due instant lies after the certificate was obtained and before it expires,
/// on a whole second. It keeps what [`explain`](Self::explain) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    life: Lifetime,
    basis: Basis,
    asked: Duration,
    due: i64,
    ari_ignored: Option<AriWindow>,
    opening: Option<Opening>,
    spread: i64,
}

/// What a schedule's lead came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Basis {
    /// Traefik's table.
    AcmeTable,
    /// An instant drawn from the CA's window.
    Ari(AriWindow),
    /// A twentieth of the lifetime before expiry, because the instant drawn from the
    /// CA's window is later.
    AriFloor(AriWindow),
    /// The duration the policy asked for.
    Before,
    /// Two thirds, because the duration that was asked for is not positive or not
    /// shorter than the lifetime that was issued.
    BeforeIgnored {
        /// The duration the policy asked for.
        asked: Duration,
    },
    /// Two thirds, because of a [`RenewalLoop`].
    Guarded,
    /// A share of the lifetime.
    Percent(Percent),
    /// Two thirds through the lifetime.
    TwoThirds,
}

impl Schedule {
    /// The instant from which the renewal is due, a whole second.
    #[must_use]
    pub fn due(&self) -> OffsetDateTime {
        at(self.due)
    }

    /// Whether the renewal is due at `now`.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        self.due <= floor(now)
    }

    /// How long before expiry the renewal is due: `not_after - due`.
    #[must_use]
    pub fn lead(&self) -> Duration {
        Duration::seconds(self.life.end().saturating_sub(self.due))
    }

    /// The lead before it was cut to whole seconds or moved.
    #[must_use]
    pub fn asked(&self) -> Duration {
        self.asked
    }

    /// What the lead came from.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// The CA's window, if it was set aside because it opens no later than the
    /// certificate's `not_before`.
    #[must_use]
    pub fn ari_ignored(&self) -> Option<AriWindow> {
        self.ari_ignored
    }

    /// The opening the due instant lies in, if it was fitted into one.
    #[must_use]
    pub fn opening(&self) -> Option<Opening> {
        self.opening
    }

    /// How far [`spread`](Self::spread) moved the due instant.
    #[must_use]
    pub fn spread_by(&self) -> Duration {
        Duration::seconds(self.spread)
    }

    /// The certificate's lifetime.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.life
    }

    /// The reasoning as text, a line per step.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        Explanation::new(*self)
    }

    /// Moves the due instant into an opening, later if at all; `None` if the opening
    /// closes before it or begins too late for the certificate.
    #[must_use]
    pub fn moved_into(self, opening: Opening) -> Option<Self> {
        let due = self.due.max(opening.opening_second());
        (due <= opening.closing_second() && due < self.life.end()).then_some(Self {
            due,
            opening: Some(opening),
            ..self
        })
    }

    pub(crate) fn guard(life: Lifetime, basis: Basis, lead: Duration) -> Result<Self, RenewalLoop> {
        let schedule = Self::plain(life, basis, lead);
        let progress = schedule.due.saturating_sub(life.obtained_second());
        if progress < life.minimum_progress() {
            return Err(RenewalLoop {
                lifetime: life.length(),
                lead,
                progress: Duration::seconds(progress),
                minimum: Duration::seconds(life.minimum_progress()),
                life,
                basis,
            });
        }
        Ok(schedule)
    }

    fn plain(life: Lifetime, basis: Basis, asked: Duration) -> Self {
        // Down to the second: later by a fraction, and the wake-up would come
        // before the decision holds (cert-manager's pull request 4399).
        let due = life.end().saturating_sub(rounded_up(asked));
        Self {
            life,
            basis,
            asked,
            due,
            ari_ignored: None,
            opening: None,
            spread: 0,
        }
    }

    /// The schedule by the CA's window; `None` if the window is set aside.
    pub(crate) fn by_ari(life: Lifetime, window: AriWindow, seed: Seed) -> Option<Self> {
        let least = life.earliest();
        if window.start_second() <= life.start() || least >= life.end() {
            return None;
        }
        let floor = Self::plain(life, Basis::AriFloor(window), life.length() / 20);
        let drawn = window.draw_second(seed);
        if floor.due < drawn {
            return Some(floor.no_sooner_than(least));
        }
        let lead = Duration::seconds(life.end().saturating_sub(drawn));
        Some(Self::plain(life, Basis::Ari(window), lead).no_sooner_than(least))
    }

    pub(crate) fn ignoring(self, window: AriWindow) -> Self {
        Self {
            ari_ignored: Some(window),
            ..self
        }
    }

    pub(crate) fn with_spread(self, seconds: i64) -> Self {
        Self {
            due: self.due.saturating_add(seconds),
            spread: self.spread.saturating_add(seconds),
            ..self
        }
    }

    pub(crate) fn due_second(&self) -> i64 {
        self.due
    }

    /// Whether the minimum progress made it later than the lead alone.
    pub(crate) fn is_held_back(&self) -> bool {
        let due = self.life.end().saturating_sub(rounded_up(self.asked));
        let least = self.life.earliest();
        due < least && self.due.saturating_sub(self.spread) == least
    }

    fn no_sooner_than(self, least: i64) -> Self {
        Self {
            due: self.due.max(least),
            ..self
        }
    }
}

/// A policy that leaves a fresh certificate no time: it would be renewed again and
/// again, at once or nearly so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a lead of {} makes a certificate of {} due {} it was obtained, the least is {} after: {}",
    Span(*lead), Span(*lifetime), Progress(*progress), Span(*minimum), Advice(self.longest_lead())
)]
#[non_exhaustive]
pub struct RenewalLoop {
    /// The issued lifetime.
    pub lifetime: Duration,
    /// The lead the policy takes from it.
    pub lead: Duration,
    /// From the certificate's arrival to its being due; negative if it arrives due.
    pub progress: Duration,
    /// The least that is scheduled.
    pub minimum: Duration,
    life: Lifetime,
    basis: Basis,
}

impl RenewalLoop {
    /// The longest lead that leaves this certificate the minimum progress; not
    /// positive if it is too short for any.
    #[must_use]
    pub fn longest_lead(&self) -> Duration {
        self.life.working().saturating_sub(self.minimum)
    }

    /// The schedule the policy asked for, exactly as cert-manager would follow it.
    /// Following it is the loop.
    #[must_use]
    pub fn unguarded(&self) -> Schedule {
        Schedule::plain(self.life, self.basis, self.lead)
    }

    /// A schedule that keeps the certificate alive until the policy is repaired:
    /// two thirds of the time the certificate can work, and at least the minimum
    /// progress after it was obtained. It alone may be due in the second of expiry,
    /// as a certificate of one second has no other, or in the second after, if the
    /// certificate was obtained no sooner than it expires.
    #[must_use]
    pub fn guarded(&self) -> Schedule {
        let life = self.life;
        let third = life.working() / 3;
        let least = life.earliest();
        Schedule::plain(life, Basis::Guarded, third).no_sooner_than(least)
    }
}

fn rounded_up(lead: Duration) -> i64 {
    let fraction = i64::from(lead.subsec_nanoseconds() > 0);
    lead.whole_seconds().saturating_add(fraction)
}

struct Progress(Duration);

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.0.is_negative() {
            "before"
        } else {
            "after"
        };
        write!(f, "{} {side}", Span(self.0.abs()))
    }
}

struct Advice(Duration);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_positive() {
            write!(f, "shorten the lead to {} or ", Span(self.0))?;
        }
        f.write_str("ask for a longer certificate")
    }
}
