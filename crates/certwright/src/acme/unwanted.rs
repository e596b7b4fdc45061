//! Orders that nobody wants any more: what was asked for here is given up at once, what others left behind a day after
//! somebody looked at it last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use certwright_acme::{CertId, Engine};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::{Inner, group, order};
use crate::issuer::Wish;

/// What is wanted, and what was asked for.
#[derive(Default)]
pub(super) struct Orders(Mutex<State>);

#[derive(Default)]
struct State {
    /// None before it was told for the first time.
    wanted: Option<BTreeSet<CertId>>,
    asked: BTreeMap<CertId, Asked>,
    /// The generation that was handed out last.
    handed: BTreeMap<CertId, u64>,
    /// Those that are not what was asked for.
    refused: BTreeMap<CertId, u64>,
    sweeping: bool,
}

/// Of which something may be under way.
struct Asked {
    engine: Engine,
    /// Tells whoever orders it that nobody wants it.
    over: Arc<Notify>,
}

/// How often a CA or a storage that is away is tried, before it is left to the sweep.
const ATTEMPTS: u32 = 6;
/// The pause after the first of these; each one after is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for what others left behind. Whoever starts says what is wanted by the first time.
const SWEEP: Duration = Duration::from_secs(3600);

impl Orders {
    /// It is ordered from now on; what tells when nobody wants it any more. None if nobody does now.
    pub(super) fn begin(&self, id: &CertId, engine: &Engine) -> Option<Arc<Notify>> {
        let mut state = self.lock();
        if !state.wants(id) {
            return None;
        }
        let over = Arc::new(Notify::new());
        let asked = Asked {
            engine: engine.clone(),
            over: Arc::clone(&over),
        };
        state.asked.insert(id.clone(), asked);
        Some(over)
    }

    /// Nothing is under way for it any more.
    pub(super) fn finish(&self, id: &CertId) {
        self.lock().asked.remove(id);
    }

    /// This generation goes to whoever asked.
    pub(super) fn hand_out(&self, id: &CertId, generation: u64) {
        self.lock().handed.insert(id.clone(), generation);
    }

    /// What was handed out last is not what was asked for.
    pub(super) fn refuse(&self, id: &CertId) {
        let mut state = self.lock();
        if let Some(generation) = state.handed.get(id).copied() {
            state.refused.insert(id.clone(), generation);
        }
    }

    pub(super) fn is_refused(&self, id: &CertId, generation: u64) -> bool {
        self.lock().refused.get(id) == Some(&generation)
    }

    fn wants(&self, id: &CertId) -> bool {
        self.lock().wants(id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wants(&self, id: &CertId) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_none_or(|wanted| wanted.contains(id))
    }
}

/// What a certificate is called in the storage; none if no ACME CA signs it.
pub(super) fn id(wish: &Wish) -> Option<CertId> {
    let wanted = order::wanted(&wish.certificate, &wish.spec).ok()?;
    let issuer = &wish.spec.issuer_ref().name;
    Some(wanted.id(&group(&wish.issuer_namespace, issuer)))
}

/// Takes note of all that is wanted, and gives up what is not among it.
pub(super) fn wanted(inner: &Arc<Inner>, all: &[Wish]) {
    let names: BTreeSet<_> = all.iter().map(|wish| &wish.certificate).collect();
    inner.suggestions.keep(&names);
    let ids: BTreeSet<_> = all.iter().filter_map(id).collect();
    let mut state = inner.orders.lock();
    state.handed.retain(|id, _| ids.contains(id));
    state.refused.retain(|id, _| ids.contains(id));
    state.wanted = Some(ids);
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let asked = core::mem::take(&mut state.asked);
    let (kept, lost) = asked.into_iter().partition(|(id, _)| state.wants(id));
    state.asked = kept;
    let lost: BTreeMap<_, Asked> = lost;
    for (id, Asked { engine, over }) in lost {
        over.notify_one();
        runtime.spawn(give_up(Arc::clone(inner), engine, id));
    }
    if !core::mem::replace(&mut state.sweeping, true) {
        runtime.spawn(sweep(Arc::downgrade(inner)));
    }
}

async fn give_up(inner: Arc<Inner>, engine: Engine, id: CertId) {
    let mut pause = PAUSE;
    for _ in 0..ATTEMPTS {
        if inner.orders.wants(&id) {
            return;
        }
        match engine.abandon(&id).await {
            Ok(true) => return,
            // Whoever ordered it lets go in a moment; or the CA has seen the request already.
            Ok(false) => {}
            Err(error) => {
                let error = order::stopped(&error);
                tracing::warn!(certificate = %id, %error, "order not given up");
            }
        }
        inner.settings.runtime.sleep(pause).await;
        pause *= 2;
    }
}

/// As long as the issuers are there.
async fn sweep(inner: Weak<Inner>) {
    let Some(runtime) = inner
        .upgrade()
        .map(|inner| Arc::clone(&inner.settings.runtime))
    else {
        return;
    };
    loop {
        runtime.sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        for engine in inner.all_engines() {
            if let Err(error) = engine.sweep(|id| inner.orders.wants(id)).await {
                let error = order::stopped(&error);
                tracing::warn!(%error, "orders that nobody wants not looked for");
            }
        }
    }
}
