//! An order on paper: what is under way for one certificate, written before it is done.
//!
//! ```text
//! Waiting ──▶ Ordering ───▶ Ordered ────▶ Presenting ──▶ Finalizing ──▶ Issued
//!    ▲        key made,     its URL known answers shown  CSR sent       certificate
//!    │        newOrder sent                                             made │
//!    └──────── committed, or failed and not to be gone on with ◀─────────────┘
//! ```
//!
//! A stage is written down before the effect it names, and every effect may be repeated.
//! So whoever finds a journal goes on from its stage: the key is in it from the start,
//! and no certificate the CA made is ever without its key.

mod history;

use certwright_storage::{Record, RecordError, Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::challenge::Receipt;
use crate::identifier::Identifier;
use crate::protocol::OrderStatus;
use crate::secret::StoredKey;

pub(crate) use history::Circumstances;
pub use history::{Failure, History};

/// What is under way for one certificate.
#[derive(Debug)]
pub struct Journal {
    /// For what; the first is the main one.
    pub(crate) identifiers: Vec<Identifier>,
    /// Which generation of the certificate this will be; the first is 1.
    pub(crate) generation: u64,
    /// How far it is.
    pub(crate) stage: Stage,
    /// What is shown to the CA, or may be, and must be taken away.
    pub(crate) receipts: Vec<Receipt>,
    /// Orders that are not gone on with, and whose authorizations the CA may wait for.
    pub(crate) given_up: Vec<GivenUp>,
    /// When it was written last.
    pub(crate) touched: Option<OffsetDateTime>,
    /// What went wrong since the last certificate.
    pub(crate) history: History,
}

/// An order that is not gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    /// The issuer's name.
    pub(crate) issuer: String,
    /// The order.
    pub(crate) order: Order,
    /// Since when.
    #[serde(with = "crate::instant")]
    pub(crate) at: OffsetDateTime,
}

/// How far an order is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// Nothing is under way.
    Waiting,
    /// The key is made; the order is sent, or about to be.
    Ordering { plan: Plan },
    /// The order's URL is known.
    Ordered { plan: Plan, order: Order },
    /// The answers in `receipts` are shown, or about to be.
    Presenting { plan: Plan, order: Order },
    /// The CSR is sent, or about to be: this one and no other.
    Finalizing {
        plan: Plan,
        order: Order,
        /// DER in base64url.
        csr: String,
    },
    /// The CA has made the certificate.
    Issued {
        plan: Plan,
        order: Order,
        /// Where it is.
        certificate: String,
    },
}

/// What is to be ordered, and from whom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The issuer's name.
    pub(crate) issuer: String,
    /// The key of the certificate.
    pub(crate) key: StoredKey,
    /// The certificate that is replaced, by its ARI identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
}

/// An order at the CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The account that placed it.
    pub(crate) account: String,
    /// Its URL.
    pub(crate) url: String,
    /// From when the certificate was asked to be valid, if it was.
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) not_before: Option<OffsetDateTime>,
    /// Until when.
    #[serde(
        default,
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) not_after: Option<OffsetDateTime>,
}

impl Order {
    /// An order of this account, at this URL, for a certificate of the CA's own validity.
    #[cfg(test)]
    pub(crate) fn new(account: &str, url: &str) -> Self {
        Self {
            account: account.to_owned(),
            url: url.to_owned(),
            not_before: None,
            not_after: None,
        }
    }
}

/// What an order's state at the CA means for a journal that has its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Show answers and tell the CA.
    Authorize,
    /// Fetch the certificate.
    Download,
    /// It is of no use any more: the next one, please.
    Drop,
    /// The CA gave it up: see why.
    Examine,
    /// Send the CSR.
    Finalize,
    /// Ask again later.
    Poll,
}

impl Journal {
    /// The journal of a certificate nothing is under way for.
    pub(crate) fn new(identifiers: Vec<Identifier>) -> Self {
        Self {
            identifiers,
            generation: 0,
            stage: Stage::Waiting,
            receipts: Vec::new(),
            given_up: Vec::new(),
            touched: None,
            history: History::default(),
        }
    }

    /// Reads a stored journal.
    ///
    /// # Errors
    /// [`RecordError`] if it is none, or of a later release.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let written: Written = Record::decode(bytes, KIND, VERSION)?.read()?;
        Ok(Self {
            identifiers: written.identifiers,
            generation: written.generation,
            stage: written.stage,
            receipts: written.receipts,
            given_up: written.given_up,
            touched: written.touched,
            history: written.history,
        })
    }

    pub(crate) fn encode(&self) -> Result<Value, RecordError> {
        let writing = Writing {
            identifiers: &self.identifiers,
            generation: self.generation,
            stage: &self.stage,
            receipts: &self.receipts,
            given_up: &self.given_up,
            touched: self.touched,
            history: &self.history,
        };
        Ok(Record::new(KIND, VERSION, &writing)?.encode())
    }

    /// The name of the stage, such as `finalizing`.
    pub fn stage(&self) -> &'static str {
        match self.stage {
            Stage::Waiting => "waiting",
            Stage::Ordering { .. } => "ordering",
            Stage::Ordered { .. } => "ordered",
            Stage::Presenting { .. } => "presenting",
            Stage::Finalizing { .. } => "finalizing",
            Stage::Issued { .. } => "issued",
        }
    }

    /// Which generation of the certificate is under way, or was last.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The URL of the order, if it is known.
    pub fn order_url(&self) -> Option<&str> {
        self.order().map(|order| order.url.as_str())
    }

    /// What went wrong since the last certificate.
    pub fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn order(&self) -> Option<&Order> {
        match &self.stage {
            Stage::Ordered { order, .. }
            | Stage::Presenting { order, .. }
            | Stage::Finalizing { order, .. }
            | Stage::Issued { order, .. } => Some(order),
            Stage::Waiting | Stage::Ordering { .. } => None,
        }
    }

    pub(crate) fn plan(&self) -> Option<&Plan> {
        match &self.stage {
            Stage::Waiting => None,
            Stage::Ordering { plan }
            | Stage::Ordered { plan, .. }
            | Stage::Presenting { plan, .. }
            | Stage::Finalizing { plan, .. }
            | Stage::Issued { plan, .. } => Some(plan),
        }
    }

    /// The issuers that something in it is of; one may come more than once.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &str> {
        let planned = self.plan().map(|plan| plan.issuer.as_str());
        let given_up = self.given_up.iter().map(|one| one.issuer.as_str());
        let shown = self.receipts.iter().filter_map(|receipt| match receipt {
            Receipt::Dns01 { issuer, .. } if !issuer.is_empty() => Some(issuer.as_str()),
            _ => None,
        });
        planned.into_iter().chain(given_up).chain(shown)
    }

    /// Whether nothing in it is worth keeping.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
            && self.receipts.is_empty()
            && self.given_up.is_empty()
            && self.history.is_blank()
    }

    /// Waiting → Ordering.
    pub(crate) fn ordering(&mut self, generation: u64, plan: Plan) -> Result<(), WrongStage> {
        match self.take() {
            Stage::Waiting => {
                self.generation = generation;
                self.stage = Stage::Ordering { plan };
                Ok(())
            }
            other => self.refuse(other, "ordering"),
        }
    }

    /// Ordering → Ordered.
    pub(crate) fn ordered(&mut self, order: Order) -> Result<(), WrongStage> {
        match self.take() {
            Stage::Ordering { plan } => {
                self.history.progressed();
                self.stage = Stage::Ordered { plan, order };
                Ok(())
            }
            other => self.refuse(other, "ordered"),
        }
    }

    /// Ordered or Presenting → Presenting, with what is to be shown now.
    pub(crate) fn presenting(&mut self, receipts: Vec<Receipt>) -> Result<(), WrongStage> {
        match self.take() {
            Stage::Ordered { plan, order } | Stage::Presenting { plan, order } => {
                for receipt in receipts {
                    if !self.receipts.contains(&receipt) {
                        self.receipts.push(receipt);
                    }
                }
                self.stage = Stage::Presenting { plan, order };
                Ok(())
            }
            other => self.refuse(other, "presenting"),
        }
    }

    /// Ordered (all was valid already) or Presenting → Finalizing.
    pub(crate) fn finalizing(&mut self, csr: String) -> Result<(), WrongStage> {
        match self.take() {
            Stage::Ordered { plan, order } | Stage::Presenting { plan, order } => {
                self.history.progressed();
                self.stage = Stage::Finalizing { plan, order, csr };
                Ok(())
            }
            other => self.refuse(other, "finalizing"),
        }
    }

    /// Another key for the certificate; once the CSR is sent it is too late.
    pub(crate) fn rekey(&mut self, key: StoredKey) -> Result<(), WrongStage> {
        match &mut self.stage {
            Stage::Ordering { plan }
            | Stage::Ordered { plan, .. }
            | Stage::Presenting { plan, .. } => {
                plan.key = key;
                Ok(())
            }
            _ => Err(WrongStage {
                found: self.stage(),
                wanted: "given another key",
            }),
        }
    }

    /// Finalizing → Issued.
    pub(crate) fn issued(&mut self, certificate: String) -> Result<(), WrongStage> {
        match self.take() {
            Stage::Finalizing { plan, order, .. } => {
                self.history.progressed();
                self.stage = Stage::Issued {
                    plan,
                    order,
                    certificate,
                };
                Ok(())
            }
            other => self.refuse(other, "issued"),
        }
    }

    /// Issued → Waiting, with nothing held against anybody.
    pub(crate) fn committed(&mut self) -> Result<(Plan, Order), WrongStage> {
        match self.take() {
            Stage::Issued { plan, order, .. } => {
                self.history = History::default();
                Ok((plan, order))
            }
            other => self.refuse(other, "committed"),
        }
    }

    /// Any → Waiting: the order is not gone on with. The receipts stay.
    pub(crate) fn dropped(&mut self, at: OffsetDateTime) {
        let (Stage::Ordered { plan, order } | Stage::Presenting { plan, order }) = self.take()
        else {
            return;
        };
        let issuer = plan.issuer;
        self.given_up.push(GivenUp { issuer, order, at });
        // They let go by themselves after some days.
        let surplus = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..surplus);
    }

    /// What to do, given the order's state at the CA.
    pub(crate) fn next(&self, status: OrderStatus) -> Next {
        use OrderStatus::{Invalid, Pending, Processing, Ready, Valid};
        let sent = matches!(self.stage, Stage::Finalizing { .. });
        match (status, sent) {
            (Pending, false) => Next::Authorize,
            (Ready, _) => Next::Finalize,
            (Processing, true) => Next::Poll,
            (Valid, true) => Next::Download,
            (Invalid, _) => Next::Examine,
            // Finalized by somebody else, with a key that is not ours; or an
            // authorization was taken back behind a CSR.
            (Processing | Valid, false) | (Pending, true) => Next::Drop,
        }
    }

    /// When it may be gone on with, if not now.
    pub(crate) fn next_at(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.history.next_at.filter(|at| *at > now)
    }

    fn take(&mut self) -> Stage {
        core::mem::replace(&mut self.stage, Stage::Waiting)
    }

    fn refuse<T>(&mut self, stage: Stage, wanted: &'static str) -> Result<T, WrongStage> {
        self.stage = stage;
        let found = self.stage();
        Err(WrongStage { found, wanted })
    }
}

/// A step that a journal does not allow: a mistake of ours, or two at one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the journal is {found}, it cannot become {wanted}; this is a mistake of the engine")]
#[non_exhaustive]
pub struct WrongStage {
    /// How far it is.
    pub found: &'static str,
    /// What was to follow.
    pub wanted: &'static str,
}

/// How many orders are remembered to be given up.
const MAX_GIVEN_UP: usize = 4;

const KIND: &str = "acme-order";
const VERSION: u32 = 1;

/// The record as it is read. Of its own, so that nobody outside serializes a private key
/// by accident.
#[derive(Deserialize)]
struct Written {
    identifiers: Vec<Identifier>,
    generation: u64,
    stage: Stage,
    #[serde(default)]
    receipts: Vec<Receipt>,
    #[serde(default)]
    given_up: Vec<GivenUp>,
    #[serde(default, with = "crate::instant::optional")]
    touched: Option<OffsetDateTime>,
    #[serde(default)]
    history: History,
}

/// The record as it is written.
#[derive(Serialize)]
struct Writing<'a> {
    identifiers: &'a [Identifier],
    generation: u64,
    stage: &'a Stage,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    receipts: &'a [Receipt],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    given_up: &'a [GivenUp],
    #[serde(
        with = "crate::instant::optional",
        skip_serializing_if = "Option::is_none"
    )]
    touched: Option<OffsetDateTime>,
    history: &'a History,
}

#[cfg(test)]
mod tests {
    use certwright_cert_model::key::{Curve, KeyAlgorithm};
    use certwright_issuance::KeyPair;

    use super::*;

    fn plan() -> Plan {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        Plan {
            issuer: "le".to_owned(),
            key: StoredKey::of(&key).unwrap(),
            replaces: None,
        }
    }

    fn order() -> Order {
        Order::new("https://ca.test/a/1", "https://ca.test/o/1")
    }

    fn receipt(token: &str) -> Receipt {
        Receipt::Http01 {
            token: token.to_owned(),
            authorization: format!("{token}.thumb"),
        }
    }

    type Step = fn(&mut Journal) -> Result<(), WrongStage>;
    const STEPS: [(&str, Step); 6] = [
        ("ordering", |journal| journal.ordering(1, plan())),
        ("ordered", |journal| journal.ordered(order())),
        ("presenting", |journal| {
            journal.presenting(vec![receipt("a")])
        }),
        ("finalizing", |journal| {
            journal.finalizing("AAEC".to_owned())
        }),
        ("issued", |journal| {
            journal.issued("https://ca.test/c/1".to_owned())
        }),
        ("waiting", |journal| journal.committed().map(drop)),
    ];

    /// The journal after so many steps, read back from what is stored.
    fn at(count: usize) -> Journal {
        let mut journal = Journal::new(vec!["a.test".parse().unwrap()]);
        for (name, step) in STEPS.iter().take(count) {
            step(&mut journal).unwrap();
            assert_eq!(journal.stage(), *name);
            let stored = journal.encode().unwrap();
            let read = Journal::decode(stored.as_bytes()).unwrap();
            assert_eq!(read.encode().unwrap(), stored, "{name}");
            journal = read;
        }
        journal
    }

    #[test]
    fn every_prefix_of_the_way_goes_on_and_no_step_is_left_out() {
        for count in 0..STEPS.len() {
            for (index, (name, step)) in STEPS.iter().enumerate() {
                let mut journal = at(count);
                let before = journal.encode().unwrap();
                let done = step(&mut journal);
                // Presenting may be repeated and, with authorizations reused, left out.
                let expected =
                    index == count || (index == 2 && count == 3) || (index == 3 && count == 2);
                assert_eq!(done.is_ok(), expected, "{name} after {count} steps");
                if done.is_err() {
                    assert_eq!(journal.encode().unwrap(), before, "{name} changed it");
                }
            }
        }
    }

    #[test]
    fn the_key_stays_the_same_from_order_to_commit() {
        let mut journal = at(1);
        let key = journal.plan().unwrap().key.pem().clone();
        for (_, step) in &STEPS[1..5] {
            step(&mut journal).unwrap();
            assert_eq!(*journal.plan().unwrap().key.pem(), key);
        }
        assert_eq!(*journal.committed().unwrap().0.key.pem(), key);
        assert_eq!(journal.receipts, [receipt("a")], "still to be taken away");
        journal.receipts.clear();
        assert!(journal.is_blank());
    }

    #[test]
    fn what_the_state_of_the_order_means() {
        use OrderStatus::{Invalid, Pending, Processing, Ready, Valid};
        for (steps, status, next) in [
            (2, Pending, Next::Authorize),
            (2, Ready, Next::Finalize),
            (2, Processing, Next::Drop),
            (2, Valid, Next::Drop),
            (2, Invalid, Next::Examine),
            (3, Pending, Next::Authorize),
            (3, Ready, Next::Finalize),
            (3, Valid, Next::Drop),
            (4, Pending, Next::Drop),
            (4, Ready, Next::Finalize),
            (4, Processing, Next::Poll),
            (4, Valid, Next::Download),
            (4, Invalid, Next::Examine),
        ] {
            assert_eq!(at(steps).next(status), next, "{steps} {status:?}");
        }
    }

    #[test]
    fn receipts_are_kept_once_and_over_failures() {
        let mut journal = at(3);
        journal
            .presenting(vec![receipt("a"), receipt("b")])
            .unwrap();
        journal.dropped(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(journal.receipts, [receipt("a"), receipt("b")]);
        assert!(!journal.is_blank());
        journal.receipts.clear();
        assert_eq!(journal.given_up.len(), 1);
        assert!(!journal.is_blank(), "the CA still waits");
        for _ in 0..MAX_GIVEN_UP {
            journal.ordering(1, plan()).unwrap();
            journal.ordered(order()).unwrap();
            journal.dropped(OffsetDateTime::UNIX_EPOCH);
        }
        assert_eq!(journal.given_up.len(), MAX_GIVEN_UP);
    }

    #[test]
    fn debug_shows_no_key() {
        let journal = at(1);
        let pem = journal.plan().unwrap().key.pem();
        let line = pem.lines().nth(1).unwrap();
        assert!(!format!("{journal:?}").contains(line));
    }
}
