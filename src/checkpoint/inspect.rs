//! A look into a checkpoint, for people.

use super::CheckpointError;
use super::envelope::{self, Damage, Kind};
use super::layout::Files;
use super::metadata::Metadata;
use super::recovery::{self, Recovered};
use super::store::Store;

/// What is in a checkpoint.
#[derive(Debug)]
pub struct Inspection {
    /// Whose checkpoint it is.
    pub metadata: Metadata,
    /// What the pipeline would go on with, or why it would be refused.
    pub recovered: Result<Recovered, CheckpointError>,
    /// All files of the log and the saved states; in each folder the oldest first.
    pub files: Vec<FileReport>,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Its name in the checkpoint's folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is wrong with it; `None` if it is whole.
    pub damage: Option<Damage>,
}

/// Looks into a checkpoint without its lock: nothing is written, and its pipeline may run meanwhile.
/// Damaged metadata are an error, as nothing can be said without them.
pub async fn inspect(store: &Store) -> Result<Inspection, CheckpointError> {
    let Some(metadata) = Metadata::read(store).await? else {
        return Err(CheckpointError::Absent { folder: store.to_string() });
    };
    let files = Files::list(store).await?;
    let recovered = recovery::recover(store, &files).await.map(|recovery| recovery.recovered);
    let mut reports = Vec::new();
    for (folder, kind) in [("offsets", Kind::Offsets), ("commits", Kind::Commit), ("saved", Kind::Saved)] {
        for name in store.list(folder).await? {
            let name = format!("{folder}/{name}");
            // What is gone by now was not needed any more.
            let Some(file) = store.read(&name).await? else { continue };
            reports.push(FileReport { name, size: file.len() as u64, damage: envelope::open(kind, &file).err() });
        }
    }
    Ok(Inspection { metadata, recovered, files: reports })
}
