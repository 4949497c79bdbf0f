//! `union: [stream, ...]`: the rows of this stream and of the others.

use datafusion::logical_expr::LogicalPlanBuilder;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings, conform};
use crate::diagnostic::codes;
use crate::expr::compile::{column, common_type, convert};
use crate::schema::{Column, Schema};
use crate::spec::kind::Settings;

/// The other streams or sources. They need the same columns (in any order) with types that fit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Union(Vec<String>);

impl Settings for Union {
    const KIND: &'static str = "union";
    const SUMMARY: &'static str = "the rows of this stream and of other ones";
}

impl StepSettings for Union {
    fn streams(&self, _: &[&str]) -> Vec<String> {
        self.0.clone()
    }

    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let mut columns = step.input.columns.clone();
        let mut fits = true;
        for (index, name) in self.0.iter().enumerate() {
            let other = (step.stream)(name)?;
            let index = index.to_string();
            fits &= merge(step, &[&index], name, &other, &mut columns);
        }
        if !fits {
            return None;
        }
        let schema = Schema::new(columns);
        let output = schema.clone();
        let lower = move |inputs: Vec<datafusion::logical_expr::LogicalPlan>| {
            let mut union: Option<LogicalPlanBuilder> = None;
            for input in inputs {
                let exprs: Vec<_> = output.columns.iter().map(|it| column(&it.name)).collect();
                let input = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
                let input = conform(input, &output)?;
                union = Some(match union {
                    None => input.into(),
                    Some(union) => union.union(input)?,
                });
            }
            let union =
                union.ok_or_else(|| datafusion::error::DataFusionError::Internal("a union of nothing".to_owned()))?;
            conform(union.build()?, &output)
        };
        Some(CheckedStep::relational(schema, lower))
    }
}

/// Widens `columns` so that the rows of `other` fit; reports what does not.
fn merge(step: &mut StepCheck<'_, '_>, path: &[&str], name: &str, other: &Schema, columns: &mut [Column]) -> bool {
    let mut fits = true;
    for it in columns.iter_mut() {
        let Some(theirs) = other.column(&it.name) else {
            let message = format!("`{name}` has no column `{}`", it.name);
            step.check.report(codes::SCHEMA_MISMATCH, path, message, Some(format!("its columns are {other}")));
            fits = false;
            continue;
        };
        let common = common_type([&it.column_type, &theirs.column_type]);
        let common = common.filter(|to| convert(column(&it.name), &theirs.column_type, to).is_some());
        match common {
            Some(common) => it.column_type = common,
            None => {
                let message =
                    format!("`{}` is {} here and {} in `{name}`", it.name, it.column_type, theirs.column_type);
                let help = "bring both to one type with `cast`".to_owned();
                step.check.report(codes::SCHEMA_MISMATCH, path, message, Some(help));
                fits = false;
            }
        }
    }
    for theirs in &other.columns {
        if !columns.iter().any(|it| it.name == theirs.name) {
            let message = format!("`{name}` has a column `{}` that is not here", theirs.name);
            let help = "both sides of a union need the same columns: `select` or `drop` some of them".to_owned();
            step.check.report(codes::SCHEMA_MISMATCH, path, message, Some(help));
            fits = false;
        }
    }
    fits
}
