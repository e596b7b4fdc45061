//! Keeping equal certificates from being renewed in the same second.

use crate::schedule::{Basis, Schedule};
use crate::seed::Seed;

impl Schedule {
    /// Moves the due instant later inside its own lead: by up to a twentieth of it,
    /// and not past the close of the opening it was fitted into.
    ///
    /// A thousand certificates issued in one minute, or moved to one opening, then
    /// do not meet at the issuer. Call it last. An instant drawn from an ARI window
    /// is spread by the CA already and only moves if an opening moved it.
    #[must_use]
    pub fn spread(self, seed: Seed) -> Self {
        let due = self.due_second();
        let fitted = self
            .opening()
            .filter(|opening| opening.opening_second() == due);
        if matches!(self.basis(), Basis::Ari(_)) && fitted.is_none() {
            return self;
        }
        let span = self.lifetime().end().saturating_sub(due) / 20;
        let span = match self.opening() {
            Some(opening) => span.min(opening.closing_second().saturating_sub(due)),
            None => span,
        };
        let moved = seed.with(PURPOSE).seconds_below(span.saturating_add(1));
        self.with_spread(moved)
    }
}

/// Keeps this draw apart from the ARI draw of the same certificate.
const PURPOSE: u64 = 0x7370_7265_6164;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::at;
    use crate::lifetime::Lifetime;
    use crate::opening::Opening;
    use crate::policy::RenewalPolicy;
    use crate::{AriWindow, Percent};
    use proptest::prelude::*;
    use time::Duration;

    #[test]
    fn a_certificate_keeps_its_place() {
        let life = Lifetime::from_seconds(0, 90 * 86_400).unwrap();
        let schedule = RenewalPolicy::TwoThirds.schedule(life).unwrap();
        let once = schedule.spread(Seed::new(b"www.example.org"));
        assert_eq!(once, schedule.spread(Seed::new(b"www.example.org")));
        assert_ne!(once, schedule.spread(Seed::new(b"example.org")));
        assert_eq!(once.due(), schedule.due() + once.spread_by());
    }

    #[test]
    fn an_ari_draw_moves_only_with_an_opening() {
        let life = Lifetime::from_seconds(0, 90 * 86_400).unwrap();
        let window = AriWindow::new(at(10 * 86_400), at(20 * 86_400)).unwrap();
        let seed = Seed::new(b"a");
        let drawn = RenewalPolicy::TwoThirds.schedule_with_ari(life, window, seed);
        let drawn = drawn.unwrap();
        assert_eq!(drawn.spread(seed), drawn);
        let opening = Opening::new(at(40 * 86_400), at(41 * 86_400)).unwrap();
        let fitted = drawn.moved_into(opening).unwrap();
        assert!(fitted.spread(seed).due() > opening.opens());
    }

    proptest! {
        #[test]
        fn stays_inside_the_lead(
            length in 1i64..4_000_000_000, share in 1i32..100, name in "[a-z]{1,20}",
        ) {
            let life = Lifetime::from_seconds(0, length).unwrap();
            let policy = RenewalPolicy::Percent(Percent::try_from(share).unwrap());
            if let Ok(schedule) = policy.schedule(life) {
                let spread = schedule.spread(Seed::new(name.as_bytes()));
                prop_assert!(schedule.due() <= spread.due() && spread.due() < life.not_after());
                prop_assert!(spread.spread_by() <= schedule.lead() / 20);
                prop_assert!(spread.spread_by() >= Duration::ZERO);
            }
        }
    }
}
