//! A directory that is reloaded whenever the operating system says that it changed.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use crate::cert_dir::CertDir;
use crate::change::{ChangeSet, Report};
use crate::dir::DirError;
use crate::store::CertStore;

/// How soon changes are taken up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchOptions {
    /// A change is taken up when nothing has changed for this long, so that a certificate and its key
    /// are found together; 200 milliseconds unless said otherwise.
    pub quiet: Duration,
    /// But no later than this after the first change; 2 seconds unless said otherwise.
    pub at_most: Duration,
    /// Without any news the directory is looked through this often, for file systems that tell nothing
    /// and for links that lead out of the directory; a minute unless said otherwise. Staples whose time is
    /// over by the system's clock are dropped then too ([`CertStore::drop_expired_staples`]).
    pub rescan: Option<Duration>,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(200),
            at_most: Duration::from_secs(2),
            rescan: Some(Duration::from_secs(60)),
        }
    }
}

/// What a [`DirWatch`] has to tell.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The directory could not be read or watched. What it held is still served.
    Failed(WatchError),
    /// Something changed, or a staple ran out; what could not be used is in the report, and what it was to replace is still
    /// served.
    Reloaded(Report),
}

/// Keeps a store like a directory until it is dropped, which waits for a reload under way.
///
/// The directory is read as [`CertDir`] does: certificates and keys, `.pem` files with both, certbot's
/// and mounted Secrets' subdirectories, or one mounted Secret. Only what changed is read again. Links
/// swapped as Kubernetes does it, half-written files and editors' temporary ones do no harm: what cannot
/// be used is reported, and the certificate before it stays. What is deleted is served no more as soon as
/// that is taken up: replace files by renaming new ones over them.
pub struct DirWatch {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl DirWatch {
    /// Reads the directory into the store, then watches it on a thread of its own, which tells
    /// `on_event` what came of each change.
    ///
    /// Entries of other origins may be in the store under other ids.
    ///
    /// # Errors
    /// If the directory cannot be read or watched.
    pub fn start(
        store: CertStore<CertifiedKey>,
        mut directory: CertDir,
        options: WatchOptions,
        on_event: impl FnMut(WatchEvent) + Send + 'static,
    ) -> Result<(Self, Report), WatchError> {
        let (messages, inbox) = channel();
        let mut eyes = Eyes::open(directory.path(), messages.clone())?;
        // Watched first and read afterwards, the subdirectories too: nothing is missed between the two.
        let mut trouble = eyes.follow_all();
        let report = store.apply(directory.changes(&store)?);
        let mut reloader = Reloader {
            store,
            directory,
            eyes,
            lost: false,
            on_event,
        };
        let body = move || {
            for error in trouble.drain(..) {
                reloader.tell(WatchEvent::Failed(error));
            }
            reloader.run(&inbox, &options);
        };
        let thread = thread::Builder::new()
            .name("sni-store watch".to_owned())
            .spawn(body)
            .map_err(|error| WatchError::Watch {
                path: PathBuf::new(),
                reason: error.to_string(),
            })?;
        let watch = Self {
            messages,
            thread: Some(thread),
        };
        Ok((watch, report))
    }

    /// Looks through the whole directory now, and drops the staples whose time is over.
    pub fn rescan(&self) {
        // The thread is there as long as this is.
        let _sent = self.messages.send(Message::Rescan);
    }
}

impl Drop for DirWatch {
    fn drop(&mut self) {
        let _sent = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // It contains what panics.
            let _ended = thread.join();
        }
    }
}

impl fmt::Debug for DirWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirWatch").finish_non_exhaustive()
    }
}

/// Why a directory is not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// It cannot be read.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// What reads it panicked. All of it is read again with the next change or rescan.
    #[error("reading the directory panicked; what was served before is served still")]
    Panicked,
    /// The operating system does not tell of its changes; they are found by looking through it.
    #[error("changes in {} are not told: {reason}", path.display())]
    Watch {
        /// The directory, or a subdirectory of it.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
}

enum Message {
    Missed,
    Rescan,
    Stop,
    Touched(Vec<PathBuf>),
    Trouble(String),
}

/// The operating system's watches: one for the directory, one for each subdirectory in it, none deeper.
struct Eyes {
    root: PathBuf,
    /// Where the directory's path led when it was followed: a link in it may be swapped, which nobody
    /// tells.
    real: Option<PathBuf>,
    watcher: RecommendedWatcher,
}

impl Eyes {
    fn open(root: &Path, messages: Sender<Message>) -> Result<Self, WatchError> {
        let handler = move |event: Result<notify::Event, notify::Error>| {
            let message = match event {
                Ok(event) if event.need_rescan() => Message::Missed,
                // Our own reading is no news.
                Ok(event) if !is_change(event.kind) => return,
                Ok(event) => Message::Touched(event.paths),
                Err(error) => Message::Trouble(error.to_string()),
            };
            // Whoever listened may be gone by now.
            let _sent = messages.send(message);
        };
        let watcher =
            notify::recommended_watcher(handler).map_err(|error| failure(root, &error))?;
        let mut eyes = Self {
            root: root.to_owned(),
            real: fs::canonicalize(root).ok(),
            watcher,
        };
        eyes.follow(root)?;
        Ok(eyes)
    }

    fn follow(&mut self, path: &Path) -> Result<(), WatchError> {
        let watched = self.watcher.watch(path, RecursiveMode::NonRecursive);
        watched.map_err(|error| failure(path, &error))
    }

    /// Follows the directory anew, and every subdirectory. Of many failures, which have one cause, the first is told.
    fn follow_all(&mut self) -> Vec<WatchError> {
        let root = self.root.clone();
        self.real = fs::canonicalize(&root).ok();
        if let Err(error) = self.follow(&root)
            && root.is_dir()
        {
            return vec![error];
        }
        let Ok(entries) = fs::read_dir(&self.root) else {
            // Told of when it is looked through.
            return Vec::new();
        };
        let places = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let places: Vec<String> = places.filter(|place| !place.starts_with('.')).collect();
        let failures = places.iter().filter_map(|place| self.follow_place(place));
        failures.take(1).collect()
    }

    /// Whether the directory's path leads elsewhere by now.
    fn is_elsewhere(&self) -> bool {
        fs::canonicalize(&self.root).ok() != self.real
    }

    /// Follows what is new in the directory, if it is a directory too.
    fn follow_place(&mut self, place: &str) -> Option<WatchError> {
        let path = self.root.join(place);
        if !path.is_dir() {
            return None;
        }
        // What vanished between the two is no failure.
        self.follow(&path).err().filter(|_| path.is_dir())
    }
}

struct Reloader<F> {
    store: CertStore<CertifiedKey>,
    directory: CertDir,
    eyes: Eyes,
    /// The directory was not there, and will be another one when it is back; or nobody knows what was
    /// read of it.
    lost: bool,
    on_event: F,
}

/// What is to be looked at.
#[derive(Default)]
struct Pending {
    all: bool,
    /// Something was missed, of new subdirectories perhaps.
    missed: bool,
    paths: HashSet<PathBuf>,
}

impl<F: FnMut(WatchEvent)> Reloader<F> {
    fn run(&mut self, inbox: &Receiver<Message>, options: &WatchOptions) {
        let mut pending = Pending::default();
        while let Some(first) = wait(inbox, options.rescan) {
            if self.absorb(first, &mut pending).is_stop() {
                return;
            }
            let begun = Instant::now();
            loop {
                let left = options.at_most.saturating_sub(begun.elapsed());
                match inbox.recv_timeout(options.quiet.min(left)) {
                    Ok(message) => {
                        if self.absorb(message, &mut pending).is_stop() {
                            return;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if begun.elapsed() >= options.at_most {
                    break;
                }
            }
            let reload = AssertUnwindSafe(|| self.reload(std::mem::take(&mut pending)));
            if catch_unwind(reload).is_err() {
                // A key provider, or a thread that could not be started. Nobody knows how far it came.
                self.directory.doubt();
                self.lost = true;
                self.tell(WatchEvent::Failed(WatchError::Panicked));
            }
        }
    }

    fn absorb(&mut self, message: Message, pending: &mut Pending) -> Next {
        match message {
            Message::Stop => return Next::Stop,
            Message::Rescan => pending.all = true,
            Message::Missed => {
                pending.all = true;
                pending.missed = true;
            }
            Message::Trouble(reason) => {
                let path = self.directory.path().to_owned();
                self.tell(WatchEvent::Failed(WatchError::Watch { path, reason }));
                pending.all = true;
                pending.missed = true;
            }
            Message::Touched(paths) => {
                for path in paths {
                    match self.directory.place(&path) {
                        // The directory is a mounted Secret itself, its files link to what moved.
                        Some(place) if place.starts_with("..") => pending.all = true,
                        Some(place) => {
                            pending.paths.insert(self.directory.path().join(place));
                        }
                        // The directory itself, or a path spelled in another way.
                        None => {
                            pending.all = true;
                            pending.missed = true;
                        }
                    }
                }
            }
        }
        Next::GoOn
    }

    fn reload(&mut self, pending: Pending) {
        let Pending { all, missed, paths } = pending;
        let all = all || self.lost;
        if all {
            self.drop_expired_staples();
        }
        // Followed before they are read: what changes from here on is told.
        let trouble = if missed || self.lost || (all && self.eyes.is_elsewhere()) {
            self.eyes.follow_all()
        } else {
            let places = paths.iter().filter_map(|path| self.directory.place(path));
            let places: Vec<String> = places.filter(|place| !place.starts_with('.')).collect();
            let failures = places
                .iter()
                .filter_map(|place| self.eyes.follow_place(place));
            failures.take(1).collect()
        };
        for error in trouble {
            self.tell(WatchEvent::Failed(error));
        }
        let change = match self.changes(all, &paths) {
            Ok(change) => change,
            Err(error) => {
                self.lost = true;
                return self.tell(WatchEvent::Failed(error.into()));
            }
        };
        self.lost = false;
        let report = self.store.apply(change);
        if report.changed() || !report.rejected.is_empty() {
            self.tell(WatchEvent::Reloaded(report));
        }
    }

    /// Those of the whole store, whoever put them there: clients refuse what has run out.
    fn drop_expired_staples(&mut self) {
        let report = self.store.drop_expired_staples(OffsetDateTime::now_utc());
        if report.changed() {
            self.tell(WatchEvent::Reloaded(report));
        }
    }

    fn changes(
        &mut self,
        all: bool,
        paths: &HashSet<PathBuf>,
    ) -> Result<ChangeSet<CertifiedKey>, DirError> {
        let mut change = self.directory.changes_at(&self.store, paths)?;
        if all {
            change.merge(self.directory.changes(&self.store)?);
        }
        Ok(change)
    }

    fn tell(&mut self, event: WatchEvent) {
        let tell = AssertUnwindSafe(|| (self.on_event)(event));
        // A listener that panics must not stop the reloading.
        let _contained = catch_unwind(tell);
    }
}

enum Next {
    GoOn,
    Stop,
}

impl Next {
    fn is_stop(&self) -> bool {
        matches!(self, Self::Stop)
    }
}

/// The next message, or a rescan when there was none for so long; `None` when nobody can send any more.
fn wait(inbox: &Receiver<Message>, rescan: Option<Duration>) -> Option<Message> {
    let Some(rescan) = rescan else {
        return inbox.recv().ok();
    };
    match inbox.recv_timeout(rescan) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => Some(Message::Rescan),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn failure(path: &Path, error: &notify::Error) -> WatchError {
    WatchError::Watch {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
