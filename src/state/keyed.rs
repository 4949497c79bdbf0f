//! State per key: aggregates over all rows since the start, and values that an expression computes from
//! row to row (`updateStateByKey` and `mapWithState` of Spark).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, sort_to_indices, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use serde_json::{Value, json};

use super::columns::Pair;
use super::rows::conform;
use super::shards::{Hashed, Layout, Shard, Shards};
use super::table::split;
use super::timers::Timers;
use super::{BatchTime, KeyColumn, Operator, Part, Predicate, Size, StateError, describe_keys, describe_parts, fields};

/// The column with the time at which a key was touched last, where keys are written down.
const TOUCHED: &str = "last touched";
/// The column that says that a key is gone, where changes are written down.
const REMOVED: &str = "removed";

/// A state per key.
#[derive(Clone)]
pub struct KeyedSpec {
    /// Its key.
    pub keys: Vec<KeyColumn>,
    /// What is kept. With a program some parts are computed and have no columns among the rows that
    /// arrive; all others do, in the same order, after the key. The columns after these are for the
    /// program.
    pub parts: Vec<Part>,
    /// Computes parts and rows.
    pub program: Option<Arc<dyn Program>>,
    /// What leaves the step.
    pub emit: Emit,
    /// A key that has not been touched for so many milliseconds is removed.
    pub timeout: Option<i64>,
    /// A key for which this holds after a batch that touched it is removed.
    pub remove: Option<Predicate>,
}

/// Which rows leave a step with keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Every key with its state, in every batch.
    All,
    /// The keys that the batch has touched, with their state after it.
    Touched,
    /// What the program makes of each row, with columns of this schema.
    Rows(SchemaRef),
}

/// Expressions over state, compiled.
pub trait Program: Send + Sync {
    /// For the fingerprint: the expressions that compute state, by name.
    fn describe(&self) -> Value;

    /// The parts that it computes, by index, each with the value for a new key as an array of one.
    fn computed(&self) -> &[(usize, ArrayRef)];

    /// The new values of the computed parts, in the order of [`Program::computed`]. `rows` have different
    /// keys; `before` has key and state of each.
    ///
    /// # Errors
    /// When an expression fails.
    fn update(&self, rows: &RecordBatch, before: &RecordBatch) -> Result<Vec<ArrayRef>, StateError>;

    /// The rows that leave the step, one for each row. For keys that time out all columns of `rows` are
    /// NULL.
    ///
    /// # Errors
    /// When an expression fails.
    fn emit(
        &self,
        rows: &RecordBatch,
        before: &RecordBatch,
        after: &RecordBatch,
        timed_out: bool,
    ) -> Result<RecordBatch, StateError>;

    /// Whether keys that time out leave a row.
    fn emits_timeouts(&self) -> bool;
}

impl fmt::Debug for KeyedSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fingerprint())
    }
}

impl KeyedSpec {
    pub(super) fn fingerprint(&self) -> Value {
        json!({
            "kind": "state per key",
            "key": describe_keys(&self.keys),
            "state": describe_parts(&self.parts),
            "expressions": self.program.as_ref().map(|program| program.describe()),
        })
    }

    fn is_computed(&self, part: usize) -> bool {
        self.program.as_ref().is_some_and(|program| program.computed().iter().any(|(computed, _)| *computed == part))
    }
}

/// What a piece of the table keeps beside it.
#[derive(Debug, Default)]
pub(super) struct Beside {
    timers: Timers,
    /// By slot: the number of the batch that touched it last.
    stamps: Vec<u64>,
    batch: u64,
    /// The slots that this batch has touched, each once.
    touched: Vec<u32>,
    /// The keys that this batch has removed.
    removed: Vec<Box<[u8]>>,
    /// The state of the touched keys after the batch, where that has left the step: it is written down, too.
    left: Option<RecordBatch>,
}

impl Beside {
    fn begin(&mut self) {
        self.batch += 1;
        self.touched.clear();
        self.removed.clear();
        self.left = None;
    }

    fn touch(&mut self, slot: u32, time: i64) {
        let index = slot as usize;
        if index >= self.stamps.len() {
            self.stamps.resize(index + 1, 0);
        }
        if let Some(stamp) = self.stamps.get_mut(index).filter(|stamp| **stamp != self.batch) {
            *stamp = self.batch;
            self.touched.push(slot);
            self.timers.touch(slot, time);
        }
    }
}

/// Keeps state per key.
pub(super) struct Keyed {
    spec: KeyedSpec,
    state: Shards<Beside>,
    /// Where the program's columns start among the rows that arrive, and what they are.
    row_columns: Vec<usize>,
    row_schema: SchemaRef,
    written: SchemaRef,
    /// A batch was taken in since the changes were asked for.
    changed: bool,
}

/// Rows that leave, with their places among the rows that arrived.
type Placed = (Vec<u64>, RecordBatch);

impl Keyed {
    pub(super) fn new(spec: KeyedSpec, input: &SchemaRef, threads: usize) -> Result<Self, StateError> {
        let layout = Layout::new(fields(&spec.keys), spec.parts.clone())?;
        let beside = [Field::new(TOUCHED, DataType::Int64, true), Field::new(REMOVED, DataType::Boolean, false)];
        let columns = layout.schema.fields().iter().cloned().chain(beside.map(Arc::new));
        let written = Arc::new(ArrowSchema::new(columns.collect::<Vec<_>>()));
        let inputs = spec.parts.iter().enumerate().filter(|(part, _)| !spec.is_computed(*part));
        let start = spec.keys.len() + inputs.map(|(_, part)| part.columns.len()).sum::<usize>();
        let row_columns: Vec<usize> = (start..input.fields().len()).collect();
        let row_schema = Arc::new(input.project(&row_columns)?);
        let mut state = Shards::<Beside>::new(Arc::new(layout), threads)?;
        if spec.timeout.is_some() {
            state.shards.iter_mut().for_each(|shard| shard.beside.timers.start());
        }
        Ok(Self { spec, state, row_columns, row_schema, written, changed: false })
    }

    /// Puts rows that were made side by side into the order of the rows that they come from.
    fn in_order(&self, placed: Vec<Placed>) -> Result<Vec<RecordBatch>, StateError> {
        let Emit::Rows(schema) = &self.spec.emit else { return Ok(placed.into_iter().map(|(_, rows)| rows).collect()) };
        let (places, rows): (Vec<Vec<u64>>, Vec<RecordBatch>) = placed.into_iter().unzip();
        let rows = concat_batches(schema, &rows)?;
        let places: ArrayRef = Arc::new(UInt64Array::from(places.concat()));
        Ok(vec![take_record_batch(&rows, &sort_to_indices(&places, None, None)?)?])
    }
}

/// What one batch does to one piece.
struct Step<'a> {
    spec: &'a KeyedSpec,
    layout: &'a Layout,
    row_columns: &'a [usize],
    row_schema: &'a SchemaRef,
    time: i64,
}

impl Step<'_> {
    fn run(&self, shard: &mut Shard<Beside>, hashed: &[Hashed]) -> Result<Vec<Placed>, StateError> {
        shard.beside.begin();
        let mut placed = Vec::new();
        for (index, hashed) in hashed.iter().enumerate() {
            match &self.spec.program {
                None => {
                    let pairs = shard.intern(hashed, |beside, slot, _| beside.touch(slot, self.time))?;
                    shard.table.merge(&pairs, hashed.values(self.layout), &self.layout.parts)?;
                }
                Some(program) => self.run_rows(program.as_ref(), shard, hashed, index, &mut placed)?,
            }
        }
        self.time_out(shard, &mut placed)?;
        self.remove(shard)?;
        let export = |slots: &[u32]| shard.table.export(&self.layout.keys, &self.layout.schema, slots);
        match self.spec.emit {
            Emit::All => placed.push((Vec::new(), export(&shard.table.used())?)),
            Emit::Touched => {
                let touched = export(&remaining(shard))?;
                shard.beside.left = Some(touched.clone());
                placed.push((Vec::new(), touched));
            }
            Emit::Rows(_) => {}
        }
        Ok(placed)
    }

    /// Applies rows one after the other for each key, and side by side for different ones.
    fn run_rows(
        &self,
        program: &dyn Program,
        shard: &mut Shard<Beside>,
        hashed: &Hashed,
        index: usize,
        placed: &mut Vec<Placed>,
    ) -> Result<(), StateError> {
        let mut fresh = Vec::new();
        let pairs = shard.intern(hashed, |beside, slot, new| {
            beside.touch(slot, self.time);
            if new {
                fresh.push((0, slot));
            }
        })?;
        for (part, initial) in program.computed() {
            shard.table.set(*part, &fresh, initial)?;
        }
        let emits = matches!(self.spec.emit, Emit::Rows(_));
        let all_rows = hashed.batch.project(self.row_columns)?;
        for round in rounds(&pairs) {
            let (indices, slots): (Vec<u32>, Vec<u32>) = round.into_iter().unzip();
            let of_round = UInt32Array::from(indices.clone());
            let rows = take_record_batch(&all_rows, &of_round)?;
            let before = shard.table.export(&self.layout.keys, &self.layout.schema, &slots)?;
            let computed = program.update(&rows, &before)?;
            let places: Vec<Pair> = (0_u32..).zip(slots.iter().copied()).collect();
            let mut inputs = hashed.values(self.layout);
            for (part, columns) in self.layout.parts.iter().enumerate() {
                if self.spec.is_computed(part) {
                    continue;
                }
                let (own, rest) = inputs.split_at(columns.columns.len().min(inputs.len()));
                inputs = rest;
                // Only these rows: a key with many of them has as many rounds.
                let own: Vec<ArrayRef> = own.iter().map(|it| take(it, &of_round, None)).collect::<Result<_, _>>()?;
                shard.table.merge_part(part, &places, &own)?;
            }
            for ((part, _), values) in program.computed().iter().zip(&computed) {
                shard.table.set(*part, &places, values)?;
            }
            if emits {
                let after = shard.table.export(&self.layout.keys, &self.layout.schema, &slots)?;
                let order = indices.iter().map(|row| ((index as u64) << 32) | u64::from(*row)).collect();
                placed.push((order, program.emit(&rows, &before, &after, false)?));
            }
        }
        Ok(())
    }

    /// Removes the keys that were idle for too long, also in this batch.
    fn time_out(&self, shard: &mut Shard<Beside>, placed: &mut Vec<Placed>) -> Result<(), StateError> {
        let Some(timeout) = self.spec.timeout else { return Ok(()) };
        let expired = shard.beside.timers.expired(self.time - timeout);
        if let Some(program) = self.spec.program.as_ref().filter(|it| it.emits_timeouts() && !expired.is_empty()) {
            let state = shard.table.export(&self.layout.keys, &self.layout.schema, &expired)?;
            let nulls = self.row_schema.fields().iter().map(|it| new_null_array(it.data_type(), expired.len()));
            let fields = self.row_schema.fields().iter().map(|it| Arc::new(it.as_ref().clone().with_nullable(true)));
            let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
            let options = RecordBatchOptions::new().with_row_count(Some(expired.len()));
            let rows = RecordBatch::try_new_with_options(schema, nulls.collect(), &options)?;
            // They come after the batch's rows.
            placed.push((vec![u64::MAX; expired.len()], program.emit(&rows, &state, &state, true)?));
        }
        expired.into_iter().for_each(|slot| drop_key(shard, slot));
        Ok(())
    }

    fn remove(&self, shard: &mut Shard<Beside>) -> Result<(), StateError> {
        let Some(predicate) = &self.spec.remove else { return Ok(()) };
        let touched = remaining(shard);
        if touched.is_empty() {
            return Ok(());
        }
        let state = shard.table.export(&self.layout.keys, &self.layout.schema, &touched)?;
        let removed = predicate(&state)?;
        for (slot, removed) in touched.into_iter().zip(removed.iter()) {
            if removed == Some(true) {
                drop_key(shard, slot);
            }
        }
        Ok(())
    }
}

fn drop_key(shard: &mut Shard<Beside>, slot: u32) {
    shard.beside.removed.push(shard.table.key(slot).into());
    shard.beside.timers.forget(slot);
    shard.table.remove(slot);
}

/// The slots that the batch has touched and that are still there.
fn remaining(shard: &Shard<Beside>) -> Vec<u32> {
    shard.beside.touched.iter().copied().filter(|slot| shard.table.is_used(*slot)).collect()
}

/// Divides rows so that each round has a key at most once, and a key's rows stay in order.
fn rounds(pairs: &[Pair]) -> Vec<Vec<Pair>> {
    let mut rounds: Vec<Vec<Pair>> = Vec::new();
    let mut next: HashMap<u32, usize> = HashMap::with_capacity(pairs.len());
    for pair in pairs {
        let round = next.entry(pair.1).or_insert(0);
        match rounds.get_mut(*round) {
            Some(rows) => rows.push(*pair),
            None => rounds.push(vec![*pair]),
        }
        *round += 1;
    }
    rounds
}

impl Operator for Keyed {
    fn apply(&mut self, batch: BatchTime, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StateError> {
        let hashed = self.state.hashed(rows)?;
        let rows: usize = hashed.iter().map(|it| it.batch.num_rows()).sum();
        let work = if self.spec.emit == Emit::All { rows.max(self.state.len()) } else { rows };
        let (spec, row_columns, row_schema) = (&self.spec, &self.row_columns, &self.row_schema);
        let placed = self.state.each(work, |layout, shard| {
            Step { spec, layout, row_columns, row_schema, time: batch.time }.run(shard, &hashed)
        })?;
        self.changed = true;
        self.in_order(placed.into_iter().flatten().collect())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.written)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>, StateError> {
        let layout = &self.state.layout;
        let of_shard = |shard: &Shard<Beside>| {
            let slots = shard.table.used();
            write(&self.written, shard, &slots, &shard.table.export(&layout.keys, &layout.schema, &slots)?)
        };
        self.state.shards.iter().map(of_shard).collect()
    }

    fn changes(&mut self) -> Result<Option<Vec<RecordBatch>>, StateError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(None);
        }
        let touched = self.state.shards.iter().map(|shard| shard.beside.touched.len()).sum();
        let written = &self.written;
        let changes = self.state.each(touched, |layout, shard| {
            let slots = remaining(shard);
            let state = shard.beside.left.take();
            let state = state.map_or_else(|| shard.table.export(&layout.keys, &layout.schema, &slots), Ok)?;
            let removed = write_removed(layout, written, &shard.beside.removed)?;
            Ok([write(written, shard, &slots, &state)?, removed])
        })?;
        let mut changes: Vec<RecordBatch> = changes.into_iter().flatten().collect();
        changes.retain(|rows| rows.num_rows() > 0);
        Ok(Some(changes).filter(|changes| !changes.is_empty()))
    }

    fn restore(&mut self, batches: Vec<RecordBatch>) -> Result<(), StateError> {
        for batch in batches {
            let batch = conform(&batch, &self.written)?;
            let hashed = Hashed::new(&self.state.layout, batch)?;
            let rows = hashed.batch.num_rows();
            self.state.each(rows, |layout, shard| read(layout, shard, &hashed))?;
        }
        Ok(())
    }

    fn size(&self) -> Size {
        let beside = |shard: &Shard<Beside>| shard.beside.timers.bytes() + shard.beside.stamps.capacity() * 8;
        let beside: usize = self.state.shards.iter().map(beside).sum();
        Size { entries: self.state.len(), bytes: self.state.bytes() + beside }
    }
}

/// Keys and state of slots, as they are written down.
fn write(
    schema: &SchemaRef,
    shard: &Shard<Beside>,
    slots: &[u32],
    state: &RecordBatch,
) -> Result<RecordBatch, StateError> {
    let mut columns = state.columns().to_vec();
    let touched = slots.iter().map(|slot| shard.beside.timers.touched(*slot));
    columns.push(Arc::new(Int64Array::from_iter_values(touched)));
    columns.push(Arc::new(BooleanArray::from(vec![false; slots.len()])));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn write_removed(layout: &Layout, schema: &SchemaRef, keys: &[Box<[u8]>]) -> Result<RecordBatch, StateError> {
    if keys.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let mut columns = layout.keys.decode(keys.iter().map(AsRef::as_ref))?;
    let rest = schema.fields().iter().skip(columns.len()).rev().skip(1).rev();
    columns.extend(rest.map(|field| new_null_array(field.data_type(), keys.len())));
    columns.push(Arc::new(BooleanArray::from(vec![true; keys.len()])));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Puts rows that were written down in the place of what is there.
fn read(layout: &Layout, shard: &mut Shard<Beside>, hashed: &Hashed) -> Result<(), StateError> {
    let columns = hashed.values(layout);
    let [values @ .., touched, removed] = columns else { return Err(StateError::internal("columns are missing")) };
    let (touched, removed) = (touched.as_primitive::<Int64Type>(), removed.as_boolean());
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for (row, slot) in shard.intern(hashed, |_, _, _| {})? {
        if removed.value(row as usize) {
            gone.push(slot);
        } else {
            shard.table.reset(slot);
            shard.beside.timers.touch(slot, touched.value(row as usize));
            kept.push((row, slot));
        }
    }
    for (part, columns) in split(values, &layout.parts).enumerate() {
        shard.table.merge_part(part, &kept, columns)?;
    }
    for slot in gone {
        shard.beside.timers.forget(slot);
        shard.table.remove(slot);
    }
    Ok(())
}
