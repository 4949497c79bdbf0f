//! What stateful steps keep from batch to batch: keyed state, the panes of windows, the keys that were
//! seen.
//!
//! A stateful step stands between two stages. The stage before it brings the batch's rows into the shape
//! that the [`Operator`] takes (keys first, and aggregates of the batch as *parts*); what the operator
//! gives goes into a slot, from which the stage after it computes the step's rows. The kinds of
//! operators are a closed list, [`Stateful`]: checkpoints, reloads and exports have to know each.
//!
//! Every operator can be written down as rows of one schema: all of it, or what the last batch changed.

mod columns;
mod distinct;
mod keyed;
mod rows;
mod shards;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod totals;
mod window;
pub mod written;

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};

use crate::schema::ColumnType;

pub use crate::expr::partial::Merge;
pub use distinct::DistinctSpec;
pub use keyed::{Emit, KeyedSpec, Program};
pub use totals::TotalsSpec;
pub use window::{Align, Schedule, WindowTimes};

/// Something that is kept for every key: what an aggregate has to know of the rows so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How it takes in more rows.
    pub merge: Merge,
    /// Its columns, mostly one.
    pub columns: Vec<PartColumn>,
}

/// A column of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartColumn {
    /// Says what it is in the user's words, e.g. `sum(amount)`.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// A type as a pipeline file writes it, where the language has it.
fn type_name(data_type: &DataType) -> String {
    ColumnType::from_arrow(data_type).map_or_else(|| data_type.to_string(), |column_type| column_type.to_string())
}

fn describe_parts(parts: &[Part]) -> Value {
    let describe = |part: &Part| {
        let columns = part.columns.iter().map(|it| json!({ "name": it.name, "type": type_name(&it.data_type) }));
        json!({ "merge": part.merge.name(), "columns": columns.collect::<Value>() })
    };
    parts.iter().map(describe).collect()
}

/// A key column: its name and type, and the expression that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// In canonical form.
    pub expression: String,
}

fn describe_keys(keys: &[KeyColumn]) -> Value {
    let describe =
        |key: &KeyColumn| json!({ "name": key.name, "type": type_name(&key.data_type), "expression": key.expression });
    keys.iter().map(describe).collect()
}

fn fields(keys: &[KeyColumn]) -> Vec<Field> {
    keys.iter().map(|key| Field::new(&key.name, key.data_type.clone(), true)).collect()
}

/// Which rows of keys and state a step wants to be rid of.
pub type Predicate = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray, StateError> + Send + Sync>;

/// What a stateful step does.
#[derive(Clone)]
pub enum Stateful {
    /// Gives the rows of the last while.
    Rows(WindowTimes),
    /// Gives aggregates per key over the last while.
    Totals(TotalsSpec),
    /// Keeps a state per key.
    Keyed(KeyedSpec),
    /// Lets the first row of each key pass.
    Distinct(DistinctSpec),
}

impl Stateful {
    /// What must be the same for state to be taken over by another version of the step.
    #[must_use]
    pub fn fingerprint(&self, input: &SchemaRef) -> Value {
        match self {
            Self::Rows(times) => {
                let columns = input.fields().iter();
                let columns = columns.map(|it| json!({ "name": it.name(), "type": type_name(it.data_type()) }));
                json!({
                    "kind": "rows of a window",
                    "window": times.describe(),
                    "columns": columns.collect::<Value>(),
                })
            }
            Self::Totals(spec) => spec.fingerprint(),
            Self::Keyed(spec) => spec.fingerprint(),
            Self::Distinct(spec) => spec.fingerprint(),
        }
    }

    /// When rows leave it; `None` for in every batch in which rows arrive.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        match self {
            Self::Rows(times) => Some(times.schedule()),
            Self::Totals(spec) => Some(spec.times.schedule()),
            Self::Keyed(_) | Self::Distinct(_) => None,
        }
    }

    /// The columns that leave it, where rows of `input` arrive.
    ///
    /// # Errors
    /// A bug.
    pub fn output(&self, input: &SchemaRef) -> Result<SchemaRef, StateError> {
        Ok(match self {
            Self::Rows(_) => Arc::clone(input),
            Self::Totals(spec) => table::schema(&fields(&spec.keys), &spec.parts),
            Self::Keyed(spec) => match &spec.emit {
                Emit::Rows(schema) => Arc::clone(schema),
                Emit::All | Emit::Touched => table::schema(&fields(&spec.keys), &spec.parts),
            },
            Self::Distinct(spec) => {
                let columns: Vec<usize> = (spec.keys.len()..input.fields().len()).collect();
                Arc::new(input.project(&columns)?)
            }
        })
    }

    /// Makes the operator, without any state. Rows of `input` arrive; up to `threads` work on a batch.
    ///
    /// # Errors
    /// A bug: the step has been checked.
    pub fn build(&self, input: &SchemaRef, threads: usize) -> Result<Box<dyn Operator>, StateError> {
        Ok(match self {
            Self::Rows(times) => Box::new(rows::WindowRows::new(*times, input)),
            Self::Totals(spec) => Box::new(totals::Totals::new(spec.clone(), threads)?),
            Self::Keyed(spec) => Box::new(keyed::Keyed::new(spec.clone(), input, threads)?),
            Self::Distinct(spec) => Box::new(distinct::Distinct::new(spec.clone(), input, threads)?),
        })
    }
}

/// A stateful step that runs. One driver owns it.
pub trait Operator: Send {
    /// Takes in a batch's rows, in order of arrival, and gives the rows that leave it. Where a window is
    /// kept and none ends at this time, none do.
    ///
    /// # Errors
    /// When the state would become too large for what can be addressed; otherwise a bug.
    fn apply(&mut self, batch: BatchTime, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StateError>;

    /// How it is written down: the columns of [`Operator::snapshot`] and [`Operator::changes`].
    fn schema(&self) -> SchemaRef;

    /// All of its state.
    ///
    /// # Errors
    /// A bug.
    fn snapshot(&self) -> Result<Vec<RecordBatch>, StateError>;

    /// What has changed since the last call; `None` if nothing has.
    ///
    /// # Errors
    /// A bug.
    fn changes(&mut self) -> Result<Option<Vec<RecordBatch>>, StateError>;

    /// Takes in what was written down: a snapshot first, then changes in order.
    ///
    /// # Errors
    /// When rows are not of the operator's schema.
    fn restore(&mut self, rows: Vec<RecordBatch>) -> Result<(), StateError>;

    /// How much there is.
    fn size(&self) -> Size;
}

/// The time of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchTime {
    /// Milliseconds since the epoch.
    pub time: i64,
    /// What windows with [`Align::Start`] count from.
    pub zero: i64,
}

/// How much state there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Keys, or rows where rows are kept.
    pub entries: usize,
    /// About how much memory they take, in bytes.
    pub bytes: usize,
}

/// Why state cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// More keys than can be addressed.
    #[error("the state has more than 4 294 967 295 keys")]
    TooManyKeys,
    /// More values in lists than one column can hold.
    #[error("the lists of the state have more than 2 147 483 647 values")]
    TooManyValues,
    /// What was written down is of another kind.
    #[error("the state has other columns than were written down: {0}")]
    OtherColumns(String),
    /// An expression over state failed.
    #[error("{0}")]
    Expression(String),
    /// A bug.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl StateError {
    fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }
}

impl Part {
    /// What is kept of an aggregate, without how its columns are computed.
    #[must_use]
    pub fn of(part: &crate::expr::partial::Part) -> Self {
        let column = |it: &crate::expr::partial::PartColumn| PartColumn {
            name: it.name.clone(),
            data_type: it.data_type.clone(),
        };
        Self { merge: part.merge, columns: part.columns.iter().map(column).collect() }
    }
}

impl From<ArrowError> for StateError {
    fn from(error: ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}
