//! `reduce: {total: sum(x)}`: one row with aggregates over the whole batch; none for an empty batch
//! (`DStream.reduce`).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::reduce_by_key::Grouping;
use super::{CheckedStep, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::spec::kind::Settings;

/// New columns over all rows of the batch. An empty batch gives no row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minProperties" = 1))]
pub struct Reduce(IndexMap<String, Expression>);

impl Settings for Reduce {
    const KIND: &'static str = "reduce";
    const SUMMARY: &'static str = "one row with aggregates over the batch";
}

impl StepSettings for Reduce {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let grouping = Grouping::check(step, Vec::new(), &[], &self.0)?;
        Some(grouping.into_step_without_empty())
    }
}
