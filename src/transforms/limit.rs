//! `limit: n`: at most n rows of each batch; the first ones after a `sort`, any ones otherwise.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::spec::kind::Settings;

/// How many rows of each batch are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Limit(u32);

impl Settings for Limit {
    const KIND: &'static str = "limit";
    const SUMMARY: &'static str = "at most so many rows of each batch";
}

impl StepSettings for Limit {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let rows = self.0 as usize;
        Some(CheckedStep::new(step.input.clone(), move |input| input.limit(0, Some(rows))))
    }
}
