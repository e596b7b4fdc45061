//! One process at a time: the kernel's lock on a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// In the directory of Secrets: locked while a process keeps them, and the number of that process. No namespace is
/// called so.
const LOCK: &str = ".lock";

/// Nobody else keeps the directory's Secrets while it lives, and its process does.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> Result<Self, LockError> {
        fs::create_dir_all(directory).map_err(|e| LockError::io(directory, e))?;
        let path = directory.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(|e| LockError::io(&path, e))?;
        if !lock(&file).map_err(|e| LockError::io(&path, e))? {
            let mut process = String::new();
            // Who it is helps, but is not needed.
            let _ = file.read_to_string(&mut process);
            let process = process.trim().parse().ok();
            let directory = directory.to_owned();
            return Err(LockError::Held { directory, process });
        }
        let process = std::process::id();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{process}"))
            .map_err(|e| LockError::io(&path, e))?;
        Ok(Self { file, path })
    }

    /// Whether others meet it: somebody may have removed the file, and the next one locks a new one.
    pub(super) fn is_met(&self) -> bool {
        let ours = self.file.metadata().ok().as_ref().and_then(number);
        ours.is_some() && ours == fs::metadata(&self.path).ok().as_ref().and_then(number)
    }
}

/// What tells a file from others.
#[cfg(unix)]
fn number(file: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn number(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Locks a file until it is closed, however its process ends; whether nobody else has.
#[cfg(unix)]
fn lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    loop {
        return match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(not(unix))]
fn lock(_: &File) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Why a directory's Secrets are not this process's to keep.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error(
        "{} is kept by {}; stop that one, or give this one another directory",
        directory.display(),
        process.map_or("another process".to_owned(), |process| format!("process {process}"))
    )]
    Held {
        directory: PathBuf,
        process: Option<u32>,
    },
    #[error("cannot lock {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, source }
    }
}
