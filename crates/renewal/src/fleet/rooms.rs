//! How many places the slots of a quota have.

use std::collections::HashMap;

use super::quota::Quota;
use super::sweep::Room;

/// The places of every slot.
pub(super) struct Rooms<'a> {
    quota: &'a Quota,
    /// What others hold already.
    pub(super) used: HashMap<i64, u32>,
    mirrored: bool,
}

impl<'a> Rooms<'a> {
    pub(super) fn of(quota: &'a Quota) -> Self {
        Self {
            quota,
            used: HashMap::new(),
            mirrored: false,
        }
    }

    /// For a sweep over slots with their signs changed.
    pub(super) fn mirrored(self) -> Self {
        Self {
            mirrored: true,
            ..self
        }
    }

    /// The places of a slot, at most so many.
    pub(super) fn at(&self, slot: i64, most: u32) -> Room {
        let own = if self.mirrored { -slot } else { slot };
        let used = self.used.get(&own).copied().unwrap_or(0);
        let places = self.quota.room(own);
        let next = match (places, self.mirrored) {
            // Over a closed time in one step, however short the slots are.
            (0, true) => -(self.quota.closed(own).1 + 1),
            (0, false) => self.quota.closed(own).0 - 1,
            _ => slot - 1,
        };
        Room {
            places: places.saturating_sub(used).min(most),
            next,
        }
    }
}
