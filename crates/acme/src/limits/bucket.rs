use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Quota;

/// A token bucket as one instant (the generic cell rate algorithm, as Boulder keeps it): when the bucket
/// will be full, in milliseconds since 1970.
///
/// It says nothing of the quota, so that a changed quota applies to what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Bucket {
    full_at: i64,
}

impl Bucket {
    /// When the next token is there; `None` if it is there now.
    pub(super) fn available_at(self, quota: Quota, now: i64) -> Option<i64> {
        let room = quota.burst().saturating_sub(quota.pause());
        let at = self.full_at.saturating_sub(room);
        (at > now).then_some(at)
    }

    pub(super) fn spend(&mut self, quota: Quota, now: i64) {
        // Beyond an empty bucket nothing is counted: a failure too many must not shut a name for days.
        let empty = now.saturating_add(quota.burst());
        let spent = self.full_at.max(now).saturating_add(quota.pause());
        self.full_at = spent.min(empty.saturating_add(quota.pause()));
    }

    pub(super) fn refund(&mut self, quota: Quota) {
        self.full_at = self.full_at.saturating_sub(quota.pause());
    }

    pub(super) fn is_full(self, now: i64) -> bool {
        self.full_at <= now
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(instant: OffsetDateTime) -> i64 {
    // Years of four digits are 2^48 milliseconds.
    i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(i64::MAX)
}

pub(super) fn from_millis(millis: i64) -> OffsetDateTime {
    let last = OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap_or(last)
}
