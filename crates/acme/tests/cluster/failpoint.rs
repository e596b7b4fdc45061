//! A store and a CA's server that stop the whole process at a chosen moment: before an
//! effect, or between an effect and its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certwright_acme::account::{Account, AccountKey, Registration};
use certwright_acme::protocol::{
    AuthorizationState, Call, Download, NewOrder, OrderState, Protocol, RenewalInfo,
    RevocationReason,
};
use certwright_storage::{
    Acquisition, Entry, Key, Lease, Listing, Operation, Revision, Storage, Txn, Watch,
};

/// Counts moments, and stops at one.
#[derive(Debug)]
pub(crate) struct Moments {
    seen: AtomicUsize,
    last: usize,
    go: Mutex<Receiver<()>>,
}

impl Moments {
    /// Stops at this one, until it is told to go on.
    pub(crate) fn until(last: usize, go: Receiver<()>) -> Arc<Self> {
        let (seen, go) = (AtomicUsize::new(0), Mutex::new(go));
        Arc::new(Self { seen, last, go })
    }

    /// One more. At the last one the whole process stands still.
    fn pass(&self) {
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.last {
            println!("STOPPED");
            let go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
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

#[derive(Debug)]
pub(crate) struct WatchedStorage(pub(crate) Arc<dyn Storage>, pub(crate) Arc<Moments>);

impl Storage for WatchedStorage {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        self.0.list(prefix)
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        Box::pin(async { self.1.around(self.0.txn(txn)).await })
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        self.0.watch(prefix, after)
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        self.0.acquire(name, owner, ttl)
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        self.0.keep_alive(lease)
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        self.0.release(lease)
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
