//! `group_by_key: {key, values}`: one row per key with lists of its rows' values
//! (`DStream.groupByKey`).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::reduce_by_key::Grouping;
use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::{Expression, parse as parser};
use crate::spec::kind::Settings;

/// Lists of values per key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupByKey {
    /// What rows are grouped by.
    key: Key,
    /// New columns: an expression over the rows is collected into a list (NULL is left out), an
    /// aggregate gives one value. By default a list for each column that is not in the key.
    values: Option<IndexMap<String, Expression>>,
}

impl Settings for GroupByKey {
    const KIND: &'static str = "group_by_key";
    const SUMMARY: &'static str = "one row per key, with the key's values collected into lists";
}

impl StepSettings for GroupByKey {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let keys = self.key.check(step, &["key"]);
        let others = step.input.names().filter(|name| !keys.iter().any(|(key, _)| key == name));
        let values =
            self.values.unwrap_or_else(|| others.map(|name| (name.to_owned(), Expression(name.to_owned()))).collect());
        if values.is_empty() {
            step.check.report(
                codes::MISSING_KEY,
                &[],
                "there is nothing to collect besides the key",
                Some("`distinct` gives the keys alone".to_owned()),
            );
            return None;
        }
        let collected = values.into_iter().map(|(name, expression)| (name, collect(expression))).collect();
        Some(Grouping::check(step, keys, &["values"], &collected)?.into_step())
    }
}

/// Wraps an expression over rows; one with aggregates, or one that is wrong, stays as it is.
fn collect(expression: Expression) -> Expression {
    match parser::parse(&expression.0) {
        Ok(ast) if !ast.has_aggregate() => Expression(format!("collect_list({})", expression.0)),
        _ => expression,
    }
}
