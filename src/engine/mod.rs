//! The local micro-batch engine: a clock, batch times, one micro-batch after the other, and how fast
//! sources may go.

pub mod batch;
pub mod clock;
pub mod failpoint;
pub mod generator;
pub mod ledger;
pub mod memory;
pub mod operators;
mod place;
pub mod progress;
pub mod rate;
mod retry;

use std::sync::Arc;

use crate::checkpoint::CheckpointError;
use crate::sinks::{RowsError, SinkError, Terminal};
use crate::sources::{Clock, SourceError};
use crate::state::StateError;

pub use batch::{Engine, Reach};
pub use ledger::{Ledger, Left, ResetState};
pub use operators::Operators;
pub use progress::{Progress, SourceProgress};

/// What jobs share.
#[derive(Clone)]
pub struct Runtime {
    /// The engine's time.
    pub clock: Arc<dyn Clock>,
    /// Standard output.
    pub terminal: Arc<dyn Terminal>,
    /// Threads for waiting on the outside world.
    pub io: tokio::runtime::Handle,
    /// Threads for decoding and plans.
    pub workers: tokio::runtime::Handle,
    /// `--available-now`.
    pub available_now: bool,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source cannot go on.
    #[error("source `{name}`: {error}")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        error: SourceError,
    },
    /// A sink cannot go on.
    #[error("sink `{name}`: {error}")]
    Sink {
        /// Its name.
        name: String,
        /// Why.
        error: SinkError,
    },
    /// Rows cannot be computed; it names the source or the steps.
    #[error(transparent)]
    Rows(RowsError),
    /// A stage between others failed.
    #[error("{place}: {error}")]
    Stage {
        /// Whose rows it computes, in the user's words.
        place: String,
        /// Why.
        error: String,
    },
    /// A step's state cannot go on.
    #[error("step `{step}`: {error}")]
    State {
        /// Its name.
        step: String,
        /// Why.
        error: StateError,
    },
    /// A step keeps something else than it did.
    #[error(
        "the state of step {step} does not fit any more: {difference}; change that back, or write \
         `reload: {{ on_state_change: reset }}` beside the step's kind to begin its state anew"
    )]
    StateChanged {
        /// Its name, and where it stands.
        step: String,
        /// What differs.
        difference: String,
    },
    /// The states of all steps take more memory than they may. The batch is committed.
    #[error("{0}")]
    StateLimit(String),
    /// A new version cannot take over.
    #[error("{0}")]
    Refused(String),
    /// The checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A test has ended the batch.
    #[error("crashed at a failpoint")]
    Crashed,
    /// The engine itself; a bug.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl RunError {
    fn state(step: &str, error: StateError) -> Self {
        Self::State { step: step.to_owned(), error }
    }
}
