//! `map: {column: expression, ...}`: exactly these columns.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::Expression;
use crate::spec::kind::Settings;

/// The columns of the result, in order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 1))]
pub struct Map(IndexMap<String, Expression>);

impl Settings for Map {
    const KIND: &'static str = "map";
    const SUMMARY: &'static str = "compute exactly these columns from each row";
}

impl StepSettings for Map {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        // What YAML has cut off was reported already.
        if self.0.is_empty() && !step.check.is_known_wrong() {
            step.check.report(codes::INVALID_VALUE, &[], "no column is left", None);
        }
        Some(CheckedStep::project(step.expressions(&[], &self.0)))
    }
}
