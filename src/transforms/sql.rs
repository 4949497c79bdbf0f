//! `sql: select ... from stream`: any relational query over the batch (`DStream.transform`).
//!
//! The rows that arrive are the table `stream`; every other stream and source is a table of its
//! own name. The language is DataFusion's SQL; names keep their case.

use std::collections::HashMap;

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, StepCheck, StepSettings, conform};
use crate::diagnostic::{Diagnostic, Severity, Span, codes, suggest};
use crate::expr::query::{self, QueryError};
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
        let tables = query::tables(&self.0).unwrap_or_default();
        tables.into_iter().filter(|table| table != INPUT && known.contains(&table.as_str())).collect()
    }

    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let tables = match query::tables(&self.0) {
            Ok(tables) => tables,
            Err(error) => return report_text(step, &self.0, error),
        };
        let mut schemas = vec![(INPUT.to_owned(), step.input.clone())];
        for table in tables.iter().filter(|table| *table != INPUT) {
            match (step.stream)(table) {
                Some(schema) => schemas.push((table.clone(), schema)),
                None => {
                    let message = format!("there is no table `{table}`");
                    let span = step.check.word_span(&[], table);
                    let finding = Diagnostic::new(codes::BAD_SQL, step.check.file, span, message)
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
        warn_of_unnamed(step, &self.0, &schema, &schemas);
        let names: Vec<String> = schemas.into_iter().map(|(name, _)| name).collect();
        let (query, output) = (self.0, schema.clone());
        let lower = move |inputs: Vec<LogicalPlan>| {
            let tables = names.iter().cloned().zip(inputs).collect();
            conform(session::plan_sql(&query, tables)?, &output)
        };
        Some(CheckedStep::relational(schema, lower))
    }
}

/// The engine's message without the names of its error types.
fn in_user_terms(message: &str) -> String {
    let message = message.replace('\n', " ");
    let prefixes = ["Schema error: ", "SQL error: ", "Error during planning: ", "This feature is not implemented: "];
    let mut rest = message.as_str();
    while let Some(shorter) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    let inner = rest.strip_prefix("ParserError(\"").and_then(|it| it.strip_suffix("\")"));
    inner.unwrap_or(rest).to_owned()
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

/// Warns of columns that the query does not name: the engine calls them by what computes them, such as
/// `stream.n + Int64(1)`.
fn warn_of_unnamed(step: &mut StepCheck<'_, '_>, sql: &str, output: &Schema, inputs: &[(String, Schema)]) {
    for name in output.names() {
        let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let written = sql.contains(&format!("\"{name}\""));
        if plain || written || inputs.iter().any(|(_, schema)| schema.column(name).is_some()) {
            continue;
        }
        let message = format!("a column of the query has no name of its own, so it is called `{name}`");
        let mut finding = Diagnostic::new(codes::BAD_SQL, step.check.file, step.check.span(&[]), message)
            .help("name it with `as`: `select n + 1 as next from stream`");
        finding.severity = Severity::Warning;
        step.check.findings.push(finding);
    }
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
    let finding = Diagnostic::new(codes::BAD_SQL, step.check.file, span, message).maybe_help(help);
    step.check.findings.push(finding);
    None
}

/// Reports a text that is no query, at its place in the file if that can be found.
fn report_text(step: &mut StepCheck<'_, '_>, sql: &str, error: QueryError) -> Option<CheckedStep> {
    let file = step.check.file;
    let whole = step.check.span(&[]);
    let raw = file.text().get(whole.start..whole.end).unwrap_or("");
    let place = error.at.and_then(|at| in_file(raw, sql, at));
    let span = place.map_or(whole, |(start, end)| Span::new(whole.start + start, whole.start + end));
    step.check.findings.push(Diagnostic::new(codes::BAD_SQL, file, span, error.message).maybe_help(error.help));
    None
}

/// The word at a byte of a scalar's text, as a range of bytes of the scalar in the file; `None` where
/// the file has not the same lines (they are folded, or have escapes).
fn in_file(raw: &str, text: &str, at: usize) -> Option<(usize, usize)> {
    let (mut line_start, mut written) = (0, 0);
    for line in text.split('\n') {
        written += raw.get(written..)?.find(line)?;
        let in_line = at.checked_sub(line_start)?;
        if let Some(rest) = line.get(in_line..) {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if word == 0 { rest.chars().next()?.len_utf8() } else { word };
            return Some((written + in_line, written + in_line + length));
        }
        line_start += line.len() + 1;
        written += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_messages_lose_their_types() {
        assert_eq!(in_user_terms("Error during planning: f(Int64)\nis unknown"), "f(Int64) is unknown");
        assert_eq!(in_user_terms("SQL error: ParserError(\"no number\")"), "no number");
        assert_eq!(in_user_terms("This feature is not implemented: x"), "x");
    }

    #[test]
    fn a_place_in_the_text_is_one_in_the_file() {
        let found = |raw: &'static str, text: &str, at: &str| {
            in_file(raw, text, text.find(at).unwrap()).map(|(start, end)| &raw[start..end])
        };
        assert_eq!(found("select 'a", "select 'a", "'a"), Some("'"));
        assert_eq!(found("\"selec a\"", "selec a", "selec"), Some("selec"));
        let block = "|\n      select a\n\n        form b\n";
        assert_eq!(found(block, "select a\n\n  form b\n", "form"), Some("form"));
        assert_eq!(found("select a\n  form b", "select a form b", "form"), None);
    }
}
