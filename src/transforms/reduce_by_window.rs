//! `reduce_by_window: {values, length, slide}`: one row with aggregates over the last `length`, every
//! `slide` (`DStream.reduceByWindow`).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::stateful::{AlignSetting, KeptValues, Keys, window_times};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::spec::Duration;
use crate::spec::kind::Settings;

/// Aggregates over a window. A window without rows gives no row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReduceByWindow {
    /// New columns over the rows of the window: `{ total: sum(amount) }`.
    #[schemars(extend("minProperties" = 1))]
    values: IndexMap<String, Expression>,
    /// How far a window reaches back: a multiple of the batch interval.
    length: Duration,
    /// Every so often a window ends: a multiple of the batch interval, which is the default.
    slide: Option<Duration>,
    /// What the ends are counted from: `clock` (the default) or `start`.
    align: Option<AlignSetting>,
}

impl Settings for ReduceByWindow {
    const KIND: &'static str = "reduce_by_window";
    const SUMMARY: &'static str = "one row with aggregates over the rows of the last while";
}

impl StepSettings for ReduceByWindow {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let times = window_times(step, self.length, self.slide, self.align);
        let kept = KeptValues::check(step, Keys::none(), &["values"], &self.values);
        kept.into_window(step, &["values"], times?)
    }
}
