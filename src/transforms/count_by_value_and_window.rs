//! `count_by_value_and_window: {columns, length, slide}`: how often each combination of values occurs in
//! the last `length`, every `slide` (`DStream.countByValueAndWindow`).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::stateful::{AlignSetting, KeptValues, Keys, window_times};
use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::spec::Duration;
use crate::spec::kind::Settings;

/// How often values occur in a window; the result has the columns and `count`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountByValueAndWindow {
    /// The columns whose values are counted.
    columns: Key,
    /// How far a window reaches back: a multiple of the batch interval.
    length: Duration,
    /// Every so often a window ends: a multiple of the batch interval, which is the default.
    slide: Option<Duration>,
    /// What the ends are counted from: `clock` (the default) or `start`.
    align: Option<AlignSetting>,
}

impl Settings for CountByValueAndWindow {
    const KIND: &'static str = "count_by_value_and_window";
    const SUMMARY: &'static str = "how often each value of the columns occurs in the last while";
}

impl StepSettings for CountByValueAndWindow {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let times = window_times(step, self.length, self.slide, self.align);
        let keys = Keys::check(step, &self.columns, &["columns"])?;
        let count = IndexMap::from([("count".to_owned(), Expression("count()".to_owned()))]);
        let kept = KeptValues::check(step, keys, &["columns"], &count);
        kept.into_window(step, &["columns"], times?)
    }
}
