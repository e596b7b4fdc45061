//! One certificate's renewal, decided.

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::acme_table::AcmeTable;
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
/// on a whole second. Small and `Copy`, it keeps what [`explain`](Self::explain)
/// tells.
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
    /// A row of Traefik's table.
    AcmeTable(AcmeTable),
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
    /// A share of the lifetime.
    Percent(Percent),
    /// Two thirds, because of a [`RenewalLoop`].
    Guarded,
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
        let fraction = i64::from(asked.subsec_nanoseconds() > 0);
        let due = life
            .end()
            .saturating_sub(asked.whole_seconds())
            .saturating_sub(fraction);
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
    "renewing {} before expiry, a certificate of {} is due {} after it was obtained, \
     the least is {}: ask for a shorter lead or for a longer certificate",
    Span(*lead), Span(*lifetime), Span(*progress), Span(*minimum)
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
    /// The schedule the policy asked for, exactly as cert-manager would follow it.
    /// Following it is the loop.
    #[must_use]
    pub fn unguarded(&self) -> Schedule {
        Schedule::plain(self.life, self.basis, self.lead)
    }

    /// A schedule that keeps the certificate alive until the policy is repaired:
    /// two thirds of the time the certificate can work, and at least the minimum
    /// progress after it was obtained (the only schedule that may be due in the
    /// second of expiry: a certificate of one second has no other).
    #[must_use]
    pub fn guarded(&self) -> Schedule {
        let life = self.life;
        let third = life.working() / 3;
        let least = life.earliest();
        Schedule::plain(life, Basis::Guarded, third).no_sooner_than(least)
    }
}
