//! `explode: column`: one row per element of a list; the other columns are repeated.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::operator::{self, Operator, RunContext, Work};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// Rows that leave in one batch; small enough for the steps after it to stay in the cache.
const BATCH_ROWS: usize = 8192;

/// The column to explode: a list. A row whose list is empty or NULL disappears.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Explode(String);

impl Settings for Explode {
    const KIND: &'static str = "explode";
    const SUMMARY: &'static str = "one row per element of a list column, the other columns repeated";
}

impl StepSettings for Explode {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let column = step.column(&[], &self.0);
        let index = step.input.columns.iter().position(|it| it.name == self.0)?;
        let Some(schema) = exploded(step.input, index) else {
            let message = format!("`{}` is {}, not a list", self.0, column.column_type);
            step.check.report(codes::TYPE_MISMATCH, &[], message, None);
            return None;
        };
        let operator: Arc<dyn Operator> = Arc::new(ExplodeOperator { index, schema: schema.to_arrow() });
        let output = schema.clone();
        Some(CheckedStep::new(schema, move |input| operator::apply(input, Arc::clone(&operator), &output)))
    }
}

/// The columns after exploding the one at `index`; `None` if it is no list.
pub(super) fn exploded(schema: &Schema, index: usize) -> Option<Schema> {
    let mut columns = schema.columns.clone();
    let column = columns.get_mut(index)?;
    let element = match &column.column_type {
        ColumnType::List(element) => (**element).clone(),
        ColumnType::Null => ColumnType::Null,
        _ => return None,
    };
    *column = Column::new(&column.name, element);
    Some(Schema::new(columns))
}

/// Explodes the list column at `index`.
#[derive(Debug)]
pub(super) struct ExplodeOperator {
    pub(super) index: usize,
    pub(super) schema: SchemaRef,
}

impl Operator for ExplodeOperator {
    fn name(&self) -> &'static str {
        "Explode"
    }

    fn start(&self, _: &Arc<RunContext>, _: usize) -> Work {
        let (index, schema) = (self.index, Arc::clone(&self.schema));
        Box::new(move |batch| explode(&batch, index, &schema))
    }
}

fn explode(batch: &RecordBatch, index: usize, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    // NULL in every row: no lists, so no rows.
    if batch.columns().get(index).is_some_and(|column| column.data_type() == &DataType::Null) {
        return Ok(Vec::new());
    }
    let lists: &ListArray = batch
        .columns()
        .get(index)
        .and_then(|column| column.as_list_opt())
        .ok_or_else(|| DataFusionError::Internal("explode over something that is no list".to_owned()))?;
    let elements = elements(lists)?;
    let alone = batch.num_columns() == 1;
    let rows = if alone { None } else { Some(row_of_each_element(lists)) };
    let columns = batch
        .columns()
        .iter()
        .enumerate()
        .map(|(i, column)| match &rows {
            Some(rows) if i != index => Ok(take(column, rows, None)?),
            _ => Ok(Arc::clone(&elements)),
        })
        .collect::<Result<Vec<_>>>()?;
    let whole = RecordBatch::try_new(Arc::clone(schema), columns)?;
    // Of even length: a short one at the end would make the steps after it copy rows to fill it up.
    let count = whole.num_rows().div_ceil(BATCH_ROWS).max(1);
    let length = whole.num_rows().div_ceil(count).max(1);
    let starts = (0..whole.num_rows()).step_by(length);
    Ok(starts.map(|start| whole.slice(start, length.min(whole.num_rows() - start))).collect())
}

/// The elements of all lists, one after the other. A slice of the values where no NULL list hides
/// elements: nothing is copied then.
fn elements(lists: &ListArray) -> Result<ArrayRef> {
    let offsets = lists.value_offsets();
    let hidden =
        lists.null_count() > 0 && (0..lists.len()).any(|row| lists.is_null(row) && lists.value_length(row) > 0);
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
        return Ok(lists.values().slice(0, 0));
    };
    if !hidden {
        return Ok(lists.values().slice(*first as usize, (last - first) as usize));
    }
    let kept: UInt32Array = (0..lists.len())
        .filter(|row| !lists.is_null(*row))
        .flat_map(|row| offsets[row] as u32..offsets[row + 1] as u32)
        .collect::<Vec<_>>()
        .into();
    Ok(take(lists.values(), &kept, None)?)
}

fn row_of_each_element(lists: &ListArray) -> UInt32Array {
    let mut rows = Vec::with_capacity(lists.values().len());
    for row in 0..lists.len() {
        let length = if lists.is_null(row) { 0 } else { lists.value_length(row) };
        rows.extend(std::iter::repeat_n(row as u32, length as usize));
    }
    rows.into()
}
