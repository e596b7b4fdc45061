//! What we may ask of a CA, counted before it has to refuse: token buckets per account, set of names,
//! domain and name, and the freezes of `Retry-After`.
//!
//! ```
//! # use time::{Duration, OffsetDateTime};
//! use certwright_acme::limits::{Limits, Quotas, Scope};
//!
//! let quotas = Quotas::default();
//! let names = ["a.example.com".to_owned()];
//! let mut now = OffsetDateTime::UNIX_EPOCH;
//! let mut limits = Limits::default();
//! for _ in 0..5 {
//!     limits.take(&quotas, &Scope::of_order(&names), now)?;
//! }
//! let limited = limits.take(&quotas, &Scope::of_order(&names), now).unwrap_err();
//! assert_eq!(limited.scope, Scope::name_set(&names));
//! now = limited.until;
//! limits.take(&quotas, &Scope::of_order(&names), now)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bucket;
mod quota;
mod scope;

use std::collections::BTreeMap;

use certwright_storage::{Record, RecordError};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use bucket::{Bucket, from_millis, millis};

pub use quota::{Quota, Quotas};
pub use scope::{Scope, registered_domain};

/// What has been used of an account's quotas, and what is frozen. One per account: kept as a stored
/// record, replicas share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    scopes: BTreeMap<String, State>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    #[serde(default)]
    bucket: Bucket,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen_until: Option<i64>,
}

/// A quota is used up, or its scope is frozen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} for {scope} until {until}", if *.frozen { "the CA wants no requests" } else { "the quota is used up" })]
#[non_exhaustive]
pub struct Limited {
    /// Which scope; of several, the one that lasts longest.
    pub scope: Scope,
    /// From when on it may be tried again.
    pub until: OffsetDateTime,
    /// Whether the CA said so.
    pub frozen: bool,
}

impl Limits {
    /// Whether each of these scopes has a token left and none is frozen.
    ///
    /// # Errors
    ///
    /// [`Limited`], the scope that has to wait longest.
    pub fn check(
        &self,
        quotas: &Quotas,
        scopes: &[Scope],
        now: OffsetDateTime,
    ) -> Result<(), Limited> {
        let now = millis(now);
        let limited = scopes.iter().filter_map(|scope| {
            let state = self
                .scopes
                .get(&scope.to_string())
                .copied()
                .unwrap_or_default();
            let frozen = state.frozen_until.filter(|until| *until > now);
            let empty = quotas
                .of(scope)
                .and_then(|quota| state.bucket.available_at(quota, now));
            let until = frozen.max(empty)?;
            Some((until, frozen == Some(until), scope))
        });
        match limited.max_by_key(|(until, ..)| *until) {
            None => Ok(()),
            Some((until, frozen, scope)) => Err(Limited {
                scope: scope.clone(),
                until: from_millis(until),
                frozen,
            }),
        }
    }

    /// Takes one token of each of these scopes, or none of any.
    ///
    /// # Errors
    ///
    /// As [`Limits::check`].
    pub fn take(
        &mut self,
        quotas: &Quotas,
        scopes: &[Scope],
        now: OffsetDateTime,
    ) -> Result<(), Limited> {
        self.check(quotas, scopes, now)?;
        self.spend(quotas, scopes, now);
        Ok(())
    }

    /// Counts what has happened already, such as a failed validation, also beyond the quota.
    pub fn spend(&mut self, quotas: &Quotas, scopes: &[Scope], now: OffsetDateTime) {
        for scope in scopes {
            if let Some(quota) = quotas.of(scope) {
                let state = self.scopes.entry(scope.to_string()).or_default();
                state.bucket.spend(quota, millis(now));
            }
        }
    }

    /// Gives back what was taken for something that did not happen, such as an order without a
    /// certificate.
    pub fn refund(&mut self, quotas: &Quotas, scopes: &[Scope]) {
        for scope in scopes {
            if let (Some(quota), Some(state)) =
                (quotas.of(scope), self.scopes.get_mut(&scope.to_string()))
            {
                state.bucket.refund(quota);
            }
        }
    }

    /// Freezes a scope until the instant of `Retry-After`; an earlier instant than that of a freeze
    /// in force changes nothing.
    pub fn freeze(&mut self, scope: &Scope, until: OffsetDateTime) {
        let state = self.scopes.entry(scope.to_string()).or_default();
        state.frozen_until = state.frozen_until.max(Some(millis(until)));
    }

    /// Forgets what no longer limits anything.
    pub fn prune(&mut self, now: OffsetDateTime) {
        let now = millis(now);
        self.scopes.retain(|_, state| {
            state.frozen_until = state.frozen_until.filter(|until| *until > now);
            state.frozen_until.is_some() || !state.bucket.is_full(now)
        });
    }

    /// The record to store.
    ///
    /// # Errors
    ///
    /// None that can happen: the data is a map of numbers.
    pub fn to_record(&self) -> Result<Record, RecordError> {
        let scopes = self.scopes.clone();
        Record::new(KIND, VERSION, &Stored { scopes })
    }

    /// What a stored record says.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if it is another record, of a later version, or malformed.
    pub fn from_record(bytes: &[u8]) -> Result<Self, RecordError> {
        let stored: Stored = Record::decode(bytes, KIND, VERSION)?.read()?;
        Ok(Self {
            scopes: stored.scopes,
        })
    }
}

const KIND: &str = "acme-limits";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    scopes: BTreeMap<String, State>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_order_takes_all_or_nothing() {
        let quotas = Quotas::default();
        let mut limits = Limits::default();
        let one = Scope::of_order(&names(&["a.example.com"]));
        for _ in 0..5 {
            limits.take(&quotas, &one, START).unwrap();
        }
        let before = limits.clone();
        let limited = limits.take(&quotas, &one, START).unwrap_err();
        assert_eq!(limits, before);
        // A token of the same set of names comes back after 33.6 hours.
        assert_eq!(limited.until - START, Duration::minutes(33 * 60 + 36));
        let text = format!(
            "the quota is used up for {} until 1970-01-02 9:36:00.0 +00:00:00",
            one[1]
        );
        assert_eq!(limited.to_string(), text);
        // Another set of the same domain is not concerned.
        let other = Scope::of_order(&names(&["b.example.com"]));
        limits.take(&quotas, &other, START).unwrap();
        limits.refund(&quotas, &one);
        limits.take(&quotas, &one, START).unwrap();
    }

    #[test]
    fn the_longest_wait_is_told() {
        let quotas = Quotas::default();
        let mut limits = Limits::default();
        let scopes = Scope::of_order(&names(&["a.example.com"]));
        let (soon, late) = (START + Duration::HOUR, START + Duration::days(3));
        limits.freeze(&Scope::Account, late);
        limits.freeze(&Scope::Account, soon);
        limits.freeze(&scopes[1], soon);
        let limited = limits.check(&quotas, &scopes, START).unwrap_err();
        assert_eq!(
            (&limited.scope, limited.until, limited.frozen),
            (&Scope::Account, late, true)
        );
        assert_eq!(
            limited.to_string(),
            "the CA wants no requests for account until 1970-01-04 0:00:00.0 +00:00:00"
        );
        assert_eq!(limits.check(&quotas, &scopes, late), Ok(()));
    }

    #[test]
    fn freezes_hold_without_quotas() {
        let quotas = Quotas::unlimited();
        let mut limits = Limits::default();
        for _ in 0..1000 {
            limits.take(&quotas, &[Scope::Account], START).unwrap();
        }
        assert_eq!(limits, Limits::default());
        limits.freeze(&Scope::Account, START + Duration::HOUR);
        assert!(limits.check(&quotas, &[Scope::Account], START).is_err());
    }

    #[test]
    fn failures_count_beyond_the_quota() {
        let quotas = Quotas::default();
        let failed = [Scope::FailedValidations("a.test".to_owned())];
        let mut limits = Limits::default();
        for _ in 0..7 {
            limits.spend(&quotas, &failed, START);
        }
        let limited = limits.check(&quotas, &failed, START).unwrap_err();
        // Two more than five count as one more.
        assert_eq!(limited.until - START, Duration::minutes(24));
    }

    #[test]
    fn records_and_pruning() {
        let quotas = Quotas::default();
        let mut limits = Limits::default();
        let scopes = Scope::of_order(&names(&["a.example.com"]));
        limits.take(&quotas, &scopes, START).unwrap();
        limits.freeze(&Scope::NewAccounts, START + Duration::HOUR);
        let record = limits.to_record().unwrap();
        assert_eq!(
            Limits::from_record(record.encode().as_bytes()),
            Ok(limits.clone())
        );
        assert!(Limits::from_record(b"{}").is_err());

        limits.prune(START);
        assert_eq!(limits.scopes.len(), 4);
        // 300 orders in three hours: a token is back after 36 seconds.
        limits.prune(START + Duration::seconds(36));
        assert_eq!(limits.scopes.len(), 3);
        limits.prune(START + Duration::days(7));
        assert_eq!(limits, Limits::default());
    }

    proptest! {
        /// In no window of the quota's length are more than twice its count let through, and never more
        /// than the count at once; after a wait, the promise of `until` holds.
        #[test]
        fn quotas_hold(pauses in proptest::collection::vec(0i64..4000, 1..200), count in 1u32..8) {
            let quota = Quota::new(count, Duration::HOUR);
            let quotas = Quotas { orders: Some(quota), ..Quotas::unlimited() };
            let mut limits = Limits::default();
            let mut now = START;
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::seconds(pause);
                match limits.take(&quotas, &[Scope::Account], now) {
                    Ok(()) => taken.push(now),
                    Err(limited) => {
                        prop_assert!(limited.until > now);
                        prop_assert!(limited.until <= now + Duration::HOUR / count);
                        prop_assert!(limits.check(&quotas, &[Scope::Account], limited.until).is_ok());
                        prop_assert!(limits.check(&quotas, &[Scope::Account], limited.until - Duration::MILLISECOND).is_err());
                    }
                }
            }
            let count = usize::try_from(count).unwrap();
            for (index, first) in taken.iter().enumerate() {
                let same = taken[index..].iter().take_while(|at| *at == first).count();
                let window = taken[index..].iter().take_while(|at| **at < *first + Duration::HOUR).count();
                prop_assert!(same <= count && window <= 2 * count, "{same} {window}");
            }
        }

        #[test]
        fn a_refund_undoes_a_take(pauses in proptest::collection::vec(0i64..4000, 0..20)) {
            let quotas = Quotas::default();
            let mut limits = Limits::default();
            let mut now = START;
            for pause in pauses {
                now += Duration::seconds(pause);
                let _ = limits.take(&quotas, &[Scope::Account], now);
            }
            let before = limits.check(&quotas, &[Scope::Account], now);
            let mut after = limits.clone();
            if after.take(&quotas, &[Scope::Account], now).is_ok() {
                after.refund(&quotas, &[Scope::Account]);
            }
            prop_assert_eq!(after.check(&quotas, &[Scope::Account], now), before);
        }
    }
}
