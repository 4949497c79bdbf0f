//! `deduplicate`: lets the first row of each key pass, and forgets the key after a while.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};

use super::rows::{compact, conform};
use super::shards::{Hashed, Layout, Shards};
use super::timers::Timers;
use super::{BatchTime, KeyColumn, Operator, Size, StateError, describe_keys, fields};

/// The column with the time of a key's first row, where keys are written down. No user can name it.
const SEEN: &str = "first seen";

/// What makes rows the same.
#[derive(Clone, Debug)]
pub struct DistinctSpec {
    /// The columns that must be equal; the first ones of the rows that arrive, and not among those that
    /// leave.
    pub keys: Vec<KeyColumn>,
    /// A key is forgotten so many milliseconds after its first row; `None` for never.
    pub within: Option<i64>,
}

impl DistinctSpec {
    pub(super) fn fingerprint(&self) -> Value {
        json!({ "kind": "keys that were seen", "key": describe_keys(&self.keys) })
    }
}

/// Keeps the keys that were seen.
pub(super) struct Distinct {
    spec: DistinctSpec,
    /// The keys, and when their first rows were.
    seen: Shards<Timers>,
    output: SchemaRef,
    written: SchemaRef,
    changes: Vec<RecordBatch>,
}

impl Distinct {
    pub(super) fn new(spec: DistinctSpec, input: &SchemaRef, threads: usize) -> Result<Self, StateError> {
        let layout = Layout::new(fields(&spec.keys), Vec::new())?;
        let first_seen = Arc::new(Field::new(SEEN, DataType::Int64, false));
        let written =
            Arc::new(ArrowSchema::new(layout.schema.fields().iter().cloned().chain([first_seen]).collect::<Vec<_>>()));
        let output =
            Arc::new(ArrowSchema::new(input.fields().iter().skip(spec.keys.len()).cloned().collect::<Vec<_>>()));
        let mut seen = Shards::<Timers>::new(Arc::new(layout), threads)?;
        if spec.within.is_some() {
            seen.shards.iter_mut().for_each(|shard| shard.beside.start());
        }
        Ok(Self { spec, seen, output, written, changes: Vec::new() })
    }

    fn expire(&mut self, time: i64) -> Result<(), StateError> {
        let Some(within) = self.spec.within else { return Ok(()) };
        let entries = self.seen.len();
        self.seen.each(entries, |_, shard| {
            for slot in shard.beside.expired(time - within) {
                shard.table.remove(slot);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The rows of new keys, in order.
    fn first_rows(&mut self, hashed: &[Hashed], time: i64) -> Result<Vec<Vec<u32>>, StateError> {
        let mut first = vec![Vec::new(); hashed.len()];
        let rows = hashed.iter().map(|it| it.batch.num_rows()).sum();
        let found = self.seen.each(rows, |_, shard| {
            let mut found = Vec::with_capacity(hashed.len());
            for hashed in hashed {
                let mut fresh = Vec::new();
                let pairs = shard.intern(hashed, |_, slot, new| {
                    if new {
                        fresh.push(slot);
                    }
                })?;
                fresh.iter().for_each(|slot| shard.beside.touch(*slot, time));
                let mut fresh = fresh.into_iter().peekable();
                let is_first = |(_, slot): &&(u32, u32)| fresh.next_if_eq(slot).is_some();
                found.push(pairs.iter().filter(is_first).map(|(row, _)| *row).collect::<Vec<_>>());
            }
            Ok(found)
        })?;
        for of_shard in found {
            for (all, own) in first.iter_mut().zip(of_shard) {
                all.extend(own);
            }
        }
        first.iter_mut().for_each(|rows| rows.sort_unstable());
        Ok(first)
    }
}

impl Operator for Distinct {
    fn apply(&mut self, batch: BatchTime, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StateError> {
        self.expire(batch.time)?;
        let hashed = self.seen.hashed(rows)?;
        let first = self.first_rows(&hashed, batch.time)?;
        let keys: Vec<usize> = (0..self.spec.keys.len()).collect();
        let others: Vec<usize> = (keys.len()..keys.len() + self.output.fields().len()).collect();
        let mut passed = Vec::new();
        self.changes.clear();
        for (hashed, rows) in hashed.iter().zip(first).filter(|(_, rows)| !rows.is_empty()) {
            let count = rows.len();
            let rows = take_record_batch(&hashed.batch, &UInt32Array::from(rows))?;
            let mut written = rows.project(&keys)?.columns().to_vec();
            written.push(Arc::new(Int64Array::from_value(batch.time, count)));
            self.changes.push(compact(&RecordBatch::try_new(Arc::clone(&self.written), written)?)?);
            passed.push(RecordBatch::try_new(Arc::clone(&self.output), rows.project(&others)?.columns().to_vec())?);
        }
        Ok(passed)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.written)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>, StateError> {
        let layout = &self.seen.layout;
        let write = |shard: &super::shards::Shard<Timers>| {
            let slots = shard.table.used();
            let mut columns = shard.table.export(&layout.keys, &layout.schema, &slots)?.columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| shard.beside.touched(*slot)))));
            Ok(RecordBatch::try_new(Arc::clone(&self.written), columns)?)
        };
        self.seen.shards.iter().map(write).collect()
    }

    fn changes(&mut self) -> Result<Option<Vec<RecordBatch>>, StateError> {
        if self.changes.is_empty() {
            return Ok(None);
        }
        let changes = std::mem::take(&mut self.changes);
        Ok(Some(vec![concat_batches(&self.written, &changes)?]))
    }

    fn restore(&mut self, rows: Vec<RecordBatch>) -> Result<(), StateError> {
        for batch in rows {
            let batch = conform(&batch, &self.written)?;
            let seen = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>().clone();
            let hashed = Hashed::new(&self.seen.layout, batch)?;
            self.seen.each(seen.len(), |_, shard| {
                let pairs = shard.intern(&hashed, |_, _, _| {})?;
                pairs.iter().for_each(|(row, slot)| shard.beside.touch(*slot, seen.value(*row as usize)));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn size(&self) -> Size {
        let timers: usize = self.seen.shards.iter().map(|shard| shard.beside.bytes()).sum();
        Size { entries: self.seen.len(), bytes: self.seen.bytes() + timers }
    }
}
