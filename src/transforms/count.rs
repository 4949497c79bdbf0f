//! `count: {}`: the number of rows, one row per batch, 0 for an empty one (`DStream.count`).

use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// No settings: the result has one column, `count`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {}

impl Settings for Count {
    const KIND: &'static str = "count";
    const SUMMARY: &'static str = "the number of rows of each batch, 0 for an empty one";
}

impl StepSettings for Count {
    fn check(self: Box<Self>, _: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let schema = Schema::new(vec![Column::new("count", ColumnType::Long)]);
        Some(CheckedStep::new(schema, |input| {
            input.aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64)).alias("count")])
        }))
    }
}
