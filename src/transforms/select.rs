//! `select: [column, ...]`: only these columns, in this order.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::expr::compile::{Typed, column};
use crate::schema::Column;
use crate::spec::kind::Settings;

/// The columns to keep, in the order of the result.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Select(Vec<String>);

impl Settings for Select {
    const KIND: &'static str = "select";
    const SUMMARY: &'static str = "keep only these columns, in this order";
}

impl StepSettings for Select {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        Some(keep(step.columns(&[], &self.0)))
    }
}

/// A step that keeps these columns.
pub(super) fn keep(columns: Vec<Column>) -> CheckedStep {
    let kept = |it: Column| (it.name.clone(), Typed { expr: column(&it.name), column_type: it.column_type });
    CheckedStep::project(columns.into_iter().map(kept).collect())
}
