//! `with_columns: {column: expression, ...}`: adds columns, or replaces those of the same name.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::expr::compile::{Typed, column};
use crate::spec::kind::Settings;

/// The columns to add or replace. The expressions see the rows as they arrive, not each other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct WithColumns(IndexMap<String, Expression>);

impl Settings for WithColumns {
    const KIND: &'static str = "with_columns";
    const SUMMARY: &'static str = "add columns to each row, or replace them";
}

impl StepSettings for WithColumns {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let mut computed: IndexMap<String, Typed> = step.expressions(&[], &self.0).into_iter().collect();
        let mut columns = Vec::new();
        for old in &step.input.columns {
            let kept = || Typed { expr: column(&old.name), column_type: old.column_type.clone() };
            columns.push((old.name.clone(), computed.shift_remove(&old.name).unwrap_or_else(kept)));
        }
        columns.extend(computed);
        Some(CheckedStep::project(columns))
    }
}
