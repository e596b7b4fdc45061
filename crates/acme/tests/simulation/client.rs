//! The CA as one replica reaches it, and the replica's clocks.

use core::fmt;
use std::time::{Duration, Instant};

use certwright_acme::account::{Account, AccountKey, Registration};
use certwright_acme::protocol::{
    AuthorizationState, Call, Download, NewOrder, OrderState, Protocol, ProtocolError, RenewalInfo,
    RevocationReason,
};
use certwright_acme::{Runtime, Task};
use certwright_cert_model::key::KeyAlgorithm;
use certwright_issuance::{KeyError, KeyPair};
use time::OffsetDateTime;

use crate::world::{Micros, Peer, Servers, World};

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) machine: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.machine)
    }
}

impl Client {
    fn ask<'a, T: Send + 'static>(
        &self,
        request: &'static str,
        what: &str,
        act: impl FnOnce(&mut Servers) -> Result<T, ProtocolError> + Send + 'static,
    ) -> Call<'a, T> {
        let what = format!("CA: {request} {what}");
        let asked = self
            .world
            .call(self.machine, Peer::Authority, what, move |servers| {
                servers.mood(request)?;
                act(servers)
            });
        Box::pin(async move {
            let unreachable = |loss| ProtocolError::Unreachable {
                request,
                reason: format!("{loss:?}"),
            };
            asked.await.unwrap_or_else(|loss| Err(unreachable(loss)))
        })
    }
}

impl Protocol for Client {
    fn find_account<'a>(&'a self, key: &'a AccountKey) -> Call<'a, Option<String>> {
        let thumbprint = key.thumbprint().to_owned();
        self.ask("find account", "", move |servers| {
            Ok(servers.authority.accounts.get(&thumbprint).cloned())
        })
    }

    fn register<'a>(&'a self, key: &'a AccountKey, _: &'a Registration) -> Call<'a, String> {
        let thumbprint = key.thumbprint().to_owned();
        self.ask("register", "", move |servers| {
            Ok(servers.register(&thumbprint))
        })
    }

    fn update_contacts<'a>(&'a self, _: &'a Account, _: &'a [String]) -> Call<'a, ()> {
        self.ask("contacts", "", |_| Ok(()))
    }

    fn new_order<'a>(
        &'a self,
        account: &'a Account,
        order: &'a NewOrder,
    ) -> Call<'a, (String, OrderState)> {
        let (account, order) = (account.url.clone(), order.clone());
        let what = order.identifiers[0].to_string();
        self.ask("new order", &what, move |servers| {
            servers.new_order(&account, &order)
        })
    }

    fn order<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, OrderState> {
        let place = url.to_owned();
        self.ask("look at", url, move |servers| Ok(servers.order_at(&place)))
    }

    fn authorization<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, AuthorizationState> {
        let place = url.to_owned();
        self.ask("look at", url, move |servers| {
            Ok(servers.authorization(&place))
        })
    }

    fn answer<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, ()> {
        let (thumbprint, place) = (account.key.thumbprint().to_owned(), url.to_owned());
        self.ask("answer", url, move |servers| {
            servers.challenge(&thumbprint, &place);
            Ok(())
        })
    }

    fn deactivate<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, ()> {
        self.ask("deactivate", url, |_| Ok(()))
    }

    fn finalize<'a>(&'a self, _: &'a Account, url: &'a str, csr: &'a [u8]) -> Call<'a, OrderState> {
        let (place, csr) = (url.to_owned(), csr.to_vec());
        self.ask("finalize", url, move |servers| {
            servers.finalize(&place, &csr)
        })
    }

    fn certificate<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, Download> {
        let place = url.to_owned();
        self.ask("download", url, move |servers| {
            Ok(Download {
                pem: servers.certificate(&place),
                alternates: Vec::new(),
            })
        })
    }

    fn renewal_info<'a>(&'a self, _: &'a str) -> Call<'a, RenewalInfo> {
        let what = "renewal information";
        Box::pin(async move { Err(ProtocolError::Unsupported { what }) })
    }

    fn revoke<'a>(
        &'a self,
        _: &'a Account,
        _: &'a [u8],
        _: Option<RevocationReason>,
    ) -> Call<'a, ()> {
        self.ask("revoke", "", |_| Ok(()))
    }
}

impl Runtime for Client {
    fn now(&self) -> OffsetDateTime {
        self.world.time_on(self.machine)
    }

    fn instant(&self) -> Instant {
        self.world.instant_on(self.machine)
    }

    fn sleep(&self, pause: Duration) -> Task<'_, ()> {
        let local = Micros::try_from(pause.as_micros()).unwrap();
        let pause = self.world.inner().machines[self.machine].wait(local);
        let woken = self
            .world
            .call(self.machine, Peer::Timer(pause), String::new(), |_| ());
        Box::pin(async move {
            // A machine's own timer does not get lost.
            let _ = woken.await;
        })
    }

    fn new_key(&self, _: KeyAlgorithm) -> Task<'_, Result<KeyPair, KeyError>> {
        let what = "makes a key".to_owned();
        let made = self
            .world
            .call(self.machine, Peer::Own, what, Servers::new_key);
        Box::pin(async move {
            let pem = made.await.map_err(|_| KeyError::Random)?;
            KeyPair::from_pem(pem.as_bytes())
        })
    }
}
