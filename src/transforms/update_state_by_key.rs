//! `update_state_by_key: {key, state}`: a state per key since the start, every key in every batch
//! (`PairDStreamFunctions.updateStateByKey`).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::keyed_state::{KeyedState, Output, StateEntry};
use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::spec::Duration;
use crate::spec::kind::Settings;

/// A state per key, which leaves the step for every key in every batch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateStateByKey {
    /// What rows are grouped by.
    key: Key,
    /// What is kept for each key: aggregates over its rows since the start, `{ count: count() }`, or
    /// values that every row changes, `{ balance: { initial: 0, update: balance + amount } }`.
    #[schemars(extend("minProperties" = 1))]
    state: IndexMap<String, StateEntry>,
    /// A key without rows for this long is removed; never by default.
    timeout: Option<Duration>,
    /// A key is removed when this holds for its state after a batch in which it had rows.
    remove_when: Option<Expression>,
}

impl Settings for UpdateStateByKey {
    const KIND: &'static str = "update_state_by_key";
    const SUMMARY: &'static str = "a state per key since the start; every key in every batch";
}

impl StepSettings for UpdateStateByKey {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let settings = KeyedState {
            key: &self.key,
            state: &self.state,
            timeout: self.timeout,
            remove_when: self.remove_when.as_ref(),
            output: Output::All,
        };
        settings.check(step)
    }
}
