//! `cast: {column: type, ...}`: changes types; a value that is none of the new type becomes NULL.

use datafusion::logical_expr::try_cast;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::compile::{Typed, column};
use crate::schema::declaration::TypeName;
use crate::spec::kind::Settings;

/// Columns and their new types. A value that cannot be one of the new type becomes NULL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cast(IndexMap<String, TypeName>);

impl Settings for Cast {
    const KIND: &'static str = "cast";
    const SUMMARY: &'static str = "change the types of columns";
}

impl StepSettings for Cast {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        for (name, TypeName(to)) in &self.0 {
            let from = step.column(&[name], name);
            if !arrow::compute::can_cast_types(&from.column_type.to_arrow(), &to.to_arrow()) {
                let message = format!("`{name}` is {}, which cannot become {to}", from.column_type);
                step.check.report(codes::TYPE_MISMATCH, &[name], message, None);
            }
        }
        let columns = step.input.columns.iter().map(|it| {
            let same = || Typed { expr: column(&it.name), column_type: it.column_type.clone() };
            let typed = self.0.get(&it.name).map_or_else(same, |TypeName(to)| Typed {
                expr: try_cast(column(&it.name), to.to_arrow()),
                column_type: to.clone(),
            });
            (it.name.clone(), typed)
        });
        Some(CheckedStep::project(columns.collect()))
    }
}
