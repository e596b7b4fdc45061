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
/// The longest message: events of a transaction and of a few more, in base64.
const MAX_LINE: usize = 64 << 20;

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
}

/// Why a connection's part of the watch is over.
enum Part {
    /// The watch goes on from where it is, on another connection.
    Broken,
    /// This is the last event.
    Over(Item),
    /// Nobody listens.
    Unheard,
}

impl Follower {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.after;
            let part = match self.open().await {
                Ok(body) => self.read(body).await,
                Err(StorageError::Unavailable { .. }) => Part::Broken,
                Err(error) => Part::Over(Err(error)),
            };
            match part {
                Part::Over(last) => {
                    let _ = self.sender.send(last).await;
                    return;
                }
                Part::Unheard => return,
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
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
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
                return Part::Broken;
            }
        }
    }

    async fn report(&mut self, answer: WatchAnswer) -> Option<Part> {
        if answer.compact_revision > 0 {
            let oldest = Revision::new(answer.compact_revision - 1);
            return Some(Part::Over(Ok(Event::Compacted { oldest })));
        }
        if answer.canceled {
            // Such as by a member without a leader. A cause that stays is met again when
            // opening, and there it is an error.
            return Some(Part::Broken);
        }
        if answer.events.is_empty() && !answer.created {
            // Etcd says so when everything before was sent.
            self.after = self.after.max(Revision::new(answer.header.revision));
        }
        let mut txns: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
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
}
