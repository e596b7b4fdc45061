//! An ACME server that believes everybody, and does what a test tells it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use certwright_cert_model::key::{Curve, KeyAlgorithm};
use certwright_issuance::csr::Request as CsrRequest;
use certwright_issuance::profile::UsageRule;
use certwright_issuance::{
    Certificate, CertificateAuthority, CsrPolicy, KeyPair, Profile, VerifiedCsr, self_signed,
};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, `Retry-After` and body, and nothing done.
    Answer(u16, Option<String>, &'static str),
    /// Done, and no answer for longer than anybody waits.
    Hang,
    /// Done, and the connection closed before the answer.
    Lose,
}

/// A running server; dropping it ends it.
pub(crate) struct FakeServer {
    port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) paths: Vec<String>,
    pub(crate) accounts: usize,
    /// What was ordered, as it came.
    pub(crate) orders: Vec<Json>,
    statuses: Vec<&'static str>,
    certificates: Vec<String>,
    pub(crate) issued: usize,
    /// How often an order is seen processing.
    pub(crate) processing: u32,
    pub(crate) forgets_replaces: bool,
    /// The answer to questions about renewal, and its `Retry-After`.
    pub(crate) renewal: Option<(Json, Option<String>)>,
    faults: HashMap<&'static str, Vec<Fault>>,
    nonces: Vec<String>,
    keys: HashMap<String, String>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn answer(status: u16, body: &Json) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let authority = Arc::new(authority());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, authority) = (Arc::clone(&shared), Arc::clone(&authority));
                let service = service_fn(move |request| {
                    serve(request, port, Arc::clone(&state), Arc::clone(&authority))
                });
                tokio::spawn(async move {
                    let io = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Self { port, state, task }
    }

    pub(crate) fn directory(&self) -> String {
        format!("http://127.0.0.1:{}/directory", self.port)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next request whose path starts so meets this fault.
    pub(crate) fn fault(&self, path: &'static str, fault: Fault) {
        self.state().faults.entry(path).or_default().push(fault);
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An error makes hyper close the connection.
async fn serve(
    request: Request<Incoming>,
    port: u16,
    state: Arc<Mutex<State>>,
    authority: Arc<CertificateAuthority>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path().to_owned();
    let (made, fault) = {
        let mut state = state.lock().unwrap();
        state.paths.push(path.clone());
        let hit = state
            .faults
            .iter_mut()
            .find(|(start, _)| path.starts_with(**start));
        let fault = hit.and_then(|(_, faults)| faults.pop());
        let made = match &fault {
            Some(Fault::Answer(status, retry_after, body)) => Answer {
                status: *status,
                headers: retry_after
                    .iter()
                    .map(|at| ("retry-after", at.clone()))
                    .collect(),
                body: (*body).to_owned(),
            },
            _ => state.act(&head.method, &path, &body, port, &authority),
        };
        (made, fault)
    };
    match fault {
        Some(Fault::Lose) => return Err(std::io::Error::other("lost")),
        Some(Fault::Hang) => tokio::time::sleep(Duration::from_secs(60)).await,
        _ => {}
    }
    let mut response = Response::builder().status(made.status);
    for (name, value) in made.headers {
        response = response.header(name, value);
    }
    if head.method != Method::GET {
        let nonce = state.lock().unwrap().nonce();
        response = response.header("replay-nonce", nonce);
    }
    Ok(response.body(Full::from(made.body)).unwrap())
}

impl State {
    fn nonce(&mut self) -> String {
        let nonce = format!("nonce-{}", self.paths.len() * 1000 + self.nonces.len());
        self.nonces.push(nonce.clone());
        nonce
    }

    fn act(
        &mut self,
        method: &Method,
        path: &str,
        body: &[u8],
        port: u16,
        authority: &CertificateAuthority,
    ) -> Answer {
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        if path == "/directory" {
            return answer(
                200,
                &json!({
                    "newNonce": url("/nonce"), "newAccount": url("/account"),
                    "newOrder": url("/order"), "revokeCert": url("/revoke"),
                    "keyChange": url("/key"), "renewalInfo": url("/ari"),
                    "meta": { "profiles": { "shortlived": "six days" } },
                }),
            );
        }
        if path == "/nonce" {
            return answer(200, &json!({}));
        }
        if path.starts_with("/ari/") {
            return match self.renewal.clone() {
                Some((body, retry_after)) => Answer {
                    headers: retry_after
                        .into_iter()
                        .map(|at| ("retry-after", at))
                        .collect(),
                    ..answer(200, &body)
                },
                None => answer(404, &json!({})),
            };
        }
        assert_eq!(*method, Method::POST, "{path}");
        let jws: Json = serde_json::from_slice(body).unwrap();
        let header = decode(&jws["protected"]);
        assert_eq!(header["url"], json!(url(path)));
        let nonce = header["nonce"].as_str().unwrap();
        let Some(at) = self.nonces.iter().position(|known| known == nonce) else {
            let kind = "urn:ietf:params:acme:error:badNonce";
            return answer(400, &json!({ "type": kind }));
        };
        self.nonces.swap_remove(at);
        let payload = decode(&jws["payload"]);
        let index = || path.rsplit('/').next().unwrap().parse::<usize>().unwrap();
        if path == "/account" {
            return self.account(&header, &payload, &url);
        }
        if path == "/order" {
            self.orders.push(payload);
            self.statuses.push("pending");
            self.certificates.push(String::new());
            let index = self.orders.len() - 1;
            let mut made = answer(201, &self.order(index, &url));
            made.headers
                .push(("location", url(&format!("/order/{index}"))));
            return made;
        }
        if path.starts_with("/order/") {
            if self.statuses[index()] == "processing" {
                self.processing -= 1;
                if self.processing == 0 {
                    self.statuses[index()] = "valid";
                }
            }
            let mut made = answer(200, &self.order(index(), &url));
            if self.statuses[index()] == "processing" {
                made.headers.push(("retry-after", "1".to_owned()));
            }
            return made;
        }
        if path.starts_with("/authorization/") || path.starts_with("/challenge/") {
            let index = index();
            if path.starts_with("/challenge/") && self.statuses[index] == "pending" {
                self.statuses[index] = "ready";
            }
            let status = match self.statuses[index] {
                "pending" => "pending",
                _ => "valid",
            };
            let challenge = json!({ "type": "http-01", "url": url(&format!("/challenge/{index}")),
                "token": "abcdefghijklmnopqrstuvwxyz", "status": status });
            return match path.starts_with("/challenge/") {
                true => answer(200, &challenge),
                false => answer(
                    200,
                    &json!({ "identifier": self.orders[index]["identifiers"][0],
                        "status": status, "challenges": [challenge] }),
                ),
            };
        }
        if path.starts_with("/finalize/") {
            return self.finalize(index(), &payload, &url, authority);
        }
        if path.starts_with("/certificate/") {
            return Answer {
                status: 200,
                headers: Vec::new(),
                body: self.certificates[index()].clone(),
            };
        }
        panic!("nothing is at {path}");
    }

    fn account(&mut self, header: &Json, payload: &Json, url: &impl Fn(&str) -> String) -> Answer {
        let key = header["jwk"].to_string();
        let known = self.keys.get(&key).cloned();
        let place = match known {
            Some(place) => place,
            None if payload["onlyReturnExisting"] == json!(true) => {
                let kind = "urn:ietf:params:acme:error:accountDoesNotExist";
                return answer(400, &json!({ "type": kind }));
            }
            None => {
                self.accounts += 1;
                let place = url(&format!("/account/{}", self.accounts));
                self.keys.insert(key, place.clone());
                place
            }
        };
        let mut made = answer(201, &json!({ "status": "valid" }));
        made.headers.push(("location", place));
        made
    }

    fn order(&self, index: usize, url: &impl Fn(&str) -> String) -> Json {
        let mut order = json!({
            "status": self.statuses[index],
            "identifiers": self.orders[index]["identifiers"],
            "authorizations": [url(&format!("/authorization/{index}"))],
            "finalize": url(&format!("/finalize/{index}")),
        });
        if self.statuses[index] == "valid" {
            order["certificate"] = json!(url(&format!("/certificate/{index}")));
        }
        for field in ["replaces", "profile"] {
            let said = self.orders[index].get(field);
            if let Some(said) = said.filter(|_| field != "replaces" || !self.forgets_replaces) {
                order[field] = said.clone();
            }
        }
        order
    }

    fn finalize(
        &mut self,
        index: usize,
        payload: &Json,
        url: &impl Fn(&str) -> String,
        authority: &CertificateAuthority,
    ) -> Answer {
        if self.statuses[index] != "ready" {
            let kind = "urn:ietf:params:acme:error:orderNotReady";
            return answer(403, &json!({ "type": kind }));
        }
        let csr = Base64UrlUnpadded::decode_vec(payload["csr"].as_str().unwrap()).unwrap();
        let csr = VerifiedCsr::from_der(&csr, &CsrPolicy::default()).unwrap();
        let usages = ["server auth", "digital signature"];
        let within = usages.iter().map(|usage| usage.parse().unwrap()).collect();
        let mut profile = Profile::leaf(Default::default(), time::Duration::days(90));
        profile.usages = UsageRule::Requested { within };
        let signed = authority.sign(&csr, &profile, OffsetDateTime::now_utc());
        self.certificates[index] = signed.unwrap().chain_pem();
        self.issued += 1;
        self.statuses[index] = match self.processing {
            0 => "valid",
            _ => "processing",
        };
        answer(200, &self.order(index, url))
    }
}

fn decode(part: &Json) -> Json {
    let bytes = Base64UrlUnpadded::decode_vec(part.as_str().unwrap()).unwrap();
    match bytes.is_empty() {
        true => Json::Null,
        false => serde_json::from_slice(&bytes).unwrap(),
    }
}

fn authority() -> CertificateAuthority {
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap();
    let request = CsrRequest::new("Fake CA", &[]).unwrap();
    let csr = request.sign(&key).unwrap().verify(&CsrPolicy::default());
    let usages = ["cert sign".parse().unwrap()].into_iter().collect();
    let profile = Profile::ca(usages, time::Duration::days(900), None);
    let bundle = self_signed(&csr.unwrap(), &key, &profile, now).unwrap();
    let chain = Certificate::read_pem(bundle.chain_pem().as_bytes()).unwrap();
    CertificateAuthority::new(chain, key, now).unwrap()
}
