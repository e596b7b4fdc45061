//! Time, and messages between machines that may be late, lost or answered to nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use certwright_acme::Task;
use certwright_storage::{Clock, Fence, MemoryStorage, Storage, Txn};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::authority::{Authority, Look};
use crate::checker::Checker;
use crate::machine::{Link, Machine};
use crate::random::Random;
use crate::store::{Planted, done};

/// Microseconds since the world began.
pub(crate) type Micros = u64;
pub(crate) const MILLISECOND: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// How long a client of the store or of the CA waits for an answer.
const PATIENCE: Micros = 10 * SECOND;

/// The world, for all who live in it.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<Inner>>);

pub(crate) struct Inner {
    pub(crate) now: Micros,
    pub(crate) random: Random,
    pub(crate) machines: Vec<Machine>,
    pub(crate) servers: Servers,
    pub(crate) history: Vec<String>,
    /// Of a thousand messages so many meet with something.
    pub(crate) lossy: u64,
    /// How long a message is usually under way.
    pub(crate) latency: Micros,
    pub(crate) steps: u64,
    epoch: Instant,
    queue: BTreeMap<(Micros, u64), Happening>,
    sent: Vec<(u64, Message)>,
    number: u64,
}

/// What messages arrive at.
pub(crate) struct Servers {
    pub(crate) now: Micros,
    pub(crate) storage: MemoryStorage,
    pub(crate) clock: Clock,
    pub(crate) authority: Authority,
    pub(crate) checker: Checker,
    pub(crate) random: Random,
    pub(crate) planted: Planted,
    /// Whether nobody reaches the store.
    pub(crate) storage_down: bool,
    /// What the CA looks at later.
    pub(crate) looks: Vec<(Micros, Look)>,
    pub(crate) keys: usize,
}

/// Who a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Authority,
    /// The machine itself: work that takes time.
    Own,
    Storage,
    /// A change the store reports; it is late at worst.
    Watch,
    /// The machine's own timer, for so many of the world's microseconds.
    Timer(Micros),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing arrived.
    Refused,
    /// It may have arrived, now or later.
    Unknown,
}

type Answer = Box<dyn FnOnce() + Send>;

pub(crate) struct Message {
    from: usize,
    to: Peer,
    what: String,
    act: Box<dyn FnOnce(&mut Servers) -> Answer + Send>,
    fail: Box<dyn FnOnce(Loss) + Send>,
}

enum Happening {
    Answer(usize, Answer),
    Arrive(Message, Fate),
    Fail(usize, Box<dyn FnOnce(Loss) + Send>, Loss),
    Look(Look),
    Restart(usize),
    Resume(usize),
    /// A change waits for a link.
    Retry(Message),
    Trouble,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Unheard,
}

/// What the driver has to do outside of the world's lock.
pub(crate) enum Next {
    Done,
    Look(Look),
    Nothing,
    Restart(usize),
    Trouble,
}

impl World {
    pub(crate) fn new(seed: u64, machines: usize, planted: Planted) -> Self {
        let epoch = Instant::now();
        let clock = Clock::manual(epoch);
        let mut random = Random::new(seed);
        let servers = Servers {
            now: 0,
            storage: MemoryStorage::new(clock.clone()),
            clock,
            authority: Authority::default(),
            // Without guards at all, what else breaks is to be seen.
            checker: Checker::new(planted == Planted::NoGuards),
            random: Random::new(random.next()),
            planted,
            storage_down: false,
            looks: Vec::new(),
            keys: 0,
        };
        let machines = (0..machines).map(|_| Machine::new(&mut random)).collect();
        Self(Arc::new(Mutex::new(Inner {
            now: 0,
            machines,
            servers,
            history: Vec::new(),
            lossy: 0,
            latency: random.one_of(&[MILLISECOND, 20 * MILLISECOND, 200 * MILLISECOND]),
            steps: 0,
            random,
            epoch,
            queue: BTreeMap::new(),
            sent: Vec::new(),
            number: 0,
        })))
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends something from a machine, and waits for what comes back.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        from: usize,
        to: Peer,
        what: String,
        act: impl FnOnce(&mut Servers) -> T + Send + 'static,
    ) -> Task<'static, Result<T, Loss>> {
        let (sender, receiver) = oneshot::channel();
        let slot = Arc::new(Mutex::new(Some(sender)));
        let other = Arc::clone(&slot);
        let tell = |slot: &Mutex<Option<oneshot::Sender<Result<T, Loss>>>>, said| {
            let sender = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Whoever asked may be dead.
            sender.map(|sender| sender.send(said).is_ok())
        };
        let message = Message {
            from,
            to,
            what,
            act: Box::new(move |servers| {
                let result = act(servers);
                Box::new(move || {
                    tell(&slot, Ok(result));
                })
            }),
            fail: Box::new(move |loss| {
                tell(&other, Err(loss));
            }),
        };
        // Of tasks that ran since the last step, the order in which they ran may be the
        // executor's whim; their numbers are not.
        let task = tokio::task::try_id().map_or(0, |id| id.to_string().parse().unwrap());
        self.inner().sent.push((task, message));
        Box::pin(async move { receiver.await.unwrap_or(Err(Loss::Refused)) })
    }

    /// The time of day on a machine.
    pub(crate) fn time_on(&self, machine: usize) -> OffsetDateTime {
        let inner = self.inner();
        let ahead = time::Duration::seconds(inner.machines[machine].ahead);
        start() + Duration::from_micros(inner.now) + ahead
    }

    /// The monotonic clock of a machine.
    pub(crate) fn instant_on(&self, machine: usize) -> Instant {
        let inner = self.inner();
        inner.epoch + Duration::from_micros(inner.machines[machine].local(inner.now))
    }

    /// One step of the world, at `end` at the latest.
    pub(crate) fn step(&self, end: Micros) -> Next {
        self.inner().step(end)
    }
}

/// The time of day when every world begins.
pub(crate) fn start() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000)
}

impl Servers {
    fn placed(&mut self, machine: usize) {
        let storage = &self.storage;
        let holds = |fence: &Fence| done(storage.txn(Txn::new().if_held(fence.clone()))).is_ok();
        self.checker.places(machine, holds);
    }
}

impl Inner {
    fn step(&mut self, end: Micros) -> Next {
        self.post();
        let Some(first) = self.queue.first_entry() else {
            self.set_time(end);
            return Next::Done;
        };
        if first.key().0 > end {
            self.set_time(end);
            return Next::Done;
        }
        let ((at, _), happening) = first.remove_entry();
        self.set_time(at.max(self.now));
        self.steps += 1;
        match happening {
            Happening::Arrive(message, fate) => self.arrive(message, fate),
            Happening::Answer(to, answer) => self.answer(to, answer),
            Happening::Fail(to, fail, loss) => match self.machines[to].stopped {
                true => self.machines[to].held.push(Box::new(move || fail(loss))),
                false => fail(loss),
            },
            Happening::Look(look) => return Next::Look(look),
            Happening::Restart(machine) => return Next::Restart(machine),
            Happening::Resume(machine) => self.resume(machine),
            Happening::Retry(message) => self.route(message),
            Happening::Trouble => return Next::Trouble,
        }
        Next::Nothing
    }

    fn set_time(&mut self, now: Micros) {
        let passed = Duration::from_micros(now - self.now);
        self.now = now;
        self.servers.now = now;
        self.servers.clock.advance(passed);
    }

    /// A line of history.
    pub(crate) fn note(&mut self, who: Option<usize>, what: &str) {
        let who = who.map_or("  ".to_owned(), |who| format!("r{who}"));
        let (seconds, rest) = (self.now / SECOND, self.now % SECOND / MILLISECOND);
        self.history
            .push(format!("{seconds:>8}.{rest:03} {who} {what}"));
    }

    fn at(&mut self, at: Micros, happening: Happening) {
        self.number += 1;
        self.queue.insert((at, self.number), happening);
    }

    pub(crate) fn trouble_in(&mut self, pause: Micros) {
        self.at(self.now + pause, Happening::Trouble);
    }

    pub(crate) fn restart_in(&mut self, machine: usize, pause: Micros) {
        self.at(self.now + pause, Happening::Restart(machine));
    }

    pub(crate) fn resume_in(&mut self, machine: usize, pause: Micros) {
        self.at(self.now + pause, Happening::Resume(machine));
    }

    pub(crate) fn look_in(&mut self, look: Look, pause: Micros) {
        self.at(self.now + pause, Happening::Look(look));
    }

    pub(crate) fn resume(&mut self, machine: usize) {
        if core::mem::take(&mut self.machines[machine].stopped) {
            self.note(Some(machine), "CONTINUES");
            for answer in core::mem::take(&mut self.machines[machine].held) {
                self.at(self.now, Happening::Answer(machine, answer));
            }
        }
    }

    /// Decides what becomes of the messages that were sent since the last step.
    fn post(&mut self) {
        let mut sent = core::mem::take(&mut self.sent);
        sent.sort_by_key(|(task, _)| *task);
        for (_, message) in sent {
            if message.to == Peer::Authority {
                let cut = self.machines[message.from].cut_since;
                let away = cut.map(|since| self.now - since);
                let what = &message.what;
                self.servers.checker.asks(message.from, what, away);
                if what.starts_with("CA: new order") {
                    self.servers.placed(message.from);
                }
            }
            self.route(message);
        }
    }

    fn route(&mut self, message: Message) {
        let from = message.from;
        let link = match message.to {
            Peer::Timer(pause) => {
                return self.at(self.now + pause, Happening::Arrive(message, Fate::Answered));
            }
            Peer::Own => {
                let pause = self.random.tail(50 * MILLISECOND);
                return self.at(self.now + pause, Happening::Arrive(message, Fate::Answered));
            }
            Peer::Storage | Peer::Watch if self.servers.storage_down => Link::Refusing,
            Peer::Storage | Peer::Watch => self.machines[from].storage,
            Peer::Authority => self.machines[from].authority,
        };
        let pause = self.random.tail(self.latency);
        if message.to == Peer::Watch {
            let happening = match link {
                Link::Up => Happening::Arrive(message, Fate::Answered),
                _ => Happening::Retry(message),
            };
            let pause = if link == Link::Up { pause } else { SECOND };
            return self.at(self.now + pause, happening);
        }
        let link = match link {
            Link::Up if self.random.thousandths(self.lossy) => {
                let faults = [Link::NoAnswers, Link::Refusing, Link::Silent];
                self.random.one_of(&faults)
            }
            link => link,
        };
        let given_up = self.now + PATIENCE;
        match link {
            Link::Up => self.at(self.now + pause, Happening::Arrive(message, Fate::Answered)),
            Link::Refusing => {
                self.note(Some(from), &format!("{} (refused)", message.what));
                self.at(
                    self.now + pause,
                    Happening::Fail(from, message.fail, Loss::Refused),
                );
            }
            Link::Silent => {
                self.note(Some(from), &format!("{} (never arrives)", message.what));
                self.at(given_up, Happening::Fail(from, message.fail, Loss::Unknown));
            }
            Link::NoAnswers => {
                // Now, or long after the sender has given up.
                let late = match self.random.thousandths(300) {
                    true => self.random.within(0..60 * SECOND),
                    false => pause,
                };
                let Message {
                    what,
                    act,
                    fail,
                    to,
                    ..
                } = message;
                let what = format!("{what} (no answer)");
                self.at(given_up, Happening::Fail(from, fail, Loss::Unknown));
                let message = Message {
                    from,
                    to,
                    what,
                    act,
                    fail: Box::new(|_| {}),
                };
                self.at(self.now + late, Happening::Arrive(message, Fate::Unheard));
            }
        }
    }

    fn arrive(&mut self, message: Message, fate: Fate) {
        let Message {
            from,
            to,
            what,
            act,
            fail,
        } = message;
        if matches!(to, Peer::Storage) && self.servers.storage_down {
            self.note(Some(from), &format!("{what} (store down)"));
            return self.at(self.now, Happening::Fail(from, fail, Loss::Refused));
        }
        let answer = act(&mut self.servers);
        let said = self.servers.checker.said();
        if !matches!(to, Peer::Timer(_)) {
            self.note(Some(from), &format!("{what}{said}"));
        }
        for (pause, look) in core::mem::take(&mut self.servers.looks) {
            self.look_in(look, pause);
        }
        match (fate, to) {
            (Fate::Unheard, _) => {}
            (Fate::Answered, Peer::Authority | Peer::Storage) => {
                let back = self.random.tail(self.latency);
                self.at(self.now + back, Happening::Answer(from, answer));
            }
            (Fate::Answered, Peer::Own | Peer::Timer(_) | Peer::Watch) => self.answer(from, answer),
        }
    }

    fn answer(&mut self, to: usize, answer: Answer) {
        match self.machines[to].stopped {
            true => self.machines[to].held.push(answer),
            false => answer(),
        }
    }
}
