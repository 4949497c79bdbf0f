//! Notices that pipeline files changed. Whatever the editor or the cluster does (write, rename over
//! the file, swap a symlink above it), a burst of events is one look at the files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A burst of events is over when nothing came for this long.
const QUIET: Duration = Duration::from_millis(150);
/// A burst that does not end is looked at after this long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells when something happened around the watched paths.
pub struct FileWatch {
    events: mpsc::Receiver<()>,
    /// An event came that nobody has been told of: waiting may be given up and begun again.
    pending: bool,
    // Watching ends when it is dropped.
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches files or folders. The folder of a file is watched, not the file, since saving often
    /// replaces it; so are the folders that symlinks on the way point to.
    ///
    /// # Errors
    /// When the system cannot watch.
    pub fn new(paths: &[PathBuf]) -> Result<Self, notify::Error> {
        let (sender, events) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
            let relevant = event.is_ok_and(|event| !event.kind.is_access());
            if relevant {
                // A full channel means that a look is due anyway.
                let _ = sender.try_send(());
            }
        })?;
        let mut folders: Vec<PathBuf> = paths.iter().flat_map(|path| folders(path)).collect();
        folders.sort();
        folders.dedup();
        for folder in folders {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { events, pending: false, _watcher: watcher })
    }

    /// Returns after the next burst of events.
    pub async fn changed(&mut self) {
        if !self.pending {
            if self.events.recv().await.is_none() {
                return std::future::pending().await;
            }
            self.pending = true;
        }
        let burst = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, self.events.recv()).await {} };
        // However it ends, it is time to look.
        let _ = tokio::time::timeout(PATIENCE, burst).await;
        self.pending = false;
    }
}

/// The folders in which a change may change what `path` holds.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut current = path.to_path_buf();
    // A chain of symlinks is followed link by link; a circle ends it.
    for _ in 0..16 {
        if current.is_dir() {
            found.push(current.clone());
        }
        let folder = match current.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_path_buf(),
            None => break,
        };
        found.push(folder.clone());
        match std::fs::read_link(&current) {
            Ok(target) => current = folder.join(target),
            Err(_) => break,
        }
    }
    found.retain(|folder| folder.is_dir());
    found
}
