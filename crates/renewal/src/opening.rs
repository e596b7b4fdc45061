//! A span in which renewals are allowed.

use time::OffsetDateTime;

use crate::instant::{at, floor};

/// One span in which renewals are allowed, both ends included, in whole seconds.
///
/// A due instant exactly on the closing second still counts as inside, as in
/// cert-manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opening {
    opens: i64,
    closes: i64,
}

impl Opening {
    /// The span between two instants; `None` if it closes before it opens.
    #[must_use]
    pub fn new(opens: OffsetDateTime, closes: OffsetDateTime) -> Option<Self> {
        let opening = Self::from_seconds(floor(opens), floor(closes));
        (opening.opens <= opening.closes).then_some(opening)
    }

    /// The first instant.
    #[must_use]
    pub fn opens(&self) -> OffsetDateTime {
        at(self.opens)
    }

    /// The last instant.
    #[must_use]
    pub fn closes(&self) -> OffsetDateTime {
        at(self.closes)
    }

    pub(crate) fn from_seconds(opens: i64, closes: i64) -> Self {
        Self { opens, closes }
    }

    pub(crate) fn opening_second(&self) -> i64 {
        self.opens
    }

    pub(crate) fn closing_second(&self) -> i64 {
        self.closes
    }
}
