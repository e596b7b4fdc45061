//! Orders that nobody wants any more: what was asked for here is given up at once, what others left behind a day after
//! somebody looked at it last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use certwright_acme::{CertId, Engine};
use tokio::runtime::Handle;
use tokio::sync::watch;

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
    /// Dropped when nobody wants it, which tells all who order it.
    over: watch::Sender<()>,
}

/// How often a CA or a storage that is away is tried, before it is left to the sweep.
const ATTEMPTS: u32 = 6;
/// The pause after the first of these; each one after is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for what others left behind. Whoever starts says what is wanted by the first time.
const SWEEP: Duration = Duration::from_secs(3600);

impl Orders {
    /// It is ordered from now on; what is closed when nobody wants it any more. None if nobody does now.
    ///
    /// A job that was abandoned may order it still.
    pub(super) fn begin(&self, id: &CertId, engine: &Engine) -> Option<watch::Receiver<()>> {
        let mut state = self.lock();
        if !state.wants(id) {
            return None;
        }
        let before = state.asked.remove(id);
        let over = before.map_or_else(|| watch::Sender::new(()), |asked| asked.over);
        let wanted = over.subscribe();
        let engine = engine.clone();
        state.asked.insert(id.clone(), Asked { engine, over });
        Some(wanted)
    }

    /// It is there: nothing is under way for it any more, unless somebody else orders it too.
    pub(super) fn finish(&self, id: &CertId, wanted: watch::Receiver<()>) {
        let mut state = self.lock();
        drop(wanted);
        let asked = state.asked.get(id);
        if asked.is_some_and(|asked| asked.over.receiver_count() == 0) {
            state.asked.remove(id);
        }
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
        drop(over);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{AcmeIssuers, testing};

    fn engine() -> (Arc<Inner>, Engine, CertId) {
        let (inventory, name, account) = testing::web();
        let inner = testing::issuers().inner;
        let engine = inner.engine(&account).unwrap();
        let spec = inventory.certificate(&name).unwrap();
        let id = engine.id(&order::wanted(&name, spec).unwrap());
        (inner, engine, id)
    }

    #[tokio::test]
    async fn all_who_order_the_same_are_told_that_nobody_wants_it() {
        // What the first of two does before: it orders still, has the certificate, or has failed.
        for first in ["orders", "has it", "failed"] {
            let (inner, engine, id) = engine();
            let mut one = Some(inner.orders.begin(&id, &engine).unwrap());
            let two = inner.orders.begin(&id, &engine).unwrap();
            match first {
                "has it" => inner.orders.finish(&id, one.take().unwrap()),
                "failed" => one = None,
                _ => {}
            }
            assert!(!two.has_changed().unwrap(), "{first}: it is wanted");
            wanted(&inner, &[]);
            for mut told in one.into_iter().chain([two]) {
                told.changed().await.unwrap_err();
            }
            assert!(inner.orders.begin(&id, &engine).is_none(), "{first}");
        }
    }

    #[tokio::test]
    async fn a_manager_without_documents_gives_nothing_up() {
        let (inner, engine, id) = engine();
        let asked = inner.orders.begin(&id, &engine).unwrap();
        let issuers = Arc::new(AcmeIssuers {
            inner: Arc::clone(&inner),
        });
        let mut manager = crate::Manager::new(crate::Inventory::default(), []);
        manager.register(crate::ACME_GROUP, "Issuer", issuers);
        asked.has_changed().unwrap();
        manager.replace_inventory(crate::Inventory::default());
        asked.has_changed().unwrap_err();
    }

    #[tokio::test]
    async fn what_everybody_has_is_not_given_up_and_what_failed_is() {
        let (inner, engine, id) = engine();
        let left = || inner.orders.lock().asked.len();
        let both = [(); 2].map(|()| inner.orders.begin(&id, &engine).unwrap());
        for (asked, expected) in both.into_iter().zip([1, 0]) {
            inner.orders.finish(&id, asked);
            assert_eq!(left(), expected);
        }
        drop(inner.orders.begin(&id, &engine));
        assert_eq!(left(), 1, "the CA may have the order");
    }
}
