//! The reasoning of a schedule as text.

use core::fmt;

use crate::instant::{Utc, floor};
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
            writeln!(
                f,
                "obtained at {}, so it works for {}",
                Utc(life.obtained_second()),
                Span(life.working())
            )?;
        }
        match schedule.basis() {
            Basis::Before => writeln!(f, "the policy names the lead")?,
            Basis::BeforeIgnored { asked } => writeln!(
                f,
                "the policy names a lead of {}, which the lifetime cannot hold: two thirds instead",
                Span(asked)
            )?,
            Basis::Guarded => writeln!(f, "the policy would loop: two thirds instead")?,
            Basis::Percent(percent) => writeln!(f, "the policy takes {percent} of the lifetime")?,
            Basis::TwoThirds => writeln!(f, "the policy renews two thirds through the lifetime")?,
        }
        write!(f, "a lead of {}", Span(schedule.asked()))?;
        if schedule.asked().subsec_nanoseconds() > 0 {
            write!(f, ", the due instant cut down to a whole second")?;
        }
        write!(f, "\ndue at {}", Utc(floor(schedule.due())))
    }
}
