//! `flat_map: {column: list-expression}`: one row per element of the list, exactly these columns.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::explode::{ExplodeOperator, exploded};
use super::operator::{self, Operator};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::Expression;
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// The columns of the result. Exactly one expression is a list; there is a row for each of its
/// elements, with the other columns repeated.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 1))]
pub struct FlatMap(IndexMap<String, Expression>);

impl Settings for FlatMap {
    const KIND: &'static str = "flat_map";
    const SUMMARY: &'static str = "one row per element of a list, e.g. per word of a line";
}

impl StepSettings for FlatMap {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let columns = step.expressions(&[], &self.0);
        let is_list = |column_type: &ColumnType| matches!(column_type, ColumnType::List(_));
        let lists: Vec<usize> = columns
            .iter()
            .enumerate()
            .filter(|(_, (_, typed))| is_list(&typed.column_type))
            .map(|(index, _)| index)
            .collect();
        let wrong = columns.iter().position(|(_, typed)| typed.column_type == ColumnType::Null);
        let (Some(index), true) = (lists.first().copied().or(wrong), lists.len() <= 1) else {
            let message = match columns.as_slice() {
                [(name, typed)] => format!("`{name}` is {}, and a flat_map needs a list", typed.column_type),
                _ => format!("a flat_map needs exactly one list, this has {}", lists.len()),
            };
            let help = "`split(text, \" \")` gives a list; `map` computes columns without one";
            step.check.report(codes::TYPE_MISMATCH, &[], message, Some(help.to_owned()));
            return None;
        };
        let unexploded =
            Schema::new(columns.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone())).collect());
        let schema = exploded(&unexploded, index)?;
        let lists: Vec<Expr> = columns.into_iter().map(|(name, typed)| typed.expr.alias(name)).collect();
        let operator: Arc<dyn Operator> = Arc::new(ExplodeOperator { index, schema: schema.to_arrow() });
        let output = schema.clone();
        Some(CheckedStep::new(schema, move |input| {
            operator::apply(input.project(lists.clone())?, Arc::clone(&operator), &output)
        }))
    }
}
