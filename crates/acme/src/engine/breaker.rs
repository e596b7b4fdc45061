//! A CA that does not answer is left alone for a while, by all orders together.

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::account::{Account, AccountKey, Registration};
use crate::event::{Event, Events};
use crate::protocol::{
    AuthorizationState, Call, Download, NewOrder, OrderState, Protocol, ProtocolError, RenewalInfo,
    RevocationReason,
};
use crate::runtime::Runtime;

/// A CA's server, not asked while it is away: after [`THRESHOLD`] requests in a row
/// without an answer of the CA's own there is a pause, then one request to see whether it
/// is back, then a longer pause. Orders go to other issuers, or wait, without each waiting
/// for a timeout of its own.
pub(super) struct Breaker {
    issuer: String,
    inner: Arc<dyn Protocol>,
    runtime: Arc<dyn Runtime>,
    events: Events,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Nothing is asked before, and one request at a time afterwards.
    open_until: Option<Instant>,
    probing: bool,
}

impl State {
    /// For how long nothing is asked; `None` if something may be.
    fn left(&self, now: Instant) -> Option<Duration> {
        match self.open_until? {
            until if until > now => Some(until - now),
            _ if self.probing => Some(FIRST),
            _ => None,
        }
    }
}

impl Breaker {
    pub(super) fn new(
        issuer: &str,
        inner: Arc<dyn Protocol>,
        runtime: Arc<dyn Runtime>,
        events: Events,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            inner,
            runtime,
            events,
            state: Mutex::default(),
        }
    }

    /// Until when the CA is left alone; `None` if it may be asked.
    pub(super) fn left_alone(&self) -> Option<OffsetDateTime> {
        let left = self.state().left(self.runtime.instant())?;
        Some(self.runtime.now().saturating_add(pause(left)))
    }

    fn call<'a, T: Send + 'a>(&'a self, request: &'static str, work: Call<'a, T>) -> Call<'a, T> {
        Box::pin(async move {
            let pass = self.pass().map_err(|left| {
                let until = self.runtime.now().saturating_add(pause(left));
                ProtocolError::LeftAlone { request, until }
            })?;
            let answer = work.await;
            pass.answered(answer.as_ref().err());
            answer
        })
    }

    /// Lets a request through, or says for how long not: looked at and decided under one
    /// lock, or two requests would see whether the CA is back.
    fn pass(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        if let Some(left) = state.left(self.runtime.instant()) {
            return Err(left);
        }
        let probe = state.open_until.is_some();
        state.probing |= probe;
        Ok(Pass {
            breaker: self,
            probe,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way.
struct Pass<'b> {
    breaker: &'b Breaker,
    /// Whether it is the one that sees whether the CA is back.
    probe: bool,
}

impl Pass<'_> {
    fn answered(&self, error: Option<&ProtocolError>) {
        let breaker = self.breaker;
        let away = error.filter(|error| is_away(error));
        let mut state = breaker.state();
        let Some(error) = away else {
            let was_open = state.open_until.is_some();
            *state = State::default();
            drop(state);
            if was_open {
                let issuer = breaker.issuer.clone();
                breaker.events.emit(Event::IssuerBack { issuer });
            }
            return;
        };
        if state.open_until.is_some() && !self.probe {
            // Asked before the pause began: nothing that is not known.
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < THRESHOLD {
            return;
        }
        let doublings = (state.failures - THRESHOLD).min(10);
        let length = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        state.open_until = Some(breaker.runtime.instant() + length);
        drop(state);
        breaker.events.emit(Event::IssuerAway {
            issuer: breaker.issuer.clone(),
            until: breaker.runtime.now().saturating_add(pause(length)),
            reason: error.to_string(),
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

/// Whether the CA itself did not speak, or could not do anything.
fn is_away(error: &ProtocolError) -> bool {
    match error {
        ProtocolError::Malformed { .. } | ProtocolError::Unreachable { .. } => true,
        ProtocolError::Refused { problem, .. } => problem.status >= 500,
        _ => false,
    }
}

fn pause(length: Duration) -> time::Duration {
    length.try_into().unwrap_or(time::Duration::MAX)
}

/// How many requests in a row may fail.
const THRESHOLD: u32 = 3;
/// The first pause; each is twice as long as the one before.
const FIRST: Duration = Duration::from_secs(30);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(600);

impl Protocol for Breaker {
    fn find_account<'a>(&'a self, key: &'a AccountKey) -> Call<'a, Option<String>> {
        self.call("an account", self.inner.find_account(key))
    }

    fn register<'a>(
        &'a self,
        key: &'a AccountKey,
        registration: &'a Registration,
    ) -> Call<'a, String> {
        self.call("an account", self.inner.register(key, registration))
    }

    fn update_contacts<'a>(&'a self, account: &'a Account, contacts: &'a [String]) -> Call<'a, ()> {
        let asked = self.inner.update_contacts(account, contacts);
        self.call("new contacts", asked)
    }

    fn new_order<'a>(
        &'a self,
        account: &'a Account,
        order: &'a NewOrder,
    ) -> Call<'a, (String, OrderState)> {
        self.call("a new order", self.inner.new_order(account, order))
    }

    fn order<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, OrderState> {
        self.call("the order", self.inner.order(account, url))
    }

    fn authorization<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
    ) -> Call<'a, AuthorizationState> {
        self.call("an authorization", self.inner.authorization(account, url))
    }

    fn answer<'a>(&'a self, account: &'a Account, challenge_url: &'a str) -> Call<'a, ()> {
        self.call("a challenge", self.inner.answer(account, challenge_url))
    }

    fn deactivate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, ()> {
        self.call("a deactivation", self.inner.deactivate(account, url))
    }

    fn finalize<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
        csr: &'a [u8],
    ) -> Call<'a, OrderState> {
        self.call("a certificate", self.inner.finalize(account, url, csr))
    }

    fn certificate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, Download> {
        self.call("the certificate", self.inner.certificate(account, url))
    }

    /// Has pauses of its own (RFC 9773 section 4.3), and often a server of its own: it
    /// neither opens nor closes anything.
    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Call<'a, RenewalInfo> {
        self.inner.renewal_info(ari_id)
    }

    fn revoke<'a>(
        &'a self,
        account: &'a Account,
        certificate: &'a [u8],
        reason: Option<RevocationReason>,
    ) -> Call<'a, ()> {
        // Whoever asks for it waits for it: it is worth a try.
        self.inner.revoke(account, certificate, reason)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{AccountKey, AccountSpec};
    use crate::testing::{FakeCa, Fault, World, run, run_for};

    fn key(world: &World) -> Account {
        let storage = world.storage();
        let ca = FakeCa::new(world, &storage);
        run(AccountSpec::new("https://ca.test/dir").ensure(&storage, &ca, world)).unwrap()
    }

    #[test]
    fn pauses_double_and_one_request_at_a_time_sees_whether_it_is_back() {
        let world = World::new();
        let ca = FakeCa::new(&world, &world.storage());
        let key: &AccountKey = &key(&world).key;
        let breaker = Breaker::new(
            "ca",
            Arc::new(ca.clone()),
            Arc::new(world.clone()),
            Events::new(),
        );
        for _ in 0..9 {
            ca.fault("find_account", Fault::Away);
        }
        let ask = || run(breaker.find_account(key));
        for _ in 0..THRESHOLD {
            assert!(matches!(ask(), Err(ProtocolError::Unreachable { .. })));
        }
        for minutes in [1, 2, 4, 8, 16, 20] {
            // Halves of minutes, up to ten whole ones.
            let pause = Duration::from_secs(30 * minutes);
            world.advance(pause - Duration::from_millis(1));
            assert!(matches!(ask(), Err(ProtocolError::LeftAlone { .. })));
            world.advance(Duration::from_millis(1));
            // One that is dropped leaves room for another.
            assert!(run_for(1, breaker.find_account(key)).is_none());
            let mut probe = breaker.find_account(key);
            assert!(run_for(1, probe.as_mut()).is_none());
            assert!(matches!(ask(), Err(ProtocolError::LeftAlone { .. })));
            assert!(matches!(run(probe), Err(ProtocolError::Unreachable { .. })));
        }
        assert_eq!(ca.calls("find_account"), 9);
        world.advance(LONGEST);
        assert!(ask().is_ok());
        assert!(ask().is_ok());
    }

    #[test]
    fn of_many_threads_one_sees_whether_it_is_back() {
        let world = World::new();
        let ca = FakeCa::new(&world, &world.storage());
        let runtime = Arc::new(world.clone());
        let breaker = Breaker::new("ca", Arc::new(ca), runtime, Events::new());
        for _ in 0..500 {
            breaker.state().open_until = Some(world.instant());
            let (start, end) = (std::sync::Barrier::new(4), std::sync::Barrier::new(4));
            let let_through = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        let pass = breaker.pass();
                        let one = usize::from(pass.is_ok());
                        let_through.fetch_add(one, std::sync::atomic::Ordering::Relaxed);
                        // Whoever is let through is still under way when the last asks.
                        end.wait();
                    });
                }
            });
            assert_eq!(let_through.into_inner(), 1);
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        use crate::problem::{ErrorType, Problem};

        for (status, opens) in [(400, false), (429, false), (500, true), (503, true)] {
            let world = World::new();
            let ca = FakeCa::new(&world, &world.storage());
            let breaker = Breaker::new(
                "ca",
                Arc::new(ca.clone()),
                Arc::new(world.clone()),
                Events::new(),
            );
            let key = key(&world).key;
            for _ in 0..2 * THRESHOLD {
                let problem = Problem::new(status, ErrorType::Blank);
                ca.fault("find_account", Fault::Refuse(problem, None));
                let _ = run(breaker.find_account(&key));
            }
            assert_eq!(breaker.left_alone().is_some(), opens, "{status}");
        }
    }
}
