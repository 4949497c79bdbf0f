//! `count_by_window: {length, slide}`: the number of rows of the last `length`, every `slide`
//! (`DStream.countByWindow`).

use std::sync::Arc;

use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::stateful::{AlignSetting, KeptValues, Keys, window_times};
use super::{Action, CheckedStep, Lower, StepCheck, StepSettings};
use crate::expr::Expression;
use crate::expr::compile::column;
use crate::spec::Duration;
use crate::spec::kind::Settings;

/// The number of rows of a window, 0 for one without rows: the result has one column, `count`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountByWindow {
    /// How far a window reaches back: a multiple of the batch interval.
    length: Duration,
    /// Every so often a window ends: a multiple of the batch interval, which is the default.
    slide: Option<Duration>,
    /// What the ends are counted from: `clock` (the default) or `start`.
    align: Option<AlignSetting>,
}

impl Settings for CountByWindow {
    const KIND: &'static str = "count_by_window";
    const SUMMARY: &'static str = "the number of rows of the last while, 0 for none";
}

impl StepSettings for CountByWindow {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let times = window_times(step, self.length, self.slide, self.align)?;
        let count = IndexMap::from([("count".to_owned(), Expression("count()".to_owned()))]);
        let kept = KeptValues::check(step, Keys::none(), &[], &count);
        let mut checked = kept.into_window(step, &[], times)?;
        if let Action::Stateful(stateful) = &mut checked.action {
            stateful.after = or_zero(Arc::clone(&stateful.after));
        }
        Some(checked)
    }
}

/// A window without rows is one of 0.
fn or_zero(count: Lower) -> Lower {
    Arc::new(move |inputs| {
        let counted = LogicalPlanBuilder::from(count(inputs)?);
        let summed = counted.aggregate(Vec::<Expr>::new(), vec![sum(column("count")).alias("total")])?;
        let total = coalesce(vec![column("total"), lit(0_i64)]);
        summed.project(vec![total.alias("count")])?.build()
    })
}
