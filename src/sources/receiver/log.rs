//! The log of a receiver: what was received, on disk before it becomes part of a batch.
//!
//! One task writes it, one file after the other. What is received while a file is written goes into the
//! next one, so a slow disk makes larger files and not a longer queue of them. Nothing is read back while
//! the source runs; `restore.rs` does that when it starts.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::Shared;
use super::group::Group;
use super::queue::{GROUP_BYTES, Queue};
use crate::checkpoint::Store;
use crate::sources::SourceError;

/// What was received is written after this time, if nobody waits for it before.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);
/// So many files are deleted at a time.
const DELETIONS: usize = 8;
/// What waits for deletions waits this long at most.
const DELETING: Duration = Duration::from_secs(5);

/// The log as those see it who wait for it.
pub(super) struct Log {
    store: Store,
    /// Wakes the task that writes.
    wake: Notify,
    progress: watch::Receiver<Progress>,
    /// Which parts of the stream the files hold, in order.
    files: Mutex<VecDeque<Range<u64>>>,
    /// Where files are deleted: the threads that wait.
    threads: Handle,
}

/// How far the log is.
pub(super) struct Progress {
    /// Everything before this is on disk.
    durable: u64,
    /// Why nothing more will be.
    failed: Option<String>,
}

/// The name of the file that begins there: all digits, so that names sort as numbers do.
pub(super) fn file_name(start: u64) -> String {
    format!("{start:020}")
}

impl Log {
    /// Goes on after these files. The other end of its progress is for the [`Writer`].
    pub fn new(store: Store, files: VecDeque<Range<u64>>, durable: u64) -> (Arc<Self>, watch::Sender<Progress>) {
        let (sender, progress) = watch::channel(Progress { durable, failed: None });
        let (wake, files, threads) = (Notify::new(), Mutex::new(files), Handle::current());
        (Arc::new(Self { store, wake, progress, files, threads }), sender)
    }

    /// Tells the task that writes that there is something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Everything before this is on disk.
    pub fn durable(&self) -> u64 {
        self.progress.borrow().durable
    }

    /// Returns once everything before `end` is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn reached(&self, end: u64) -> Result<(), SourceError> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|it| it.durable >= end || it.failed.is_some()).await;
        let failed = match &reached {
            Ok(progress) if progress.durable >= end => return Ok(()),
            Ok(progress) => progress.failed.clone().unwrap_or_default(),
            Err(_closed) => "internal error, please report it: nobody writes the log".to_owned(),
        };
        Err(SourceError::io("cannot keep what was received", io::Error::other(failed)))
    }

    /// Deletes the files whose every byte is before `end`, on other threads and after `earlier`.
    pub fn delete(&self, end: u64, earlier: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        let names = self.take_until(end);
        if names.is_empty() {
            return earlier;
        }
        let store = self.store.clone();
        Some(self.threads.spawn(async move {
            if let Some(earlier) = earlier {
                drop(earlier.await);
            }
            delete_files(&store, names).await;
        }))
    }

    fn take_until(&self, end: u64) -> Vec<String> {
        let mut files = self.files();
        let count = files.partition_point(|file| file.end <= end);
        files.drain(..count).map(|file| file_name(file.start)).collect()
    }

    /// Nothing that holds the lock can leave the list half changed, so a poisoned lock is as good.
    fn files(&self) -> MutexGuard<'_, VecDeque<Range<u64>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns once files are deleted, or after some time.
pub(super) async fn deleted(deleting: JoinHandle<()>) {
    drop(tokio::time::timeout(DELETING, deleting).await);
}

async fn delete_files(store: &Store, names: Vec<String>) {
    let mut deleting = JoinSet::new();
    for name in names {
        if deleting.len() >= DELETIONS {
            drop(deleting.join_next().await);
        }
        let store = store.clone();
        deleting.spawn(async move {
            if let Err(error) = store.delete(&name).await {
                tracing::warn!("what is processed stays in the log until the next start: {error}");
            }
        });
    }
    while deleting.join_next().await.is_some() {}
}

/// The task that writes the log.
pub(super) struct Writer {
    shared: Arc<Shared>,
    log: Arc<Log>,
    progress: watch::Sender<Progress>,
}

impl Writer {
    /// For what is received through `shared`.
    pub fn new(shared: Arc<Shared>, log: Arc<Log>, progress: watch::Sender<Progress>) -> Self {
        Self { shared, log, progress }
    }

    /// Writes until something cannot be written; whoever waits is told.
    pub async fn run(self) {
        loop {
            self.until(Queue::has_unwritten).await;
            // More may come, and should be in the same file, unless someone waits.
            let _elapsed = tokio::time::timeout(FLUSH_INTERVAL, self.until(Queue::is_due)).await;
            let group = self.shared.queue().cut(GROUP_BYTES);
            let Some(group) = group else { continue };
            if let Err(failed) = self.write(group).await {
                self.progress.send_modify(|progress| progress.failed = Some(failed));
                return;
            }
        }
    }

    async fn until(&self, question: fn(&Queue) -> bool) {
        loop {
            let answer = question(&self.shared.queue());
            if answer {
                return;
            }
            self.log.wake.notified().await;
        }
    }

    async fn write(&self, group: Group) -> Result<(), String> {
        let range = group.start..group.end();
        // The copy and the checksum take their time, which the threads that receive do not have.
        let sealed = tokio::task::spawn_blocking(move || group.seal()).await;
        let file = sealed.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
        self.log.store.write(&file_name(range.start), file).await.map_err(|error| error.to_string())?;
        let end = range.end;
        // In this order: who hears that it is durable may want to delete it.
        self.log.files().push_back(range);
        self.progress.send_modify(|progress| progress.durable = end);
        Ok(())
    }
}

fn internal(error: &dyn std::fmt::Display) -> String {
    format!("internal error, please report it: {error}")
}

/// Ends the task when the source goes; a write that has begun is finished.
pub(super) struct Writing(JoinHandle<()>);

impl Writing {
    /// Starts the task.
    pub fn start(writer: Writer) -> Self {
        Self(tokio::spawn(writer.run()))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
