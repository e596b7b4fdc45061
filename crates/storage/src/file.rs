//! A store in a directory: the embedded default.

mod disk;
pub(crate) mod frame;
pub(crate) mod journal;
pub(crate) mod path;
#[cfg(test)]
mod simulated;
mod tree;
mod writer;

use core::future::ready;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use self::disk::{Directory, narrow, no_link};
use self::tree::{Closed, Tree};
use self::writer::{Request, serve};
use crate::answer::{Answerer, question};
use crate::state::{Shared, State};
use crate::{
    Acquisition, Clock, Entry, Key, Lease, Listing, Operation, Revision, Storage, StorageError,
    Txn, Watch,
};

/// In the lock file from an orderly end to the next opening.
const ORDERLY: &[u8] = b"closed\n";

/// What to do if another process has the store open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Busy {
    /// [`StorageError::Locked`] at once.
    #[default]
    Fail,
    /// Wait until it is closed, or its process has ended, however that ended.
    Wait,
}

/// How to open a [`FileStorage`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FileOptions {
    /// What to do if another process has the store open; fail by default.
    pub busy: Busy,
    /// By what leases run out; the machine's clock by default.
    pub clock: Clock,
}

/// A store in a directory: one file per key, one process at a time.
///
/// ```
/// use certwright_storage::{FileOptions, FileStorage};
///
/// let dir = tempfile::tempdir()?;
/// let storage = FileStorage::open(&dir.path().join("store"), FileOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Everything is kept in memory as well: reading never waits for the disk, and opening
/// reads all files. One thread writes, in the order of requests. A clone is another
/// handle; the last one to go ends the thread, after what was asked of it.
///
/// # Layout
/// Directories have mode 0700 and files 0600, made narrower if they are found wider.
/// A file starts with a line of text, `certwright record 1 rev=7 len=1234 crc=…`, and
/// the value follows: `tail -n +2 FILE` shows it.
///
/// | path | what |
/// |---|---|
/// | `data/v1/cert/web.rec` | the value of `v1/cert/web`; capitals, which some file systems take for small letters, and odd characters are `%XX` |
/// | `HEAD` | a revision that all used ones are below |
/// | `txn` | a transaction of several keys, between its commit and its end |
/// | `LOCK` | locked by the kernel while a process has the store open |
///
/// # Crashes
/// A file is made beside the old one, synced, renamed, and its directory synced. The
/// process or the machine may die at any moment: each transaction is there whole or not
/// at all, and all acknowledged ones are. A full disk fails the write and leaves the old
/// value. A file damaged by others is [`StorageError::Corrupt`] when opening, and names
/// itself; so does a link among the files, which is not followed.
///
/// Leases end with the process, which is why a store that was waited for with
/// [`Busy::Wait`] has none. The kernel's lock does not cross machines on every network
/// file system: use the store on a local one.
#[derive(Clone, Debug)]
pub struct FileStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl FileStorage {
    /// Opens the store in this directory, made if it is missing, and finishes what a
    /// crash interrupted. Reads files, and may wait for a lock: in asynchronous code
    /// call it where blocking is allowed.
    ///
    /// # Errors
    /// [`StorageError::Locked`] if another process has it open and
    /// [`FileOptions::busy`] says to fail; [`StorageError::Corrupt`] with the damaged
    /// file; [`StorageError::Io`].
    pub fn open(directory: &Path, options: FileOptions) -> Result<Self, StorageError> {
        make_root(directory).map_err(io_error("make", directory))?;
        let mut lock = lock(directory, options.busy)?;
        let last = open_mark(&mut lock).map_err(io_error("mark", directory))?;
        let (tree, entries) = Tree::open(Directory(directory.to_owned()), directory, last)?;
        let state = State::new(entries, tree.reserved());
        let shared = Shared::new(state, options.clock);
        let (requests, receiver) = channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("certwright-storage".to_owned())
            .spawn(move || {
                let tree = serve(tree, &served, &receiver);
                if tree.is_settled() {
                    // Without the mark the next opening syncs once more: slower, as right.
                    let _ = lock.write_all(ORDERLY);
                }
                served.close();
                drop(lock);
            })
            .map_err(io_error("start the thread of", directory))?;
        let inner = Inner {
            shared,
            requests: Some(requests),
            thread: Some(thread),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Forgets what changed, not what is there: watches that are behind end with
    /// [`Event::Compacted`](crate::Event::Compacted). The store also forgets by itself.
    pub fn compact(&self) {
        self.inner.shared.compact();
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Answerer<T>) -> Request,
    ) -> Operation<'_, T> {
        let (answer, answerer) = question();
        if let Some(requests) = &self.inner.requests {
            // A thread that died drops the answerer, which answers that.
            let _ = requests.send(request(answerer));
        }
        Box::pin(answer)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // So that the lock is free when the last handle is gone.
            let _ = thread.join();
        }
    }
}

impl Storage for FileStorage {
    fn get<'a>(&'a self, key: &'a Key) -> Operation<'a, Option<Entry>> {
        Box::pin(ready(Ok(self.inner.shared.read().get(key))))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Operation<'a, Listing> {
        Box::pin(ready(Ok(self.inner.shared.read().list(prefix))))
    }

    fn txn(&self, txn: Txn) -> Operation<'_, Revision> {
        self.ask(|answer| Request::Txn { txn, answer })
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> Operation<'a, Watch> {
        Box::pin(ready(Ok(self.inner.shared.watch(prefix, after))))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a Key,
        owner: &'a str,
        ttl: Duration,
    ) -> Operation<'a, Acquisition> {
        let (name, owner) = (name.clone(), owner.to_owned());
        self.ask(|answer| Request::Acquire {
            name,
            owner,
            ttl,
            answer,
        })
    }

    fn keep_alive<'a>(&'a self, lease: &'a mut Lease) -> Operation<'a, ()> {
        let now = self.inner.shared.now();
        Box::pin(ready(self.inner.shared.write().keep_alive(lease, now)))
    }

    fn release(&self, lease: Lease) -> Operation<'_, ()> {
        self.ask(|answer| Request::Release { lease, answer })
    }
}

fn make_root(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    narrow(directory, 0o700)
}

/// Locks the directory until the file is dropped, or the process ends.
fn lock(directory: &Path, busy: Busy) -> Result<File, StorageError> {
    let path = directory.join("LOCK");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // It is emptied later: not what a link planted here leads to.
    options.mode(0o600).custom_flags(no_link());
    let file = options.open(&path).map_err(io_error("open", &path))?;
    narrow(&path, 0o600).map_err(io_error("open", &path))?;
    let operation = match busy {
        Busy::Fail => FlockOperation::NonBlockingLockExclusive,
        Busy::Wait => FlockOperation::LockExclusive,
    };
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let path = directory.to_owned();
                return Err(StorageError::Locked { path });
            }
            Err(error) => return Err(io_error("lock", &path)(error.into())),
        }
    }
}

/// Reads how the store was closed, and marks it as open.
///
/// The mark need not be synced: after a power cut nothing is left that is seen and not on
/// the disk.
fn open_mark(lock: &mut File) -> io::Result<Closed> {
    let mut mark = Vec::new();
    lock.take(64).read_to_end(&mut mark)?;
    lock.set_len(0)?;
    lock.rewind()?;
    Ok(match mark == ORDERLY {
        true => Closed::Orderly,
        false => Closed::Unknown,
    })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = PathBuf::from(path);
    move |source| StorageError::Io {
        action,
        path,
        source,
    }
}
