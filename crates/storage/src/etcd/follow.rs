//! A watch that outlives its connections.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::Space;
use super::client::Client;
use super::connection::Call;
use super::wire::{self, Streamed, WatchAnswer};
use crate::{Change, Event, Revision, StorageError, Watch};

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The longest message: etcd cuts between events at the size of its largest request,
/// 1.5 MiB unless changed; here it is in base64.
const MAX_LINE: usize = 16 << 20;

type Item = Result<Event, StorageError>;

/// Starts a task that watches until the watch is dropped.
pub(super) fn follow(client: Arc<Client>, space: Space, prefix: &[u8], after: Revision) -> Watch {
    let (sender, events) = channel(64);
    let follower = Follower {
        client,
        space,
        start: prefix.to_vec(),
        after,
        sender,
        accepted: false,
        held: BTreeMap::new(),
    };
    let task = tokio::spawn(follower.run());
    Watch::new(Events { events, task })
}

struct Events {
    events: Receiver<Item>,
    task: JoinHandle<()>,
}

impl Stream for Events {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.events.poll_recv(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    client: Arc<Client>,
    space: Space,
    start: Vec<u8>,
    /// Everything up to here is reported.
    after: Revision,
    sender: Sender<Item>,
    /// Etcd took the watch, on this connection.
    accepted: bool,
    /// The last transaction of a fragment: the next one may have more of it.
    held: BTreeMap<u64, Vec<Change>>,
}

/// Why a connection's part of the watch is over.
enum Part {
    /// The watch goes on from where it is, on another connection.
    Broken,
    /// The token is not valid any more, or the user may not watch this.
    Denied(String),
    /// This is the last event.
    Over(Item),
    /// Nobody listens.
    Unheard,
}

impl Follower {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut denied = false;
        loop {
            let before = self.after;
            self.accepted = false;
            self.held.clear();
            let part = match self.open().await {
                Ok(body) => self.read(body).await,
                Err(StorageError::Unavailable { .. }) => Part::Broken,
                Err(error) => Part::Over(Err(error)),
            };
            denied &= !self.accepted;
            match part {
                Part::Over(last) => {
                    let _ = self.sender.send(last).await;
                    return;
                }
                Part::Unheard => return,
                Part::Denied(reason) if denied => {
                    let place = self.client.place();
                    let refused = StorageError::Refused { place, reason };
                    let _ = self.sender.send(Err(refused)).await;
                    return;
                }
                Part::Denied(_) => {
                    // With a new token it is about the user, no longer about the token.
                    denied = true;
                    self.client.forget_token();
                }
                Part::Broken if self.after > before => pause = FIRST_PAUSE,
                Part::Broken => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn open(&self) -> Result<Incoming, StorageError> {
        let end = super::end_of(&self.start);
        let watch = wire::watch(&self.start, &end, self.after.next());
        let call = Call::text("/v3/watch", watch);
        Ok(self.client.stream(&call).await?.into_body())
    }

    async fn read(&mut self, mut body: Incoming) -> Part {
        let idle = self.client.options.watch_idle;
        let mut buffer = Zeroizing::new(Vec::new());
        loop {
            let Ok(Some(Ok(frame))) = timeout(idle, body.frame()).await else {
                return Part::Broken;
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let mut searched = buffer.len();
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let end = searched + end;
                searched = 0;
                let answer = wire::read::<Streamed<WatchAnswer>>(&buffer[..end]);
                // What cannot be read cannot be left out either: ask again.
                let Ok(Streamed {
                    result: Some(answer),
                    error: None,
                }) = answer
                else {
                    return Part::Broken;
                };
                if let Some(part) = self.report(answer).await {
                    return part;
                }
                buffer.drain(..=end);
            }
            if buffer.len() > MAX_LINE {
                // It would be no shorter the next time.
                return self.unreadable(format!("it has more than {MAX_LINE} bytes"));
            }
        }
    }

    async fn report(&mut self, answer: WatchAnswer) -> Option<Part> {
        if answer.compact_revision > 0 {
            let oldest = Revision::new(answer.compact_revision - 1);
            return Some(Part::Over(Ok(Event::Compacted { oldest })));
        }
        if answer.canceled {
            // Etcd answers 200 to whoever may not watch, and says so here.
            let denials = ["PermissionDenied", "Unauthenticated", "InvalidArgument"];
            return Some(match answer.cancel_reason {
                reason if denials.iter().any(|denial| reason.contains(denial)) => {
                    Part::Denied(reason)
                }
                // Such as by a member without a leader.
                _ => Part::Broken,
            });
        }
        let now = match self.client.revision(&answer.header) {
            Ok(now) => now,
            Err(reason) => return Some(self.unreadable(reason)),
        };
        self.accepted |= answer.created;
        if answer.events.is_empty() && !answer.created && !answer.fragment {
            // Etcd says so when everything before was sent.
            self.after = self.after.max(now);
        }
        let mut txns = core::mem::take(&mut self.held);
        for event in answer.events {
            let revision = event.kv.mod_revision;
            let change = match event.kind.as_deref() {
                Some("DELETE") => self.space.key(&event.kv.key).map(Change::Delete),
                _ => self.space.entry(event.kv).map(Change::Put),
            };
            match change {
                Ok(change) => txns.entry(revision).or_default().push(change),
                Err(error) => return Some(Part::Over(Err(error))),
            }
        }
        if answer.fragment {
            self.held.extend(txns.pop_last());
        }
        for (revision, changes) in txns {
            let revision = Revision::new(revision);
            if revision <= self.after {
                continue;
            }
            let event = Event::Changed { revision, changes };
            if self.sender.send(Ok(event)).await.is_err() {
                return Some(Part::Unheard);
            }
            self.after = revision;
        }
        None
    }

    fn unreadable(&self, reason: String) -> Part {
        let place = format!("an answer of {}", self.client.place());
        Part::Over(Err(StorageError::Corrupt { place, reason }))
    }
}
