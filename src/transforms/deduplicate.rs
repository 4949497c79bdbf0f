//! `deduplicate: {key: [id], within: 10m}`: the first row of each key
//! (`Dataset.dropDuplicates`, by processing time).

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlanBuilder;
use schemars::JsonSchema;
use serde::Deserialize;

use super::stateful::{Keys, StatefulStep, positive, unchanged};
use super::{CheckedStep, Key, StepCheck, StepSettings, first};
use crate::expr::compile::column;
use crate::spec::Duration;
use crate::spec::kind::Settings;
use crate::state::{DistinctSpec, Stateful};

/// Lets the first row of each key pass; later ones are dropped, also in later batches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deduplicate {
    /// What makes rows the same.
    key: Key,
    /// A key is forgotten this long after its first row, and then the next one passes. Without it every
    /// key is kept for ever, so the state grows with every new one.
    within: Option<Duration>,
}

impl Settings for Deduplicate {
    const KIND: &'static str = "deduplicate";
    const SUMMARY: &'static str = "the first row of each key, also across batches";
}

impl StepSettings for Deduplicate {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let within = positive(step, "within", self.within);
        let keys = Keys::check(step, &self.key, &["key"])?;
        let state = Stateful::Distinct(DistinctSpec { keys: keys.columns.clone(), within });
        let columns: Vec<String> = step.input.names().map(ToOwned::to_owned).collect();
        let before = move |inputs| {
            // A key may have the name of a column, which leaves the step and the key does not.
            let keys = keys.typed.iter().enumerate();
            let keys = keys.map(|(index, (_, typed))| typed.expr.clone().alias(format!("key {index}")));
            let columns = columns.iter().map(|name| column(name));
            LogicalPlanBuilder::from(first(inputs)?).project(keys.chain(columns).collect::<Vec<_>>())?.build()
        };
        let stateful = StatefulStep { before: Arc::new(before), state, after: unchanged() };
        Some(CheckedStep::stateful(step.input.clone(), stateful))
    }
}
