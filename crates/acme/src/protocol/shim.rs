//! The HTTP client that instant-acme is given: our own, with our nonces and our
//! directory, and with errors that keep their status and `Retry-After`.

use core::pin::Pin;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use instant_acme::{BodyWrapper, BytesResponse, Error};

use super::ProtocolError;
use super::server::{AcmeServer, refusal, unreachable};
use crate::http::{Answer, Request};
use crate::problem::{ErrorType, Problem, Subproblem};

/// The client for one server.
pub(super) struct Shim(pub(super) AcmeServer);

/// An error on its way through instant-acme.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Carried(ProtocolError);

impl instant_acme::HttpClient for Shim {
    fn request(
        &self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let server = self.0.clone();
        Box::pin(async move {
            let shared = &server.shared;
            let url = request.uri().to_string();
            if let Some((body, directory)) = shared.known_directory() {
                if request.method() == Method::GET && url == shared.directory_url {
                    return response(Response::builder(), body);
                }
                if request.method() == Method::HEAD
                    && url == directory.new_nonce
                    && let Some(nonce) = shared.take_nonce()
                {
                    let head = Response::builder().header(REPLAY_NONCE, nonce);
                    return response(head, Bytes::new());
                }
            }
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let is_nonce = head.method == Method::HEAD;
            let sent = Request {
                method: head.method,
                url,
                headers: headers(&head.headers),
                body: body.to_bytes(),
            };
            let mut answer =
                shared.http.send(&sent).await.map_err(|error| {
                    Error::Other(Box::new(Carried(unreachable(REQUEST, &error))))
                })?;
            if !is_nonce {
                // Into our pool, from where it is asked for: two pools would spend it twice.
                shared.keep_nonce(&answer);
                answer.headers.remove(REPLAY_NONCE);
            }
            if !answer.status.is_success() && !is_bad_nonce(&answer) {
                return Err(Error::Other(Box::new(Carried(refusal(REQUEST, &answer)))));
            }
            let mut head = Response::builder().status(answer.status);
            if let Some(headers) = head.headers_mut() {
                *headers = answer.headers;
            }
            response(head, answer.body)
        })
    }
}

fn response(head: hyper::http::response::Builder, body: Bytes) -> Result<BytesResponse, Error> {
    Ok(head.body(http_body_util::Full::new(body))?.into())
}

/// All but what our own client says.
fn headers(headers: &hyper::HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let kept = headers
        .iter()
        .filter(|(name, _)| *name != hyper::header::USER_AGENT);
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Left to instant-acme, which signs anew.
fn is_bad_nonce(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_REQUEST
        && Problem::read(answer.status.as_u16(), &answer.body).kind == ErrorType::BadNonce
}

/// What came through instant-acme, and its own errors.
pub(super) fn error(request: &'static str, error: Error) -> ProtocolError {
    match error {
        Error::Other(other) => match other.downcast::<Carried>() {
            Ok(carried) => carried.0.about(request),
            Err(other) if other.to_string().starts_with("replaces field mismatch") => {
                not_replaced(request)
            }
            Err(other) => malformed(request, other.to_string()),
        },
        Error::Api(api) => ProtocolError::Refused {
            request,
            problem: Box::new(problem(&api)),
            retry_after: None,
        },
        Error::Crypto | Error::KeyRejected => ProtocolError::Signature { request },
        Error::Unsupported(what) => ProtocolError::Unsupported { what },
        error => malformed(request, error.to_string()),
    }
}

/// A CA with renewal information that does not know `replaces`.
pub(super) fn not_replaced(request: &'static str) -> ProtocolError {
    ProtocolError::Refused {
        request,
        problem: Box::new(Problem::new(0, ErrorType::AlreadyReplaced)),
        retry_after: None,
    }
}

fn malformed(request: &'static str, reason: String) -> ProtocolError {
    ProtocolError::Malformed { request, reason }
}

/// instant-acme's problem in our words.
pub(super) fn problem(theirs: &instant_acme::Problem) -> Problem {
    let kind = |uri: &Option<String>| ErrorType::from_uri(uri.as_deref().unwrap_or_default());
    let mut ours = Problem::new(theirs.status.unwrap_or_default(), kind(&theirs.r#type));
    ours.detail.clone_from(&theirs.detail);
    let subproblems = theirs.subproblems.iter().map(|one| Subproblem {
        kind: kind(&one.r#type),
        detail: one.detail.clone(),
        identifier: one
            .identifier
            .as_ref()
            .map(|name| name.authorized(false).to_string()),
    });
    ours.subproblems = subproblems.collect();
    ours
}

const REPLAY_NONCE: &str = "replay-nonce";
/// Replaced by what was asked for, which is known outside.
const REQUEST: &str = "a request";
