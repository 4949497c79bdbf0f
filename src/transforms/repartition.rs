//! `repartition: n`: spreads the rows of each batch over n partitions.

use datafusion::logical_expr::Partitioning;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::spec::kind::Settings;

/// How many partitions the rows are spread over; the files sink writes one file for each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Repartition(#[schemars(range(min = 1, max = 1024))] u32);

impl Settings for Repartition {
    const KIND: &'static str = "repartition";
    const SUMMARY: &'static str = "spread the rows of each batch over so many partitions";
}

impl StepSettings for Repartition {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let partitions = self.0 as usize;
        if !(1..=1024).contains(&partitions) {
            step.check.report(codes::INVALID_VALUE, &[], "the number of partitions is from 1 to 1024", None);
            return Some(CheckedStep::unchanged(step.input));
        }
        Some(CheckedStep::new(step.input.clone(), move |input| {
            input.repartition(Partitioning::RoundRobinBatch(partitions))
        }))
    }
}
