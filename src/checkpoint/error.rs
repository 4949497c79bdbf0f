//! What can go wrong with a checkpoint, and what to do about it.

use std::error::Error as _;
use std::io;
use std::iter::successors;

use super::envelope::Damage;
use super::store::Store;

/// Why a checkpoint cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The outside world: a disk, a server. What may pass has been tried several times.
    #[error("cannot {verb} `{place}`: {}; see to it that this works, then start again", reason(.source))]
    Store {
        /// What was tried.
        verb: &'static str,
        /// With which file or folder.
        place: String,
        /// What went wrong.
        source: Box<object_store::Error>,
    },
    /// A path that cannot be used.
    #[error("`{folder}` cannot hold a checkpoint: {reason}; give another path")]
    Path {
        /// The path as it was given.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to look into.
    #[error("there is no checkpoint at `{folder}`; check the path: a checkpoint begins with its pipeline's first run")]
    Absent {
        /// Where it was looked for.
        folder: String,
    },
    /// A process holds the lock.
    #[error(
        "the checkpoint `{folder}` is in use by {owner}; stop that process first, or give this pipeline a \
         checkpoint of its own"
    )]
    Locked {
        /// The checkpoint.
        folder: String,
        /// The process, its host, and since when, as far as they are known.
        owner: String,
    },
    /// The checkpoint is not there any more.
    #[error(
        "the checkpoint `{folder}` was removed or replaced while the pipeline ran; put it back and start again, or \
         start without it: what was processed is then processed again"
    )]
    Gone {
        /// The checkpoint.
        folder: String,
    },
    /// The checkpoint belongs to another pipeline.
    #[error(
        "`{folder}` is the checkpoint of the pipeline `{found}`, not of `{expected}`; give this pipeline a \
         checkpoint of its own, or move `{folder}` away and begin anew"
    )]
    OtherPipeline {
        /// The checkpoint.
        folder: String,
        /// Whose checkpoint it is.
        found: String,
        /// Who wants it.
        expected: String,
    },
    /// One file that must be right is not.
    #[error(
        "`{file}` {damage}; {}, or move `{folder}` away and begin anew: what was processed is then processed again",
        .damage.remedy()
    )]
    Damaged {
        /// The file.
        file: String,
        /// The checkpoint.
        folder: String,
        /// What is wrong with the file.
        damage: Damage,
    },
    /// So much is damaged that going on could give wrong results.
    #[error(
        "the checkpoint `{folder}` cannot be continued: {}; restore what is damaged or missing, or move `{folder}` \
         away and begin anew: what was processed is then processed again",
        .problems.join("; ")
    )]
    Unrecoverable {
        /// The checkpoint.
        folder: String,
        /// The files that are damaged or missing, with what is wrong with each.
        problems: Vec<String>,
    },
    /// A bug.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl CheckpointError {
    /// A file that must be right is not.
    pub(super) fn damaged(store: &Store, name: &str, damage: Damage) -> Self {
        Self::Damaged { file: store.place(name), folder: store.to_string(), damage }
    }
}

/// What the outside world said, without the words of the library around it.
pub(super) fn reason(error: &object_store::Error) -> String {
    match (io_error(error), error) {
        (Some(error), _) => error.to_string(),
        (None, object_store::Error::Generic { source, .. }) => source.to_string(),
        (None, error) => error.to_string(),
    }
}

/// The operating system's error that is behind an error of the store.
pub(super) fn io_error(error: &object_store::Error) -> Option<&io::Error> {
    successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref::<io::Error>())
}
