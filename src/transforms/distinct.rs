//! `distinct: {}`: each row of the batch once.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::spec::kind::Settings;

/// No settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distinct {}

impl Settings for Distinct {
    const KIND: &'static str = "distinct";
    const SUMMARY: &'static str = "each different row of the batch once";
}

impl StepSettings for Distinct {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        Some(CheckedStep::new(step.input.clone(), |input| input.distinct()))
    }
}
