//! Requests signed by hand, and their nonces: for what instant-acme has no words, and for
//! keys that it does not sign with.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde_json::Value as Json;
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

use super::jws::{self, Signer};
use super::server::{AcmeServer, Shared, lock, refusal, retry_after, unreachable};
use super::wire;
use super::{NewOrder, OrderState, ProtocolError};
use crate::account::{Account, AccountKey};
use crate::http::{Answer, Request};
use crate::problem::ErrorType;

impl AcmeServer {
    pub(super) async fn post(
        &self,
        request: &'static str,
        (key, signer): (&AccountKey, Signer<'_>),
        url: &str,
        payload: Option<&Json>,
    ) -> Result<Answer, ProtocolError> {
        let mut tries = 0;
        loop {
            let nonce = self.nonce(request).await?;
            let body = jws::sign(key, signer, &nonce, url, payload);
            let body = body.map_err(|_| ProtocolError::Signature { request })?;
            let jose = HeaderValue::from_static("application/jose+json");
            let pem = HeaderValue::from_static("application/pem-certificate-chain, */*;q=0.5");
            let sent = Request {
                method: Method::POST,
                url: url.to_owned(),
                headers: vec![(CONTENT_TYPE, jose), (ACCEPT, pem)],
                body: body.into(),
            };
            let answer = self.shared.http.send(&sent).await;
            let answer = answer.map_err(|error| unreachable(request, &error))?;
            self.shared.keep_nonce(&answer);
            if answer.status.is_success() {
                return Ok(answer);
            }
            let refused = refusal(request, &answer);
            tries += 1;
            match &refused {
                ProtocolError::Refused { problem, .. }
                    if problem.kind == ErrorType::BadNonce && tries < NONCE_TRIES => {}
                _ => return Err(refused),
            }
        }
    }

    pub(super) async fn post_as_get(
        &self,
        request: &'static str,
        account: &Account,
        url: &str,
    ) -> Result<Answer, ProtocolError> {
        let signer = (&*account.key, Signer::Account(&account.url));
        self.post(request, signer, url, None).await
    }

    pub(super) async fn nonce(&self, request: &'static str) -> Result<String, ProtocolError> {
        if let Some(nonce) = self.shared.take_nonce() {
            return Ok(nonce);
        }
        let directory = self.directory().await?;
        let asked = Request {
            method: Method::HEAD,
            url: directory.new_nonce,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = self.shared.http.send(&asked).await;
        let answer = answer.map_err(|error| unreachable("a nonce", &error))?;
        if !answer.status.is_success() {
            return Err(refusal("a nonce", &answer));
        }
        self.shared.keep_nonce(&answer);
        self.shared.take_nonce().ok_or(ProtocolError::Malformed {
            request,
            reason: "the CA gives no nonce".to_owned(),
        })
    }

    pub(super) async fn new_account(
        &self,
        key: &AccountKey,
        payload: &Json,
    ) -> Result<String, ProtocolError> {
        let request = "an account";
        let url = self.directory().await?.new_account;
        let answer = self
            .post(request, (key, Signer::Key), &url, Some(payload))
            .await?;
        let location = answer.header("location").map(str::to_owned);
        location.ok_or(ProtocolError::Malformed {
            request,
            reason: "it has no Location".to_owned(),
        })
    }

    /// The same for accounts whose keys instant-acme does not sign with, such as Traefik's,
    /// and for orders it does not know how to write.
    pub(super) async fn order_by_hand(
        &self,
        account: &Account,
        payload: &Json,
        replaced: Option<&str>,
    ) -> Result<(String, OrderState), ProtocolError> {
        let request = "a new order";
        let url = self.directory().await?.new_order;
        let signer = (&*account.key, Signer::Account(&account.url));
        let answer = self.post(request, signer, &url, Some(payload)).await?;
        let order: wire::Order = wire::read(request, &answer.body)?;
        if replaced.is_some_and(|said| order.replaces.as_deref() != Some(said)) {
            return Err(super::shim::not_replaced(request));
        }
        let state = order.read(retry_after(&answer));
        let location = answer.header("location").map(str::to_owned);
        let location = location.ok_or(ProtocolError::Malformed {
            request,
            reason: "it has no Location".to_owned(),
        })?;
        Ok((location, state))
    }
}

impl Shared {
    pub(super) fn take_nonce(&self) -> Option<String> {
        // The youngest is the least likely to be forgotten by the CA.
        lock(&self.nonces).pop()
    }

    pub(super) fn keep_nonce(&self, answer: &Answer) {
        if let Some(nonce) = answer.header("replay-nonce") {
            let mut nonces = lock(&self.nonces);
            if nonces.len() >= MAX_NONCES {
                nonces.remove(0);
            }
            nonces.push(nonce.to_owned());
        }
    }
}

const MAX_NONCES: usize = 64;
/// How often a request is signed anew when the CA does not know its nonce: with half of
/// all nonces refused, one request in a thousand fails.
pub(super) const NONCE_TRIES: usize = 10;

/// An order with the instants it asks for.
pub(super) fn dates(mut payload: Json, order: &NewOrder) -> Result<Json, ProtocolError> {
    for (name, instant) in [
        ("notBefore", order.not_before),
        ("notAfter", order.not_after),
    ] {
        let Some(instant) = instant else { continue };
        let instant = instant.to_offset(UtcOffset::UTC).truncate_to_second();
        let text = instant
            .format(&Rfc3339)
            .map_err(|_| ProtocolError::Malformed {
                request: "a new order",
                reason: format!("{name} of {instant} cannot be written"),
            })?;
        payload[name] = Json::String(text);
    }
    Ok(payload)
}
