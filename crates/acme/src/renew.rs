//! Renewals: when the CA says, else by a policy, and in time in any case (RFC 9773).

use std::sync::Arc;

use certwright_renewal::{
    AriAnswer, AriPolling, AriWindow, Lifetime, RenewalPolicy, Schedule, Seed,
};
use certwright_storage::{Record, Revision, StorageError, Txn};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::certificate::IssuedCertificate;
use crate::engine::{Demand, Engine, EngineError, Outcome, Strangers};
use crate::event::Event;
use crate::issuer::Issuer;
use crate::layout::CertId;
use crate::problem::Bounds;
use crate::protocol::{ProtocolError, RenewalInfo, RevocationReason};
use crate::runtime::Task;
use crate::wanted::Wanted;

/// When a certificate is due, and when the CA is to be asked again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// The certificate.
    pub certificate: Arc<IssuedCertificate>,
    /// When it is renewed, and why then.
    pub schedule: Schedule,
    /// When to ask again for renewal information; `None` if this CA has none, or the
    /// certificate has expired.
    pub next_poll: Option<OffsetDateTime>,
}

impl Renewal {
    /// The next instant at which there is something to do.
    pub fn next(&self) -> OffsetDateTime {
        let due = self.schedule.due();
        self.next_poll.map_or(due, |poll| poll.min(due))
    }
}

impl Engine {
    /// When a certificate is due: asks its CA if it is time to, and keeps the answer in
    /// the store, where all replicas go by it; one of them asks. `None` without a
    /// certificate.
    ///
    /// # Errors
    /// The store's, or a record that cannot be read.
    pub async fn renewal(
        &self,
        id: &CertId,
        policy: &RenewalPolicy,
    ) -> Result<Option<Renewal>, EngineError> {
        let Some(certificate) = self.current(id).await? else {
            return Ok(None);
        };
        let Ok(life) = certificate.lifetime() else {
            // It is stored only after its validity was looked at.
            return Err(EngineError::Lifetime);
        };
        let seed = Seed::new(id.as_str().as_bytes());
        let issuers = self.issuers();
        let issuer = issuers.iter().find(|one| one.name == certificate.issuer());
        let mut stored = Stored::read(self, id, certificate.generation()).await?;
        let now = self.runtime().now();
        let askable = issuer.zip(certificate.ari_id());
        if let Some((issuer, ari_id)) = askable
            && stored.data.is_due(now)
            && stored.claim(self, id, now).await?
        {
            let asked = issuer.protocol.renewal_info(ari_id).await;
            let now = self.runtime().now();
            let moved = stored.data.learn(asked, life, now, seed);
            if let (Some(window), true) = (stored.data.window(), moved) {
                self.events().emit(Event::RenewalMoved {
                    id: id.clone(),
                    start: window.start(),
                    end: window.end(),
                    explanation_url: stored.data.explanation_url.clone(),
                });
            }
            stored.write(self, id).await?;
        }
        let schedule = match stored.data.window() {
            Some(window) => policy.schedule_with_ari(life, window, seed),
            None => policy.schedule(life),
        };
        let schedule = schedule.unwrap_or_else(|renewal_loop| {
            tracing::warn!(certificate = %id, %renewal_loop, "renewed later than the policy says");
            renewal_loop.guarded()
        });
        let next_poll = askable.and_then(|_| stored.data.next_look());
        Ok(Some(Renewal {
            certificate: Arc::new(certificate),
            schedule: schedule.spread(seed),
            next_poll,
        }))
    }

    /// One look at a certificate: obtains it if there is none, renews it if it is due.
    /// Answers with what came of it and the next instant at which there is something to
    /// do, `None` if that is not before the settings change.
    ///
    /// # Errors
    /// As [`Engine::obtain`] and [`Engine::renewal`].
    pub async fn tend(
        &self,
        wanted: &Wanted,
        policy: &RenewalPolicy,
    ) -> Result<(Outcome, Option<OffsetDateTime>), EngineError> {
        let id = self.id(wanted);
        let now = self.runtime().now();
        let demand = match self.renewal(&id, policy).await? {
            None => Demand::Missing,
            Some(renewal)
                if renewal.schedule.is_due(now) || self.is_stranger(&renewal.certificate) =>
            {
                Demand::Renew {
                    after: renewal.certificate.generation(),
                }
            }
            // An order under way, or answers that a crash has left shown.
            Some(_) if self.storage().get(&id.journal()).await?.is_some() => Demand::Missing,
            Some(renewal) => {
                let next = renewal.next();
                return Ok((Outcome::Current(renewal.certificate), Some(next)));
            }
        };
        let outcome = self.obtain(wanted, demand).await?;
        let next = match &outcome {
            Outcome::Waiting { until, .. } => Some(*until),
            Outcome::Busy { .. } => Some(now + BUSY),
            Outcome::Parked(_) => None,
            // Asks for renewal information right after the certificate was issued.
            Outcome::Issued(_) | Outcome::Current(_) => {
                let left = self.storage().get(&id.journal()).await?.is_some();
                let renewal = self.renewal(&id, policy).await?;
                renewal.map(|renewal| match left {
                    true => renewal.next().min(clean_again(&renewal.certificate, now)),
                    false => renewal.next(),
                })
            }
        };
        Ok((outcome, next))
    }

    /// Whether it is to be replaced because of who issued it.
    fn is_stranger(&self, certificate: &IssuedCertificate) -> bool {
        let known = |issuer: &Issuer| issuer.name == certificate.issuer();
        self.options().strangers == Strangers::Replace
            && certificate.order.is_some()
            && !self.issuers().iter().any(known)
    }

    /// Revokes a certificate at the issuer it is from. It stays in the store, and in
    /// use: obtain the next one first.
    ///
    /// # Errors
    /// [`EngineError::UnknownIssuer`] if that issuer is not set up any more,
    /// [`EngineError::Revocation`] if it refuses.
    pub async fn revoke(
        &self,
        certificate: &IssuedCertificate,
        reason: Option<RevocationReason>,
    ) -> Result<(), EngineError> {
        let name = certificate.issuer();
        let issuer: Option<&Issuer> = self.issuers().iter().find(|one| one.name == name);
        let issuer = issuer.ok_or_else(|| EngineError::UnknownIssuer {
            name: name.to_owned(),
        })?;
        let storage = self.storage();
        let account = issuer
            .account
            .ensure(storage, &*issuer.protocol, self.runtime());
        let account = account.await.map_err(|source| EngineError::Account {
            issuer: name.to_owned(),
            source,
        })?;
        let leaf = certificate.leaf_der()?;
        let revoked = issuer.protocol.revoke(&account, &leaf, reason).await;
        revoked.map_err(EngineError::Revocation)
    }
}

/// When to try again to take away what is still shown: after a minute, and then after as
/// long as it has been shown, up to six hours.
fn clean_again(certificate: &IssuedCertificate, now: OffsetDateTime) -> OffsetDateTime {
    let since = now - certificate.obtained();
    now.saturating_add(since.clamp(Duration::MINUTE, Duration::hours(6)))
}

/// How soon to look again at what another replica is at: if it died, its lease is taken
/// over at most so much later than it could be.
const BUSY: Duration = Duration::SECOND;

/// What a CA said about a renewal, for one generation of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Data {
    generation: u64,
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    start: Option<OffsetDateTime>,
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    end: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    explanation_url: Option<String>,
    /// Asked at least once.
    #[serde(default)]
    asked: bool,
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    next_poll: Option<OffsetDateTime>,
    /// Temporary failures in a row.
    #[serde(default)]
    failures: u32,
    /// Somebody is asking; if there is no answer by then, somebody else does.
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    claimed_until: Option<OffsetDateTime>,
}

/// How long others wait for the answer of the one who asks: longer than a request may take.
const CLAIM: Duration = Duration::minutes(3);

const KIND: &str = "acme-renewal";
const VERSION: u32 = 1;

impl Data {
    fn is_due(&self, now: OffsetDateTime) -> bool {
        // A claim for much longer is of a clock that was wrong.
        let claimed = |until| (now..=now.saturating_add(CLAIM)).contains(&until);
        let due = !self.asked || self.next_poll.is_some_and(|poll| poll <= now);
        due && !self.claimed_until.is_some_and(claimed)
    }

    /// When there is something to ask, or to read.
    fn next_look(&self) -> Option<OffsetDateTime> {
        self.claimed_until.or(self.next_poll)
    }

    fn window(&self) -> Option<AriWindow> {
        AriWindow::new(self.start?, self.end?).ok()
    }

    /// Takes in an answer; whether the window is another than before.
    fn learn(
        &mut self,
        answer: Result<RenewalInfo, ProtocolError>,
        life: Lifetime,
        now: OffsetDateTime,
        seed: Seed,
    ) -> bool {
        self.asked = true;
        self.claimed_until = None;
        let before = (self.start, self.end);
        let answer = match answer {
            // A CA without renewal information: no reason to ask again.
            Err(ProtocolError::Unsupported { .. }) => {
                self.next_poll = None;
                return false;
            }
            Err(ProtocolError::Unreachable { .. }) => self.temporary(),
            Err(ProtocolError::Refused { problem, .. }) if problem.status >= 500 => {
                self.temporary()
            }
            Err(_) => self.lasting(),
            Ok(info) => match (AriWindow::new(info.start, info.end), info.retry_after) {
                (Ok(_), Some(retry_after)) => {
                    self.failures = 0;
                    (self.start, self.end) = (Some(info.start), Some(info.end));
                    self.explanation_url = info.explanation_url;
                    let until = retry_after.until(now, Bounds::RENEWAL_INFO);
                    AriAnswer::Window {
                        retry_after: until - now,
                    }
                }
                // RFC 9773 section 4.2 and 4.3.3: as if there were no answer.
                _ => self.lasting(),
            },
        };
        self.next_poll = AriPolling::rfc_9773().next(now, life, answer, seed);
        (self.start, self.end) != before
    }

    fn temporary(&mut self) -> AriAnswer {
        self.failures = self.failures.saturating_add(1);
        AriAnswer::Temporary {
            failures: self.failures,
        }
    }

    fn lasting(&mut self) -> AriAnswer {
        self.failures = 0;
        AriAnswer::Lasting
    }
}

/// The record of it.
struct Stored {
    data: Data,
    revision: Option<Revision>,
}

impl Stored {
    /// What is stored for this generation; a blank record for another one.
    async fn read(engine: &Engine, id: &CertId, generation: u64) -> Result<Self, EngineError> {
        let blank = Data {
            generation,
            ..Data::default()
        };
        let Some(entry) = engine.storage().get(&id.renewal()).await? else {
            let revision = None;
            return Ok(Self {
                data: blank,
                revision,
            });
        };
        let data: Data = Record::decode(entry.value.as_bytes(), KIND, VERSION)?.read()?;
        Ok(Self {
            data: match data.generation == generation {
                true => data,
                false => blank,
            },
            revision: Some(entry.revision),
        })
    }

    /// Takes it upon us to ask; `false` if another replica was faster, after reading what
    /// that one wrote.
    async fn claim(
        &mut self,
        engine: &Engine,
        id: &CertId,
        now: OffsetDateTime,
    ) -> Result<bool, EngineError> {
        self.data.claimed_until = Some(now.saturating_add(CLAIM));
        let claimed = self.write(engine, id).await?;
        if !claimed {
            *self = Self::read(engine, id, self.data.generation).await?;
            if self.data.is_due(now) {
                // Nobody has; the store is not well. Soon again, but not at once.
                self.data.claimed_until = Some(now.saturating_add(CLAIM));
            }
        }
        Ok(claimed)
    }

    /// Whether it is written: only over what was read.
    fn write<'a>(
        &'a mut self,
        engine: &'a Engine,
        id: &'a CertId,
    ) -> Task<'a, Result<bool, EngineError>> {
        Box::pin(async move {
            let place = id.renewal();
            let value = Record::new(KIND, VERSION, &self.data)?.encode();
            let txn = match self.revision {
                Some(revision) => Txn::new().if_unchanged(place.clone(), revision),
                None => Txn::new().if_absent(place.clone()),
            };
            match engine.storage().txn(txn.put(place, value)).await {
                Ok(revision) => {
                    self.revision = Some(revision);
                    Ok(true)
                }
                // Another replica's is as good.
                Err(StorageError::Conflict { .. } | StorageError::Indeterminate { .. }) => {
                    Ok(false)
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{ErrorType, Problem, RetryAfter};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn day(number: i64) -> OffsetDateTime {
        NOW + Duration::days(number)
    }

    fn info(start: i64, end: i64, retry_after: Option<i64>) -> RenewalInfo {
        let seconds = |seconds| RetryAfter::Delay(Duration::seconds(seconds));
        RenewalInfo {
            start: day(start),
            end: day(end),
            explanation_url: None,
            retry_after: retry_after.map(seconds),
        }
    }

    #[test]
    fn answers() {
        let refused = |status| {
            Err(ProtocolError::Refused {
                request: "renewal information",
                problem: Box::new(Problem::new(status, ErrorType::Blank)),
                retry_after: None,
            })
        };
        let lost = Err(ProtocolError::Unreachable {
            request: "renewal information",
            reason: String::new(),
        });
        let life = Lifetime::new(NOW, day(90)).unwrap();
        let unsupported = Err(ProtocolError::Unsupported { what: "it" });
        // The answer, the seconds until the next, and whether the window is taken.
        for (answer, pause, taken) in [
            (Ok(info(10, 11, Some(7200))), Some(7200), true),
            (Ok(info(10, 11, Some(1))), Some(60), true),
            (Ok(info(10, 11, Some(900_000))), Some(86_400), true),
            (Ok(info(10, 11, None)), Some(21_600), false),
            (Ok(info(11, 10, Some(7200))), Some(21_600), false),
            (Ok(info(10, 10, Some(7200))), Some(21_600), false),
            (refused(404), Some(21_600), false),
            (refused(500), Some(60), false),
            (lost, Some(60), false),
            (unsupported, None, false),
        ] {
            let mut data = Data::default();
            assert!(data.is_due(NOW));
            let what = format!("{answer:?}");
            let moved = data.learn(answer, life, NOW, Seed::new(b"a"));
            assert_eq!(moved, taken, "{what}");
            assert_eq!(data.window().is_some(), taken, "{what}");
            let next = data.next_poll.map(|at| (at - NOW).whole_seconds());
            assert_eq!(next, pause, "{what}");
            assert!(!data.is_due(NOW), "{what}");
        }
    }

    #[test]
    fn a_window_outlives_failures() {
        let life = Lifetime::new(NOW, day(90)).unwrap();
        let mut data = Data::default();
        let seed = Seed::new(b"a");
        assert!(data.learn(Ok(info(10, 11, Some(60))), life, NOW, seed));
        assert!(!data.learn(Ok(info(10, 11, Some(60))), life, NOW, seed));
        let lost = || {
            Err(ProtocolError::Unreachable {
                request: "renewal information",
                reason: String::new(),
            })
        };
        for pause in [1, 2, 4, 8, 16, 32, 360] {
            assert!(!data.learn(lost(), life, NOW, seed));
            assert_eq!(data.next_poll, Some(NOW + Duration::minutes(pause)));
        }
        assert_eq!(data.window().map(|window| window.start()), Some(day(10)));
    }
}
