//! A CA: orders, validations through whichever replica answers, certificates.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use certwright_acme::Identifier;
use certwright_acme::challenge::ChallengeKind;
use certwright_acme::problem::{ErrorType, Problem, RetryAfter};
use certwright_acme::protocol::{
    AuthorizationState, AuthorizationStatus, ChallengeState, ChallengeStatus, NewOrder, OrderState,
    OrderStatus, ProtocolError,
};
use certwright_cert_model::key::{Curve, KeyAlgorithm, KeyEncoding};
use certwright_issuance::csr::Request;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, VerifiedCsr, self_signed,
};
use certwright_storage::{Key, Storage};
use zeroize::Zeroizing;

use crate::store::done;
use crate::world::{MILLISECOND, Micros, SECOND, Servers, start};

/// How long its certificates are valid.
const VALIDITY: time::Duration = time::Duration::hours(24);
/// More than any world uses.
const POOL: usize = 128;

#[derive(Default)]
pub(crate) struct Authority {
    pub(crate) accounts: BTreeMap<String, String>,
    pub(crate) orders: Vec<Order>,
    /// The chains it made.
    pub(crate) issued: Vec<String>,
    /// Of a thousand requests so many are refused for no good reason.
    pub(crate) moody: u64,
}

pub(crate) struct Order {
    identifiers: Vec<Identifier>,
    pub(crate) status: OrderStatus,
    authorizations: Vec<AuthorizationStatus>,
    looked_at: Vec<bool>,
    processing_until: Micros,
    certificate: Option<usize>,
}

/// The CA looks whether it finds the answer.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) order: usize,
    pub(crate) at: usize,
    pub(crate) token: String,
    pub(crate) expected: String,
    pub(crate) tries: u32,
}

/// Where it looks.
pub(crate) fn place(token: &str) -> Key {
    let prefix = certwright_acme::layout::CHALLENGES;
    Key::new(&format!("{prefix}http/{token}")).unwrap()
}

fn token(order: usize, at: usize) -> String {
    format!("token-{order:010}-{at:010}-padding")
}

fn refused(request: &'static str, status: u16, kind: ErrorType) -> ProtocolError {
    ProtocolError::Refused {
        request,
        problem: Box::new(Problem::new(status, kind)),
        retry_after: None,
    }
}

/// `order/0`, `authorization/0/1`, `challenge/0/1/http-01`, `certificate/3`.
fn numbers(url: &str) -> Vec<usize> {
    let parts = url.split('/');
    parts.filter_map(|part| part.parse().ok()).collect()
}

impl Servers {
    /// Whether the CA refuses what it should not.
    pub(crate) fn mood(&mut self, request: &'static str) -> Result<(), ProtocolError> {
        if !self.random.thousandths(self.authority.moody) {
            return Ok(());
        }
        let mut refusal = match self.random.within(0..3) {
            0 => refused(request, 500, ErrorType::ServerInternal),
            1 => refused(request, 400, ErrorType::BadNonce),
            _ => refused(request, 429, ErrorType::RateLimited),
        };
        if let ProtocolError::Refused {
            problem,
            retry_after,
            ..
        } = &mut refusal
            && problem.status == 429
        {
            *retry_after = Some(RetryAfter::Delay(time::Duration::seconds(20)));
        }
        Err(refusal)
    }

    pub(crate) fn register(&mut self, thumbprint: &str) -> String {
        let url = format!("account/{}", self.authority.accounts.len());
        let known = self.authority.accounts.entry(thumbprint.to_owned());
        let url = known.or_insert(url).clone();
        self.checker.registered(self.authority.accounts.len());
        url
    }

    pub(crate) fn new_order(
        &mut self,
        account: &str,
        order: &NewOrder,
    ) -> Result<(String, OrderState), ProtocolError> {
        if !self.authority.accounts.values().any(|url| url == account) {
            return Err(refused("new order", 400, ErrorType::AccountDoesNotExist));
        }
        let index = self.authority.orders.len();
        let count = order.identifiers.len();
        self.authority.orders.push(Order {
            identifiers: order.identifiers.clone(),
            status: OrderStatus::Pending,
            authorizations: vec![AuthorizationStatus::Pending; count],
            looked_at: vec![false; count],
            processing_until: 0,
            certificate: None,
        });
        self.checker.say(&format!("order/{index}"));
        Ok((format!("order/{index}"), self.order(index)))
    }

    pub(crate) fn order_at(&mut self, url: &str) -> OrderState {
        let index = numbers(url)[0];
        let now = self.now;
        let order = &mut self.authority.orders[index];
        if order.status == OrderStatus::Processing && now >= order.processing_until {
            order.status = OrderStatus::Valid;
        }
        let state = self.order(index);
        self.checker.say(&format!("{:?}", state.status));
        state
    }

    fn order(&self, index: usize) -> OrderState {
        let order = &self.authority.orders[index];
        let valid = order.status == OrderStatus::Valid;
        let certificate = order.certificate.filter(|_| valid);
        OrderState {
            status: order.status,
            authorizations: (0..order.identifiers.len())
                .map(|at| format!("authorization/{index}/{at}"))
                .collect(),
            finalize: format!("finalize/{index}"),
            certificate: certificate.map(|at| format!("certificate/{at}")),
            error: None,
            retry_after: None,
        }
    }

    pub(crate) fn authorization(&self, url: &str) -> AuthorizationState {
        let numbers = numbers(url);
        let (index, at) = (numbers[0], numbers[1]);
        let order = &self.authority.orders[index];
        let status = order.authorizations[at];
        let failed = status == AuthorizationStatus::Invalid;
        let challenge = ChallengeState {
            kind: ChallengeKind::Http01,
            url: format!("challenge/{index}/{at}"),
            token: token(index, at),
            status: match status {
                AuthorizationStatus::Valid => ChallengeStatus::Valid,
                _ if failed => ChallengeStatus::Invalid,
                _ if order.looked_at[at] => ChallengeStatus::Processing,
                _ => ChallengeStatus::Pending,
            },
            error: failed.then(|| Problem::new(400, ErrorType::Connection)),
        };
        AuthorizationState {
            identifier: order.identifiers[at].clone(),
            status,
            challenges: vec![challenge],
        }
    }

    /// A client says that its answer is there.
    pub(crate) fn challenge(&mut self, thumbprint: &str, url: &str) {
        let numbers = numbers(url);
        let (index, at) = (numbers[0], numbers[1]);
        let token = token(index, at);
        let expected = format!("{token}.{thumbprint}");
        let order = &mut self.authority.orders[index];
        let pending = order.authorizations[at] == AuthorizationStatus::Pending;
        if !pending || core::mem::replace(&mut order.looked_at[at], true) {
            return;
        }
        let entry = done(self.storage.get(&place(&token))).unwrap();
        let shown = entry.is_some_and(|entry| entry.value.as_bytes() == expected.as_bytes());
        if !shown {
            self.checker
                .fail(&format!("I5: told of {url}, and {token} is not stored"));
        }
        let look = Look {
            order: index,
            at,
            token,
            expected,
            tries: 0,
        };
        let pause = self.random.tail(300 * MILLISECOND);
        self.looks.push((pause, look));
    }

    /// What it found.
    pub(crate) fn looked(&mut self, look: &Look, found: bool) {
        let order = &mut self.authority.orders[look.order];
        order.authorizations[look.at] = match found {
            true => AuthorizationStatus::Valid,
            false => AuthorizationStatus::Invalid,
        };
        let all = |status| order.authorizations.iter().all(|one| *one == status);
        if !found {
            order.status = OrderStatus::Invalid;
        } else if all(AuthorizationStatus::Valid) && order.status == OrderStatus::Pending {
            order.status = OrderStatus::Ready;
        }
    }

    pub(crate) fn finalize(&mut self, url: &str, csr: &[u8]) -> Result<OrderState, ProtocolError> {
        let index = numbers(url)[0];
        if self.authority.orders[index].status != OrderStatus::Ready {
            self.checker.say("not ready");
            return Err(refused("finalize", 403, ErrorType::OrderNotReady));
        }
        let csr = VerifiedCsr::from_der(csr, &CsrPolicy::default()).unwrap();
        let usages = ["server auth".parse().unwrap()].into_iter().collect();
        let profile = Profile::leaf(usages, VALIDITY);
        let now = start() + core::time::Duration::from_micros(self.now);
        let bundle = signer().sign(&csr, &profile, now).unwrap();
        let chain = bundle.chain_pem().clone();
        let at = self.authority.issued.len();
        let url = format!("order/{index}");
        self.checker
            .issued(&url, csr.public_key().spki_der(), &chain);
        self.authority.issued.push(chain);
        let processing = match self.random.within(0..20) {
            0 => 100 * SECOND,
            1..=5 => 0,
            _ => self.random.tail(500 * MILLISECOND),
        };
        let order = &mut self.authority.orders[index];
        order.certificate = Some(at);
        order.processing_until = self.now + processing;
        order.status = match processing {
            0 => OrderStatus::Valid,
            _ => OrderStatus::Processing,
        };
        self.checker.say(&format!("MADE certificate/{at}"));
        Ok(self.order(index))
    }

    pub(crate) fn certificate(&self, url: &str) -> String {
        self.authority.issued[numbers(url)[0]].clone()
    }

    /// A key nobody had before.
    pub(crate) fn new_key(&mut self) -> Zeroizing<String> {
        self.keys += 1;
        keys()[self.keys - 1].clone()
    }
}

/// One CA for all worlds.
fn signer() -> &'static CertificateAuthority {
    static SIGNER: OnceLock<Arc<CertificateAuthority>> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let request = Request::new("Simulated CA", &[]).unwrap();
        let csr = request.sign(&key).unwrap().verify(&CsrPolicy::default());
        let usages = ["cert sign".parse().unwrap()].into_iter().collect();
        let profile = Profile::ca(usages, time::Duration::days(5_000), None);
        let bundle = self_signed(&csr.unwrap(), &key, &profile, start()).unwrap();
        let chain = Certificate::read_pem(bundle.chain_pem().as_bytes()).unwrap();
        Arc::new(CertificateAuthority::new(chain, key, start()).unwrap())
    })
}

/// Keys for all worlds; each uses one once.
fn keys() -> &'static [Zeroizing<String>] {
    static KEYS: OnceLock<Vec<Zeroizing<String>>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let key = |_| KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
        let keys = (0..POOL).map(key);
        keys.map(|key| key.to_pem(KeyEncoding::Pkcs8).unwrap())
            .collect()
    })
}

/// The public half of a key, in DER.
pub(crate) fn public(pem: &str) -> &'static [u8] {
    static PUBLIC: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let known = PUBLIC.get_or_init(|| {
        let each = keys().iter().map(|pem| {
            let key = KeyPair::from_pem(pem.as_bytes()).unwrap();
            (pem.to_string(), key.public_key().spki_der().to_vec())
        });
        each.collect()
    });
    known.get(pem).map_or(&[], Vec::as_slice)
}
