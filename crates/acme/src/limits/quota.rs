use time::Duration;

use super::Scope;

/// So many in a window, refilled evenly: after a burst of `count`, one more every `window / count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    count: u32,
    window: Duration,
}

impl Quota {
    /// A quota; a count of 0 counts as 1, and a window shorter than a millisecond per token as that.
    pub fn new(count: u32, window: Duration) -> Self {
        Self {
            count: count.max(1),
            window,
        }
    }

    /// How many at once.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The window.
    pub fn window(self) -> Duration {
        self.window
    }

    /// Milliseconds until one token is back.
    pub(super) fn pause(self) -> i64 {
        let window = i64::try_from(self.window.whole_milliseconds()).unwrap_or(i64::MAX);
        (window / i64::from(self.count)).clamp(1, MAX_PAUSE)
    }

    /// Milliseconds until an empty bucket is full.
    pub(super) fn burst(self) -> i64 {
        self.pause().saturating_mul(i64::from(self.count))
    }
}

/// A hundred years: no sum of instants overflows.
const MAX_PAUSE: i64 = 100 * 365 * 86_400_000;

/// What a CA allows an account; `None` is no limit.
///
/// The default is what Let's Encrypt allows. Other CAs differ, and none publishes its quotas in the
/// protocol; the freezes of `Retry-After` hold in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quotas {
    /// New orders of the account: 300 in 3 hours.
    pub orders: Option<Quota>,
    /// Certificates for exactly the same names: 5 in 7 days.
    pub name_set: Option<Quota>,
    /// Certificates for a registered domain and all names below it: 50 in 7 days.
    pub domain: Option<Quota>,
    /// Failed validations of one name: 5 in an hour.
    pub failed_validations: Option<Quota>,
    /// Whether an order that `replaces` a certificate (RFC 9773) takes nothing: Let's Encrypt exempts
    /// them.
    pub exempt_replacements: bool,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            orders: Some(Quota::new(300, Duration::hours(3))),
            name_set: Some(Quota::new(5, Duration::days(7))),
            domain: Some(Quota::new(50, Duration::days(7))),
            failed_validations: Some(Quota::new(5, Duration::HOUR)),
            exempt_replacements: true,
        }
    }
}

impl Quotas {
    /// No limits, as for a CA of one's own.
    pub fn unlimited() -> Self {
        Self {
            orders: None,
            name_set: None,
            domain: None,
            failed_validations: None,
            exempt_replacements: true,
        }
    }

    /// The quotas for an order that `replaces` a certificate: none if they are exempt. Freezes hold.
    #[must_use]
    pub fn for_replacement(self) -> Self {
        match self.exempt_replacements {
            true => Self::unlimited(),
            false => self,
        }
    }

    /// The quota of a scope.
    pub fn of(&self, scope: &Scope) -> Option<Quota> {
        match scope {
            Scope::Account => self.orders,
            Scope::Domain(_) => self.domain,
            Scope::FailedValidations(_) => self.failed_validations,
            Scope::NameSet(_) => self.name_set,
            // Nobody registers accounts often enough to need a bucket.
            Scope::NewAccounts => None,
        }
    }
}
