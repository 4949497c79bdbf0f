//! `rate`: generated rows at an even pace, to try things out and to measure.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::block::{Pieces, project};
use super::receiver::number;
use super::{
    Block, CheckedSource, Limit, Offset, ReadBlock, Replay, Source, SourceContext, SourceError, SourceFactory,
    SourceSettings,
};
use crate::diagnostic::codes;
use crate::formats::{BATCH_ROWS, BadRows, Decoded};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::Check;
use crate::spec::kind::Settings;

/// How many rows one worker generates.
const BLOCK_ROWS: u64 = 1 << 18;
/// The bytes of a row, for sharing blocks out.
const ROW_BYTES: u64 = 16;

/// Generated rows at an even pace, with the columns `counter: long`, which counts from 0, and
/// `timestamp: timestamp`, the moment at which the row was due. With `--available-now` all of
/// `rows` are there at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many rows there are per second; may be a fraction.
    pub rows_per_second: f64,
    /// How many rows there are in all; without it they never end.
    pub rows: Option<u64>,
}

impl Settings for Rate {
    const KIND: &'static str = "rate";
    const SUMMARY: &'static str = "generated rows (`counter`, `timestamp`) at an even pace";
}

impl SourceSettings for Rate {
    fn schema(&self) -> Option<Schema> {
        let columns = vec![Column::new("counter", ColumnType::Long), Column::new("timestamp", ColumnType::Timestamp)];
        Some(Schema::new(columns))
    }

    fn check(self: Box<Self>, check: &mut Check<'_>) -> Option<CheckedSource> {
        if self.rows_per_second <= 0.0 || !self.rows_per_second.is_finite() {
            let help = Some("write e.g. `rows_per_second: 10`".to_owned());
            let message = "`rows_per_second` must be more than 0";
            check.report(codes::INVALID_VALUE, &["rows_per_second"], message, help);
            return None;
        }
        let schema = self.schema()?;
        let factory = Factory { schema: schema.to_arrow(), rate: self.rows_per_second, rows: self.rows };
        Some(CheckedSource {
            schema,
            resources: Vec::new(),
            feed: None,
            format: None,
            replay: Replay::Same,
            factory: Arc::new(factory),
        })
    }
}

struct Factory {
    schema: SchemaRef,
    rate: f64,
    rows: Option<u64>,
}

#[async_trait]
impl SourceFactory for Factory {
    async fn build(&self, context: SourceContext, resume: Option<Value>) -> Result<Box<dyn Source>, SourceError> {
        let resume = resume.and_then(|resume| serde_json::from_value::<Position>(resume).ok());
        let from = resume.as_ref().map_or(0, |resume| resume.rows);
        let new_pace = (context.clock.now(), from);
        // At the same rate it is as if there had been no restart: what was due meanwhile is due.
        let same_pace = resume.filter(|resume| resume.rate.to_bits() == self.rate.to_bits());
        let (start, first) = same_pace.map_or(new_pace, |resume| (resume.start, resume.first));
        Ok(Box::new(RateSource {
            pace: Pace { schema: Arc::clone(&self.schema), rate: self.rate, start, first },
            rows: self.rows,
            available_now: context.available_now,
            from,
            last: from,
            asked: false,
        }))
    }
}

/// Which row is due when.
#[derive(Clone, Debug)]
struct Pace {
    schema: SchemaRef,
    /// Rows per second.
    rate: f64,
    /// When the source started, in milliseconds.
    start: i64,
    /// The counter of the row that was due then.
    first: u64,
}

impl Pace {
    /// How many rows were due before `time`, counted from the very first.
    // A counter beyond 2^53 takes centuries; `as` stays within bounds.
    fn due(&self, time: i64) -> u64 {
        let elapsed = time.saturating_sub(self.start).max(0) as f64;
        self.first.saturating_add((elapsed * self.rate / 1_000.0) as u64)
    }

    /// When a row is due, in microseconds.
    fn timestamp(&self, counter: u64) -> i64 {
        let after = counter.saturating_sub(self.first) as f64 * 1_000_000.0 / self.rate;
        self.start.saturating_mul(1_000).saturating_add(after as i64)
    }

    fn batch(&self, start: u64, end: u64) -> Result<RecordBatch, ArrowError> {
        let counters =
            Int64Array::from_iter_values((start..end).map(|counter| i64::try_from(counter).unwrap_or(i64::MAX)));
        let timestamps =
            TimestampMicrosecondArray::from_iter_values((start..end).map(|counter| self.timestamp(counter)));
        let columns: Vec<ArrayRef> = vec![Arc::new(counters), Arc::new(timestamps.with_timezone("UTC"))];
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// Where another run goes on.
#[derive(Debug, Deserialize, Serialize)]
struct Position {
    /// How many rows were handed out.
    rows: u64,
    /// The pace.
    rate: f64,
    start: i64,
    first: u64,
}

/// An offset is how many rows were handed out.
struct RateSource {
    pace: Pace,
    rows: Option<u64>,
    available_now: bool,
    from: u64,
    last: u64,
    asked: bool,
}

#[async_trait]
impl Source for RateSource {
    fn start(&self) -> Offset {
        Offset::from(self.from)
    }

    async fn latest(&mut self, limit: Limit) -> Result<Offset, SourceError> {
        let due = match self.rows {
            Some(rows) if self.available_now => rows,
            Some(rows) => rows.min(self.pace.due(limit.until)),
            None => self.pace.due(limit.until),
        };
        let most = self.last.saturating_add(limit.rows.unwrap_or(u64::MAX));
        self.last = due.min(most).max(self.last);
        self.asked = true;
        Ok(Offset::from(self.last))
    }

    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError> {
        let (mut start, end) = (number(start)?, number(end)?);
        let mut blocks = Vec::new();
        while start < end {
            let next = start.saturating_add(BLOCK_ROWS).min(end);
            let content = Arc::new(Range { pace: self.pace.clone(), start, end: next });
            blocks.push(Block { weight: (next - start) * ROW_BYTES, content });
            start = next;
        }
        Ok(blocks)
    }

    async fn commit(&mut self, _: &Offset) -> Result<(), SourceError> {
        Ok(())
    }

    fn position(&self, end: &Offset) -> Value {
        let Pace { rate, start, first, .. } = self.pace;
        json!(Position { rows: end.as_u64().unwrap_or(self.from), rate, start, first })
    }

    /// With the pace, since the rows have times.
    fn plan(&self, end: &Offset) -> Value {
        self.position(end)
    }

    async fn replan(&mut self, planned: &Value) -> Result<Offset, SourceError> {
        let planned = serde_json::from_value::<Position>(planned.clone());
        let planned =
            planned.map_err(|error| SourceError::Lost(format!("the offset log is not of this source: {error}")))?;
        let Position { rows, rate, start, first } = planned;
        self.pace = Pace { schema: Arc::clone(&self.pace.schema), rate, start, first };
        self.last = rows;
        Ok(Offset::from(rows))
    }

    fn is_finished(&self) -> bool {
        match self.rows {
            Some(rows) => self.last >= rows,
            None => self.available_now && self.asked,
        }
    }
}

struct Range {
    pace: Pace,
    start: u64,
    end: u64,
}

impl ReadBlock for Range {
    fn open(&self, columns: &[usize]) -> Result<Pieces, SourceError> {
        let (pace, columns, end) = (self.pace.clone(), columns.to_vec(), self.end);
        let starts = (self.start..end).step_by(BATCH_ROWS);
        Ok(Box::new(starts.map(move |start| {
            let batch = pace
                .batch(start, start.saturating_add(BATCH_ROWS as u64).min(end))
                .map_err(|error| SourceError::Lost(format!("internal error, please report it: {error}")))?;
            project(Decoded { batches: vec![batch], bad_rows: BadRows::default() }, &columns)
        })))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

    use super::super::receiver::testing::{ALL, check, context, rows};
    use super::*;

    fn until(until: i64) -> Limit {
        Limit { until, rows: None }
    }

    #[tokio::test]
    async fn rows_are_spread_evenly() {
        let (context, clock) = context();
        clock.turn_to(1_000);
        let checked = check::<Rate>("{ rows_per_second: 4 }").0.unwrap();
        assert_eq!(checked.schema.to_string(), "(counter: long, timestamp: timestamp)");
        let mut source = checked.factory.build(context, None).await.unwrap();
        assert_eq!(source.latest(until(1_249)).await.unwrap(), 0);
        assert_eq!(source.latest(until(1_250)).await.unwrap(), 1);
        let end = source.latest(until(2_000)).await.unwrap();
        assert_eq!(end, 4);
        assert_eq!(source.latest(Limit { until: 9_000, rows: Some(3) }).await.unwrap(), 7);
        assert!(!source.is_finished());
        let batches = rows(&source.read(&Offset::from(1), &end).await.unwrap(), &[0, 1]);
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
        let timestamps = batches[0].column(1).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(timestamps.values(), &[1_250_000, 1_500_000, 1_750_000]);
        let counters = rows(&source.read(&Offset::from(0), &Offset::from(600_000)).await.unwrap(), &[0]);
        assert_eq!(counters.iter().map(RecordBatch::num_rows).sum::<usize>(), 600_000);
        assert!(counters.iter().all(|batch| batch.num_columns() == 1 && batch.num_rows() <= BATCH_ROWS));
    }

    #[tokio::test]
    async fn a_total_ends_it() {
        let (mut context, _) = context();
        let factory = check::<Rate>("{ rows_per_second: 0.5, rows: 2 }").0.unwrap().factory;
        let mut source = factory.build(context.clone(), None).await.unwrap();
        assert_eq!(source.latest(until(3_999)).await.unwrap(), 1);
        assert!(!source.is_finished());
        assert_eq!(source.latest(ALL).await.unwrap(), 2);
        assert!(source.is_finished());
        context.available_now = true;
        let position = source.position(&Offset::from(1));
        let mut source = factory.build(context, Some(position)).await.unwrap();
        assert_eq!(source.start(), 1);
        assert_eq!(source.latest(until(0)).await.unwrap(), 2);
        assert!(source.is_finished());
    }

    #[tokio::test]
    async fn a_planned_batch_has_the_same_rows_again() {
        let (context, clock) = context();
        clock.turn_to(1_000);
        let factory = check::<Rate>("{ rows_per_second: 2 }").0.unwrap().factory;
        let mut source = factory.build(context.clone(), None).await.unwrap();
        let end = source.latest(until(3_000)).await.unwrap();
        let planned = source.plan(&end);
        clock.turn_to(60_000);
        let mut again = factory.build(context, None).await.unwrap();
        assert_eq!(again.replan(&planned).await.unwrap(), end);
        let before = rows(&source.read(&Offset::from(0), &end).await.unwrap(), &[0, 1]);
        assert_eq!(rows(&again.read(&Offset::from(0), &end).await.unwrap(), &[0, 1]), before);
        assert_eq!(again.latest(until(4_000)).await.unwrap(), 6);
    }

    #[tokio::test]
    async fn without_a_total_available_now_ends_at_once() {
        let (mut context, _) = context();
        context.available_now = true;
        let factory = check::<Rate>("{ rows_per_second: 10 }").0.unwrap().factory;
        let mut source = factory.build(context, None).await.unwrap();
        assert!(!source.is_finished());
        assert_eq!(source.latest(until(1_000)).await.unwrap(), 10);
        assert!(source.is_finished());
        assert!(check::<Rate>("{ rows_per_second: 0 }").0.is_none());
    }
}
