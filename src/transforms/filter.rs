//! `filter: expression`: keeps the rows for which it is true (not false, not NULL).

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::Expression;
use crate::expr::compile::convert;
use crate::schema::ColumnType;
use crate::spec::kind::Settings;

/// A condition; rows for which it is true are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Filter(Expression);

impl Settings for Filter {
    const KIND: &'static str = "filter";
    const SUMMARY: &'static str = "keep the rows for which a condition is true";
}

impl StepSettings for Filter {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let typed = step.expression(&[], &self.0);
        let Some(condition) = convert(typed.expr, &typed.column_type, &ColumnType::Boolean) else {
            let message = format!("a filter needs a condition, this is {}", typed.column_type);
            let help = "compare with something: `level == \"error\"`";
            step.check.report(codes::TYPE_MISMATCH, &[], message, Some(help.to_owned()));
            return Some(CheckedStep::unchanged(step.input));
        };
        Some(CheckedStep::new(step.input.clone(), move |input| input.filter(condition.clone())))
    }
}
