//! A CA's server, asked through instant-acme, and by hand where that has no words.
//!
//! By hand: registrations with a key that is stored already, whatever needs headers of
//! the answer (`Link`, `Retry-After`), and all states, of which instant-acme keeps only
//! parts. Both share connections, nonces and the directory.

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::LINK;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::by_hand::{NONCE_TRIES, dates};
use super::jws::{self, Signer};
use super::shim::Shim;
use super::wire::{self, Directory};
use super::{
    AuthorizationState, Call, Download, NewOrder, OrderState, OrderStatus, Protocol, ProtocolError,
    RenewalInfo, RevocationReason,
};
use crate::account::{Account, AccountKey, Registration};
use crate::chain::alternates;
use crate::http::{Answer, Client, HttpError, HttpOptions, Request};
use crate::identifier::Identifier;
use crate::problem::{ErrorType, Problem, RetryAfter};

/// The ACME server behind a directory URL.
///
/// Nothing is asked before the first call; the directory is fetched again every day. A
/// clone is another handle.
#[derive(Clone)]
pub struct AcmeServer {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) directory_url: String,
    pub(super) http: Client,
    directory: Mutex<Option<(Instant, Bytes, Directory)>>,
    pub(super) nonces: Mutex<Vec<String>>,
    accounts: Mutex<HashMap<String, instant_acme::Account>>,
}

impl AcmeServer {
    /// The server behind this directory URL.
    ///
    /// # Errors
    /// A URL that is neither HTTPS nor HTTP on this machine, a root that cannot be read.
    pub fn new(directory_url: &str, options: HttpOptions) -> Result<Self, HttpError> {
        let url = crate::http::Url::parse(directory_url)?;
        Ok(Self {
            shared: Arc::new(Shared {
                directory_url: directory_url.to_owned(),
                http: Client::new(&url, options)?,
                directory: Mutex::default(),
                nonces: Mutex::default(),
                accounts: Mutex::default(),
            }),
        })
    }

    /// The text at another address of the same CA, such as its terms of service, asked
    /// without an account.
    ///
    /// # Errors
    /// [`ProtocolError`] if there is no answer, or not a good one.
    pub async fn get(&self, url: &str) -> Result<String, ProtocolError> {
        let request = "a document";
        let asked = Request {
            method: Method::GET,
            url: url.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = self.shared.http.send(&asked).await;
        let answer = answer.map_err(|error| unreachable(request, &error))?;
        match answer.status.is_success() {
            true => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            false => Err(refusal(request, &answer)),
        }
    }

    pub(super) async fn directory(&self) -> Result<Directory, ProtocolError> {
        if let Some((_, directory)) = self.shared.known_directory() {
            return Ok(directory);
        }
        let request = "the directory";
        let asked = Request {
            method: Method::GET,
            url: self.shared.directory_url.clone(),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = self.shared.http.send(&asked).await;
        let answer = answer.map_err(|error| unreachable(request, &error))?;
        if !answer.status.is_success() {
            return Err(refusal(request, &answer));
        }
        let directory: Directory = wire::read(request, &answer.body)?;
        let known = (Instant::now(), answer.body.clone(), directory.clone());
        *lock(&self.shared.directory) = Some(known);
        // instant-acme keeps the directory it was made with.
        lock(&self.shared.accounts).clear();
        Ok(directory)
    }

    /// instant-acme's view of an account; `None` if it cannot sign with the account's key.
    async fn account(
        &self,
        account: &Account,
    ) -> Result<Option<instant_acme::Account>, ProtocolError> {
        let Some(pkcs8) = account.key.es256_pkcs8() else {
            return Ok(None);
        };
        // Known from here on, so that it is not asked for again.
        self.directory().await?;
        if let Some(known) = lock(&self.shared.accounts).get(&account.url) {
            return Ok(Some(known.clone()));
        }
        let http = Box::new(Shim(self.clone()));
        let key = PrivatePkcs8KeyDer::from(pkcs8);
        let builder = instant_acme::Account::builder_with_http(http);
        let directory = self.shared.directory_url.clone();
        let made = builder
            .from_parts(account.url.clone(), key, directory)
            .await;
        let made = made.map_err(|error| super::shim::error("an account", error))?;
        lock(&self.shared.accounts).insert(account.url.clone(), made.clone());
        Ok(Some(made))
    }

    async fn order_of(
        &self,
        account: &Account,
        order: &NewOrder,
    ) -> Result<(String, OrderState), ProtocolError> {
        let request = "a new order";
        let identifiers = order.identifiers.iter().map(|identifier| match identifier {
            Identifier::Dns(_) => instant_acme::Identifier::Dns(identifier.value()),
            Identifier::Ip(address) => instant_acme::Identifier::Ip(*address),
        });
        let identifiers: Vec<_> = identifiers.collect();
        let mut new = instant_acme::NewOrder::new(&identifiers);
        if let Some(profile) = &order.profile {
            let offered = self.directory().await?.meta.profiles.unwrap_or_default();
            if !offered.contains_key(profile) {
                return Err(ProtocolError::UnknownProfile {
                    profile: profile.clone(),
                    offered: offered.into_keys().collect(),
                });
            }
            new = new.profile(profile);
        }
        let offers_renewals = self.directory().await?.renewal_info.is_some();
        let replaced = order.replaces.as_deref().filter(|_| offers_renewals);
        if let Some((key_id, serial)) = replaced.and_then(|id| id.split_once('.')) {
            new = new.replaces(instant_acme::CertificateIdentifier {
                authority_key_identifier: key_id.into(),
                serial: serial.into(),
            });
        }
        let dated = order.not_before.is_some() || order.not_after.is_some();
        for _ in 0..NONCE_TRIES {
            let known = match dated {
                true => None,
                false => self.account(account).await?,
            };
            let Some(known) = known else {
                let payload = dates(payload(request, &new)?, order)?;
                return self.order_by_hand(account, &payload, replaced).await;
            };
            match known.new_order(&new).await {
                Ok(made) => return Ok(order_state(made)),
                Err(error) => match super::shim::error(request, error) {
                    ProtocolError::Refused { problem, .. }
                        if problem.kind == ErrorType::BadNonce => {}
                    error => return Err(error),
                },
            }
        }
        let problem = Box::new(Problem::new(400, ErrorType::BadNonce));
        Err(ProtocolError::Refused {
            request,
            problem,
            retry_after: None,
        })
    }
}

/// What instant-acme would send.
fn payload<T: Serialize>(request: &'static str, theirs: &T) -> Result<Json, ProtocolError> {
    serde_json::to_value(theirs).map_err(|error| ProtocolError::Malformed {
        request,
        reason: error.to_string(),
    })
}

fn order_state(order: instant_acme::Order) -> (String, OrderState) {
    let (url, state) = order.into_parts();
    let status = match state.status {
        instant_acme::OrderStatus::Pending => OrderStatus::Pending,
        instant_acme::OrderStatus::Ready => OrderStatus::Ready,
        instant_acme::OrderStatus::Processing => OrderStatus::Processing,
        instant_acme::OrderStatus::Valid => OrderStatus::Valid,
        instant_acme::OrderStatus::Invalid => OrderStatus::Invalid,
    };
    let authorizations = state.authorizations.into_iter().map(|one| one.url);
    let state = OrderState {
        status,
        authorizations: authorizations.collect(),
        finalize: state.finalize,
        certificate: state.certificate,
        error: state.error.as_ref().map(super::shim::problem),
        retry_after: None,
    };
    (url, state)
}

impl Protocol for AcmeServer {
    fn find_account<'a>(&'a self, key: &'a AccountKey) -> Call<'a, Option<String>> {
        Box::pin(async move {
            let payload = json!({ "onlyReturnExisting": true });
            match self.new_account(key, &payload).await {
                Ok(url) => Ok(Some(url)),
                Err(ProtocolError::Refused { problem, .. })
                    if problem.kind == ErrorType::AccountDoesNotExist =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn register<'a>(
        &'a self,
        key: &'a AccountKey,
        registration: &'a Registration,
    ) -> Call<'a, String> {
        Box::pin(async move {
            let mut payload = json!({ "termsOfServiceAgreed": true });
            if !registration.contacts.is_empty() {
                payload["contact"] = json!(registration.contacts);
            }
            if let Some(binding) = &registration.binding {
                let url = self.directory().await?.new_account;
                payload["externalAccountBinding"] = jws::bind(key, binding, &url);
            }
            self.new_account(key, &payload).await
        })
    }

    fn update_contacts<'a>(&'a self, account: &'a Account, contacts: &'a [String]) -> Call<'a, ()> {
        Box::pin(async move {
            let signer = (&*account.key, Signer::Account(&account.url));
            let payload = json!({ "contact": contacts });
            let asked = self.post("new contacts", signer, &account.url, Some(&payload));
            asked.await.map(drop)
        })
    }

    fn new_order<'a>(
        &'a self,
        account: &'a Account,
        order: &'a NewOrder,
    ) -> Call<'a, (String, OrderState)> {
        Box::pin(self.order_of(account, order))
    }

    fn order<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, OrderState> {
        Box::pin(async move {
            let answer = self.post_as_get("the order", account, url).await?;
            OrderState::read(&answer.body, retry_after(&answer))
        })
    }

    fn authorization<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
    ) -> Call<'a, AuthorizationState> {
        Box::pin(async move {
            let answer = self.post_as_get("an authorization", account, url).await?;
            AuthorizationState::read(&answer.body)
        })
    }

    fn answer<'a>(&'a self, account: &'a Account, challenge_url: &'a str) -> Call<'a, ()> {
        Box::pin(async move {
            let signer = (&*account.key, Signer::Account(&account.url));
            let payload = json!({});
            let asked = self.post("a challenge", signer, challenge_url, Some(&payload));
            asked.await.map(drop)
        })
    }

    fn deactivate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, ()> {
        Box::pin(async move {
            let signer = (&*account.key, Signer::Account(&account.url));
            let payload = json!({ "status": "deactivated" });
            self.post("a deactivation", signer, url, Some(&payload))
                .await
                .map(drop)
        })
    }

    fn finalize<'a>(
        &'a self,
        account: &'a Account,
        url: &'a str,
        csr: &'a [u8],
    ) -> Call<'a, OrderState> {
        Box::pin(async move {
            use base64ct::{Base64UrlUnpadded, Encoding};
            let signer = (&*account.key, Signer::Account(&account.url));
            let payload = json!({ "csr": Base64UrlUnpadded::encode_string(csr) });
            let request = "a certificate";
            let answer = self.post(request, signer, url, Some(&payload)).await?;
            let read = OrderState::read(&answer.body, retry_after(&answer));
            read.map_err(|error| error.about(request))
        })
    }

    fn certificate<'a>(&'a self, account: &'a Account, url: &'a str) -> Call<'a, Download> {
        Box::pin(async move {
            let request = "the certificate";
            let answer = self.post_as_get(request, account, url).await?;
            let links = answer.headers.get_all(LINK).iter();
            let links = links.filter_map(|value| value.to_str().ok());
            let alternates = alternates(url, links);
            let pem = String::from_utf8(answer.body.to_vec());
            let pem = pem.map_err(|error| ProtocolError::Malformed {
                request,
                reason: error.to_string(),
            })?;
            Ok(Download { pem, alternates })
        })
    }

    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Call<'a, RenewalInfo> {
        Box::pin(async move {
            let request = "renewal information";
            let what = "renewal information (RFC 9773)";
            let base = self.directory().await?.renewal_info;
            let base = base.ok_or(ProtocolError::Unsupported { what })?;
            let asked = Request {
                method: Method::GET,
                url: format!("{}/{ari_id}", base.trim_end_matches('/')),
                headers: Vec::new(),
                body: Bytes::new(),
            };
            let answer = self.shared.http.send(&asked).await;
            let answer = answer.map_err(|error| unreachable(request, &error))?;
            if !answer.status.is_success() {
                return Err(refusal(request, &answer));
            }
            RenewalInfo::read(&answer.body, retry_after(&answer))
        })
    }

    fn revoke<'a>(
        &'a self,
        account: &'a Account,
        certificate: &'a [u8],
        reason: Option<RevocationReason>,
    ) -> Call<'a, ()> {
        Box::pin(async move {
            use instant_acme::RevocationReason as Theirs;
            let certificate = CertificateDer::from(certificate);
            let reason = reason.map(|reason| match reason {
                RevocationReason::AffiliationChanged => Theirs::AffiliationChanged,
                RevocationReason::CessationOfOperation => Theirs::CessationOfOperation,
                RevocationReason::KeyCompromise => Theirs::KeyCompromise,
                RevocationReason::Superseded => Theirs::Superseded,
            });
            let (request, what) = ("a revocation", "revocation");
            let theirs = instant_acme::RevocationRequest {
                certificate: &certificate,
                reason,
            };
            if let Some(known) = self.account(account).await? {
                let revoked = known.revoke(&theirs).await;
                return revoked.map_err(|error| super::shim::error(request, error));
            }
            let url = self.directory().await?.revoke_cert;
            let url = url.ok_or(ProtocolError::Unsupported { what })?;
            let signer = (&*account.key, Signer::Account(&account.url));
            let payload = payload(request, &theirs)?;
            let asked = self.post(request, signer, &url, Some(&payload));
            asked.await.map(drop)
        })
    }
}

impl Shared {
    /// The directory as it came and as it was read, unless it is a day old.
    pub(super) fn known_directory(&self) -> Option<(Bytes, Directory)> {
        let known = lock(&self.directory);
        let (at, body, directory) = known.as_ref()?;
        (at.elapsed() < DIRECTORY_AGE).then(|| (body.clone(), directory.clone()))
    }
}

impl fmt::Debug for AcmeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcmeServer({})", self.shared.directory_url)
    }
}

const DIRECTORY_AGE: Duration = Duration::from_secs(86_400);

pub(super) fn retry_after(answer: &Answer) -> Option<RetryAfter> {
    answer.header("retry-after").and_then(RetryAfter::parse)
}

pub(super) fn refusal(request: &'static str, answer: &Answer) -> ProtocolError {
    ProtocolError::Refused {
        request,
        problem: Box::new(Problem::read(answer.status.as_u16(), &answer.body)),
        retry_after: retry_after(answer),
    }
}

pub(super) fn unreachable(request: &'static str, error: &HttpError) -> ProtocolError {
    ProtocolError::Unreachable {
        request,
        reason: error.to_string(),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
