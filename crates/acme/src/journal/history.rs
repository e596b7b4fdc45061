//! What went wrong since the last certificate, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use certwright_renewal::{Failure as Ladder, Retry, Seed};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Journal, Stage};
use crate::challenge::ChallengeKind;
use crate::identifier::Identifier;
use crate::problem::Class;

/// What went wrong since the last certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct History {
    /// Orders that came to nothing, in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Requests in a row that failed for reasons that may pass, without any step forward.
    #[serde(skip_serializing_if = "is_zero")]
    pub transient: u32,
    /// The issuer to ask next; the first one if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Not before this instant.
    #[serde(
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_at: Option<OffsetDateTime>,
    /// Not before the settings, or the request that was refused, differ from these, told by a digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// Kinds of challenges that did not work, by identifier.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, BTreeSet<ChallengeKind>>,
    /// Whether the CA refused to let the former certificate be replaced.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub without_replaces: bool,
    /// Whether the account was looked up anew since the last certificate.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub account_rebuilt: bool,
    /// The last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Failure>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// When.
    #[serde(with = "crate::instant")]
    pub at: OffsetDateTime,
    /// What sort.
    pub class: Class,
    /// What was said, in one line.
    pub detail: String,
    /// Until when the CA wants to be left alone, if it said, or is left alone by us.
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub until: Option<OffsetDateTime>,
    /// Which challenges did not work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub challenges: Vec<(Identifier, ChallengeKind)>,
}

/// What an engine knows when it writes down a failure.
pub(crate) struct Circumstances<'a> {
    /// The issuers' names, in the order they are to be asked.
    pub(crate) issuers: &'a [&'a str],
    /// Whether every identifier that failed has another kind of challenge left.
    pub(crate) other_challenges: bool,
    /// Whether the CA is left alone, as it did not answer others either.
    pub(crate) away: bool,
    /// A digest of the settings.
    pub(crate) settings: &'a str,
    /// When the certificate in use expires, if there is one.
    pub(crate) expires: Option<OffsetDateTime>,
    /// The certificate's place among others in time.
    pub(crate) seed: Seed,
}

impl History {
    pub(crate) fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// The CA did something for us.
    pub(crate) fn progressed(&mut self) {
        self.transient = 0;
        self.next_at = None;
    }

    /// The issuer to ask now.
    pub(crate) fn issuer_index(&self, issuers: &[&str]) -> usize {
        let named = |name: &String| issuers.iter().position(|issuer| issuer == name);
        self.issuer.as_ref().and_then(named).unwrap_or_default()
    }

    /// Goes over to the next issuer, whose failures are its own; `false` if the list is
    /// through, and begins anew.
    fn next_issuer(&mut self, issuers: &[&str]) -> bool {
        let next = issuers.get(self.issuer_index(issuers) + 1);
        self.issuer = next.map(|&name| name.to_owned());
        self.transient = 0;
        self.account_rebuilt = false;
        self.failed.clear();
        next.is_some()
    }
}

impl Journal {
    /// Writes down a failure, and what follows: whether the order is gone on with, with
    /// whom, and when.
    ///
    /// | class | order | then |
    /// |---|---|---|
    /// | transient, order | kept, unless another issuer is asked | in 1 s, doubling, in the end hourly, not before the instant the CA named; another issuer after [`PATIENCE`] in a row, if the CA is left alone, or if that instant is more than five minutes away, if no CSR was sent |
    /// | rate limited | kept if there is one | another issuer at once, else at the instant the CA named |
    /// | validation | dropped | other challenges at once, else another issuer, else after 1, 15, 30 min ... 32 h |
    /// | permanent | dropped | another issuer at once, else not before the settings change, or the request that was refused if it was the caller's |
    /// | account | kept if a CSR was sent | once more at once with the account looked up anew, else another issuer, else as validation |
    /// | already replaced; permanent or account, of a new order with `replaces` | dropped | at once, without `replaces` |
    /// | gone | kept [`PATIENCE`] times if a CSR was sent, else dropped | as transient if kept; else at once, the second time in a row as transient |
    pub(crate) fn failed(&mut self, failure: Failure, circumstances: &Circumstances<'_>) {
        let Circumstances {
            issuers,
            other_challenges,
            away,
            settings,
            expires,
            seed,
        } = *circumstances;
        let now = failure.at;
        let class = failure.class;
        let history = &mut self.history;
        let has_order = !matches!(self.stage, Stage::Waiting | Stage::Ordering { .. });
        // There may be a certificate, whose key is in here alone.
        let sent = matches!(self.stage, Stage::Finalizing { .. } | Stage::Issued { .. });
        // What the CA does not like may be what the order was to replace (RFC 9773 section 5).
        let replaces = matches!(&self.stage, Stage::Ordering { plan } if plan.replaces.is_some());
        let mut keep = false;
        let next_at = match class {
            Class::Account | Class::Permanent if replaces && !history.without_replaces => {
                history.without_replaces = true;
                None
            }
            Class::Transient | Class::Order => {
                history.transient = history.transient.saturating_add(1);
                let far = now.saturating_add(Duration::minutes(5));
                let soon = failure.until.is_none_or(|until| until <= far);
                let patient = !away && soon && history.transient <= PATIENCE;
                keep = sent || patient || issuers.len() < 2;
                let again = quick(history.transient, now, seed);
                match keep {
                    true => Some(again),
                    false => (!history.next_issuer(issuers)).then_some(again),
                }
            }
            Class::RateLimited if has_order => {
                keep = true;
                Some(failure.until.unwrap_or_else(|| slow(1, now, seed)))
            }
            Class::RateLimited => {
                history.failures = history.failures.saturating_add(1);
                let until = failure.until;
                let until = until.unwrap_or_else(|| slow(history.failures, now, seed));
                (!history.next_issuer(issuers)).then_some(until)
            }
            Class::Validation => {
                history.failures = history.failures.saturating_add(1);
                for (identifier, kind) in &failure.challenges {
                    let failed = history.failed.entry(identifier.value()).or_default();
                    failed.insert(*kind);
                }
                match other_challenges || history.next_issuer(issuers) {
                    true => None,
                    false => Some(slow(history.failures, now, seed)),
                }
            }
            Class::Account if !history.account_rebuilt => {
                history.account_rebuilt = true;
                keep = sent;
                None
            }
            Class::Account if sent && history.failures < PATIENCE => {
                history.failures = history.failures.saturating_add(1);
                keep = true;
                Some(slow(history.failures, now, seed))
            }
            Class::Account => {
                history.failures = history.failures.saturating_add(1);
                let again = slow(history.failures, now, seed);
                (!history.next_issuer(issuers)).then_some(again)
            }
            Class::AlreadyReplaced if !history.without_replaces => {
                history.without_replaces = true;
                None
            }
            // CAs read from copies that lag: what is not there yet is not gone.
            Class::Gone if sent && history.transient < PATIENCE => {
                history.transient += 1;
                keep = true;
                Some(quick(history.transient, now, seed))
            }
            Class::Gone if history.failures == 0 => {
                history.failures = 1;
                None
            }
            Class::Gone | Class::AlreadyReplaced => {
                history.failures = history.failures.saturating_add(1);
                Some(quick(history.failures, now, seed))
            }
            // Also whatever a later release of the classes adds.
            _ => {
                history.failures = history.failures.saturating_add(1);
                if !history.next_issuer(issuers) {
                    history.parked = Some(settings.to_owned());
                }
                None
            }
        };
        let next_at = match (next_at, expires, failure.until) {
            (Some(at), _, Some(until)) => Some(at.max(until)),
            // Other pauses are ours, and none of them may outlast the certificate.
            (Some(at), Some(expires), None) if expires > now => Some(at.min(hurried(now, expires))),
            (at, ..) => at,
        };
        history.next_at = next_at.filter(|at| *at > now);
        history.last = Some(failure);
        if !keep {
            self.dropped(now);
        }
    }
}

/// The latest next attempt with a certificate that expires: after an eighth of the time
/// left, so that many are left; not sooner than after a quarter of an hour, as CAs count
/// failures.
fn hurried(now: OffsetDateTime, expires: OffsetDateTime) -> OffsetDateTime {
    let eighth: Duration = (expires - now) / 8;
    now.saturating_add(eighth.max(Duration::minutes(15)))
}

/// How many requests in a row may fail before another issuer is asked: about five minutes.
pub(crate) const PATIENCE: u32 = 8;

/// Seconds, then minutes, in the end an hour: the CA is away.
fn quick(failures: u32, now: OffsetDateTime, seed: Seed) -> OffsetDateTime {
    match failures {
        ..=PATIENCE => at(Ladder::Transient, failures, now, seed),
        more => slow((more - PATIENCE + 1).min(HOURLY), now, seed),
    }
}

/// A minute, a quarter of an hour, doubling up to 32 hours: the CA counts failures.
fn slow(failures: u32, now: OffsetDateTime, seed: Seed) -> OffsetDateTime {
    at(Ladder::Validation, failures, now, seed)
}

fn at(ladder: Ladder, failures: u32, now: OffsetDateTime, seed: Seed) -> OffsetDateTime {
    match ladder.retry(failures, now, seed) {
        Retry::At(instant) => instant,
        // Neither ladder parks.
        Retry::Parked => now.saturating_add(Duration::DAY),
    }
}

/// The step of the slow ladder that is an hour long.
const HOURLY: u32 = 4;

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Order, Plan};
    use crate::secret::StoredKey;
    use certwright_cert_model::key::{Curve, KeyAlgorithm};
    use certwright_issuance::KeyPair;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn ordered() -> Journal {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let mut journal = Journal::new(vec!["a.test".parse().unwrap()]);
        let plan = Plan {
            issuer: "a".to_owned(),
            key: StoredKey::of(&key).unwrap(),
            replaces: None,
        };
        journal.ordering(1, plan).unwrap();
        let order = Order::new("acct", "o");
        journal.ordered(order).unwrap();
        journal
    }

    fn failure(class: Class, at: OffsetDateTime) -> Failure {
        let challenges = match class {
            Class::Validation => vec![("a.test".parse().unwrap(), ChallengeKind::Http01)],
            _ => Vec::new(),
        };
        Failure {
            at,
            class,
            detail: "why".to_owned(),
            until: (class == Class::RateLimited).then(|| at + Duration::hours(5)),
            challenges,
        }
    }

    fn circumstances<'a>(issuers: &'a [&'a str], other_challenges: bool) -> Circumstances<'a> {
        Circumstances {
            issuers,
            other_challenges,
            away: false,
            settings: "s",
            expires: None,
            seed: Seed::new(b"a"),
        }
    }

    #[test]
    fn what_follows_from_one_failure() {
        use Class::*;
        // Class, issuers, other challenges; whether the order is kept, the issuer after,
        // the least and the most minutes until the next attempt, whether it is parked.
        let one = &["a"][..];
        let two = &["a", "b"][..];
        for (class, issuers, other, kept, issuer, least, most, parked) in [
            (Transient, one, false, true, None, 0, 1, false),
            (Transient, two, false, true, None, 0, 1, false),
            (Order, one, false, true, None, 0, 1, false),
            (RateLimited, one, false, true, None, 300, 300, false),
            (Validation, one, true, false, None, 0, 0, false),
            (Validation, one, false, false, None, 1, 2, false),
            (Validation, two, false, false, Some("b"), 0, 0, false),
            (Permanent, one, false, false, None, 0, 0, true),
            (Permanent, two, false, false, Some("b"), 0, 0, false),
            (Account, one, false, false, None, 0, 0, false),
            (AlreadyReplaced, one, false, false, None, 0, 0, false),
            (Gone, one, false, false, None, 0, 0, false),
        ] {
            let mut journal = ordered();
            journal.failed(failure(class, NOW), &circumstances(issuers, other));
            let history = &journal.history;
            let what = format!("{class:?} {issuers:?} {other}");
            assert_eq!(journal.order().is_some(), kept, "{what}");
            assert_eq!(history.issuer.as_deref(), issuer, "{what}");
            let pause = history.next_at.map_or(Duration::ZERO, |at| at - NOW);
            let minutes = pause.whole_seconds();
            assert!(
                (least * 60..=most * 60).contains(&minutes),
                "{what}: {minutes} s"
            );
            assert_eq!(history.parked.is_some(), parked, "{what}");
        }
    }

    #[test]
    fn a_day_without_the_ca_is_few_requests_and_ends_by_itself() {
        let mut journal = ordered();
        let mut now = NOW;
        let mut tries = 0;
        while now < NOW + Duration::DAY {
            journal.failed(
                failure(Class::Transient, now),
                &circumstances(&["a"], false),
            );
            now = journal.history.next_at.unwrap();
            tries += 1;
        }
        assert!((20..50).contains(&tries), "{tries}");
        assert!(now < NOW + Duration::hours(26), "back within the hour");
        assert_eq!(journal.history.parked, None);
    }

    #[test]
    fn failed_validations_come_further_apart_than_cas_allow() {
        let mut now = NOW;
        let mut journal = ordered();
        let mut times = Vec::new();
        for _ in 0..6 {
            journal.failed(
                failure(Class::Validation, now),
                &circumstances(&["a"], false),
            );
            times.push(now);
            now = journal.history.next_at.unwrap();
        }
        // Let's Encrypt: five in an hour.
        assert!(times[4] - times[0] > Duration::hours(1), "{times:?}");
    }

    #[test]
    fn an_expiring_certificate_is_tried_for_more_often() {
        let expires = Some(NOW + Duration::DAY);
        let mut now = NOW;
        let mut journal = ordered();
        let mut tries = 0;
        while now < NOW + Duration::DAY {
            let circumstances = Circumstances {
                expires,
                ..circumstances(&["a"], false)
            };
            journal.failed(failure(Class::Validation, now), &circumstances);
            let next = journal.history.next_at.unwrap();
            assert!(next >= now + Duration::MINUTE, "{now}");
            now = next;
            tries += 1;
        }
        assert!((15..50).contains(&tries), "{tries}");
    }

    #[test]
    fn an_issuer_that_is_away_is_left_after_a_while() {
        let mut journal = ordered();
        let circumstances = circumstances(&["a", "b"], false);
        for _ in 0..PATIENCE {
            journal.failed(failure(Class::Transient, NOW), &circumstances);
            assert_eq!(journal.history.issuer, None);
        }
        journal.failed(failure(Class::Transient, NOW), &circumstances);
        assert_eq!(journal.history.issuer.as_deref(), Some("b"));
        assert_eq!(journal.stage(), "waiting");
    }

    #[test]
    fn a_certificate_that_may_be_made_is_waited_for() {
        use Class::{Account, RateLimited, Transient};
        for class in [Transient, RateLimited, Account, Class::Order, Class::Gone] {
            let mut journal = ordered();
            journal.finalizing("AAEC".to_owned()).unwrap();
            for _ in 0..PATIENCE {
                journal.failed(failure(class, NOW), &circumstances(&["a", "b"], false));
                assert_eq!(journal.stage(), "finalizing", "{class:?}");
            }
        }
    }

    #[test]
    fn a_ca_that_is_busy_says_until_when() {
        for (minutes, issuers, next) in [
            (2, &["a"][..], None),
            (60, &["a"], None),
            (2, &["a", "b"], None),
            (60, &["a", "b"], Some("b")),
        ] {
            let mut journal = ordered();
            let mut busy = failure(Class::Transient, NOW);
            busy.until = Some(NOW + Duration::minutes(minutes));
            let until = busy.until.filter(|_| next.is_none());
            journal.failed(busy, &circumstances(issuers, false));
            let history = &journal.history;
            assert_eq!(history.issuer.as_deref(), next, "{minutes} {issuers:?}");
            assert_eq!(history.next_at, until, "{minutes} {issuers:?}");
        }
    }

    #[test]
    fn an_order_that_stays_gone_is_dropped() {
        let mut journal = ordered();
        journal.finalizing("AAEC".to_owned()).unwrap();
        for _ in 0..=PATIENCE {
            journal.failed(failure(Class::Gone, NOW), &circumstances(&["a"], false));
        }
        assert_eq!(journal.stage(), "waiting");
    }

    #[test]
    fn second_helpings() {
        let mut journal = ordered();
        let circumstances = circumstances(&["a"], false);
        journal.failed(failure(Class::Account, NOW), &circumstances);
        assert_eq!(journal.history.next_at, None);
        journal.failed(failure(Class::Account, NOW), &circumstances);
        assert!(journal.history.next_at.is_some());
        journal.failed(failure(Class::AlreadyReplaced, NOW), &circumstances);
        assert!(journal.history.without_replaces);
        assert_eq!(journal.history.next_at, None);
    }

    #[test]
    fn a_new_order_that_is_refused_is_asked_for_once_more_without_replaces() {
        for class in [Class::Account, Class::Permanent] {
            let mut journal = Journal::new(vec!["a.test".parse().unwrap()]);
            let circumstances = circumstances(&["a"], false);
            for without in [false, true] {
                let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
                let plan = Plan {
                    issuer: "a".to_owned(),
                    key: StoredKey::of(&key).unwrap(),
                    replaces: Some("aki.serial".to_owned()),
                };
                assert_eq!(journal.history.without_replaces, without);
                journal.ordering(1, plan).unwrap();
                journal.failed(failure(class, NOW), &circumstances);
                assert!(journal.history.without_replaces);
                let parked = without && class == Class::Permanent;
                assert_eq!(journal.history.parked.is_some(), parked);
                assert_eq!(journal.history.next_at, None);
            }
        }
    }
}
