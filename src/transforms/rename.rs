//! `rename: {old: new, ...}`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings};
use crate::expr::compile::{Typed, column};
use crate::schema::Column;
use crate::spec::kind::Settings;

/// Old names and their new ones; the order of the columns stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Rename(IndexMap<String, String>);

impl Settings for Rename {
    const KIND: &'static str = "rename";
    const SUMMARY: &'static str = "give columns other names";
}

impl StepSettings for Rename {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        for old in self.0.keys() {
            step.column(&[old], old);
        }
        let renamed: Vec<Column> = step
            .input
            .columns
            .iter()
            .map(|it| Column::new(self.0.get(&it.name).unwrap_or(&it.name), it.column_type.clone()))
            .collect();
        if !step.unique(&[], &renamed) {
            return None;
        }
        let columns = step
            .input
            .columns
            .iter()
            .zip(renamed)
            .map(|(old, new)| (new.name, Typed { expr: column(&old.name), column_type: new.column_type }));
        Some(CheckedStep::project(columns.collect()))
    }
}
