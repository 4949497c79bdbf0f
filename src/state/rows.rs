//! `window`: the rows of the last while.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::window::{Panes, WindowTimes};
use super::{BatchTime, Operator, Size, StateError};

/// The column with the end of a row's pane, where rows of panes are written down. No user can name it.
pub(super) const PANE: &str = "pane end";

/// Keeps rows.
pub(super) struct WindowRows {
    times: WindowTimes,
    schema: SchemaRef,
    panes: Panes,
    changes: Vec<RecordBatch>,
}

impl WindowRows {
    pub(super) fn new(times: WindowTimes, input: &SchemaRef) -> Self {
        Self { times, schema: with_pane(input), panes: Panes::default(), changes: Vec::new() }
    }
}

impl Operator for WindowRows {
    fn apply(&mut self, batch: BatchTime, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StateError> {
        let BatchTime { time, zero } = batch;
        self.changes.clear();
        if self.times.covers(time, zero) {
            let rows: Vec<RecordBatch> = rows.iter().map(compact).collect::<Result<_, _>>()?;
            let end = self.times.pane_of(time, zero);
            self.changes = tag(&rows, end, &self.schema)?;
            self.panes.add(end, rows);
        }
        if !self.times.ends_at(time, zero) {
            return Ok(Vec::new());
        }
        let start = time - self.times.length;
        let window = self.panes.between(start, time).flat_map(|pane| pane.batches.iter().cloned()).collect();
        self.panes.forget(start.max(time + self.times.slide - self.times.length));
        Ok(window)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn snapshot(&self) -> Result<Vec<RecordBatch>, StateError> {
        snapshot(&self.panes, &self.schema)
    }

    fn changes(&mut self) -> Result<Option<Vec<RecordBatch>>, StateError> {
        Ok(Some(std::mem::take(&mut self.changes)).filter(|changes| !changes.is_empty()))
    }

    fn restore(&mut self, rows: Vec<RecordBatch>) -> Result<(), StateError> {
        restore(&mut self.panes, rows, &self.schema)
    }

    fn size(&self) -> Size {
        Size { entries: self.panes.rows(), bytes: self.panes.bytes() }
    }
}

/// The columns of rows that are written down with their panes.
pub(super) fn with_pane(rows: &SchemaRef) -> SchemaRef {
    let pane = Arc::new(Field::new(PANE, DataType::Int64, false));
    Arc::new(ArrowSchema::new(rows.fields().iter().cloned().chain([pane]).collect::<Vec<_>>()))
}

/// Rows with the end of their pane.
pub(super) fn tag(rows: &[RecordBatch], end: i64, schema: &SchemaRef) -> Result<Vec<RecordBatch>, StateError> {
    let tag = |batch: &RecordBatch| {
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_value(end, batch.num_rows())));
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    };
    rows.iter().filter(|batch| batch.num_rows() > 0).map(tag).collect()
}

pub(super) fn snapshot(panes: &Panes, schema: &SchemaRef) -> Result<Vec<RecordBatch>, StateError> {
    let mut rows = Vec::new();
    for pane in panes.iter() {
        rows.extend(tag(&pane.batches, pane.end, schema)?);
    }
    Ok(rows)
}

/// Puts rows that were written down into their panes; each batch of them is of one pane, as
/// [`snapshot`] and [`tag`] make them.
pub(super) fn restore(panes: &mut Panes, rows: Vec<RecordBatch>, schema: &SchemaRef) -> Result<(), StateError> {
    for batch in rows {
        let batch = conform(&batch, schema)?;
        let pane = batch.num_columns() - 1;
        if batch.num_rows() == 0 {
            continue;
        }
        let end = batch.column(pane).as_primitive::<Int64Type>().value(0);
        let columns: Vec<usize> = (0..pane).collect();
        panes.add(end, [batch.project(&columns)?]);
    }
    Ok(())
}

/// Checks that rows have these columns.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StateError> {
    let differs = || {
        let own = schema.fields().iter().map(|it| format!("{}: {}", it.name(), it.data_type()));
        StateError::OtherColumns(own.collect::<Vec<_>>().join(", "))
    };
    RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec()).map_err(|_| differs())
}

/// The same rows, without the bytes of others: texts point into what was received, which must not be kept
/// for the sake of a few of them.
pub(super) fn compact(batch: &RecordBatch) -> Result<RecordBatch, StateError> {
    let columns = batch.columns().iter().map(compact_array).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, StateError> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(_) | DataType::Struct(_) => {
            // Texts may be anywhere inside; through rows and back, nothing of what was received is left.
            let converter = RowConverter::new(vec![SortField::new(array.data_type().clone())])?;
            let rows = converter.convert_columns(std::slice::from_ref(array))?;
            let mut arrays = converter.convert_rows(&rows)?;
            arrays.pop().ok_or_else(|| StateError::internal("rows without a column"))?
        }
        _ => Arc::clone(array),
    })
}
