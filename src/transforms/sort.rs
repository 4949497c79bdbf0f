//! `sort: {by: [count desc, word], limit: 10}`: orders the rows of each batch.

use datafusion::logical_expr::SortExpr;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::compile::column;
use crate::spec::kind::Settings;

/// The order of a batch's rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sort {
    /// Columns, each with `asc` (the default) or `desc` after it. NULL comes last.
    #[schemars(length(min = 1))]
    by: Vec<String>,
    /// Keep only the first so many rows.
    limit: Option<u32>,
}

impl Settings for Sort {
    const KIND: &'static str = "sort";
    const SUMMARY: &'static str = "order the rows of each batch, and keep the first ones";
}

impl StepSettings for Sort {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        if self.by.is_empty() {
            step.check.report(codes::INVALID_VALUE, &["by"], "`by` names no column", None);
        }
        let by: Vec<Option<SortExpr>> =
            self.by.iter().enumerate().map(|(index, text)| order(step, &["by", &index.to_string()], text)).collect();
        let by: Vec<SortExpr> = by.into_iter().flatten().collect();
        let limit = self.limit.map(|limit| limit as usize);
        Some(CheckedStep::new(step.input.clone(), move |input| input.sort_with_limit(by.clone(), limit)))
    }
}

/// `column`, `column asc` or `column desc`.
fn order(step: &mut StepCheck<'_, '_>, path: &[&str], text: &str) -> Option<SortExpr> {
    // The whole text first: a column's name may hold a space.
    let whole = step.input.column(text).is_some();
    let (name, direction) = text.trim().rsplit_once(char::is_whitespace).filter(|_| !whole).unwrap_or((text, "asc"));
    let ascending = match direction.to_ascii_lowercase().as_str() {
        "asc" => true,
        "desc" => false,
        _ => {
            let message = format!("`{direction}` is no direction");
            step.check.report(
                codes::INVALID_VALUE,
                path,
                message,
                Some("write `column asc` or `column desc`".to_owned()),
            );
            return None;
        }
    };
    let found = step.column(path, name.trim());
    if !found.column_type.is_ordered() {
        let message = format!("`{}` is {}, which has no order", found.name, found.column_type);
        step.check.report(codes::TYPE_MISMATCH, path, message, None);
        return None;
    }
    Some(column(&found.name).sort(ascending, false))
}
