//! `rows`: rows that stand in the pipeline file, for tries and tests; and how values written by
//! hand become rows, which tests need for their input too.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::receiver::number;
use super::{
    Block, CheckedSource, Limit, Offset, Replay, Source, SourceContext, SourceError, SourceFactory, SourceSettings,
};
use crate::diagnostic::{Code, codes, suggest};
use crate::formats::BATCH_ROWS;
use crate::schema::{Column, ColumnType, Schema, SchemaDeclaration};
use crate::spec::Check;
use crate::spec::kind::Settings;

/// The only column of rows that are single values.
const VALUE_COLUMN: &str = "value";

/// Rows that stand in the pipeline file, for tries and tests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The rows, each a mapping from columns to values; a column that is missing is NULL. Or single
    /// values, which become the text of the one column `value`.
    pub values: Vec<Value>,
    /// The columns with their types. By default they follow from the values of all rows: `long`,
    /// `double`, `boolean`, `string`, lists and structs of these.
    pub schema: Option<SchemaDeclaration>,
    /// How many rows a batch has; by default all are in the first batch.
    #[schemars(range(min = 1))]
    pub per_batch: Option<u64>,
}

impl Settings for Rows {
    const KIND: &'static str = "rows";
    const SUMMARY: &'static str = "rows that stand in the pipeline file, for tries and tests";
}

impl SourceSettings for Rows {
    fn check(self: Box<Self>, check: &mut Check<'_>) -> Option<CheckedSource> {
        let before = check.findings.len();
        if self.per_batch == Some(0) {
            let help = Some("leave it out to have all rows in the first batch".to_owned());
            check.report(
                codes::INVALID_VALUE,
                &["per_batch"],
                "with `per_batch` at 0 there would never be a row",
                help,
            );
        }
        let rows = self.mappings(check);
        let schema = self.columns(&rows, check)?;
        let batch = batch_or_findings(&rows, &schema, check)?;
        if check.findings.len() > before {
            return None;
        }
        let factory = Factory { batch, per_batch: self.per_batch.unwrap_or(u64::MAX) };
        Some(CheckedSource {
            schema,
            resources: Vec::new(),
            feed: None,
            format: None,
            replay: Replay::Same,
            factory: Arc::new(factory),
        })
    }
}

impl Rows {
    /// The rows, with single values put under the name of their column.
    fn mappings(&self, check: &Check<'_>) -> Vec<Value> {
        let column = match &self.schema {
            Some(SchemaDeclaration(schema)) => match schema.columns.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
            None if self.values.iter().any(Value::is_object) => None,
            None => Some(Column::new(VALUE_COLUMN, ColumnType::String)),
        };
        let Some(column) = column else { return self.values.clone() };
        let name = |(index, value): (usize, &Value)| match value {
            Value::Object(_) | Value::Array(_) => value.clone(),
            _ => {
                let written = check.node(&["values", &index.to_string()]).text();
                // `007` and `1e3` are text where text belongs.
                let value = match written {
                    Some(text) if column.column_type == ColumnType::String && !value.is_null() => Value::from(text),
                    _ => value.clone(),
                };
                Value::Object(Map::from_iter([(column.name.clone(), value)]))
            }
        };
        self.values.iter().enumerate().map(name).collect()
    }

    fn columns(&self, rows: &[Value], check: &mut Check<'_>) -> Option<Schema> {
        match &self.schema {
            Some(SchemaDeclaration(schema)) => Some(schema.clone()),
            None if rows.is_empty() => {
                let help = Some("add rows, or `schema: { column: type }`".to_owned());
                check.report(codes::MISSING_KEY, &["values"], "without rows there are no columns", help);
                None
            }
            None => infer(rows).map_err(|error| report(codes::TYPE_MISMATCH, &error, check)).ok(),
        }
    }
}

/// All rows, or a finding at each one that does not fit.
fn batch_or_findings(rows: &[Value], schema: &Schema, check: &mut Check<'_>) -> Option<RecordBatch> {
    if let Ok(batch) = to_batch(rows, schema) {
        return Some(batch);
    }
    for (index, row) in rows.iter().enumerate() {
        if let Err(error) = to_batch(std::slice::from_ref(row), schema) {
            report(codes::INVALID_VALUE, &RowError { index, ..error }, check);
        }
    }
    None
}

fn report(code: Code, error: &RowError, check: &mut Check<'_>) {
    check.report(code, &["values", &error.index.to_string()], error.message.clone(), None);
}

/// Why a row cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {}: {message}", .index + 1)]
pub struct RowError {
    /// The row, counted from 0.
    pub index: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Rows written by hand, as one batch. Unlike input from outside they must fit exactly: a column
/// that is not in the schema and a value of another type are errors. A column that is missing is
/// NULL; dates and timestamps are ISO 8601 texts, binaries hexadecimal texts.
///
/// # Errors
/// The first row that does not fit.
pub fn to_batch(rows: &[Value], schema: &Schema) -> Result<RecordBatch, RowError> {
    for (index, row) in rows.iter().enumerate() {
        fits_row(row, schema).map_err(|message| RowError { index, message })?;
    }
    let error = match convert(rows, schema) {
        Ok(batch) => return Ok(batch),
        Err(error) => error,
    };
    // A text is no timestamp, say: find out whose.
    for (index, row) in rows.iter().enumerate() {
        if let Err(error) = convert(std::slice::from_ref(row), schema) {
            return Err(RowError { index, message: error.to_string() });
        }
    }
    Err(RowError { index: 0, message: error.to_string() })
}

fn convert(rows: &[Value], schema: &Schema) -> Result<RecordBatch, ArrowError> {
    let schema = schema.to_arrow();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

fn fits_row(row: &Value, schema: &Schema) -> Result<(), String> {
    let Value::Object(fields) = row else {
        return Err(format!("a row is a mapping from columns to values, this is {}", shape(row)));
    };
    fits_fields("", fields, &schema.columns)
}

fn fits_fields(path: &str, fields: &Map<String, Value>, columns: &[Column]) -> Result<(), String> {
    for (name, value) in fields {
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            let known = columns.iter().map(|column| column.name.as_str());
            let help = suggest::help(name, known).map_or_else(String::new, |help| format!("; {help}"));
            return Err(format!("there is no column `{path}{name}`{help}"));
        };
        fits(&format!("{path}{name}"), value, &column.column_type)?;
    }
    Ok(())
}

/// Whether a value is of a type; texts that stand for something else are not looked at.
fn fits(path: &str, value: &Value, column_type: &ColumnType) -> Result<(), String> {
    let fits = match (column_type, value) {
        (_, Value::Null) => true,
        (ColumnType::Null, _) => false,
        (ColumnType::Boolean, value) => value.is_boolean(),
        (ColumnType::Int, value) => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        (ColumnType::Long, value) => value.as_i64().is_some(),
        (ColumnType::Float | ColumnType::Double, value) => value.is_number(),
        (ColumnType::Decimal(..), value) => value.is_number() || value.is_string(),
        (ColumnType::String | ColumnType::Date | ColumnType::Timestamp | ColumnType::Binary, value) => {
            value.is_string()
        }
        (ColumnType::List(element), Value::Array(values)) => {
            return values.iter().enumerate().try_for_each(|(i, value)| fits(&format!("{path}[{i}]"), value, element));
        }
        (ColumnType::Struct(columns), Value::Object(fields)) => {
            return fits_fields(&format!("{path}."), fields, columns);
        }
        (ColumnType::Map(_, of), Value::Object(fields)) => {
            return fields.iter().try_for_each(|(key, value)| fits(&format!("{path}.{key}"), value, of));
        }
        (ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(..), _) => false,
    };
    if fits {
        return Ok(());
    }
    let help = match (column_type, value) {
        (ColumnType::String, Value::Number(_) | Value::Bool(_)) => format!(": write \"{value}\""),
        (ColumnType::Date, _) => ": write e.g. \"2024-05-17\"".to_owned(),
        (ColumnType::Timestamp, _) => ": write e.g. \"2024-05-17T12:00:00Z\"".to_owned(),
        _ => String::new(),
    };
    Err(format!("`{path}` is {column_type}, and {} is not{help}", shape(value)))
}

fn shape(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        value => format!("`{value}`"),
    }
}

/// The columns that all rows fit into, in the order of their first appearance.
fn infer(rows: &[Value]) -> Result<Schema, RowError> {
    let mut columns = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let wrong = |message| RowError { index, message };
        let Value::Object(fields) = row else {
            return Err(wrong(format!("a row is a mapping from columns to values, this is {}", shape(row))));
        };
        let found = columns_of(fields).map_err(wrong)?;
        columns = merge_columns(columns, found).map_err(|(name, before, here)| {
            wrong(format!("`{name}` is {here} here and {before} in the rows before; a `schema` can say what it is"))
        })?;
    }
    let settled: Vec<Column> =
        columns.into_iter().map(|column| Column::new(column.name, settle(column.column_type))).collect();
    if settled.is_empty() {
        return Err(RowError { index: 0, message: "the rows have no columns".to_owned() });
    }
    Ok(Schema::new(settled))
}

fn columns_of(fields: &Map<String, Value>) -> Result<Vec<Column>, String> {
    fields.iter().map(|(name, value)| Ok(Column::new(name, type_of(name, value)?))).collect()
}

fn type_of(name: &str, value: &Value) -> Result<ColumnType, String> {
    Ok(match value {
        Value::Null => ColumnType::Null,
        Value::Bool(_) => ColumnType::Boolean,
        Value::Number(number) if number.is_i64() => ColumnType::Long,
        Value::Number(_) => ColumnType::Double,
        Value::String(_) => ColumnType::String,
        Value::Object(fields) if fields.is_empty() => {
            return Err(format!("`{name}` is a mapping without fields, which has no type"));
        }
        Value::Object(fields) => ColumnType::Struct(columns_of(fields)?),
        Value::Array(values) => {
            let mut element = ColumnType::Null;
            for value in values {
                element = merge(element, type_of(name, value)?)
                    .map_err(|(before, here)| format!("the list `{name}` holds both {before} and {here}"))?;
            }
            element.list_of()
        }
    })
}

/// The type that holds the values of both; else the two that do not go together.
fn merge(before: ColumnType, here: ColumnType) -> Result<ColumnType, (ColumnType, ColumnType)> {
    match (before, here) {
        (ColumnType::Null, other) | (other, ColumnType::Null) => Ok(other),
        (ColumnType::Long, ColumnType::Double) | (ColumnType::Double, ColumnType::Long) => Ok(ColumnType::Double),
        (ColumnType::List(before), ColumnType::List(here)) => merge(*before, *here).map(ColumnType::list_of),
        (ColumnType::Struct(before), ColumnType::Struct(here)) => {
            merge_columns(before, here).map(ColumnType::Struct).map_err(|(_, before, here)| (before, here))
        }
        (before, here) if before == here => Ok(before),
        conflict => Err(conflict),
    }
}

fn merge_columns(before: Vec<Column>, here: Vec<Column>) -> Result<Vec<Column>, (String, ColumnType, ColumnType)> {
    let mut columns = before;
    for column in here {
        match columns.iter_mut().find(|known| known.name == column.name) {
            Some(known) => {
                known.column_type = merge(known.column_type.clone(), column.column_type)
                    .map_err(|(before, here)| (column.name, before, here))?;
            }
            None => columns.push(column),
        }
    }
    Ok(columns)
}

/// What is NULL everywhere may as well be text.
fn settle(column_type: ColumnType) -> ColumnType {
    match column_type {
        ColumnType::Null => ColumnType::String,
        ColumnType::List(element) => settle(*element).list_of(),
        ColumnType::Struct(columns) => ColumnType::Struct(
            columns.into_iter().map(|column| Column::new(column.name, settle(column.column_type))).collect(),
        ),
        other => other,
    }
}

struct Factory {
    batch: RecordBatch,
    per_batch: u64,
}

#[async_trait]
impl SourceFactory for Factory {
    async fn build(&self, _context: SourceContext, resume: Option<Value>) -> Result<Box<dyn Source>, SourceError> {
        let total = self.batch.num_rows() as u64;
        let first = resume.as_ref().and_then(Offset::as_u64).unwrap_or(0).min(total);
        Ok(Box::new(RowsSource { batch: self.batch.clone(), per_batch: self.per_batch, first, last: first }))
    }
}

/// An offset is how many rows were handed out.
struct RowsSource {
    batch: RecordBatch,
    per_batch: u64,
    first: u64,
    last: u64,
}

impl RowsSource {
    fn total(&self) -> u64 {
        self.batch.num_rows() as u64
    }
}

#[async_trait]
impl Source for RowsSource {
    fn start(&self) -> Offset {
        Offset::from(self.first)
    }

    async fn latest(&mut self, limit: Limit) -> Result<Offset, SourceError> {
        let most = self.per_batch.min(limit.rows.unwrap_or(u64::MAX));
        self.last = self.last.saturating_add(most).min(self.total());
        Ok(Offset::from(self.last))
    }

    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError> {
        let (start, end) = (number(start)?, number(end)?.min(self.total()));
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return Ok(Vec::new()) };
        let starts = (start..end).step_by(BATCH_ROWS);
        let batches: Vec<RecordBatch> =
            starts.map(|start| self.batch.slice(start, BATCH_ROWS.min(end - start))).collect();
        Ok(if batches.is_empty() { Vec::new() } else { vec![Block::decoded(batches)] })
    }

    async fn commit(&mut self, _: &Offset) -> Result<(), SourceError> {
        Ok(())
    }

    async fn replan(&mut self, planned: &Value) -> Result<Offset, SourceError> {
        self.last = number(planned)?.min(self.total());
        Ok(Offset::from(self.last))
    }

    fn is_finished(&self) -> bool {
        self.last == self.total()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use serde_json::json;

    use super::super::receiver::testing::{ALL, check, context, rows, texts};
    use super::*;

    #[test]
    fn columns_follow_from_the_values() {
        for (values, schema) in [
            ("[{ a: 1, b: x }, { b: y, c: true }]", "(a: long, b: string, c: boolean)"),
            ("[{ a: 1 }, { a: 1.5 }, { a: null }]", "(a: double)"),
            ("[{ a: null }, { b: [] }]", "(a: string, b: list<string>)"),
            ("[{ a: [1, 2.5] }, { a: [] }]", "(a: list<double>)"),
            ("[{ a: { b: 1 } }, { a: { c: [x] } }]", "(a: struct<b: long, c: list<string>>)"),
            ("[{ a: '1' }]", "(a: string)"),
            ("[spark hadoop, 007]", "(value: string)"),
        ] {
            let (checked, findings) = check::<Rows>(&format!("{{ values: {values} }}"));
            assert!(findings.is_empty(), "{values}: {findings:?}");
            assert_eq!(checked.unwrap().schema.to_string(), schema);
        }
    }

    #[test]
    fn a_row_that_does_not_fit_is_found() {
        for (yaml, code, at) in [
            ("{ values: [{ a: 1 }, { a: x }] }", "SR0404", "{ a: x }"),
            ("{ values: [{ a: 1 }, x] }", "SR0404", "x"),
            ("{ values: [] }", "SR0202", "[]"),
            ("{ values: [{ a: 1 }, { a: x }], schema: { a: long } }", "SR0204", "{ a: x }"),
            ("{ values: [{ at: '12' }], schema: { at: timestamp } }", "SR0204", "{ at: '12' }"),
            ("{ values: [x], per_batch: 0 }", "SR0204", "0"),
        ] {
            let (checked, findings) = check::<Rows>(yaml);
            assert!(checked.is_none(), "{yaml}");
            let [finding] = findings.as_slice() else { panic!("{yaml}: {findings:?}") };
            let span = finding.span.unwrap();
            assert_eq!((finding.code.name(), &yaml[span.start..span.end]), (code, at), "{yaml}");
        }
    }

    #[test]
    fn rows_written_by_hand_must_fit_exactly() {
        let columns = [
            ("word", ColumnType::String),
            ("count", ColumnType::Long),
            ("at", ColumnType::Timestamp),
            ("price", ColumnType::Decimal(10, 2)),
            ("tags", ColumnType::Map(Box::new(ColumnType::String), Box::new(ColumnType::Int))),
        ];
        let schema = Schema::new(columns.map(|(name, column_type)| Column::new(name, column_type)).to_vec());
        let good = json!({ "word": "a", "at": "2024-05-17T12:00:00Z", "price": 1.5, "tags": { "x": 1 } });
        let batch = to_batch(&[good.clone(), json!({})], &schema).unwrap();
        assert_eq!(batch.schema(), schema.to_arrow());
        assert_eq!((batch.num_rows(), batch.column(1).null_count()), (2, 2));
        assert_eq!(to_batch(&[], &schema).unwrap().num_rows(), 0);
        for (bad, message) in [
            (json!({ "wrod": "a" }), "there is no column `wrod`; did you mean `word`?"),
            (json!({ "word": 1 }), "`word` is string, and `1` is not: write \"1\""),
            (json!({ "count": 1.5 }), "`count` is long, and `1.5` is not"),
            (json!({ "at": 5 }), "`at` is timestamp, and `5` is not: write e.g. \"2024-05-17T12:00:00Z\""),
            (json!({ "tags": { "x": "y" } }), "`tags.x` is int, and `\"y\"` is not"),
            (json!("a"), "a row is a mapping from columns to values, this is `\"a\"`"),
        ] {
            let error = to_batch(&[good.clone(), bad], &schema).unwrap_err();
            assert_eq!(error, RowError { index: 1, message: message.to_owned() });
        }
        let error = to_batch(&[good, json!({ "at": "soon" })], &schema).unwrap_err();
        assert!(error.index == 1 && error.message.contains("soon"), "{error}");
    }

    #[tokio::test]
    async fn batches_have_as_many_rows_as_asked() {
        let (context, _) = context();
        let factory = check::<Rows>("{ values: [a, 007, c], per_batch: 2 }").0.unwrap().factory;
        let mut source = factory.build(context.clone(), None).await.unwrap();
        let start = source.start();
        let middle = source.latest(ALL).await.unwrap();
        assert_eq!(texts(&source.read(&start, &middle).await.unwrap()), ["a", "007"]);
        assert!(!source.is_finished());
        source.commit(&middle).await.unwrap();
        let end = source.latest(ALL).await.unwrap();
        assert!(source.is_finished());
        assert_eq!(texts(&source.read(&middle, &end).await.unwrap()), ["c"]);
        assert_eq!(rows(&source.read(&end, &end).await.unwrap(), &[0]).len(), 0);

        let mut resumed = factory.build(context, Some(source.position(&middle))).await.unwrap();
        let (start, end) = (resumed.start(), resumed.latest(ALL).await.unwrap());
        assert_eq!(texts(&resumed.read(&start, &end).await.unwrap()), ["c"]);
    }
}
