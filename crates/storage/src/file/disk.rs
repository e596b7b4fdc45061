//! The few things a store asks of a file system.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::MAX_TXN_LEN;

/// The longest file: the largest transaction, and what a journal says of each write.
const MAX_LEN: u64 = MAX_TXN_LEN as u64 + (64 << 10);

/// What has a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Directory,
    File,
    /// A link, a pipe, a device.
    Other,
}

/// The few things a store asks of a file system; a test answers with one that crashes.
///
/// Paths are relative to the store's directory. Nothing but what was synced survives a
/// crash for certain, and what was not may survive in part.
pub(crate) trait Disk: Send {
    /// What is in a directory, which has mode 0700 from now on.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Named)>>;
    /// A whole file, of mode 0600 from now on. Follows no link.
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>>;
    /// Makes a directory of mode 0700; `false` if it was there.
    fn create_dir(&mut self, dir: &Path) -> io::Result<bool>;
    /// Makes a file of mode 0600, which must not exist, and syncs it.
    fn create_synced(&mut self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()>;
    /// Gives a file another name in its directory, replacing what has it.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Removes a directory, which must be empty.
    fn remove_dir(&mut self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory survive.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
    /// Makes everything survive.
    fn sync_all(&mut self) -> io::Result<()>;
}

/// A directory of the real file system.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Disk for Directory {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Named)>> {
        let dir = self.0.join(dir);
        narrow(&dir, 0o700)?;
        let mut found = Vec::new();
        for entry in dir.read_dir()? {
            let entry = entry?;
            // A name that is no text is none we gave.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = entry.file_type()?;
            let named = match (kind.is_dir(), kind.is_file()) {
                (true, _) => Named::Directory,
                (_, true) => Named::File,
                _ => Named::Other,
            };
            found.push((name, named));
        }
        Ok(found)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(no_link());
        let mut file = options.open(self.0.join(path))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if metadata.len() > MAX_LEN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let len = usize::try_from(metadata.len()).map_err(io::Error::other)?;
        // One byte more, so that the end is found without growing: a key is not copied.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(self.0.join(dir)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn create_synced(&mut self, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(self.0.join(path))?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(self.0.join(path))
    }

    fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(self.0.join(dir))
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        File::open(self.0.join(dir))?.sync_all()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(File::open(&self.0)?)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }
}

/// To be opened with: follows no link, and waits for nobody at the other end of a pipe.
pub(super) fn no_link() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Takes what others may do away, if they may do anything.
pub(super) fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    match path.metadata()?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => std::fs::set_permissions(path, Permissions::from_mode(mode)),
    }
}
