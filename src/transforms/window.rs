//! `window: {length: 30s, slide: 10s}`: the following steps see the rows of the last `length`, every
//! `slide` (`DStream.window`).

use schemars::JsonSchema;
use serde::Deserialize;

use super::stateful::{AlignSetting, StatefulStep, unchanged, window_times};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::spec::Duration;
use crate::spec::kind::Settings;
use crate::state::Stateful;

/// The rows of the last while. Nothing leaves the step, or happens in the steps after it, in batches at
/// which no window ends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How far a window reaches back: a multiple of the batch interval.
    length: Duration,
    /// Every so often a window ends: a multiple of the batch interval, which is the default.
    slide: Option<Duration>,
    /// What the ends are counted from: `clock` (the default) or `start`.
    align: Option<AlignSetting>,
}

impl Settings for Window {
    const KIND: &'static str = "window";
    const SUMMARY: &'static str = "the rows of the last while, every so often";
}

impl StepSettings for Window {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let times = window_times(step, self.length, self.slide, self.align)?;
        let stateful = StatefulStep { before: unchanged(), state: Stateful::Rows(times), after: unchanged() };
        Some(CheckedStep::stateful(step.input.clone(), stateful))
    }
}
