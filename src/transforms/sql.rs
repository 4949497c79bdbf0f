//! `sql: select ... from stream`: any relational query over the batch (`DStream.transform`).
//!
//! The rows that arrive are the table `stream`; every other stream and source is a table of its
//! own name. The language is DataFusion's SQL; names keep their case.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings, conform};
use crate::diagnostic::{codes, suggest};
use crate::expr::session;
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;

/// The table that stands for the rows that arrive.
const INPUT: &str = "stream";

/// A query. `stream` is the table of the rows that arrive; other streams and sources are tables of
/// their names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sql(String);

impl Settings for Sql {
    const KIND: &'static str = "sql";
    const SUMMARY: &'static str = "a SQL query over the batch; its table is `stream`";
}

impl StepSettings for Sql {
    fn streams(&self, known: &[&str]) -> Vec<String> {
        let tables = session::tables(&self.0).unwrap_or_default();
        tables.into_iter().filter(|table| table != INPUT && known.contains(&table.as_str())).collect()
    }

    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let tables = match session::tables(&self.0) {
            Ok(tables) => tables,
            Err(error) => return report(step, &error, &[]),
        };
        let mut schemas = vec![(INPUT.to_owned(), step.input.clone())];
        for table in tables.iter().filter(|table| *table != INPUT) {
            match (step.stream)(table) {
                Some(schema) => schemas.push((table.clone(), schema)),
                None => {
                    let message = format!("there is no table `{table}`");
                    let span = step.check.word_span(&[], table);
                    let finding = crate::diagnostic::Diagnostic::new(codes::BAD_SQL, step.check.file, span, message)
                        .help("the rows that arrive are the table `stream`; other streams and sources are tables of their names");
                    step.check.findings.push(finding);
                    return None;
                }
            }
        }
        let empty: Result<HashMap<String, LogicalPlan>> =
            schemas.iter().map(|(name, schema)| Ok((name.clone(), session::empty_table(name, schema)?))).collect();
        let plan = match empty.and_then(|tables| session::plan_sql(&self.0, tables)) {
            Ok(plan) => plan,
            Err(error) => return report(step, &error, &schemas),
        };
        if let Some(function) = session::unstable_function(&plan) {
            let message = format!("`{function}()` gives another answer each time, so a batch could not be run again");
            step.check.report(
                codes::BAD_SQL,
                &[],
                message,
                Some("add the time to the rows at the source instead".to_owned()),
            );
            return None;
        }
        let schema = output_schema(step, &plan)?;
        let names: Vec<String> = schemas.into_iter().map(|(name, _)| name).collect();
        let (query, output) = (self.0, schema.clone());
        let lower = move |inputs: Vec<LogicalPlan>| {
            let tables = names.iter().cloned().zip(inputs).collect();
            conform(session::plan_sql(&query, tables)?, &output)
        };
        Some(CheckedStep { schema, lower: Arc::new(lower) })
    }
}

/// The engine's message without the names of its error types.
fn in_user_terms(message: &str) -> String {
    let message = message.replace('\n', " ");
    let prefixes = ["Schema error: ", "SQL error: ", "Error during planning: ", "ParserError("];
    let mut rest = message.as_str();
    while let Some(shorter) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    rest.trim_end_matches(')').trim_matches('"').to_owned()
}

fn output_schema(step: &mut StepCheck<'_, '_>, plan: &LogicalPlan) -> Option<Schema> {
    let mut columns = Vec::new();
    for field in plan.schema().fields() {
        let Some(column_type) = ColumnType::from_arrow(field.data_type()) else {
            let message =
                format!("the column `{}` has the type {}, which no stream can have", field.name(), field.data_type());
            step.check.report(codes::BAD_SQL, &[], message, Some("cast it to another type".to_owned()));
            return None;
        };
        columns.push(Column::new(field.name(), column_type));
    }
    step.unique(&[], &columns).then(|| Schema::new(columns))
}

fn report(step: &mut StepCheck<'_, '_>, error: &DataFusionError, schemas: &[(String, Schema)]) -> Option<CheckedStep> {
    let message = error.strip_backtrace();
    let message = in_user_terms(message.split("\n\n").next().unwrap_or_default());
    // The engine quotes the name it does not know: `No field named wrd.`
    let unknown = message.split_once("No field named ").map(|(_, rest)| {
        rest.split([' ', ',']).next().unwrap_or("").trim_end_matches('.').trim_matches('"').to_owned()
    });
    let columns: Vec<&str> = schemas.iter().flat_map(|(_, schema)| schema.names()).collect();
    let help = unknown.as_deref().and_then(|name| suggest::help(name.rsplit('.').next().unwrap_or(name), columns));
    let span = step.check.word_span(&[], unknown.as_deref().unwrap_or(""));
    let finding = crate::diagnostic::Diagnostic::new(codes::BAD_SQL, step.check.file, span, message).maybe_help(help);
    step.check.findings.push(finding);
    None
}
