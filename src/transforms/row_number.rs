//! Row numbers for aggregates that depend on the order of rows (`first`, `last`, `collect_list`):
//! partitions are aggregated side by side, so the order has to be in the rows.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use super::operator::{self, Operator, RunContext, Work};
use crate::expr::compile::column;
use crate::schema::{Column, ColumnType, Schema};

/// The column with the number. No user can name it.
const ROW_NUMBER: &str = "row number";

/// The partition's number stands above this many bits of the row's.
const ROW_BITS: u32 = 40;

/// The aggregates of the engine whose result depends on the order of rows.
const IN_ORDER: &[&str] = &["first_value", "last_value", "array_agg"];

/// An aggregate that takes rows by their number, if it depends on their order.
pub(super) fn in_order(aggregate: Expr) -> (bool, Expr) {
    match aggregate {
        Expr::AggregateFunction(AggregateFunction { func, mut params })
            if IN_ORDER.contains(&func.name()) && !params.distinct && params.order_by.is_empty() =>
        {
            params.order_by = vec![column(ROW_NUMBER).sort(true, false)];
            (true, Expr::AggregateFunction(AggregateFunction { func, params }))
        }
        other => (false, other),
    }
}

/// Adds the row numbers.
pub(super) fn number(input: LogicalPlanBuilder, schema: &Schema) -> Result<LogicalPlanBuilder> {
    let mut columns = schema.columns.clone();
    columns.push(Column::new(ROW_NUMBER, ColumnType::Long));
    let schema = Schema::new(columns);
    let operator: Arc<dyn Operator> = Arc::new(NumberOperator { schema: schema.to_arrow() });
    operator::apply(input, operator, &schema)
}

#[derive(Debug)]
struct NumberOperator {
    schema: SchemaRef,
}

impl Operator for NumberOperator {
    fn name(&self) -> &'static str {
        "RowNumber"
    }

    fn start(&self, _: &Arc<RunContext>, partition: usize) -> Work {
        let schema = Arc::clone(&self.schema);
        let mut next = (partition as i64) << ROW_BITS;
        Box::new(move |batch| {
            let end = next + batch.num_rows() as i64;
            let numbers = Int64Array::from_iter_values(next..end);
            next = end;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(numbers));
            Ok(vec![RecordBatch::try_new(Arc::clone(&schema), columns)?])
        })
    }
}
