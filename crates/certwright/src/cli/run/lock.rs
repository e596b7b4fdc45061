//! One process keeps a directory.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::events::Events;

/// Locks a directory, which is made if it is missing, as long as the file is open. The lock takes no room on the disk
/// and ends with the process, however that ends.
pub(super) fn take(dir: &Path, wait: bool, events: &Events) -> Result<File, Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("cannot keep {}: {error}", dir.display());
    fs::create_dir_all(dir).map_err(failed)?;
    let file = File::open(dir).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(file),
        Err(Errno::WOULDBLOCK) if wait => {}
        Err(Errno::WOULDBLOCK) => {
            let why = "another process keeps it; stop that, or take over with --wait";
            return Err(format!("cannot keep {}: {why}", dir.display()).into());
        }
        Err(error) => return Err(failed(error.into()).into()),
    }
    events.say("waiting", "another process keeps the directory of Secrets");
    flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(file)
}
