//! A CA's server, and an attendant for a store, that stop the whole process at a chosen
//! moment: before an effect, or between an effect and its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use certwright_acme::account::{Account, AccountKey, Registration};
use certwright_acme::protocol::{
    AuthorizationState, Call, Download, NewOrder, OrderState, Protocol, RenewalInfo,
    RevocationReason,
};
use certwright_storage::Operation;
use certwright_storage::conformance::{Attendant, Call as Operated};

/// Counts moments, and stops at one.
#[derive(Debug)]
pub(crate) struct Moments {
    seen: AtomicUsize,
    last: usize,
    /// Who says when to go on; nobody, if whoever reads the line kills the process.
    go: Option<Mutex<Receiver<()>>>,
}

impl Moments {
    /// Stops at this one, until it is told to go on.
    pub(crate) fn until(last: usize, go: Option<Receiver<()>>) -> Arc<Self> {
        let (seen, go) = (AtomicUsize::new(0), go.map(Mutex::new));
        Arc::new(Self { seen, last, go })
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// One more. At the last one the whole process stands still.
    fn pass(&self) {
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.last {
            // On a line of its own.
            println!("\nSTOPPED");
            let Some(go) = &self.go else {
                loop {
                    std::thread::park();
                }
            };
            let go = go.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever is to tell may be gone.
            let _ = go.recv();
        }
    }

    async fn around<T>(&self, effect: impl Future<Output = T>) -> T {
        self.pass();
        let done = effect.await;
        self.pass();
        done
    }
}

/// At a store, what is written counts.
impl Attendant for Moments {
    fn before(&self, call: Operated) -> Operation<'_, ()> {
        Box::pin(async move {
            if call == Operated::Txn {
                self.pass();
            }
            Ok(())
        })
    }

    fn after(&self, call: Operated) -> Operation<'_, ()> {
        self.before(call)
    }
}

#[derive(Debug)]
pub(crate) struct WatchedServer(pub(crate) Arc<dyn Protocol>, pub(crate) Arc<Moments>);

impl Protocol for WatchedServer {
    fn find_account<'a>(&'a self, key: &'a AccountKey) -> Call<'a, Option<String>> {
        Box::pin(self.1.around(self.0.find_account(key)))
    }

    fn register<'a>(
        &'a self,
        key: &'a AccountKey,
        registration: &'a Registration,
    ) -> Call<'a, String> {
        Box::pin(self.1.around(self.0.register(key, registration)))
    }

    fn update_contacts<'a>(&'a self, account: &'a Account, contacts: &'a [String]) -> Call<'a, ()> {
        Box::pin(self.1.around(self.0.update_contacts(account, contacts)))
    }

    fn new_order<'a>(
        &'a self,
        account: &'a Account,
        order: &'a NewOrder,
    ) -> Call<'a, (String, OrderState)> {
        Box::pin(self.1.around(self.0.new_order(account, order)))
    }

    fn order<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, OrderState> {
        // How often it is asked for depends on the CA's speed, and it changes nothing.
        self.0.order(account, url)
    }

    fn authorization<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
    ) -> Call<'a, AuthorizationState> {
        Box::pin(self.1.around(self.0.authorization(account, url)))
    }

    fn answer<'a>(&'a self, account: &'a Account, challenge_url: &'a str) -> Call<'a, ()> {
        Box::pin(self.1.around(self.0.answer(account, challenge_url)))
    }

    fn deactivate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, ()> {
        Box::pin(self.1.around(self.0.deactivate(account, url)))
    }

    fn finalize<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
        csr: &'a [u8],
    ) -> Call<'a, OrderState> {
        Box::pin(self.1.around(self.0.finalize(account, url, csr)))
    }

    fn certificate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, Download> {
        Box::pin(self.1.around(self.0.certificate(account, url)))
    }

    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Call<'a, RenewalInfo> {
        self.0.renewal_info(ari_id)
    }

    fn revoke<'a>(
        &'a self,
        account: &'a Account,
        certificate: &'a [u8],
        reason: Option<RevocationReason>,
    ) -> Call<'a, ()> {
        Box::pin(self.1.around(self.0.revoke(account, certificate, reason)))
    }
}
