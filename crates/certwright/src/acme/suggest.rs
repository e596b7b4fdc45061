//! What CAs suggest about renewals (RFC 9773), asked in the background.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use certwright_acme::{Engine, Wanted};
use certwright_cert_model::validated::RenewalTiming;
use certwright_renewal::{AriWindow, Basis, RenewalPolicy};
use certwright_storage::Storage;
use time::{Duration, OffsetDateTime};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{Inner, order};
use crate::inventory::ResourceName;
use crate::issuer::{Held, IssuerError, Suggestion};

/// The answers of CAs, by Certificate.
pub(super) struct Suggestions {
    known: Mutex<BTreeMap<ResourceName, Known>>,
    /// How many CAs are asked at a time: all certificates want to know at the start.
    turns: Semaphore,
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
}

impl Default for Suggestions {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            turns: Semaphore::new(8),
        }
    }
}

/// How soon to look for an answer, first.
const SOON: Duration = Duration::seconds(2);
/// How long an answer may take before it is asked for again.
const PATIENCE: Duration = Duration::minutes(5);
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
    let mut all = inner.suggestions.lock();
    let known = all.get(held.certificate);
    let known = known.filter(|known| known.chain == held.chain);
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
    let known = Known {
        chain: held.chain.to_vec(),
        window,
        since: now,
        next: Some(now + PATIENCE),
        asking: true,
    };
    all.insert(held.certificate.clone(), known);
    let (inner, chain) = (Arc::clone(inner), held.chain.to_vec());
    let certificate = held.certificate.clone();
    let policy = held.spec.renewal_policy();
    runtime.spawn(async move {
        let _turn = inner.suggestions.turns.acquire().await;
        let storage = &inner.settings.storage;
        let looked = look(&engine, &**storage, &wanted, &policy, &chain, asked).await;
        let answer = looked.unwrap_or_else(|error| {
            tracing::warn!(%certificate, %error, "renewal information not kept");
            let again = inner.settings.runtime.now() + AWAY;
            Suggestion::new(window, Some(again))
        });
        let mut all = inner.suggestions.lock();
        if let Some(known) = all.get_mut(&certificate)
            && known.chain == chain
        {
            (known.window, known.next) = (answer.window, answer.again);
            known.asking = false;
        }
    });
    Suggestion::new(window, Some(now + SOON))
}

/// Asks the CA, unless it said when to ask again; remembers that the certificate is in its Secret.
async fn look(
    engine: &Engine,
    storage: &dyn Storage,
    wanted: &Wanted,
    policy: &RenewalPolicy,
    chain: &[u8],
    asked: bool,
) -> Result<Suggestion, IssuerError> {
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
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ResourceName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
