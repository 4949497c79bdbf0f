//! What a pipeline must know after a crash, in one folder of an object store.
//!
//! ```text
//! metadata                      whose checkpoint it is
//! offsets/00000000000000000007  what batch 7 reads; written before it runs
//! commits/00000000000000000007  batch 7 is done, and what it changed in the states; written after it
//! saved/count-7                 the state of a component that was reset after batch 7
//! lock                          held by the process that runs the pipeline
//! ```
//!
//! A batch is committed exactly when its file in `commits/` is whole: there is no moment at which the
//! batch is done and its state is not, or the other way round. A component writes its state as a chain:
//! a snapshot, and then what changed; a batch that changed nothing in it adds nothing to it. A commit
//! lists the batches of all chains, so it says itself which files its state is made of, and a component
//! that hardly ever changes keeps its own few files and no others.
//!
//! The room knows nothing of engine, sources and steps: a component is a name with a fingerprint and
//! bytes. `recovery.rs` says what is read after a crash, and when a checkpoint is refused.

mod chains;
mod commit;
mod envelope;
mod error;
mod inspect;
mod layout;
mod lock;
mod metadata;
mod offsets;
mod recovery;
mod saved;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{SecondsFormat, Utc};
use serde_json::Value;

pub use commit::{Section, SectionKind};
pub use envelope::{Damage, opened, sealed};
pub use error::CheckpointError;
pub use inspect::{FileReport, Inspection, inspect};
pub use lock::holder;
pub use metadata::Metadata;
pub use offsets::Planned;
pub use recovery::{History, Recovered};
pub use saved::{Saved, saved};
pub use store::Store;

use chains::Chains;
use commit::Commit;
use layout::{FOLDERS, Files};
use lock::Lock;
use recovery::Recovery;

/// A pipeline's checkpoint, open and locked as long as the value lives.
///
/// Batches are numbered from 0. Each is planned, run and committed, in this order. What was begun here
/// must be awaited to its end, and after an error the run must end: only the next open knows what is in
/// the store.
#[derive(Debug)]
pub struct Checkpoint {
    store: Store,
    metadata: Metadata,
    /// For so many batches before the last one the state can be told.
    retain: u64,
    /// The batch that is committed last.
    last: Option<u64>,
    chains: Chains,
    files: Files,
    /// By commit, the commits that its state is made from; as far as it is known.
    listed: BTreeMap<u64, BTreeSet<u64>>,
    lock: Option<Lock>,
}

impl Checkpoint {
    /// Locks the pipeline's checkpoint, begins it if there is none, and reads what it says. Pruning
    /// keeps what is needed to go back by `retain` batches. Refused where another process is on it, where
    /// it belongs to another pipeline, and where so much is damaged that going on could be wrong.
    pub async fn open(store: Store, pipeline: &str, retain: u64) -> Result<(Self, Recovered), CheckpointError> {
        store.create(&FOLDERS).await?;
        let lock = store.local_folder().map(Lock::take).transpose()?;
        store.sweep(&FOLDERS).await?;
        let mut files = Files::list(&store).await?;
        let metadata = Metadata::open(&store, pipeline, files.newest().is_some()).await?;
        let Recovery { recovered, chains, listed } = recovery::recover(&store, &files).await?;
        let last = recovered.last.map(|(batch, _)| batch);
        let newest = recovered.planned.last().map(|planned| planned.batch).max(last);
        // A plan that was cut off counts as not written.
        files.offsets.retain(|batch| Some(*batch) <= newest);
        let checkpoint = Self { store, metadata, retain, last, chains, files, listed, lock };
        Ok((checkpoint, recovered))
    }

    /// Whose checkpoint it is.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Writes down what a batch will read. It is the batch after the last one that was planned, or one
    /// that is to run again. Once this returns, the batch may run.
    pub async fn plan(&mut self, planned: &Planned) -> Result<(), CheckpointError> {
        let batch = planned.batch;
        let next = self.files.offsets.last().map_or(0, |newest| newest.saturating_add(1)).max(self.next());
        if !(self.next()..=next).contains(&batch) {
            return Err(CheckpointError::Internal(format!("batch {batch} cannot be planned, the next one is {next}")));
        }
        self.still_there()?;
        self.store.write(&layout::offsets(batch), planned.encode()?).await?;
        self.files.offsets.insert(batch);
        Ok(())
    }

    /// Commits the batch after the last one, which was planned: what it wrote stands, with at most one
    /// section for each component whose state it changed. Then removes what is not needed any more.
    /// Returns how many bytes were written.
    pub async fn commit(&mut self, batch: u64, time: i64, sections: Vec<Section>) -> Result<u64, CheckpointError> {
        self.check(batch, &sections)?;
        self.still_there()?;
        let mut chains = self.chains.clone();
        chains.extend(batch, &sections);
        let commit = Commit { batch, time, components: chains.batches(), sections };
        let file = commit.encode()?;
        let size = file.len() as u64;
        self.drop_later_than(batch).await?;
        self.store.write(&layout::commit(batch), file).await?;
        self.chains = chains;
        self.last = Some(batch);
        self.files.commits.insert(batch);
        self.listed.insert(batch, commit.listed());
        if let Err(error) = self.prune(batch).await {
            tracing::warn!("batch {batch} is committed, but what is not needed any more stays for now: {error}");
        }
        Ok(size)
    }

    /// Keeps the state of a component that is reset, for people; nothing reads it. Returns the file's
    /// name in the checkpoint's folder.
    pub async fn save(&self, component: &str, fingerprint: &Value, bytes: &[u8]) -> Result<String, CheckpointError> {
        saved::write(&self.store, component, self.last.unwrap_or(0), fingerprint, bytes).await
    }

    /// Whether the component's next section should be a snapshot: it has none yet, or reading the deltas
    /// since would take longer than reading a new one.
    #[must_use]
    pub fn wants_snapshot(&self, component: &str) -> bool {
        self.chains.wants_snapshot(component)
    }

    /// Refuses to go on in a folder that is not the one that was opened.
    fn still_there(&self) -> Result<(), CheckpointError> {
        match &self.lock {
            Some(lock) if !lock.holds() => Err(CheckpointError::Gone { folder: self.store.to_string() }),
            _ => Ok(()),
        }
    }

    /// Removes what is not needed to go back by `retain` batches.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub async fn prune_to(&mut self, retain: u64) -> Result<(), CheckpointError> {
        self.retain = retain;
        match self.last {
            Some(last) => self.prune(last).await,
            None => Ok(()),
        }
    }

    /// The component is gone from the pipeline: from the next commit on it has no state. A section
    /// that it writes later begins with no state as well.
    pub fn forget(&mut self, component: &str) {
        self.chains.remove(component);
    }

    /// From the next commit on, pruning keeps what is needed to go back by `retain` batches. What is gone
    /// by then stays gone.
    pub fn retain(&mut self, retain: u64) {
        self.retain = retain;
    }

    /// The batch that can be committed next.
    fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.saturating_add(1))
    }

    /// A commit out of turn could never be recovered from.
    fn check(&self, batch: u64, sections: &[Section]) -> Result<(), CheckpointError> {
        let names: BTreeSet<&str> = sections.iter().map(|section| section.component.as_str()).collect();
        let wrong = if batch != self.next() {
            format!("batch {batch} cannot be committed, the next one is {}", self.next())
        } else if !self.files.offsets.contains(&batch) {
            format!("batch {batch} cannot be committed, it was not planned")
        } else if names.len() != sections.len() {
            format!("batch {batch} has two sections for one component")
        } else {
            return Ok(());
        };
        Err(CheckpointError::Internal(wrong))
    }

    /// After going back, commits of the run before may stand behind this batch. They must not be taken
    /// for what follows from it; until here they stayed, in case the damaged file is restored instead.
    async fn drop_later_than(&mut self, batch: u64) -> Result<(), CheckpointError> {
        while let Some(later) = self.files.commits.last().copied().filter(|later| *later > batch) {
            self.store.delete(&layout::commit(later)).await?;
            self.files.commits.remove(&later);
            self.listed.remove(&later);
        }
        Ok(())
    }

    /// Removes what is not needed to go back by `retain` batches.
    async fn prune(&mut self, last: u64) -> Result<(), CheckpointError> {
        let Some(kept) = last.checked_sub(self.retain) else { return Ok(()) };
        self.listed = self.listed.split_off(&kept);
        let commits = self.needless(kept).await?;
        remove(&self.store, &mut self.files.commits, commits, layout::commit).await?;
        let offsets = self.files.offsets.range(..kept).copied().collect();
        remove(&self.store, &mut self.files.offsets, offsets, layout::offsets).await
    }

    /// The commits before this one that no state from it on is made from. Chains grow at their ends, so
    /// what a commit lists is listed by all in between as well: the oldest whole commit from this one on
    /// tells what is needed. It need not even be read where the last one lists all there is.
    async fn needless(&mut self, kept: u64) -> Result<Vec<u64>, CheckpointError> {
        let mut needless: Vec<u64> = self.files.commits.range(..kept).copied().collect();
        if let Some(listed) = self.last.and_then(|last| self.listed.get(&last)) {
            needless.retain(|older| !listed.contains(older));
        }
        if needless.is_empty() {
            return Ok(needless);
        }
        for batch in self.files.commits.range(kept..) {
            let listed = match self.listed.remove(batch) {
                // It is from before this process, and recovery did not need it.
                None => read_listed(&self.store, *batch).await?,
                known => known,
            };
            let Some(listed) = listed else { continue };
            needless.retain(|older| !listed.contains(older));
            self.listed.insert(*batch, listed);
            break;
        }
        Ok(needless)
    }
}

/// What a commit lists; `None` if it is damaged or not there.
async fn read_listed(store: &Store, batch: u64) -> Result<Option<BTreeSet<u64>>, CheckpointError> {
    let file = store.read(&layout::commit(batch)).await?;
    let commit = file.and_then(|file| Commit::decode(batch, &file).ok());
    Ok(commit.map(|commit| commit.listed()))
}

/// Deletes files, the oldest first, so that no gap appears in the offset log.
async fn remove(
    store: &Store,
    batches: &mut BTreeSet<u64>,
    needless: Vec<u64>,
    name: fn(u64) -> String,
) -> Result<(), CheckpointError> {
    for batch in needless {
        store.delete(&name(batch)).await?;
        batches.remove(&batch);
    }
    Ok(())
}

/// The time for people to read in a file. Nothing is computed from it, so it needs no `Clock`.
fn stamp() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}
