//! Values as files, written so that a crash at any moment leaves old or new, never half.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Named};
use super::frame::{self, Kind};
use super::{journal, path};
use crate::{Entry, Key, Revision, StorageError, Value, Write};

const DATA: &str = "data";
const HEAD: &str = "HEAD";
const JOURNAL: &str = "txn";
/// The name a file has until it is whole; no key's file starts with a dot.
const NEW: &str = ".new";
/// How many revisions are taken from the disk at once: one write of `HEAD` for so many.
const RESERVE: u64 = 4096;

/// The files of a store, of which this is the only writer.
///
/// One write is a file made beside the old one, synced, renamed over it, and its
/// directory synced. Several are first written down in a journal, in the same way: once
/// that has its name, they are done, and are done again when the store is opened before
/// that name is gone.
#[derive(Debug)]
pub(crate) struct Tree<D> {
    disk: D,
    root: PathBuf,
    directories: HashSet<PathBuf>,
    reserved: Revision,
    pending: Option<Pending>,
    uncertain: bool,
}

/// How the store was closed the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// After its last write, all of which are synced.
    Orderly,
    /// Perhaps in the middle of a write.
    Unknown,
}

/// A transaction that is in the journal and not yet everywhere else.
#[derive(Debug)]
struct Pending {
    writes: Vec<Write>,
    revision: Revision,
}

impl<D: Disk> Tree<D> {
    /// Finishes what a crash interrupted, and reads everything. `root` is for messages.
    pub(crate) fn open(
        disk: D,
        root: &Path,
        last: Closed,
    ) -> Result<(Self, Vec<Entry>), StorageError> {
        let mut tree = Self {
            disk,
            root: root.to_owned(),
            directories: HashSet::new(),
            reserved: Revision::default(),
            pending: None,
            uncertain: false,
        };
        tree.make_dir(Path::new(DATA))?;
        if last == Closed::Unknown {
            // A process that died may have left changes that are seen and not synced: what
            // is read now must not be gone after the next power cut.
            let synced = tree.disk.sync_all();
            synced.map_err(|source| tree.io("sync", Path::new(""), source))?;
        }
        if let Some((_, revision)) = tree.read_file(Path::new(HEAD), Kind::Head)? {
            tree.reserved = revision;
        }
        if let Some((bytes, revision)) = tree.read_file(Path::new(JOURNAL), Kind::Txn)? {
            let writes = journal::decode(bytes.as_bytes())
                .map_err(|reason| tree.corrupt(Path::new(JOURNAL), reason))?;
            let count = writes.len();
            tree.pending = Some(Pending { writes, revision });
            tree.finish()?;
            tracing::info!(store = %root.display(), writes = count, %revision, "journal replayed");
            tree.reserved = tree.reserved.max(revision);
        }
        let mut entries = Vec::new();
        let mut dirs = vec![PathBuf::from(DATA)];
        while let Some(dir) = dirs.pop() {
            tree.load(&dir, &mut dirs, &mut entries)?;
        }
        let newest = entries.iter().map(|entry| entry.revision).max();
        tree.reserved = tree.reserved.max(newest.unwrap_or_default());
        Ok((tree, entries))
    }

    /// A revision that no write before had, nor any by somebody who crashed.
    pub(crate) fn reserved(&self) -> Revision {
        self.reserved
    }

    /// Whether everything that was written is synced.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_none() && !self.uncertain
    }

    /// Makes sure that the revision will not be used again after a crash.
    pub(crate) fn reserve(&mut self, revision: Revision) -> Result<(), StorageError> {
        if self.uncertain {
            let place = self.root.display().to_string();
            return Err(StorageError::Uncertain { place });
        }
        if revision <= self.reserved {
            return Ok(());
        }
        let up_to = Revision::new(revision.get().saturating_add(RESERVE));
        self.replace(Path::new(HEAD), Kind::Head, up_to, &[])?;
        self.reserved = up_to;
        Ok(())
    }

    /// Does the writes, all or none. After an error other than
    /// [`StorageError::Indeterminate`] everything is as before.
    pub(crate) fn commit(
        &mut self,
        writes: &[Write],
        revision: Revision,
    ) -> Result<(), StorageError> {
        self.reserve(revision)?;
        self.finish()?;
        match writes {
            [] => Ok(()),
            [Write::Put(key, value)] => {
                let path = self.place(key)?;
                self.replace(&path, Kind::Record, revision, value.as_bytes())
            }
            [Write::Delete(key)] => self.delete(key),
            several => self.journaled(several, revision),
        }
    }

    fn journaled(&mut self, writes: &[Write], revision: Revision) -> Result<(), StorageError> {
        let bytes = journal::encode(writes);
        self.replace(Path::new(JOURNAL), Kind::Txn, revision, &bytes)?;
        self.pending = Some(Pending {
            writes: writes.to_vec(),
            revision,
        });
        // Done, whatever happens now: what cannot be finished here is before the next write.
        if let Err(error) = self.finish() {
            let error = &error as &dyn core::error::Error;
            tracing::warn!(store = %self.root.display(), error, "journal not finished yet");
        }
        Ok(())
    }

    /// Does what the journal says and removes it. Doing it again changes nothing.
    fn finish(&mut self) -> Result<(), StorageError> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let done = self.redo(&pending);
        if done.is_err() {
            self.pending = Some(pending);
        }
        done
    }

    fn redo(&mut self, pending: &Pending) -> Result<(), StorageError> {
        let mut touched = BTreeSet::new();
        let mut emptied = BTreeSet::new();
        for write in &pending.writes {
            let path = match write {
                Write::Put(key, value) => {
                    let path = self.place(key)?;
                    self.put(&path, Kind::Record, pending.revision, value.as_bytes())?;
                    path
                }
                Write::Delete(key) => {
                    let path = data_path(key);
                    self.remove(&path)?;
                    emptied.insert(parent(&path).to_owned());
                    continue;
                }
            };
            touched.insert(parent(&path).to_owned());
        }
        for dir in &touched {
            self.sync(dir)?;
        }
        // Those of removed files as well, removed now or by an attempt that went no further.
        for dir in emptied.difference(&touched) {
            self.sync_if_there(dir)?;
        }
        self.remove(Path::new(JOURNAL))?;
        // Before any later write: an old journal must not be found beside newer files.
        self.sync(Path::new(""))?;
        for dir in &emptied {
            self.prune(dir);
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<(), StorageError> {
        let path = data_path(key);
        self.remove(&path)?;
        self.sync_or_doubt(parent(&path))?;
        self.prune(parent(&path));
        Ok(())
    }

    fn replace(
        &mut self,
        path: &Path,
        kind: Kind,
        revision: Revision,
        body: &[u8],
    ) -> Result<(), StorageError> {
        self.put(path, kind, revision, body)?;
        self.sync_or_doubt(parent(path))
    }

    /// The file under its name; not yet for certain after a crash.
    fn put(
        &mut self,
        path: &Path,
        kind: Kind,
        revision: Revision,
        body: &[u8],
    ) -> Result<(), StorageError> {
        let new = parent(path).join(NEW);
        let line = frame::line(kind, revision, body);
        let parts = [line.as_bytes(), body];
        let mut made = self.disk.create_synced(&new, parts);
        if made
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        {
            // Left by a failure whose clean-up failed as well.
            made = self
                .disk
                .remove(&new)
                .and_then(|()| self.disk.create_synced(&new, parts));
        }
        let made = match made {
            Ok(()) => self.disk.rename(&new, path),
            Err(error) => Err(error),
        };
        made.map_err(|source| {
            // Half a file is of no use; if it stays, the next write removes it.
            let _ = self.disk.remove(&new);
            self.io("write", path, source)
        })
    }

    /// Whether there was something to remove.
    fn remove(&mut self, path: &Path) -> Result<bool, StorageError> {
        match self.disk.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.io("remove", path, source)),
        }
    }

    /// The path of a key's file, whose directories exist for certain.
    fn place(&mut self, key: &Key) -> Result<PathBuf, StorageError> {
        let path = data_path(key);
        let mut missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|dir| !self.directories.contains(*dir))
            .collect();
        while let Some(dir) = missing.pop() {
            self.make_dir(dir)?;
            self.sync(parent(dir))?;
            self.directories.insert(dir.to_owned());
        }
        Ok(path)
    }

    fn make_dir(&mut self, dir: &Path) -> Result<(), StorageError> {
        let made = self.disk.create_dir(dir);
        made.map(drop)
            .map_err(|source| self.io("make", dir, source))
    }

    /// Removes directories that became empty, as far as it goes: they are in nobody's way.
    fn prune(&mut self, dir: &Path) {
        for dir in dir.ancestors() {
            if dir == Path::new(DATA) || self.disk.remove_dir(dir).is_err() {
                return;
            }
            self.directories.remove(dir);
        }
    }

    fn sync(&mut self, dir: &Path) -> Result<(), StorageError> {
        let synced = self.disk.sync_dir(dir);
        synced.map_err(|source| self.io("sync", dir, source))
    }

    fn sync_if_there(&mut self, dir: &Path) -> Result<(), StorageError> {
        match self.disk.sync_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(|source| self.io("sync", dir, source)),
        }
    }

    /// Syncs after a change that is already seen: a failure leaves open which of both
    /// states survives a crash, and a later success would not say either.
    fn sync_or_doubt(&mut self, dir: &Path) -> Result<(), StorageError> {
        self.disk.sync_dir(dir).map_err(|error| {
            self.uncertain = true;
            tracing::error!(store = %self.root.display(), %error, "open the store again");
            StorageError::Indeterminate {
                place: self.root.join(dir).display().to_string(),
                reason: error.to_string(),
            }
        })
    }

    fn load(
        &mut self,
        dir: &Path,
        dirs: &mut Vec<PathBuf>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        let listed = self.disk.list(dir);
        for (name, named) in listed.map_err(|source| self.io("list", dir, source))? {
            let path = dir.join(&name);
            if named == Named::Directory {
                dirs.push(path);
            } else if named == Named::Other {
                // Followed, it would have files read and written elsewhere; passed over,
                // what is written below it would be gone at the next opening.
                let reason = "it is neither a file nor a directory; links are not followed";
                return Err(self.corrupt(&path, reason.to_owned()));
            } else if name == NEW {
                self.remove(&path)?;
            } else if name.ends_with(path::SUFFIX) {
                let key = path.strip_prefix(DATA).ok().and_then(path::to_key);
                let key = key.ok_or_else(|| self.corrupt(&path, "its name is no key's".into()))?;
                if let Some((value, revision)) = self.read_file(&path, Kind::Record)? {
                    entries.push(Entry {
                        key,
                        value,
                        revision,
                    });
                }
            }
        }
        Ok(())
    }

    fn read_file(
        &self,
        path: &Path,
        kind: Kind,
    ) -> Result<Option<(Value, Revision)>, StorageError> {
        let mut bytes = match self.disk.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read", path, source)),
        };
        let (revision, start) =
            frame::read(kind, &bytes).map_err(|reason| self.corrupt(path, reason))?;
        bytes.drain(..start);
        Ok(Some((bytes.into(), revision)))
    }

    fn io(&self, action: &'static str, path: &Path, source: io::Error) -> StorageError {
        StorageError::Io {
            action,
            path: self.root.join(path),
            source,
        }
    }

    fn corrupt(&self, path: &Path, reason: String) -> StorageError {
        StorageError::Corrupt {
            place: self.root.join(path).display().to_string(),
            reason,
        }
    }
}

fn data_path(key: &Key) -> PathBuf {
    Path::new(DATA).join(path::of_key(key))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
