//! `reduce_by_key_and_window: {key, values, length, slide}`: aggregates per key over the last `length`,
//! every `slide` (`PairDStreamFunctions.reduceByKeyAndWindow`, in its form with an inverse function where
//! all aggregates have one).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::stateful::{AlignSetting, KeptValues, Keys, window_times};
use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::spec::Duration;
use crate::spec::kind::Settings;

/// Aggregates per key over a window. A key whose rows have all left the window is gone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReduceByKeyAndWindow {
    /// What rows are grouped by.
    key: Key,
    /// New columns over the rows of a key: `{ count: count(), total: sum(amount) }`.
    #[schemars(extend("minProperties" = 1))]
    values: IndexMap<String, Expression>,
    /// How far a window reaches back: a multiple of the batch interval.
    length: Duration,
    /// Every so often a window ends: a multiple of the batch interval, which is the default.
    slide: Option<Duration>,
    /// What the ends are counted from: `clock` (the default) or `start`.
    align: Option<AlignSetting>,
}

impl Settings for ReduceByKeyAndWindow {
    const KIND: &'static str = "reduce_by_key_and_window";
    const SUMMARY: &'static str = "one row per key, with aggregates over the key's rows of the last while";
}

impl StepSettings for ReduceByKeyAndWindow {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let times = window_times(step, self.length, self.slide, self.align);
        let keys = Keys::check(step, &self.key, &["key"])?;
        let kept = KeptValues::check(step, keys, &["values"], &self.values);
        kept.into_window(step, &["values"], times?)
    }
}
