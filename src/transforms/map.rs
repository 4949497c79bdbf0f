//! `map: {column: expression, ...}`: exactly these columns.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
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
        Some(CheckedStep::project(step.expressions(&[], &self.0)))
    }
}
