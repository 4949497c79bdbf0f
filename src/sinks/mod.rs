//! Sinks: where rows go. One file per kind; the list is [`KINDS`].

pub mod console;
pub mod discard;
pub mod files;
pub mod render;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::schema::Schema;
use crate::sources::Resource;
use crate::spec::Check;
use crate::spec::kind::{Kind, kinds};

/// Every sink kind.
pub static KINDS: &[Kind<dyn SinkSettings>] =
    kinds![dyn SinkSettings; console::Console, files::Files, discard::Discard];

/// Settings of a sink that were read and now can be checked.
pub trait SinkSettings: Send + Sync {
    /// Checks the settings against the columns that arrive, without touching the outside world.
    fn check(self: Box<Self>, check: &mut Check<'_>, schema: &Schema) -> Option<CheckedSink>;
}

/// A sink that passed its check.
#[derive(Clone)]
pub struct CheckedSink {
    /// What it writes that no one else may.
    pub resources: Vec<Resource>,
    /// What becomes of a batch that is written again.
    pub rewrite: Rewrite,
    /// Makes the running sink.
    pub factory: Arc<dyn SinkFactory>,
}

/// What becomes of a batch that is written again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// It takes the place of what was written before.
    Replaces,
    /// It is there twice.
    Repeats,
    /// Nothing is written.
    Nothing,
}

/// Makes running sinks.
#[async_trait]
pub trait SinkFactory: Send + Sync {
    /// Opens the sink.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>, SinkError>;
}

/// What a running sink needs to know.
#[derive(Clone)]
pub struct SinkContext {
    /// Its name in the pipeline.
    pub name: String,
    /// The columns that arrive.
    pub schema: SchemaRef,
    /// Where `console` prints.
    pub terminal: Arc<dyn Terminal>,
}

/// Standard output, shared with the live status line.
pub trait Terminal: Send + Sync {
    /// Prints a text in one piece.
    ///
    /// # Errors
    /// When standard output is closed.
    fn print(&self, text: &str) -> std::io::Result<()>;
}

/// A batch's identity, the same when it is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counts from 0.
    pub id: u64,
    /// Milliseconds since the epoch, a multiple of the batch interval.
    pub time: i64,
}

/// The rows of one partition. They are computed while they are read.
pub type Partition = BoxStream<'static, Result<RecordBatch, RowsError>>;

/// Why a partition's rows end early: a step or a source failed. Displays the whole reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RowsError(pub String);

/// A running sink.
#[async_trait]
pub trait Sink: Send {
    /// Writes the rows of a batch. Partitions must be read at the same time (see
    /// [`each_partition`]): one may wait for another. A batch that is written again replaces
    /// what was written before, or the sink says that it does not.
    ///
    /// # Errors
    /// When rows cannot be computed or written. Nothing of the batch must be visible then, as far
    /// as the sink can promise that.
    async fn write(&mut self, batch: Batch, partitions: Vec<Partition>) -> Result<(), SinkError>;

    /// The time of the last batch that an earlier run has left at the sink, where the sink names
    /// batches by their time: batches of this run come after it, so that they replace none of its.
    fn last_time(&self) -> Option<i64> {
        None
    }
}

/// Why a sink cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The outside world: a disk, a pipe, a server.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The rows themselves could not be computed.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The rows cannot be written in the format.
    #[error(transparent)]
    Format(#[from] crate::formats::FormatError),
    /// A worker ended early; a bug.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl SinkError {
    /// An I/O error with what was tried.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

/// Runs `work` for every partition at the same time on the worker threads, and gives the results
/// in the order of the partitions. The first error ends the others.
///
/// # Errors
/// The first error of any partition.
pub async fn each_partition<T, F, W>(partitions: Vec<Partition>, work: W) -> Result<Vec<T>, SinkError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, SinkError>> + Send + 'static,
    W: Fn(usize, Partition) -> F,
{
    let mut tasks = tokio::task::JoinSet::new();
    for (index, partition) in partitions.into_iter().enumerate() {
        let future = work(index, partition);
        tasks.spawn(async move { future.await.map(|result| (index, result)) });
    }
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        results.push(joined.map_err(|error| SinkError::Internal(error.to_string()))??);
    }
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
