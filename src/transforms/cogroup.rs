//! `cogroup: {with: stream, key: id}`: one row per key of either stream, with the rows of each side
//! as a list (`DStream.cogroup`).

use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::{coalesce, named_struct};
use datafusion::functions_aggregate::expr_fn::array_agg;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use schemars::JsonSchema;
use serde::Deserialize;

use super::join::{JoinKeys, left_name, right_name};
use super::{CheckedStep, Key, StepCheck, StepSettings, row_number};
use crate::diagnostic::codes;
use crate::expr::compile::column;
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// Both sides' rows per key, as lists `left` and `right` of structs of the columns besides the key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cogroup {
    /// The other stream or source.
    with: String,
    /// What rows of both sides are grouped by.
    key: Key,
}

impl Settings for Cogroup {
    const KIND: &'static str = "cogroup";
    const SUMMARY: &'static str = "one row per key, with the rows of two streams as lists";
}

impl StepSettings for Cogroup {
    fn streams(&self, _: &[&str]) -> Vec<String> {
        vec![self.with.clone()]
    }

    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let right = (step.stream)(&self.with)?;
        let keys = JoinKeys::check(step, &self.key, &right, &self.with)?;
        let rest = |side: &Schema| -> Vec<Column> {
            side.columns.iter().filter(|it| !keys.columns.iter().any(|key| key.name == it.name)).cloned().collect()
        };
        let (left_rest, right_rest) = (rest(step.input), rest(&right));
        if left_rest.is_empty() || right_rest.is_empty() {
            let message = "a side has no column besides the key, so there is nothing to list";
            step.check.report(
                codes::SCHEMA_MISMATCH,
                &["key"],
                message,
                Some("`join` tells which keys both sides have".to_owned()),
            );
            return None;
        }
        let list = |rest: &[Column]| ColumnType::Struct(rest.to_vec()).list_of();
        let mut columns = keys.columns.clone();
        columns.extend([Column::new("left", list(&left_rest)), Column::new("right", list(&right_rest))]);
        if !step.unique(&["key"], &columns) {
            return None;
        }
        let schema = Schema::new(columns);
        let lower = move |inputs: Vec<LogicalPlan>| {
            let (left, right) = keys.sides(inputs, &left_rest, &right_rest)?;
            let left = collect(left, &keys, left_name, &left_rest, "left")?;
            let right = collect(right, &keys, right_name, &right_rest, "right")?;
            // NULL is a key like any other where rows are grouped.
            let nulls = NullEquality::NullEqualsNull;
            let joined = left.join_detailed(right.build()?, JoinType::Full, keys.names(), None, nulls)?;
            let key_exprs = keys.columns.iter().enumerate().map(|(index, key)| {
                coalesce(vec![column(&left_name(index)), column(&right_name(index))]).alias(&key.name)
            });
            let lists = [("left", list(&left_rest)), ("right", list(&right_rest))].map(|(name, list_type)| {
                let arrow = list_type.to_arrow();
                let no_rows = cast(datafusion::functions_nested::expr_fn::make_array(Vec::new()), arrow.clone());
                coalesce(vec![cast(column(name), arrow), no_rows]).alias(name)
            });
            joined.project(key_exprs.chain(lists).collect::<Vec<_>>())?.build()
        };
        Some(CheckedStep::relational(schema, lower))
    }
}

/// One row per key with the list of the other columns.
fn collect(
    side: LogicalPlanBuilder,
    keys: &JoinKeys,
    name: fn(usize) -> String,
    rest: &[Column],
    list: &str,
) -> Result<LogicalPlanBuilder> {
    let fields: Vec<Expr> = rest.iter().flat_map(|it| [lit(it.name.clone()), column(&it.name)]).collect();
    let key_columns: Vec<Expr> = (0..keys.columns.len()).map(|index| column(&name(index))).collect();
    let mut columns: Vec<Column> = keys.columns.clone();
    for (index, key) in columns.iter_mut().enumerate() {
        key.name = name(index);
    }
    columns.extend(rest.iter().cloned());
    let side = row_number::number(side, &Schema::new(columns))?;
    let (_, rows) = row_number::in_order(array_agg(named_struct(fields)));
    side.aggregate(key_columns, vec![rows.alias(list)])
}
