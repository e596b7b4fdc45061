//! Calls to a cluster: which member, how often, and what its refusals mean.

use core::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::{Response, StatusCode};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use super::connection::{Call, Connection, Failure};
use super::options::{Endpoint, EtcdOptions, EtcdOptionsError};
use super::wire::{self, Authenticate, Authenticated, ErrorAnswer, Header};
use crate::{Revision, StorageError};

/// Idle connections kept per member.
const MAX_IDLE: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The longest reason that is passed on: a server's words are not ours to trust.
const MAX_REASON: usize = 300;

/// Whether a call may be made again when nobody knows what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Always,
    /// Only if it certainly did not happen.
    UnlessSent,
}

pub(super) struct Client {
    members: Vec<Member>,
    /// The cluster of the first answer.
    cluster: OnceLock<u64>,
    /// The member that answered last.
    preferred: AtomicUsize,
    tls: Option<Arc<ClientConfig>>,
    token: Mutex<Option<Arc<str>>>,
    pub(super) options: EtcdOptions,
}

struct Member {
    endpoint: Endpoint,
    idle: Mutex<Vec<Connection>>,
}

/// What one attempt brought.
enum Attempt {
    Answer(Bytes),
    /// No answer, or one that leaves open whether etcd acted.
    Unknown(String),
    /// Certainly nothing happened; another attempt may bring more.
    Unused(String),
    /// Certainly nothing happened, and the token is not valid any more.
    Unauthenticated,
    Refused(ErrorAnswer),
}

impl Client {
    pub(super) fn new(options: EtcdOptions) -> Result<Self, EtcdOptionsError> {
        let members = options
            .parse_endpoints()?
            .into_iter()
            .map(|endpoint| Member {
                endpoint,
                idle: Mutex::default(),
            });
        let tls = options.tls.as_ref().map(|config| {
            let mut config = ClientConfig::clone(config);
            // The gateway would speak HTTP/2 to whoever offers it.
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        });
        Ok(Self {
            members: members.collect(),
            cluster: OnceLock::new(),
            preferred: AtomicUsize::new(0),
            tls,
            token: Mutex::default(),
            options,
        })
    }

    /// Calls one member after another until one answers or the time is over.
    pub(super) async fn call(&self, call: &Call, repeat: Repeat) -> Result<Bytes, StorageError> {
        let deadline = Instant::now() + self.options.total_timeout;
        let mut pause = FIRST_PAUSE;
        let mut authenticated = false;
        for attempt in 1_usize.. {
            let at = self.preferred.load(Ordering::Relaxed) % self.members.len();
            let member = &self.members[at];
            let reason = match self.attempt(member, call, deadline).await {
                Attempt::Answer(bytes) => return Ok(bytes),
                Attempt::Refused(error) => return Err(member.refusal(error.message)),
                Attempt::Unauthenticated if authenticated => {
                    return Err(member.refusal("the new token is not valid either".to_owned()));
                }
                Attempt::Unauthenticated => {
                    authenticated = true;
                    self.forget_token();
                    continue;
                }
                Attempt::Unknown(reason) if repeat == Repeat::UnlessSent => {
                    self.turn_from(at, &reason);
                    let place = member.endpoint.text.clone();
                    return Err(StorageError::Indeterminate { place, reason });
                }
                Attempt::Unknown(reason) | Attempt::Unused(reason) => reason,
            };
            self.turn_from(at, &reason);
            if Instant::now() + pause >= deadline {
                let place = self.place();
                return Err(StorageError::Unavailable { place, reason });
            }
            // Other members at once, all of them again after a pause.
            if attempt % self.members.len() == 0 {
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
        Err(StorageError::Closed)
    }

    /// The head of an answer that goes on, on a connection of its own, from any member.
    pub(super) async fn stream(&self, call: &Call) -> Result<Response<Incoming>, StorageError> {
        let at = self.preferred.load(Ordering::Relaxed) % self.members.len();
        let member = &self.members[at];
        let opened = async {
            let token = self.authenticate(member).await?;
            let mut connection = self.connect(member).await.map_err(Attempt::Unused)?;
            let sent = timeout(
                self.options.request_timeout,
                connection.send(call, token.as_deref()),
            );
            match sent.await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(Failure::Broken(reason) | Failure::NotSent(reason))) => {
                    Err(Attempt::Unused(reason))
                }
                Err(_) => Err(Attempt::Unused("no answer in time".to_owned())),
            }
        };
        let response = match opened.await {
            Ok(response) => response,
            Err(Attempt::Refused(error)) => return Err(member.refusal(error.message)),
            Err(Attempt::Unknown(reason) | Attempt::Unused(reason)) => {
                self.turn_from(at, &reason);
                return Err(member.unavailable(reason));
            }
            Err(Attempt::Unauthenticated | Attempt::Answer(_)) => {
                return Err(member.unavailable("no token".to_owned()));
            }
        };
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => {
                self.forget_token();
                Err(member.unavailable("the token is not valid any more".to_owned()))
            }
            status if status.is_server_error() => {
                self.turn_from(at, status.as_str());
                Err(member.unavailable(status.to_string()))
            }
            status => Err(member.refusal(status.to_string())),
        }
    }

    async fn attempt(&self, member: &Member, call: &Call, deadline: Instant) -> Attempt {
        let token = match self.authenticate(member).await {
            Ok(token) => token,
            Err(attempt) => return attempt,
        };
        loop {
            let idle = member.idle().pop();
            let fresh = idle.is_none();
            let mut connection = match idle {
                Some(mut idle) => match idle.is_usable().await {
                    true => idle,
                    false => continue,
                },
                None => match self.connect(member).await {
                    Ok(connection) => connection,
                    Err(reason) => return Attempt::Unused(reason),
                },
            };
            let until = deadline.min(Instant::now() + self.options.request_timeout);
            let called = timeout_at(until, connection.call(call, token.as_deref())).await;
            return match called {
                Ok(Ok((status, body))) => {
                    let mut idle = member.idle();
                    if idle.len() < MAX_IDLE {
                        idle.push(connection);
                    }
                    meaning(status, body)
                }
                // An idle connection that was closed meanwhile says nothing of the member.
                Ok(Err(Failure::NotSent(_))) if !fresh => continue,
                Ok(Err(Failure::NotSent(reason))) => Attempt::Unused(reason),
                Ok(Err(Failure::Broken(reason))) => Attempt::Unknown(reason),
                Err(_) => Attempt::Unknown("no answer in time".to_owned()),
            };
        }
    }

    /// The token to send, if there are users; asked for if there is none yet.
    async fn authenticate(&self, member: &Member) -> Result<Option<Arc<str>>, Attempt> {
        let Some(user) = &self.options.user else {
            return Ok(None);
        };
        if let Some(token) = &*self.token() {
            return Ok(Some(Arc::clone(token)));
        }
        let body = serde_json::to_vec(&Authenticate {
            name: &user.name,
            password: &user.password,
        });
        let body = body.map_err(|error| Attempt::Unused(error.to_string()))?;
        let call = Call::new("/v3/auth/authenticate", Zeroizing::new(body));
        let mut connection = self.connect(member).await.map_err(Attempt::Unused)?;
        let called = timeout(self.options.request_timeout, connection.call(&call, None)).await;
        let answer = match called {
            Ok(Ok((status, body))) => meaning(status, body),
            Ok(Err(Failure::Broken(reason) | Failure::NotSent(reason))) => Attempt::Unused(reason),
            Err(_) => Attempt::Unused("no answer in time".to_owned()),
        };
        match answer {
            Attempt::Answer(bytes) => {
                let answer: Authenticated = wire::read(&bytes).map_err(Attempt::Unused)?;
                let token: Arc<str> = answer.token.into();
                *self.token() = Some(Arc::clone(&token));
                Ok(Some(token))
            }
            // Nothing was asked of etcd yet but a token.
            Attempt::Unknown(reason) => Err(Attempt::Unused(reason)),
            other => Err(other),
        }
    }

    async fn connect(&self, member: &Member) -> Result<Connection, String> {
        let opening = Connection::open(&member.endpoint, self.tls.as_ref());
        match timeout(self.options.connect_timeout, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no connection in time".to_owned()),
        }
    }

    /// The revision of an answer of the cluster this store began with.
    ///
    /// Another cluster's revisions and leases say nothing of ours: two holders of one
    /// lease would both be right.
    pub(super) fn revision(&self, header: &Header) -> Result<Revision, String> {
        if header.revision == 0 {
            return Err("it has no revision".to_owned());
        }
        let (began, found) = (
            *self.cluster.get_or_init(|| header.cluster_id),
            header.cluster_id,
        );
        if found == began {
            return Ok(Revision::new(header.revision));
        }
        Err(format!(
            "it is of cluster {found:x}, this store began with cluster {began:x}; \
             name members of one cluster only, or open the store anew if etcd was restored"
        ))
    }

    /// All members, for messages.
    pub(super) fn place(&self) -> String {
        self.options.endpoints.join(", ")
    }

    /// Authenticates anew with the next call.
    pub(super) fn forget_token(&self) {
        *self.token() = None;
    }

    /// Prefers the next member, unless somebody else did already.
    fn turn_from(&self, at: usize, reason: &str) {
        let next = (at + 1) % self.members.len();
        let turned =
            self.preferred
                .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        if turned.is_ok() {
            let [from, to] = [at, next].map(|at| self.members[at].endpoint.text.as_str());
            tracing::debug!(from, to, reason, "failover");
        }
    }

    fn token(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token, which is as good as the password.
        f.debug_struct("Client")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Member {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, reason: String) -> StorageError {
        let place = self.endpoint.text.clone();
        StorageError::Refused { place, reason }
    }

    fn unavailable(&self, reason: String) -> StorageError {
        let place = self.endpoint.text.clone();
        StorageError::Unavailable { place, reason }
    }
}

/// What an answer means, by gRPC's code: whether etcd acted is open for those that it
/// also gives after a proposal was made.
fn meaning(status: StatusCode, body: Bytes) -> Attempt {
    const INVALID_ARGUMENT: u32 = 3;
    const RESOURCE_EXHAUSTED: u32 = 8;
    const UNAUTHENTICATED: u32 = 16;
    if status == StatusCode::OK {
        return Attempt::Answer(body);
    }
    let mut error: ErrorAnswer = match wire::read(&body) {
        Ok(error) => error,
        Err(_) => return Attempt::Unknown(format!("HTTP status {status}")),
    };
    if error.message.is_empty() {
        error.message = format!("HTTP status {status}");
    } else if let Some((end, _)) = error.message.char_indices().nth(MAX_REASON) {
        error.message.truncate(end);
    }
    // The last one is of tokens that carry a revision, once users or rights changed.
    let stale = error.code == UNAUTHENTICATED
        || error.code == INVALID_ARGUMENT
            && ["user name is empty", "revision of auth store is old"]
                .iter()
                .any(|words| error.message.contains(words));
    match error.code {
        _ if stale => Attempt::Unauthenticated,
        RESOURCE_EXHAUSTED if error.message.contains("too many requests") => {
            Attempt::Unused(error.message)
        }
        // Not found, denied, exhausted, precondition, out of range: said before acting.
        INVALID_ARGUMENT | 5 | 7 | RESOURCE_EXHAUSTED | 9 | 11 => Attempt::Refused(error),
        _ => Attempt::Unknown(error.message),
    }
}
