//! Loads under way: one for each id, as many at once as are allowed, and the rest in a queue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

use hashbrown::HashMap;

use super::LazyOptions;
use super::cache::{Loaded, Stamp};
use crate::entry::EntryId;

pub(super) struct Flights<T> {
    board: Mutex<Board<T>>,
    max_in_flight: usize,
    max_waiting: usize,
}

struct Board<T> {
    by_id: HashMap<EntryId, Arc<Flight<T>>>,
    queue: VecDeque<Arc<Flight<T>>>,
    workers: usize,
}

/// Too many wait.
pub(super) struct Full;

impl<T> Flights<T> {
    pub(super) fn new(options: &LazyOptions) -> Self {
        Self {
            board: Mutex::new(Board {
                by_id: HashMap::new(),
                queue: VecDeque::new(),
                workers: 0,
            }),
            max_in_flight: options.max_in_flight.max(1),
            max_waiting: options.max_waiting.max(1),
        }
    }

    /// The flight for this id, and whether somebody else began it.
    pub(super) fn join(
        &self,
        id: &EntryId,
        generation: u64,
        now: Option<i64>,
    ) -> Result<(Arc<Flight<T>>, bool), Full> {
        let mut board = self.board();
        if let Some(flight) = board.by_id.get(id)
            && flight.stamp.generation == generation
        {
            return Ok((flight.clone(), true));
        }
        if board.queue.len() >= self.max_waiting {
            return Err(Full);
        }
        let flight = Arc::new(Flight {
            id: id.clone(),
            stamp: Stamp {
                generation,
                at: now,
            },
            state: Mutex::new(State::Waiting(Wakers::default())),
        });
        board.by_id.insert(id.clone(), flight.clone());
        board.queue.push_back(flight.clone());
        Ok((flight, false))
    }

    /// Sees to it that somebody works.
    pub(super) fn start(&self, work: impl FnOnce() + Send + 'static) {
        let mut board = self.board();
        if board.workers >= self.max_in_flight {
            return;
        }
        board.workers += 1;
        drop(board);
        let worker = thread::Builder::new().name("sni-store load".to_owned());
        if worker.spawn(work).is_ok() {
            return;
        }
        let mut board = self.board();
        board.workers -= 1;
        if board.workers == 0 {
            // Nobody would come for them.
            let stranded: Vec<_> = board.queue.drain(..).collect();
            for flight in &stranded {
                board.by_id.remove(flight.id());
            }
            drop(board);
            for flight in stranded {
                flight.land(Outcome::Failed);
            }
        }
    }

    /// The next load for a worker, or its end.
    pub(super) fn next(&self) -> Option<Arc<Flight<T>>> {
        let mut board = self.board();
        let next = board.queue.pop_front();
        if next.is_none() {
            board.workers -= 1;
        }
        next
    }

    pub(super) fn finish(&self, flight: &Arc<Flight<T>>, outcome: Outcome<T>) {
        let mut board = self.board();
        let current = board.by_id.get(flight.id());
        // A later generation may have begun another one.
        if current.is_some_and(|current| Arc::ptr_eq(current, flight)) {
            board.by_id.remove(flight.id());
        }
        drop(board);
        flight.land(outcome);
    }

    /// Lets nobody join the flight for this id any more.
    pub(super) fn abandon(&self, id: &EntryId) {
        self.board().by_id.remove(id);
    }

    /// Whether this is the flight for its id still.
    pub(super) fn is_current(&self, flight: &Arc<Flight<T>>) -> bool {
        let board = self.board();
        let current = board.by_id.get(flight.id());
        current.is_some_and(|current| Arc::ptr_eq(current, flight))
    }

    fn board(&self) -> MutexGuard<'_, Board<T>> {
        // Nothing that can panic runs while it is held.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One load, and those who wait for it.
pub(super) struct Flight<T> {
    id: EntryId,
    stamp: Stamp,
    state: Mutex<State<T>>,
}

enum State<T> {
    Landed(Outcome<T>),
    Waiting(Wakers),
}

/// What came of a load.
pub(super) enum Outcome<T> {
    Failed,
    /// Nothing is there.
    Gone,
    Loaded(Arc<Loaded<T>>),
}

impl<T> Clone for Outcome<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed => Self::Failed,
            Self::Gone => Self::Gone,
            Self::Loaded(loaded) => Self::Loaded(loaded.clone()),
        }
    }
}

#[derive(Default)]
struct Wakers {
    next: u64,
    by_ticket: BTreeMap<u64, Waker>,
}

/// One place among those who wait, taken with the first poll.
#[derive(Default)]
pub(super) struct Ticket(Option<u64>);

impl<T> Flight<T> {
    pub(super) fn id(&self) -> &EntryId {
        &self.id
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// What came of it, or `None` until then.
    pub(super) fn poll(&self, ticket: &mut Ticket, waker: &Waker) -> Option<Outcome<T>> {
        match &mut *self.state() {
            State::Landed(outcome) => Some(outcome.clone()),
            State::Waiting(wakers) => {
                let number = *ticket.0.get_or_insert_with(|| {
                    wakers.next += 1;
                    wakers.next
                });
                wakers.by_ticket.insert(number, waker.clone());
                None
            }
        }
    }

    /// Gives the place back: a load that hangs does not collect those who gave up.
    pub(super) fn leave(&self, ticket: &mut Ticket) {
        if let (State::Waiting(wakers), Some(number)) = (&mut *self.state(), ticket.0.take()) {
            wakers.by_ticket.remove(&number);
        }
    }

    fn land(&self, outcome: Outcome<T>) {
        let before = std::mem::replace(&mut *self.state(), State::Landed(outcome));
        if let State::Waiting(wakers) = before {
            for waker in wakers.by_ticket.into_values() {
                waker.wake();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
