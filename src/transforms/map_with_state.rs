//! `map_with_state: {key, state, emit, timeout}`: a state per key, of which only the keys with rows leave
//! the step (`PairDStreamFunctions.mapWithState`). Unlike there, a timeout fires in the first batch after
//! it and not only in batches that are checkpointed.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::keyed_state::{KeyedState, Output, StateEntry};
use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::Expression;
use crate::spec::Duration;
use crate::spec::kind::Settings;

/// A state per key. By default the keys that a batch has touched leave the step, with their state after
/// the batch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapWithState {
    /// What rows are grouped by.
    key: Key,
    /// What is kept for each key: aggregates over its rows since the start, `{ count: count() }`, or
    /// values that every row changes, `{ balance: { initial: 0, update: balance + amount } }`.
    #[schemars(extend("minProperties" = 1))]
    state: IndexMap<String, StateEntry>,
    /// What leaves the step for each row: new columns over the row's columns, the state before it
    /// (`old.balance`) and after it (`new.balance`). Where `timed_out` is used, a key that times out
    /// leaves a row, too, for which that is true and the row's columns are NULL.
    emit: Option<IndexMap<String, Expression>>,
    /// A key without rows for this long is removed; never by default.
    timeout: Option<Duration>,
    /// A key is removed when this holds for its state after a batch in which it had rows.
    remove_when: Option<Expression>,
    /// Every key leaves the step in every batch, with its state; not by default.
    #[serde(default)]
    state_snapshots: bool,
}

impl Settings for MapWithState {
    const KIND: &'static str = "map_with_state";
    const SUMMARY: &'static str = "a state per key; the keys with rows in the batch";
}

impl StepSettings for MapWithState {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let output = match (&self.emit, self.state_snapshots) {
            (Some(_), true) => {
                let message = "`state_snapshots` gives every key, and `emit` a row for each row";
                let help = "keep one of the two".to_owned();
                step.check.report(codes::CONFLICTING_KEYS, &["state_snapshots"], message, Some(help));
                return None;
            }
            (Some(emit), false) => Output::Rows(emit),
            (None, true) => Output::All,
            (None, false) => Output::Touched,
        };
        let settings = KeyedState {
            key: &self.key,
            state: &self.state,
            timeout: self.timeout,
            remove_when: self.remove_when.as_ref(),
            output,
        };
        settings.check(step)
    }
}
