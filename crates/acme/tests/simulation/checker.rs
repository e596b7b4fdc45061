//! What must hold whatever happens, checked at every effect.
//!
//! | | |
//! |---|---|
//! | I1 | at most one finalized order per certificate and generation |
//! | I2 | every certificate the CA made is in the store, or its key in a journal |
//! | I3 | the account's key is never lost or replaced once it is written |
//! | I4 | the certificate in use never goes back |
//! | I5 | the CA is told only of answers that are stored, and every replica gives them |
//! | I6 | nobody serves a key with the chain of another |
//! | I7 | without the store everybody serves on, and nobody orders |
//! | I8 | after the faults every due certificate is renewed |
//! | I9 | nothing that was shown stays |
//! | I10 | at most one new order at a time is sent for the account: one per turn, while it lasts |
//! | fence | nobody writes an order after somebody else got the right to |

use std::collections::BTreeMap;

use certwright_acme::{CertId, IssuedCertificate};
use certwright_storage::{
    Acquisition, Fence, FencingToken, Guard, Key, Revision, StorageError, Txn, Write,
};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::authority::public;
use crate::world::{Micros, SECOND};

/// How long an order may go on without the store: the longest lease, and what was under
/// way already.
const OUT_OF_TOUCH: Micros = 30 * SECOND;

/// What the leases of those who place orders start with.
const NEW_ORDERS: &str = "/acme/v1/locks/new-orders/";

#[derive(Default)]
pub(crate) struct Checker {
    /// What does not hold.
    pub(crate) broken: Option<String>,
    said: String,
    /// By lease: the highest token, and who got it.
    holders: BTreeMap<Key, (FencingToken, usize)>,
    /// The last turn of placing an order that was used.
    turn: Option<FencingToken>,
    /// By the key of the record.
    journals: BTreeMap<String, Under>,
    current: BTreeMap<String, Used>,
    account: Option<(String, String)>,
    /// What each order is for.
    orders: BTreeMap<String, (String, u64)>,
    finalized: BTreeMap<(String, u64), String>,
    /// Certificates by chain.
    made: BTreeMap<String, Made>,
    /// Leaves the fence to what breaks without it.
    unfenced: bool,
    /// Who wrote an order last.
    pub(crate) busy: Option<usize>,
    /// When the next try is allowed, by certificate.
    pub(crate) next_at: BTreeMap<String, OffsetDateTime>,
}

/// An order under way.
struct Under {
    order: Option<String>,
    key: Option<String>,
}

struct Used {
    generation: u64,
    not_after: OffsetDateTime,
}

struct Made {
    order: String,
    public: Vec<u8>,
    stored: bool,
}

impl Checker {
    pub(crate) fn new(unfenced: bool) -> Self {
        Self {
            unfenced,
            ..Self::default()
        }
    }

    pub(crate) fn fail(&mut self, what: &str) {
        self.broken.get_or_insert_with(|| what.to_owned());
        self.say(&format!("BROKEN {what}"));
    }

    /// Adds to the line of what happens now.
    pub(crate) fn say(&mut self, what: &str) {
        self.said.push_str(": ");
        self.said.push_str(what);
    }

    pub(crate) fn said(&mut self) -> String {
        core::mem::take(&mut self.said)
    }

    pub(crate) fn asks(&mut self, machine: usize, what: &str, away: Option<Micros>) {
        let orders = what.starts_with("CA: new order") || what.starts_with("CA: finalize");
        if orders && away.is_some_and(|away| away > OUT_OF_TOUCH) {
            let away = away.unwrap_or_default() / SECOND;
            self.fail(&format!(
                "I7: r{machine} has not heard of the store for {away} s: {what}"
            ));
        }
    }

    /// A new order leaves a machine; `holds` says whether a lease is held.
    pub(crate) fn places(&mut self, machine: usize, holds: impl Fn(&Fence) -> bool) {
        let mut holders = self.holders.iter();
        let turn = holders.find(|(name, _)| name.as_str().starts_with(NEW_ORDERS));
        let Some((name, (token, holder))) = turn else {
            return self.fail(&format!(
                "I10: r{machine} orders, and nobody has had a turn"
            ));
        };
        let fence = Fence {
            name: name.clone(),
            token: *token,
        };
        let (holder, used) = (*holder, self.turn.replace(*token));
        if holder != machine {
            self.fail(&format!("I10: r{machine} orders in the turn of r{holder}"));
        } else if used == Some(fence.token) {
            self.fail(&format!("I10: r{machine} orders twice in one turn"));
        } else if !holds(&fence) {
            self.fail(&format!("I10: r{machine} orders when its turn is over"));
        }
    }

    pub(crate) fn registered(&mut self, accounts: usize) {
        if accounts > 1 {
            self.fail(&format!("I3: {accounts} accounts"));
        }
    }

    pub(crate) fn acquired(
        &mut self,
        machine: usize,
        name: &Key,
        acquired: &Result<Acquisition, StorageError>,
    ) {
        match acquired {
            Ok(Acquisition::Granted(lease)) => {
                self.say(&format!("token {}", lease.token()));
                self.holders.insert(name.clone(), (lease.token(), machine));
            }
            Ok(Acquisition::Held { owner }) => self.say(&format!("{owner} has it")),
            Err(error) => self.say(&error.to_string()),
        }
    }

    pub(crate) fn issued(&mut self, order: &str, public_key: &[u8], chain: &str) {
        self.made.insert(
            chain.to_owned(),
            Made {
                order: order.to_owned(),
                public: public_key.to_vec(),
                stored: false,
            },
        );
        let Some(place) = self.orders.get(order).cloned() else {
            return self.fail(&format!("I1: {order} is finalized, and in no journal"));
        };
        if let Some(other) = self.finalized.insert(place.clone(), order.to_owned()) {
            let generation = place.1;
            self.fail(&format!(
                "I1: {other} and {order} are both finalized for generation {generation}"
            ));
        }
        self.recoverable();
    }

    /// I2.
    fn recoverable(&mut self) {
        let lost = self.made.values().find(|made| {
            let in_journal = self.journals.values().any(|under| {
                under.order.as_ref() == Some(&made.order)
                    && under.key.as_deref().map(public) == Some(&made.public[..])
            });
            !made.stored && !in_journal
        });
        if let Some(made) = lost {
            let what = format!("I2: the certificate of {} is lost", made.order);
            self.fail(&what);
        }
    }

    pub(crate) fn wrote(
        &mut self,
        machine: usize,
        txn: &Txn,
        result: &Result<Revision, StorageError>,
    ) {
        if let Err(error) = result {
            return self.say(&error.to_string());
        }
        for guard in txn.guards() {
            if let Guard::Held(fence) = guard
                && let Some((newest, holder)) = self.holders.get(&fence.name)
                && *newest > fence.token
                && !self.unfenced
            {
                let what = format!(
                    "fence: r{machine} writes with token {}, r{holder} has {newest}",
                    fence.token
                );
                self.fail(&what);
            }
        }
        for write in txn.writes() {
            let key = write.key().as_str();
            let value = match write {
                Write::Put(_, value) => Some(value.as_bytes()),
                _ => None,
            };
            if key.starts_with("/acme/v1/orders/") {
                self.busy = Some(machine);
                self.journal(key, value);
            } else if key.ends_with("/current") {
                self.put(key, value);
            } else if key.starts_with("/acme/v1/accounts/") {
                self.account(key, value);
            }
        }
        if txn
            .writes()
            .iter()
            .any(|write| write.key().as_str().starts_with("/acme/v1/orders/"))
        {
            self.recoverable();
        }
    }

    fn journal(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(value) = value else {
            self.journals.remove(key);
            self.next_at.remove(key);
            return self.say("done");
        };
        let Envelope { data } = serde_json::from_slice::<Envelope<Journal>>(value).unwrap();
        self.say(&data.stage.name);
        if let Some(last) = data.history.last {
            self.say(&last.detail);
        }
        let next_at = data.history.next_at.map(|text| {
            OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).unwrap()
        });
        match next_at {
            Some(at) => self.next_at.insert(key.to_owned(), at),
            None => self.next_at.remove(key),
        };
        let order = data.stage.order.map(|order| order.url);
        if let Some(order) = &order {
            let place = (key.to_owned(), data.generation);
            let known = self.orders.entry(order.clone());
            let known = known.or_insert_with(|| place.clone());
            if *known != place {
                let what = format!("I1: {order} is of {known:?}, and now of {place:?}");
                self.fail(&what);
            }
        }
        let key_of = data.stage.plan.map(|plan| plan.key);
        self.journals
            .insert(key.to_owned(), Under { order, key: key_of });
    }

    fn put(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(value) = value else {
            return self.fail("I4: the certificate in use is removed");
        };
        let certificate = IssuedCertificate::decode(value).unwrap();
        let used = Used {
            generation: certificate.generation(),
            not_after: certificate.not_after(),
        };
        self.say(&format!("generation {}", used.generation));
        let chain = certificate.chain_pem();
        match self.made.get_mut(chain) {
            Some(made) if made.public == public(certificate.key_pem()) => made.stored = true,
            _ => self.fail("I6: the key in the store is not that of the chain"),
        }
        if let Some(before) = self.current.get(key)
            && (before.generation >= used.generation || before.not_after >= used.not_after)
        {
            let what = format!(
                "I4: generation {} until {} after generation {} until {}",
                used.generation, used.not_after, before.generation, before.not_after
            );
            self.fail(&what);
        }
        self.current.insert(key.to_owned(), used);
    }

    fn account(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(value) = value else {
            return self.fail("I3: the account is removed");
        };
        let Envelope { data } = serde_json::from_slice::<Envelope<Account>>(value).unwrap();
        self.say(data.url.as_deref().unwrap_or("not registered"));
        let now = (key.to_owned(), data.key);
        if self.account.as_ref().is_some_and(|before| *before != now) {
            self.fail("I3: the account has another key");
        }
        self.account = Some(now);
    }

    /// A replica begins to serve a certificate.
    pub(crate) fn served(&mut self, id: &CertId, certificate: &IssuedCertificate, before: u64) {
        let chain = certificate.chain_pem();
        let key = public(certificate.key_pem());
        if self.made.get(chain).is_none_or(|made| made.public != key) {
            self.fail(&format!("I6: {id} is served with another key"));
        }
        if certificate.generation() < before {
            let now = certificate.generation();
            self.fail(&format!("I4: {id}: {now} is served after {before}"));
        }
    }

    /// The generation in use.
    pub(crate) fn generation(&self, id: &CertId) -> u64 {
        let used = self.current.get(id.current().as_str());
        used.map_or(0, |used| used.generation)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.journals.is_empty()
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Account {
    key: String,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Deserialize)]
struct Journal {
    generation: u64,
    stage: Stage,
    #[serde(default)]
    history: History,
}

#[derive(Deserialize)]
struct Stage {
    name: String,
    #[serde(default)]
    plan: Option<Plan>,
    #[serde(default)]
    order: Option<OrderPlace>,
}

#[derive(Deserialize)]
struct Plan {
    key: String,
}

#[derive(Deserialize)]
struct OrderPlace {
    url: String,
}

#[derive(Default, Deserialize)]
struct History {
    #[serde(default)]
    next_at: Option<String>,
    #[serde(default)]
    last: Option<Last>,
}

#[derive(Deserialize)]
struct Last {
    detail: String,
}
