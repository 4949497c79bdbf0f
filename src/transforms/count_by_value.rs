//! `count_by_value: [columns]`: how often each combination of values occurs in the batch.

use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// The columns whose values are counted; the result has them and `count`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CountByValue(Key);

impl Settings for CountByValue {
    const KIND: &'static str = "count_by_value";
    const SUMMARY: &'static str = "how often each value of the columns occurs in the batch";
}

impl StepSettings for CountByValue {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let keys = self.0.check(step, &[]);
        let mut columns: Vec<Column> =
            keys.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone())).collect();
        columns.push(Column::new("count", ColumnType::Long));
        if !step.unique(&[], &columns) {
            return None;
        }
        let keys: Vec<Expr> = keys.into_iter().map(|(name, typed)| typed.expr.alias(name)).collect();
        Some(CheckedStep::new(Schema::new(columns), move |input| {
            input.aggregate(keys.clone(), vec![count(lit(1_i64)).alias("count")])
        }))
    }
}
