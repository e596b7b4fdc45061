//! Why a renewal is not made in time.

use core::fmt;

use time::OffsetDateTime;

use crate::instant::{Utc, floor};

/// A renewal for which the quota has no room at or before its planned instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortage {
    /// Its number in the fleet.
    pub renewal: usize,
    /// The instant kept for it after the planned one and not after the latest safe one;
    /// `None` if there is no room either: it cannot be saved.
    pub late: Option<OffsetDateTime>,
    /// Why.
    pub cause: Cause,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// More renewals have to be made in a time than its quota allows: whatever is
    /// moved, some are left over. Of a renewal that is late, the time ends where it was
    /// planned or later; of one that is lost, where its safe span ends or later.
    Crowded {
        /// The beginning of the time.
        from: OffsetDateTime,
        /// Its end, no longer part of it.
        until: OffsetDateTime,
        /// The renewals that can be made at no other time, this one among them.
        renewals: usize,
        /// How many the quota allows.
        allowed: usize,
    },
    /// It waits so that others, which have less time left, are not lost.
    Yields,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.renewal;
        match self.late {
            Some(late) => write!(f, "renewal {number} has to wait until {}", Utc(floor(late)))?,
            None => write!(f, "renewal {number} cannot be saved")?,
        }
        match self.cause {
            Cause::Crowded {
                from,
                until,
                renewals,
                allowed,
            } => write!(
                f,
                ": from {} to {} the quota allows {allowed} of {renewals} renewals",
                Utc(floor(from)),
                Utc(floor(until))
            ),
            Cause::Yields => f.write_str(": others have less time left"),
        }
    }
}
