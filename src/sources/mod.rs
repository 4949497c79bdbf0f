//! Sources: where rows come from. One file per kind; the list is [`KINDS`].
//!
//! A source answers three questions of a micro-batch: how far does this batch go ([`Source::latest`]),
//! what are its rows ([`Source::read`]: the same range gives the same rows), and what may be
//! forgotten ([`Source::commit`]). A source that is pushed to (a socket) keeps what it received
//! behind the same three questions: see [`receiver`].

pub mod block;
pub mod clock;
pub mod directory;
pub mod rate;
pub mod receiver;
pub mod rows;
pub mod socket;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::schema::Schema;
use crate::spec::Check;
use crate::spec::kind::{Kind, kinds};

pub use block::{Block, ReadBlock};

/// Every source kind.
pub static KINDS: &[Kind<dyn SourceSettings>] =
    kinds![dyn SourceSettings; socket::Socket, directory::Directory, rate::Rate, rows::Rows];

/// Settings of a source that were read and now can be checked.
pub trait SourceSettings: Send + Sync {
    /// The columns of its rows as far as the settings say, whatever else is wrong with them: so that
    /// the steps can be checked in the same run.
    fn schema(&self) -> Option<Schema> {
        None
    }

    /// Checks the settings without touching file, socket or clock. Findings go to `check`; `None`
    /// where there is nothing to run.
    fn check(self: Box<Self>, check: &mut Check<'_>) -> Option<CheckedSource>;
}

/// A source that passed its check.
#[derive(Clone)]
pub struct CheckedSource {
    /// The columns of its rows.
    pub schema: Schema,
    /// What it reads that no one else may, or that no sink should write.
    pub resources: Vec<Resource>,
    /// Where it connects to as a client for lines of text: what `--feed` then serves.
    pub feed: Option<(String, u16)>,
    /// The format of raw lines in tests, where it has one.
    pub format: Option<crate::formats::InputFormat>,
    /// Whether its rows can be read again.
    pub replay: Replay,
    /// Makes the running source.
    pub factory: Arc<dyn SourceFactory>,
}

/// Whether a source's rows can be read again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The same range gives the same rows, also in another process.
    Same,
    /// They are sent to it; what was received is kept in a log where there is a checkpoint.
    Received,
}

/// Makes running sources.
#[async_trait]
pub trait SourceFactory: Send + Sync {
    /// Starts the source. `resume` is the [`Source::position`] up to which an earlier version of the same
    /// source (same kind and name) has been processed, in this process or before a restart.
    ///
    /// # Errors
    /// When it cannot start, e.g. a port is taken.
    async fn build(&self, context: SourceContext, resume: Option<Value>) -> Result<Box<dyn Source>, SourceError>;

    /// The position that [`Source::moved`] leads to from an earlier one.
    fn advance(&self, position: Value, moved: Value) -> Value {
        let _ = position;
        moved
    }

    /// Tries what could fail and takes nothing that an earlier version of the source may still hold:
    /// reads certificates, but listens to no port. A reload does this before it stops that version.
    ///
    /// # Errors
    /// Those of [`SourceFactory::build`] that can be foreseen.
    async fn rehearse(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// What a running source needs to know.
#[derive(Clone)]
pub struct SourceContext {
    /// Its name in the pipeline.
    pub name: String,
    /// The time that blocks are stamped with.
    pub clock: Arc<dyn Clock>,
    /// Every so often a block of a receiver ends.
    pub block_interval: Duration,
    /// How many bytes a receiver holds at most.
    pub receive_buffer: usize,
    /// `--available-now`: process what is there, then end.
    pub available_now: bool,
    /// Where a receiver keeps what it has received until it is processed: a folder that is there, and that
    /// only one running source writes to. Without it, that is in memory only.
    pub log: Option<crate::checkpoint::Store>,
}

/// The engine's time. Batch times and block stamps come from it, so that tests can turn it by hand.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now(&self) -> i64;

    /// Returns once `now()` is at least `time`.
    async fn sleep_until(&self, time: i64);
}

/// A place in a running source's rows, in the source's own terms.
pub type Offset = Value;

/// How much a batch may take from a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The batch's time, milliseconds since the epoch: a block whose first line was received later
    /// belongs to a later batch.
    pub until: i64,
    /// Rows at most, from `max_rate` and back-pressure. A source without a notion of a rate may
    /// ignore it.
    pub rows: Option<u64>,
}

/// A running source. One driver owns it; its methods are called in the order of a micro-batch.
#[async_trait]
pub trait Source: Send {
    /// The offset up to which rows were handed out when it started.
    fn start(&self) -> Offset;

    /// How far the next batch goes: everything there is, within the limit. At least as far as the
    /// last answer.
    ///
    /// # Errors
    /// When the outside world cannot be asked.
    async fn latest(&mut self, limit: Limit) -> Result<Offset, SourceError>;

    /// The rows from `start` (excluded) to `end` (included). Asked again with the same offsets
    /// before they are committed, it gives the same rows.
    ///
    /// # Errors
    /// When rows that were promised are gone.
    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError>;

    /// Everything up to `end` is processed and may be forgotten.
    ///
    /// # Errors
    /// When the outside world refuses.
    async fn commit(&mut self, end: &Offset) -> Result<(), SourceError>;

    /// What another run of the source needs to go on after `end`, which is the committed offset or the
    /// end of the next batch.
    fn position(&self, end: &Offset) -> Value {
        end.clone()
    }

    /// What `end` adds to the position of the committed offset, where writing that takes less than the
    /// position itself; see [`SourceFactory::advance`].
    fn moved(&self, end: &Offset) -> Option<Value> {
        let _ = end;
        None
    }

    /// What the offset log says of the next batch, which goes up to `end`: enough for another run to read
    /// the same rows.
    fn plan(&self, end: &Offset) -> Value {
        end.clone()
    }

    /// Promises the rows of a batch again that an earlier run has planned and not committed, right after
    /// its last committed one; the batch's end.
    ///
    /// # Errors
    /// When the rows are not there any more.
    async fn replan(&mut self, planned: &Value) -> Result<Offset, SourceError> {
        Ok(planned.clone())
    }

    /// Whether no rows will ever come after those that `latest` gave last.
    fn is_finished(&self) -> bool {
        false
    }

    /// Stops receiving. What was received stays and can be read.
    async fn stop(&mut self) {}

    /// Rows per second at most, as `max_rate` says.
    fn max_rate(&self) -> Option<f64> {
        None
    }

    /// Whether rows are pushed to it, so that back-pressure has to slow it down.
    fn is_receiver(&self) -> bool {
        false
    }

    /// How many clients are connected to it, where clients connect.
    fn clients(&self) -> usize {
        0
    }
}

/// Something of the outside world that two components must not share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A TCP port it listens on; the path of the setting that says so.
    Port(u16, &'static str),
    /// A folder or file pattern it reads.
    ReadPath(String, &'static str),
    /// A folder it writes.
    WritePath(String, &'static str),
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The outside world: a file, a port, a server.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A row cannot be decoded and `on_error` is `fail`.
    #[error("{0}")]
    BadRow(String),
    /// Rows that were promised are not there any more.
    #[error("{0}")]
    Lost(String),
    /// Settings that only turn out wrong when used (a certificate that is none).
    #[error("{0}")]
    Settings(String),
    /// Bytes that are not of the format as a whole.
    #[error(transparent)]
    Format(#[from] crate::formats::FormatError),
}

impl SourceError {
    /// An I/O error with what was tried.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}
