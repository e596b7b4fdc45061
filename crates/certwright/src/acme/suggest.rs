//! What CAs suggest about renewals (RFC 9773), asked in the background.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certwright_acme::{Engine, Wanted};
use certwright_cert_model::validated::RenewalTiming;
use certwright_renewal::{AriWindow, Basis, RenewalPolicy};
use certwright_storage::Storage;
use time::{Duration, OffsetDateTime};
use tokio::runtime::Handle;

use super::{Inner, order};
use crate::inventory::ResourceName;
use crate::issuer::{Held, IssuerError, Suggestion};

/// The answers of CAs, by Certificate.
#[derive(Default)]
pub(super) struct Suggestions(Mutex<State>);

#[derive(Default)]
struct State {
    known: BTreeMap<ResourceName, Known>,
    /// All certificates want to know at the start: they wait here for somebody who asks.
    waiting: VecDeque<Question>,
    /// How many tasks ask.
    workers: usize,
}

/// What is known of one certificate.
struct Known {
    /// The certificate, in PEM.
    chain: Vec<u8>,
    window: Option<AriWindow>,
    /// When it was asked last.
    since: OffsetDateTime,
    /// When to ask, or until when an answer is awaited.
    next: Option<OffsetDateTime>,
    asking: bool,
    /// Whether the CA is asked, or only the storage told.
    asked: bool,
    /// Whether a question about it waits for somebody who asks.
    queued: bool,
}

/// What is to be asked about one certificate.
struct Question {
    certificate: ResourceName,
    chain: Vec<u8>,
    engine: Engine,
    wanted: Wanted,
    policy: RenewalPolicy,
    /// Whether the CA is asked, or only the storage told that the certificate is in its Secret.
    asked: bool,
}

impl Question {
    fn is_about(&self, known: &Known) -> bool {
        known.chain == self.chain && known.asked == self.asked
    }
}

/// How many CAs are asked at a time.
const WORKERS: usize = 8;
/// How soon to look for an answer, first.
const SOON: Duration = Duration::seconds(2);
/// How long an answer may take before it is asked for again: of many certificates the last ones wait for long.
const PATIENCE: Duration = Duration::HOUR;
/// How soon to ask again when the storage is away.
const AWAY: Duration = Duration::MINUTE;

/// What the CA is known to suggest about a certificate; asks it, in the background, when it is time to.
pub(super) fn suggestion(inner: &Arc<Inner>, held: &Held<'_>, now: OffsetDateTime) -> Suggestion {
    let (Some(account), Ok(runtime)) = (held.acme, Handle::try_current()) else {
        return Suggestion::default();
    };
    let (Ok(engine), Ok(wanted)) = (
        inner.engine(account),
        order::wanted(held.certificate, held.spec),
    ) else {
        return Suggestion::default();
    };
    let asked = account.spec.renewal_information_source.as_deref() != Some("None")
        && !matches!(held.spec.renewal_timing(), RenewalTiming::Disabled);
    let mut state = inner.suggestions.lock();
    let known = state.known.get(held.certificate);
    let known = known.filter(|known| known.chain == held.chain && known.asked == asked);
    let window = known.and_then(|known| known.window);
    match known {
        Some(known) if known.next.is_none_or(|next| now < next) => {
            let next = known.next.map(|next| match known.asking {
                // Ever less often: of many certificates the last ones wait for long.
                true => next.min(now + SOON.max(now - known.since)),
                false => next,
            });
            return Suggestion::new(window, next);
        }
        _ => {}
    }
    let queued = known.is_some_and(|known| known.queued);
    let known = Known {
        chain: held.chain.to_vec(),
        window,
        since: now,
        next: Some(now + PATIENCE),
        asking: true,
        asked,
        queued: true,
    };
    state.known.insert(held.certificate.clone(), known);
    if !queued {
        state.waiting.push_back(Question {
            certificate: held.certificate.clone(),
            chain: held.chain.to_vec(),
            engine,
            wanted,
            policy: held.spec.renewal_policy(),
            asked,
        });
    }
    let hires = state.workers < WORKERS;
    if hires {
        state.workers += 1;
    }
    // A runtime that is ending drops the task at once, and its turn takes the lock.
    drop(state);
    if hires {
        let inner = Arc::clone(inner);
        runtime.spawn(ask(Turn { inner, over: false }));
    }
    Suggestion::new(window, Some(now + SOON))
}

/// One of the tasks that ask; there is room for another one when it ends, however it ends.
struct Turn {
    inner: Arc<Inner>,
    /// Whether there is room already.
    over: bool,
}

impl Turn {
    /// What to ask next. If there is nothing, the turn is over at once: what is to be asked from then on finds room.
    fn question(&mut self) -> Option<Question> {
        let mut state = self.inner.suggestions.lock();
        let question = state.waiting.pop_front();
        if let Some(question) = &question
            && let Some(known) = state.known.get_mut(&question.certificate)
            && question.is_about(known)
        {
            known.queued = false;
        }
        if question.is_none() {
            state.workers -= 1;
            self.over = true;
        }
        question
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            self.inner.suggestions.lock().workers -= 1;
        }
    }
}

/// Asks until there is nothing to ask.
async fn ask(mut turn: Turn) {
    let inner = Arc::clone(&turn.inner);
    while let Some(question) = turn.question() {
        let looked = look(&*inner.settings.storage, &question).await;
        let answer = looked.map_err(|error| {
            tracing::warn!(certificate = %question.certificate, %error, "renewal information not kept");
        });
        let mut state = inner.suggestions.lock();
        if let Some(known) = state.known.get_mut(&question.certificate)
            && question.is_about(known)
        {
            (known.window, known.next) = match answer {
                Ok(answer) => (answer.window, answer.again),
                Err(()) => (known.window, Some(inner.settings.runtime.now() + AWAY)),
            };
            known.asking = false;
        }
    }
}

/// Asks the CA, unless it said when to ask again; remembers that the certificate is in its Secret.
async fn look(storage: &dyn Storage, question: &Question) -> Result<Suggestion, IssuerError> {
    let Question {
        chain,
        engine,
        wanted,
        policy,
        asked,
        ..
    } = question;
    let id = engine.id(wanted);
    let Some(certificate) = order::known(engine, &id, chain).await? else {
        // It came into the Secret in another way.
        return Ok(Suggestion::default());
    };
    order::keep(storage, &id, certificate.generation()).await?;
    if !asked {
        return Ok(Suggestion::default());
    }
    let renewal = engine.renewal(&id, policy).await;
    let Some(renewal) = renewal.map_err(|error| order::stopped(&error))? else {
        return Ok(Suggestion::default());
    };
    let window = match renewal.schedule.basis() {
        Basis::Ari(window) | Basis::AriFloor(window) => Some(window),
        _ => None,
    };
    Ok(Suggestion::new(window, renewal.next_poll))
}

impl Suggestions {
    /// Forgets what is known of all other Certificates.
    pub(super) fn keep(&self, certificates: &BTreeSet<&ResourceName>) {
        let mut state = self.lock();
        state.known.retain(|name, _| certificates.contains(name));
        state
            .waiting
            .retain(|question| certificates.contains(&question.certificate));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::acme::testing;
    use crate::issuer::{AcmeAccount, Issuer as _};

    #[tokio::test]
    async fn many_certificates_at_once_are_no_storm() {
        let (inventory, name, account) = testing::web();
        let spec = inventory.certificate(&name).unwrap();
        let issuers = testing::issuers();
        let now = datetime!(2026-03-01 12:00 UTC);
        let names: Vec<_> = (0..200)
            .map(|n| ResourceName::new("ns", format!("web{n}")))
            .collect();
        let mut quiet = account.clone();
        quiet.spec.renewal_information_source = Some("None".to_owned());
        let ask_of = |account: &AcmeAccount, now| {
            let suggestion = |name| {
                let held = Held {
                    certificate: name,
                    spec,
                    acme: Some(account),
                    chain: b"-",
                };
                issuers.suggestion(&held, now).again
            };
            names.iter().map(suggestion).collect::<Vec<_>>()
        };
        let ask = |now| ask_of(&account, now);
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let looks = (0..20)
            .map(|n| SOON * n)
            .chain((0..20).map(|n| PATIENCE * n));
        for later in looks {
            // Nobody had time to answer.
            let again = ask(now + later);
            assert!(again.iter().all(Option::is_some));
            assert!(tasks() <= WORKERS, "{} tasks", tasks());
            assert_eq!(issuers.inner.suggestions.lock().waiting.len(), names.len());
        }
        let all_asked = async || {
            while tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        all_asked().await;
        // None of them is the engine's own: there is nothing to ask again.
        assert!(ask(now + AWAY).iter().all(Option::is_none));
        assert_eq!(tasks(), 0);
        // Unless somebody wants to know what nobody asked.
        for account in [&quiet, &account] {
            assert!(ask_of(account, now + AWAY).iter().all(Option::is_some));
            all_asked().await;
            assert!(ask_of(account, now + AWAY).iter().all(Option::is_none));
        }
    }
}
