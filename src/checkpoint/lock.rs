//! The lock: two processes must not go on with the same checkpoint.
//!
//! A folder of this machine is locked by the operating system, which lets go of the lock when the
//! process ends, however it ends. A store that is no such folder needs a lease; it belongs beside
//! [`Lock`], and is taken where `Checkpoint::open` takes that.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::local_error;
use super::{CheckpointError, Store, envelope, stamp};

const NAME: &str = "lock";

/// Held as long as the value lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    place: PathBuf,
}

impl Lock {
    /// Locks a folder that is there. Also this process is refused where it holds the lock already.
    pub fn take(folder: &Path) -> Result<Self, CheckpointError> {
        let place = folder.join(NAME);
        let failed = |source: io::Error| CheckpointError::Store {
            verb: "lock",
            place: place.display().to_string(),
            source: Box::new(local_error(source)),
        };
        // Never created anew: who holds it would hold a file that nobody sees any more.
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&place);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (folder, owner) = (folder.display().to_string(), owner(&mut file));
                return Err(CheckpointError::Locked { folder, owner });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.write_all(&envelope::json(&Owner::this())?).map_err(failed)?;
        Ok(Self { file, place })
    }

    /// Whether the file that is locked is still the one of that name: else the checkpoint was removed or
    /// replaced meanwhile, and another process may be on it.
    pub fn holds(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let same =
                |(own, there): (fs::Metadata, fs::Metadata)| own.dev() == there.dev() && own.ino() == there.ino();
            self.file.metadata().ok().zip(fs::metadata(&self.place).ok()).is_some_and(same)
        }
        #[cfg(not(unix))]
        self.place.exists()
    }
}

/// Who holds the lock of a checkpoint; `None` if no one does, or if it cannot be told. Touches nothing.
#[must_use]
pub fn holder(store: &Store) -> Option<String> {
    let mut file = File::open(store.local_folder()?.join(NAME)).ok()?;
    match file.try_lock_shared() {
        // It is let go of with the file.
        Ok(()) | Err(TryLockError::Error(_)) => None,
        Err(TryLockError::WouldBlock) => Some(owner(&mut file)),
    }
}

/// What stands in the file, for whoever finds it locked.
#[derive(Serialize, Deserialize)]
struct Owner {
    host: String,
    pid: u32,
    since: String,
}

impl Owner {
    fn this() -> Self {
        Self { host: host(), pid: std::process::id(), since: stamp() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, pid, since } = self;
        write!(f, "process {pid} on the host `{host}` since {since}")
    }
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let owner: Option<Owner> = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
    owner.map_or_else(|| "another process".to_owned(), |owner| owner.to_string())
}

/// The machine's name. Where the system does not show it as a file, the process number must do.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn only_one_holds_the_lock() {
        let folder = tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err().to_string();
        let expected = format!("is in use by process {} on the host `", std::process::id());
        assert!(error.contains(&expected), "{error}");
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn an_owner_that_is_not_known_is_another_process() {
        let folder = tempdir().unwrap();
        let _lock = Lock::take(folder.path()).unwrap();
        fs::write(folder.path().join(NAME), "").unwrap();
        let error = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is in use by another process; stop"), "{error}");
    }
}
