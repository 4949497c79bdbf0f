//! `drop: [column, ...]`: all columns but these.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings, select};
use crate::diagnostic::codes;
use crate::spec::kind::Settings;

/// The columns to leave out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Drop(Vec<String>);

impl Settings for Drop {
    const KIND: &'static str = "drop";
    const SUMMARY: &'static str = "leave these columns out";
}

impl StepSettings for Drop {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        step.columns(&[], &self.0);
        let kept: Vec<_> = step.input.columns.iter().filter(|it| !self.0.contains(&it.name)).cloned().collect();
        if kept.is_empty() {
            step.check.report(codes::INVALID_VALUE, &[], "no column is left", None);
            return None;
        }
        Some(select::keep(kept))
    }
}
