//! The few things a store asks of a file system.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The few things a store asks of a file system; a test answers with one that crashes.
///
/// Paths are relative to the store's directory. Nothing but what was synced survives a
/// crash for certain, and what was not may survive in part.
pub(crate) trait Disk: Send {
    /// What is in a directory: names, and whether each is a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>>;
    /// A whole file, of mode 0600 from now on.
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
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        let entries = self.0.join(dir).read_dir()?.map(|entry| {
            let entry = entry?;
            // Names that are no text are nobody's we know.
            let name = entry.file_name().into_string().unwrap_or_default();
            Ok((name, entry.file_type()?.is_dir()))
        });
        entries.collect()
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut file = File::open(self.0.join(path))?;
        let metadata = file.metadata()?;
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
