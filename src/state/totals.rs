//! Aggregates per key over the last while. Rows are aggregated per batch before they come here, and kept
//! in panes. Where the aggregates can be taken apart, a window's totals are those of the window before,
//! with the panes that have come and without those that have left (`ReducedWindowedDStream`); otherwise
//! they are merged anew from the panes.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};

use super::rows;
use super::shards::{Hashed, Layout, Shard, Shards};
use super::table::{Table, split};
use super::window::{Panes, WindowTimes};
use super::{
    BatchTime, KeyColumn, Merge, Operator, Part, PartColumn, Size, StateError, describe_keys, describe_parts, fields,
};

/// The index of the part with the number of rows.
const ROWS: usize = 0;
/// A pane of more batches is brought down to one.
const PANE_BATCHES: usize = 32;

/// What is aggregated over a window.
#[derive(Clone, Debug)]
pub struct TotalsSpec {
    /// When windows end.
    pub times: WindowTimes,
    /// Rows are grouped by these; none for one group of all.
    pub keys: Vec<KeyColumn>,
    /// What is kept for each key. The first one is the number of rows, [`TotalsSpec::rows`].
    pub parts: Vec<Part>,
}

impl TotalsSpec {
    /// The part that says when a key's rows have all left. No user can name its column.
    #[must_use]
    pub fn rows() -> Part {
        let column = PartColumn { name: "rows of the key".to_owned(), data_type: arrow::datatypes::DataType::Int64 };
        Part { merge: Merge::Sum, columns: vec![column] }
    }

    pub(super) fn fingerprint(&self) -> Value {
        json!({
            "kind": "aggregates over a window",
            "window": self.times.describe(),
            "key": describe_keys(&self.keys),
            "state": describe_parts(&self.parts),
        })
    }
}

/// Keeps panes and totals.
pub(super) struct Totals {
    spec: TotalsSpec,
    panes: Panes,
    totals: Shards<()>,
    /// The window that the totals are of ends here; `None` after a restart.
    current: Option<i64>,
    /// How many windows were computed from the one before, one after the other.
    derived: i64,
    written: SchemaRef,
    changes: Vec<RecordBatch>,
}

impl Totals {
    pub(super) fn new(spec: TotalsSpec, threads: usize) -> Result<Self, StateError> {
        let layout = Arc::new(Layout::new(fields(&spec.keys), spec.parts.clone())?);
        let written = rows::with_pane(&layout.schema);
        let totals = Shards::new(layout, threads)?;
        Ok(Self { spec, panes: Panes::default(), totals, current: None, derived: 0, written, changes: Vec::new() })
    }

    /// Brings the totals to the window that ends at `time`.
    fn move_to(&mut self, time: i64) -> Result<(), StateError> {
        let times = self.spec.times;
        let start = time - times.length;
        let windows = times.length / times.slide;
        let overlapping = self.current.filter(|current| *current > start && *current <= time);
        let invertible = self.spec.parts.iter().all(|part| part.merge.can_subtract());
        let previous = overlapping.filter(|_| invertible && self.derived < windows);
        self.current = Some(time);
        if let Some(previous) = previous {
            self.derived += 1;
            let entering = self.hashed(previous, time)?;
            let leaving = self.hashed(previous - times.length, start)?;
            if self.shift(&entering, &leaving)? {
                return Ok(());
            }
        }
        // Now and then, and when digits were lost: what is computed anew has no errors of earlier windows.
        self.derived = 0;
        let all = self.hashed(start, time)?;
        self.totals.shards.iter_mut().for_each(|shard| shard.table.clear());
        self.shift(&all, &[]).map(drop)
    }

    fn hashed(&self, start: i64, end: i64) -> Result<Vec<Hashed>, StateError> {
        self.totals.hashed(self.panes.between(start, end).flat_map(|pane| pane.batches.iter().cloned()).collect())
    }

    /// False where digits were lost.
    fn shift(&mut self, entering: &[Hashed], leaving: &[Hashed]) -> Result<bool, StateError> {
        let rows = entering.iter().chain(leaving).map(|it| it.batch.num_rows()).sum();
        let exact = self.totals.each(rows, |layout, shard| {
            for hashed in entering {
                merge(layout, shard, hashed)?;
            }
            let mut exact = true;
            for hashed in leaving {
                exact &= subtract(layout, shard, hashed)?;
            }
            Ok(exact)
        })?;
        Ok(exact.into_iter().all(|exact| exact))
    }
}

fn merge(layout: &Layout, shard: &mut Shard<()>, hashed: &Hashed) -> Result<(), StateError> {
    let pairs = shard.intern(hashed, |(), _, _| {})?;
    shard.table.merge(&pairs, hashed.values(layout), &layout.parts)
}

/// Takes rows out, and with them the keys that have none any more.
fn subtract(layout: &Layout, shard: &mut Shard<()>, hashed: &Hashed) -> Result<bool, StateError> {
    let found = |row: u32| Some((row, shard.table.find(hashed.hash(row), hashed.keys.get(row as usize))?));
    let mut pairs: Vec<(u32, u32)> = shard.rows(hashed).filter_map(found).collect();
    let mut exact = true;
    for (part, columns) in split(hashed.values(layout), &layout.parts).enumerate() {
        exact &= shard.table.subtract_part(part, &pairs, columns)?;
        if part == ROWS {
            // What is left of the values of a key without rows means nothing.
            remove_empty(&mut shard.table, &mut pairs)?;
        }
    }
    Ok(exact)
}

/// Removes the keys without rows, and the pairs with them.
fn remove_empty(table: &mut Table, pairs: &mut Vec<(u32, u32)>) -> Result<(), StateError> {
    let slots: Vec<u32> = pairs.iter().map(|(_, slot)| *slot).collect();
    let values = table.part(ROWS, &slots)?;
    let rows = values.first().ok_or_else(|| StateError::internal("totals without a number of rows"))?;
    let mut rows = rows.as_primitive::<Int64Type>().values().iter();
    pairs.retain(|(_, slot)| {
        let stays = rows.next().is_some_and(|rows| *rows > 0);
        if !stays {
            table.remove(*slot);
        }
        stays
    });
    Ok(())
}

impl Operator for Totals {
    fn apply(&mut self, batch: BatchTime, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StateError> {
        let BatchTime { time, zero } = batch;
        let times = self.spec.times;
        self.changes.clear();
        if times.covers(time, zero) {
            let schema = &self.totals.layout.schema;
            let conform = |batch: &RecordBatch| rows::conform(&rows::compact(batch)?, schema);
            let batches: Vec<RecordBatch> = batches.iter().map(conform).collect::<Result<_, _>>()?;
            let end = times.pane_of(time, zero);
            self.changes = rows::tag(&batches, end, &self.written)?;
            self.panes.add(end, batches);
            self.panes.shrink_last(PANE_BATCHES, |batches| aggregate(&self.totals.layout, batches))?;
        }
        if !times.ends_at(time, zero) {
            return Ok(Vec::new());
        }
        self.move_to(time)?;
        // The next window takes out what has left it by then.
        let start = time - times.length;
        self.panes.forget(if times.slide < times.length { start } else { start + times.slide });
        let entries = self.totals.len();
        self.totals.each(entries, |layout, shard| shard.table.export(&layout.keys, &layout.schema, &shard.table.used()))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.written)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>, StateError> {
        rows::snapshot(&self.panes, &self.written)
    }

    fn changes(&mut self) -> Result<Option<Vec<RecordBatch>>, StateError> {
        Ok(Some(std::mem::take(&mut self.changes)).filter(|changes| !changes.is_empty()))
    }

    fn restore(&mut self, batches: Vec<RecordBatch>) -> Result<(), StateError> {
        self.current = None;
        rows::restore(&mut self.panes, batches, &self.written)
    }

    fn size(&self) -> Size {
        // Until a window ends there are only rows.
        let entries = if self.current.is_some() { self.totals.len() } else { self.panes.rows() };
        Size { entries, bytes: self.totals.bytes() + self.panes.bytes() }
    }
}

/// Brings rows with equal keys together.
fn aggregate(layout: &Arc<Layout>, batches: Vec<RecordBatch>) -> Result<RecordBatch, StateError> {
    let mut shards = Shards::<()>::new(Arc::clone(layout), 1)?;
    let hashed = shards.hashed(batches)?;
    let merged = shards.each(0, |layout, shard| {
        for hashed in &hashed {
            merge(layout, shard, hashed)?;
        }
        shard.table.export(&layout.keys, &layout.schema, &shard.table.used())
    })?;
    merged.into_iter().next().ok_or_else(|| StateError::internal("a table without a piece"))
}
