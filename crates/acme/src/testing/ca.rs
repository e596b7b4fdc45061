//! A CA in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_issuance::csr::Request;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, VerifiedCsr, self_signed,
};
use certwright_storage::{Key, MemoryStorage, Storage};
use time::OffsetDateTime;

use super::{START, World, pass, run};
use crate::account::{Account, AccountKey, Registration};
use crate::challenge::ChallengeKind;
use crate::challenge::dns01::TxtRecord;
use crate::identifier::Identifier;
use crate::problem::{ErrorType, Problem, RetryAfter};
use crate::protocol::*;
use crate::runtime::Runtime;

/// What a CA does with one request, instead of what it should.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing arrives.
    Away,
    /// It acts, and its answer is lost.
    Lost,
    /// It refuses.
    Refuse(Problem, Option<RetryAfter>),
}

/// A CA in memory, slow enough to die in between.
#[derive(Clone, Debug)]
pub(crate) struct FakeCa {
    /// What it is called among several that share everything else.
    name: String,
    world: World,
    storage: MemoryStorage,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) accounts: BTreeMap<String, String>,
    pub(crate) bindings: Vec<String>,
    pub(crate) orders: Vec<FakeOrder>,
    /// Every certificate that was ever made, in PEM.
    pub(crate) issued: Vec<String>,
    pub(crate) revoked: usize,
    /// How often each request was made.
    pub(crate) calls: BTreeMap<&'static str, usize>,
    /// What happens to the next requests of a name.
    pub(crate) faults: HashMap<&'static str, VecDeque<Fault>>,
    /// Kinds whose answers the CA never finds.
    pub(crate) blind: Vec<ChallengeKind>,
    /// How many times an order is seen processing.
    pub(crate) processing: u32,
    pub(crate) renewal: Option<RenewalInfo>,
    /// Those who are away, by name, and how long it takes to see it.
    pub(crate) away: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    /// Whether it hands out a pending order again for the same names.
    pub(crate) reuses: bool,
    /// Whether it goes by the validity it is asked for.
    pub(crate) obeys: bool,
    /// A DNS provider that never answers: whether it acts all the same.
    pub(crate) dumb: Option<bool>,
    /// What is said to answers that were acted upon.
    pub(crate) late: Option<Problem>,
    /// Authorizations too many in each order.
    pub(crate) surplus: usize,
    /// The name in each authorization, instead of the one that was ordered.
    pub(crate) misnamed: Option<Identifier>,
    /// New orders under way, and the most there ever were.
    ordering: usize,
    pub(crate) most_at_once: usize,
    pub(crate) txt: Vec<TxtRecord>,
    authority: Option<Arc<CertificateAuthority>>,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeOrder {
    pub(crate) order: NewOrder,
    pub(crate) status: OrderStatus,
    pub(crate) finalized: usize,
    pub(crate) valid: Vec<bool>,
    pub(crate) deactivated: Vec<bool>,
    failed: Vec<Option<ChallengeKind>>,
    left: u32,
    certificate: Option<usize>,
}

impl FakeCa {
    /// A CA that looks for answers in this store.
    pub(crate) fn new(world: &World, storage: &MemoryStorage) -> Self {
        let ca = Self {
            name: String::new(),
            world: world.clone(),
            storage: storage.clone(),
            state: Arc::default(),
        };
        ca.state().authority = Some(Arc::new(authority()));
        ca
    }

    /// A CA whose certificates are valid today.
    pub(crate) fn at_present(storage: &MemoryStorage) -> Self {
        let since = OffsetDateTime::now_utc() - START;
        let world = World::new();
        let ca = Self::new(&world, storage);
        world.advance(since.try_into().unwrap());
        ca
    }

    /// The same under another name.
    pub(crate) fn called(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn calls(&self, request: &'static str) -> usize {
        self.state().calls.get(request).copied().unwrap_or_default()
    }

    pub(crate) fn fault(&self, request: &'static str, fault: Fault) {
        self.state()
            .faults
            .entry(request)
            .or_default()
            .push_back(fault);
    }

    /// One request: something may happen on the way there and back.
    fn serve<'a, T: Send + 'a>(
        &'a self,
        request: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, ProtocolError> + Send + 'a,
    ) -> Call<'a, T> {
        Box::pin(async move {
            pass().await;
            let unreachable = |reason: &str| ProtocolError::Unreachable {
                request,
                reason: reason.to_owned(),
            };
            let away = {
                let state = self.state();
                let away = state.away.contains(&self.name);
                away.then_some(state.timeout.unwrap_or_default())
            };
            if let Some(timeout) = away {
                *self.state().calls.entry("unanswered").or_default() += 1;
                self.world.sleep(timeout).await;
                return Err(unreachable("away"));
            }
            let fault = {
                let mut state = self.state();
                *state.calls.entry(request).or_default() += 1;
                state.faults.get_mut(request).and_then(VecDeque::pop_front)
            };
            match fault {
                Some(Fault::Away) => return Err(unreachable("away")),
                Some(Fault::Refuse(problem, retry_after)) => {
                    return Err(ProtocolError::Refused {
                        request,
                        problem: Box::new(problem),
                        retry_after,
                    });
                }
                Some(Fault::Lost) | None => {}
            }
            let ordering = usize::from(request == "new_order");
            let answer = {
                let mut state = self.state();
                state.ordering += ordering;
                state.most_at_once = state.most_at_once.max(state.ordering);
                act(&mut state)
            };
            pass().await;
            let left = self.state().ordering.saturating_sub(ordering);
            self.state().ordering = left;
            match fault {
                Some(Fault::Lost) => Err(unreachable("lost")),
                _ => answer,
            }
        })
    }
}

fn refused(request: &'static str, status: u16, kind: ErrorType) -> ProtocolError {
    ProtocolError::Refused {
        request,
        problem: Box::new(Problem::new(status, kind)),
        retry_after: None,
    }
}

fn authority() -> CertificateAuthority {
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let request = Request::new("Fake CA", &[]).unwrap();
    let csr = request.sign(&key).unwrap().verify(&CsrPolicy::default());
    let usages = ["cert sign".parse().unwrap()].into_iter().collect();
    let profile = Profile::ca(usages, time::Duration::days(50_000), None);
    let bundle = self_signed(&csr.unwrap(), &key, &profile, START).unwrap();
    let chain = Certificate::read_pem(bundle.chain_pem().as_bytes()).unwrap();
    CertificateAuthority::new(chain, key, START).unwrap()
}

/// Paths: `order/0`, `authorization/0/1`, `challenge/0/1/http-01`, `certificate/3`.
fn numbers(url: &str) -> Vec<usize> {
    url.split('/')
        .filter_map(|part| part.parse().ok())
        .collect()
}

impl State {
    fn order_state(&self, index: usize) -> OrderState {
        let order = &self.orders[index];
        let count = order.order.identifiers.len();
        OrderState {
            status: order.status,
            authorizations: (0..count + self.surplus)
                .map(|at| format!("authorization/{index}/{at}"))
                .collect(),
            finalize: format!("finalize/{index}"),
            certificate: order.certificate.map(|at| format!("certificate/{at}")),
            error: None,
            retry_after: None,
        }
    }

    fn authorization_state(&self, index: usize, at: usize) -> AuthorizationState {
        let order = &self.orders[index];
        let kinds = [
            ChallengeKind::Dns01,
            ChallengeKind::Http01,
            ChallengeKind::TlsAlpn01,
        ];
        let challenge = |kind: ChallengeKind| {
            let failed = order.failed[at] == Some(kind);
            ChallengeState {
                kind,
                url: format!("challenge/{index}/{at}/{kind}"),
                token: token(index, at),
                status: match (order.valid[at], failed) {
                    (_, true) => ChallengeStatus::Invalid,
                    (true, _) => ChallengeStatus::Valid,
                    _ => ChallengeStatus::Pending,
                },
                error: failed.then(|| Problem::new(403, ErrorType::Unauthorized)),
            }
        };
        AuthorizationState {
            identifier: match &self.misnamed {
                Some(name) => name.clone(),
                None => order.order.identifiers[at].clone(),
            },
            status: match (order.valid[at], order.failed[at]) {
                _ if order.deactivated[at] => AuthorizationStatus::Deactivated,
                (true, _) => AuthorizationStatus::Valid,
                (_, Some(_)) => AuthorizationStatus::Invalid,
                _ => AuthorizationStatus::Pending,
            },
            challenges: kinds.into_iter().map(challenge).collect(),
        }
    }
}

fn token(index: usize, at: usize) -> String {
    format!("token-{index:010}-{at:010}-padding")
}

impl Protocol for FakeCa {
    fn find_account<'a>(&'a self, key: &'a AccountKey) -> Call<'a, Option<String>> {
        self.serve("find_account", |state| {
            Ok(state.accounts.get(key.thumbprint()).cloned())
        })
    }

    fn register<'a>(
        &'a self,
        key: &'a AccountKey,
        registration: &'a Registration,
    ) -> Call<'a, String> {
        self.serve("register", |state| {
            if let Some(binding) = &registration.binding {
                // A CA whose bindings work once.
                if state.bindings.contains(&binding.kid) {
                    return Err(refused("register", 403, ErrorType::Unauthorized));
                }
                state.bindings.push(binding.kid.clone());
            }
            let url = format!("account/{}", state.accounts.len());
            let known = state.accounts.entry(key.thumbprint().to_owned());
            Ok(known.or_insert(url).clone())
        })
    }

    fn update_contacts<'a>(&'a self, _: &'a Account, _: &'a [String]) -> Call<'a, ()> {
        self.serve("update_contacts", |_| Ok(()))
    }

    fn new_order<'a>(
        &'a self,
        account: &'a Account,
        order: &'a NewOrder,
    ) -> Call<'a, (String, OrderState)> {
        self.serve("new_order", |state| {
            if !state.accounts.values().any(|url| *url == account.url) {
                return Err(refused("new_order", 400, ErrorType::AccountDoesNotExist));
            }
            let mut known = state.orders.iter();
            let same = known.position(|one| {
                one.order.identifiers == order.identifiers
                    && matches!(one.status, OrderStatus::Pending | OrderStatus::Ready)
            });
            if let Some(index) = same.filter(|_| state.reuses) {
                return Ok((format!("order/{index}"), state.order_state(index)));
            }
            let index = state.orders.len();
            let count = order.identifiers.len();
            state.orders.push(FakeOrder {
                order: order.clone(),
                status: OrderStatus::Pending,
                finalized: 0,
                valid: vec![false; count],
                deactivated: vec![false; count],
                failed: vec![None; count],
                left: state.processing,
                certificate: None,
            });
            Ok((format!("order/{index}"), state.order_state(index)))
        })
    }

    fn order<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, OrderState> {
        self.serve("order", |state| {
            let index = numbers(url)[0];
            let order = &mut state.orders[index];
            if order.status == OrderStatus::Processing {
                order.left = order.left.saturating_sub(1);
                if order.left == 0 {
                    order.status = OrderStatus::Valid;
                }
            }
            Ok(state.order_state(index))
        })
    }

    fn authorization<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, AuthorizationState> {
        self.serve("authorization", |state| {
            let numbers = numbers(url);
            Ok(state.authorization_state(numbers[0], numbers[1]))
        })
    }

    fn answer<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, ()> {
        self.serve("answer", |state| {
            let numbers = numbers(url);
            let (index, at) = (numbers[0], numbers[1]);
            let kind: ChallengeKind = url.rsplit('/').next().unwrap().parse().unwrap();
            let token = token(index, at);
            let expected = account.key.authorization(&token);
            let identifier = state.orders[index].order.identifiers[at].clone();
            let stored = |key: Key| {
                let entry = run(self.storage.get(&key)).unwrap();
                entry.is_some_and(|entry| entry.value.as_bytes() == expected.as_bytes())
            };
            let shown = match kind {
                ChallengeKind::Http01 => stored(crate::layout::http_token(&token)),
                ChallengeKind::TlsAlpn01 => stored(crate::layout::alpn_name(&identifier.base())),
                ChallengeKind::Dns01 => state.txt.contains(&TxtRecord::new(&identifier, &expected)),
            };
            let order = &mut state.orders[index];
            if shown && !state.blind.contains(&kind) {
                order.valid[at] = true;
                if order.valid.iter().all(|valid| *valid) && order.status == OrderStatus::Pending {
                    order.status = OrderStatus::Ready;
                }
            } else {
                order.failed[at] = Some(kind);
                order.status = OrderStatus::Invalid;
            }
            match &state.late {
                Some(problem) => Err(ProtocolError::Refused {
                    request: "answer",
                    problem: Box::new(problem.clone()),
                    retry_after: None,
                }),
                None => Ok(()),
            }
        })
    }

    fn deactivate<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, ()> {
        self.serve("deactivate", |state| {
            let numbers = numbers(url);
            let order = &mut state.orders[numbers[0]];
            order.deactivated[numbers[1]] = true;
            order.status = OrderStatus::Invalid;
            Ok(())
        })
    }

    fn finalize<'a>(&'a self, _: &'a Account, url: &'a str, csr: &'a [u8]) -> Call<'a, OrderState> {
        self.serve("finalize", |state| {
            let index = numbers(url)[0];
            if state.orders[index].status != OrderStatus::Ready {
                return Err(refused("finalize", 403, ErrorType::OrderNotReady));
            }
            let csr = VerifiedCsr::from_der(csr, &CsrPolicy::default()).unwrap();
            let usages = ["server auth".parse().unwrap()].into_iter().collect();
            let asked = state.orders[index].order.not_after;
            let asked = asked.map(|end| end - self.world.now());
            let duration = asked.filter(|_| state.obeys);
            let duration = duration.unwrap_or(time::Duration::days(90));
            let profile = Profile::leaf(usages, duration);
            let authority = state.authority.clone().unwrap();
            let bundle = authority.sign(&csr, &profile, self.world.now()).unwrap();
            state.issued.push(bundle.chain_pem().clone());
            let at = state.issued.len() - 1;
            let order = &mut state.orders[index];
            order.finalized += 1;
            order.certificate = Some(at);
            order.status = match order.left {
                0 => OrderStatus::Valid,
                _ => OrderStatus::Processing,
            };
            Ok(state.order_state(index))
        })
    }

    fn certificate<'a>(&'a self, _: &'a Account, url: &'a str) -> Call<'a, Download> {
        self.serve("certificate", |state| {
            Ok(Download {
                pem: state.issued[numbers(url)[0]].clone(),
                alternates: Vec::new(),
            })
        })
    }

    fn renewal_info<'a>(&'a self, _: &'a str) -> Call<'a, RenewalInfo> {
        self.serve("renewal_info", |state| {
            let what = "renewal information";
            state
                .renewal
                .clone()
                .ok_or(ProtocolError::Unsupported { what })
        })
    }

    fn revoke<'a>(
        &'a self,
        _: &'a Account,
        _: &'a [u8],
        _: Option<RevocationReason>,
    ) -> Call<'a, ()> {
        self.serve("revoke", |state| {
            state.revoked += 1;
            Ok(())
        })
    }
}
