//! `reduce_by_key: {key, values}`: one row per key with aggregates over its rows of the batch.

use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, Key, StepCheck, StepSettings, row_number};
use crate::diagnostic::codes;
use crate::expr::compile::{Grouped, Typed, column};
use crate::expr::{Expression, parse as parser};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// Aggregates per key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReduceByKey {
    /// What rows are grouped by.
    key: Key,
    /// New columns over the rows of a key: `{ count: count(), total: sum(amount) }`.
    values: IndexMap<String, Expression>,
}

impl Settings for ReduceByKey {
    const KIND: &'static str = "reduce_by_key";
    const SUMMARY: &'static str = "one row per key, with aggregates over the key's rows";
}

impl StepSettings for ReduceByKey {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let keys = self.key.check(step, &["key"]);
        let grouping = Grouping::check(step, keys, &["values"], &self.values)?;
        Some(grouping.into_step())
    }
}

/// Keys and aggregated values of a grouping step.
pub(super) struct Grouping {
    keys: Vec<(String, Typed)>,
    values: Vec<(String, Grouped)>,
    schema: Schema,
    input: Schema,
}

impl Grouping {
    /// Types the values over groups with these keys; each value needs an aggregate.
    pub(super) fn check(
        step: &mut StepCheck<'_, '_>,
        keys: Vec<(String, Typed)>,
        path: &[&str],
        values: &IndexMap<String, Expression>,
    ) -> Option<Self> {
        step.not_empty(path, values);
        let key_schema =
            Schema::new(keys.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone())).collect());
        if let Some(key) = keys.iter().find(|(_, typed)| matches!(typed.column_type, ColumnType::Map(..))) {
            let message = format!("`{}` is a map, which cannot be a key", key.0);
            step.check.report(codes::TYPE_MISMATCH, &["key"], message, None);
            return None;
        }
        let values: Vec<(String, Grouped)> = values
            .iter()
            .map(|(name, expression)| {
                let path = [path, &[name.as_str()]].concat();
                if parser::parse(&expression.0).is_ok_and(|ast| !ast.has_aggregate()) {
                    let message = format!("`{name}` has no aggregate, so a group has no one value for it");
                    let help = format!(
                        "say which value is meant: `first({0})`, `max({0})`, `collect_list({0})`",
                        expression.0
                    );
                    step.check.report(codes::MISPLACED_AGGREGATE, &path, message, Some(help));
                    let first = Expression(format!("first({})", expression.0));
                    return (name.clone(), step.grouped(&path, &first, &key_schema, name));
                }
                (name.clone(), step.grouped(&path, expression, &key_schema, name))
            })
            .collect();
        let mut columns = key_schema.columns;
        columns.extend(values.iter().map(|(name, grouped)| Column::new(name, grouped.value.column_type.clone())));
        step.unique(path, &columns).then(|| Self {
            keys,
            values,
            schema: Schema::new(columns),
            input: step.input.clone(),
        })
    }

    pub(super) fn into_step(self) -> CheckedStep {
        let schema = self.schema.clone();
        CheckedStep::new(schema, move |input| {
            let (input, aggregates) = self.aggregates(input)?;
            self.finish(input.aggregate(self.key_exprs(), aggregates)?)
        })
    }

    /// As [`Grouping::into_step`], for a step without keys: nothing leaves it for an empty batch.
    pub(super) fn into_step_without_empty(self) -> CheckedStep {
        const ROWS: &str = "rows of the batch";
        let schema = self.schema.clone();
        CheckedStep::new(schema, move |input| {
            let (input, mut aggregates) = self.aggregates(input)?;
            let rows = datafusion::functions_aggregate::expr_fn::count(datafusion::logical_expr::lit(1_i64));
            aggregates.push(rows.alias(ROWS));
            let some = column(ROWS).gt(datafusion::logical_expr::lit(0_i64));
            self.finish(input.aggregate(Vec::<Expr>::new(), aggregates)?.filter(some)?)
        })
    }

    fn key_exprs(&self) -> Vec<Expr> {
        self.keys.iter().map(|(name, typed)| typed.expr.clone().alias(name)).collect()
    }

    /// The aggregates over the input, which gets row numbers where one of them needs them.
    fn aggregates(&self, input: LogicalPlanBuilder) -> Result<(LogicalPlanBuilder, Vec<Expr>)> {
        let all = self.values.iter().flat_map(|(_, grouped)| &grouped.aggregates);
        let ordered: Vec<(bool, Expr)> = all
            .map(|(alias, aggregate)| {
                let (ordered, aggregate) = row_number::in_order(aggregate.clone());
                (ordered, aggregate.alias(alias))
            })
            .collect();
        let needed = ordered.iter().any(|(ordered, _)| *ordered);
        let input = if needed { row_number::number(input, &self.input)? } else { input };
        Ok((input, ordered.into_iter().map(|(_, aggregate)| aggregate).collect()))
    }

    fn finish(&self, grouped: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let keys = self.keys.iter().map(|(name, _)| column(name));
        let values = self.values.iter().map(|(name, grouped)| grouped.value.expr.clone().alias(name));
        grouped.project(keys.chain(values).collect::<Vec<_>>())
    }
}
