//! `parse: {column: value, json: {...}}`: decodes text in the middle of a chain. The decoded columns
//! take the text's place, after the other columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder, UInt32Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::operator::{self, Operator, RunContext, Work};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::formats::{BadRows, Decode, FormatError, InputFormat, cast_batch, csv::CsvInput, json::JsonInput};
use crate::schema::{Column, ColumnType, Schema, SchemaDeclaration};
use crate::spec::OnError;
use crate::spec::kind::Settings;

/// Decodes a text column into columns. A NULL text gives NULL columns; a text that does not fit is
/// a bad row (`on_error`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["json"] }, { "required": ["csv"] }, { "required": ["regex"] }]))]
pub struct Parse {
    /// The text column; `value` by default.
    #[serde(default = "value")]
    column: String,
    /// Keep the text column, too.
    #[serde(default)]
    keep: bool,
    /// The text is a JSON object.
    json: Option<JsonInput>,
    /// The text is a line of CSV, without a header.
    csv: Option<CsvInput>,
    /// The named groups of a regular expression become columns.
    regex: Option<RegexInput>,
}

/// A regular expression with named groups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegexInput {
    /// E.g. `^(?<ip>\S+) .* (?<status>\d{3})$`; the regex crate's syntax.
    pattern: String,
    /// Types of groups that are not to be `string`: `{ status: int }`.
    schema: Option<SchemaDeclaration>,
}

fn value() -> String {
    "value".to_owned()
}

impl Settings for Parse {
    const KIND: &'static str = "parse";
    const SUMMARY: &'static str = "decode a text column: json, csv or a regular expression";
}

impl StepSettings for Parse {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let path: &[&str] = if step.check.component.settings.get("column").is_some() { &["column"] } else { &[] };
        let text = step.column(path, &self.column);
        if !matches!(text.column_type, ColumnType::String | ColumnType::Null) {
            let message = format!("`{}` is {}, not a string", text.name, text.column_type);
            step.check.report(codes::TYPE_MISMATCH, path, message, None);
            return None;
        }
        let (keep, found) = (self.keep, step.input.columns.iter().position(|it| it.name == self.column));
        let quotes = self.csv.as_ref().map_or_else(Vec::new, CsvInput::quotes);
        let (decoder, parsed) = self.decoder(step)?;
        // A column that is not there has been reported; the columns after this step are known anyway.
        let index = found.unwrap_or(usize::MAX);
        let kept = step.input.columns.iter().enumerate().filter(|(i, _)| keep || *i != index);
        let columns: Vec<Column> = kept.map(|(_, column)| column.clone()).chain(parsed.columns).collect();
        if !step.unique(&[], &columns) {
            return None;
        }
        let schema = Schema::new(columns);
        let operator: Arc<dyn Operator> = Arc::new(ParseOperator(Arc::new(Parser {
            component: step.name.to_owned(),
            on_error: step.check.on_error,
            index,
            keep,
            quotes,
            decoder,
            schema: schema.to_arrow(),
        })));
        let output = schema.clone();
        Some(CheckedStep::new(schema, move |input| operator::apply(input, Arc::clone(&operator), &output)))
    }
}

impl Parse {
    fn decoder(self, step: &mut StepCheck<'_, '_>) -> Option<(Arc<dyn Decode>, Schema)> {
        let format = match (self.json, self.csv, self.regex) {
            (Some(json), None, None) => InputFormat::Json(json),
            (None, Some(csv), None) => InputFormat::Csv(CsvInput { header: false, ..csv }),
            (None, None, Some(regex)) => {
                let decoder = regex.decoder(step)?;
                let schema = decoder.columns.clone();
                return Some((Arc::new(decoder), schema));
            }
            (None, None, None) => {
                let help = "add `json: { schema: ... }`, `csv: { schema: ... }` or `regex: { pattern: ... }`";
                step.check.report(codes::MISSING_KEY, &[], "it is not said what the text is", Some(help.to_owned()));
                return None;
            }
            _ => {
                step.check.report(codes::CONFLICTING_KEYS, &[], "a parse step decodes one format", None);
                return None;
            }
        };
        match format.decoder() {
            Ok(decoder) => Some((decoder, format.schema())),
            Err(error) => {
                step.check.report(codes::INVALID_VALUE, &[format.name()], error.to_string(), None);
                None
            }
        }
    }
}

impl RegexInput {
    fn decoder(&self, step: &mut StepCheck<'_, '_>) -> Option<RegexDecoder> {
        let path = ["regex", "pattern"];
        let regex = match Regex::new(&self.pattern) {
            Ok(regex) => regex,
            Err(error) => {
                let message = error.to_string().lines().last().unwrap_or_default().to_owned();
                step.check.report(codes::INVALID_VALUE, &path, format!("not a regular expression: {message}"), None);
                return None;
            }
        };
        let groups: Vec<(usize, String)> =
            regex.capture_names().enumerate().filter_map(|(index, name)| Some((index, name?.to_owned()))).collect();
        if groups.is_empty() {
            let help = "name the parts that become columns: `(?<ip>\\S+)`".to_owned();
            step.check.report(codes::INVALID_VALUE, &path, "the pattern has no named group", Some(help));
            return None;
        }
        let mut typed = self.schema.iter().flat_map(|schema| &schema.0.columns);
        if let Some(column) = typed.find(|column| !groups.iter().any(|(_, name)| *name == column.name)) {
            let message = format!("the pattern has no group `{}`", column.name);
            step.check.report(codes::UNKNOWN_COLUMN, &["regex", "schema", &column.name], message, None);
            return None;
        }
        let type_of = |name: &str| {
            let declared = self.schema.as_ref().and_then(|schema| schema.0.column(name));
            declared.map_or(ColumnType::String, |column| column.column_type.clone())
        };
        let columns = Schema::new(groups.iter().map(|(_, name)| Column::new(name, type_of(name))).collect());
        let texts = Schema::new(groups.iter().map(|(_, name)| Column::new(name, ColumnType::String)).collect());
        Some(RegexDecoder { regex, groups, schema: columns.to_arrow(), columns, texts: texts.to_arrow() })
    }
}

/// Decodes one line into the named groups of its match.
#[derive(Debug)]
struct RegexDecoder {
    regex: Regex,
    groups: Vec<(usize, String)>,
    columns: Schema,
    schema: SchemaRef,
    texts: SchemaRef,
}

impl Decode for RegexDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&self, bytes: Bytes) -> std::result::Result<crate::formats::Decoded, FormatError> {
        let text = String::from_utf8_lossy(&bytes);
        let mut builders: Vec<StringViewBuilder> = self.groups.iter().map(|_| StringViewBuilder::new()).collect();
        let mut bad_rows = BadRows::default();
        for line in text.lines() {
            let Some(captures) = self.regex.captures(line) else {
                bad_rows.add(line.as_bytes(), || "the pattern does not match".to_owned());
                continue;
            };
            for ((group, _), builder) in self.groups.iter().zip(&mut builders) {
                builder.append_option(captures.get(*group).map(|it| it.as_str()));
            }
        }
        let columns: Vec<ArrayRef> =
            builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
        let texts = RecordBatch::try_new(Arc::clone(&self.texts), columns)?;
        let batches = if texts.num_rows() == 0 { Vec::new() } else { vec![cast_batch(&texts, &self.schema)?] };
        Ok(crate::formats::Decoded { batches, bad_rows })
    }
}

#[derive(Debug)]
struct ParseOperator(Arc<Parser>);

impl Operator for ParseOperator {
    fn name(&self) -> &'static str {
        "Parse"
    }

    fn start(&self, run: &Arc<RunContext>, _: usize) -> Work {
        let (parser, run) = (Arc::clone(&self.0), Arc::clone(run));
        Box::new(move |batch| parser.parse(&batch, &run))
    }
}

#[derive(Debug)]
struct Parser {
    component: String,
    on_error: OnError,
    index: usize,
    keep: bool,
    /// Characters with which a text may open what another one closes (quotes of CSV).
    quotes: Vec<char>,
    decoder: Arc<dyn Decode>,
    schema: SchemaRef,
}

impl Parser {
    fn parse(&self, batch: &RecordBatch, run: &RunContext) -> Result<Vec<RecordBatch>> {
        let texts = batch
            .columns()
            .get(self.index)
            .map(|column| cast(column, &DataType::Utf8View))
            .transpose()?
            .ok_or_else(|| DataFusionError::Internal("parse over a column that is not there".to_owned()))?;
        let texts = texts.as_string_view();
        let present: Vec<u32> = (0..texts.len()).filter(|row| texts.is_valid(*row)).map(|row| row as u32).collect();
        let mut found = Found::default();
        // Runs of texts that are surely one record each are decoded together, the others alone.
        for run in present.chunk_by(|a, b| self.is_one_record(texts, *a) && self.is_one_record(texts, *b)) {
            self.decode(texts, run, &mut found)?;
        }
        run.bad_rows(&self.component, self.on_error, &found.bad_rows).map_err(DataFusionError::Execution)?;

        // Row by row: which decoded row belongs to which row of the batch; none for a NULL text.
        let mut good = found.rows.iter().copied().enumerate().peekable();
        let (mut rows, mut decoded_rows) = (Vec::new(), Vec::new());
        for row in 0..texts.len() as u32 {
            if let Some((decoded, _)) = good.next_if(|(_, good)| *good == row) {
                rows.push(row);
                decoded_rows.push(Some(decoded as u32));
            } else if texts.is_null(row as usize) {
                rows.push(row);
                decoded_rows.push(None);
            }
        }
        let decoded = concat_batches(self.decoder.schema(), &found.batches)?;
        let (rows, decoded_rows) = (UInt32Array::from(rows), UInt32Array::from(decoded_rows));
        let kept = batch.columns().iter().enumerate().filter(|(i, _)| self.keep || *i != self.index);
        let mut columns =
            kept.map(|(_, column)| take(column, &rows, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        for column in decoded.columns() {
            columns.push(take(column, &decoded_rows, None)?);
        }
        Ok(vec![RecordBatch::try_new(Arc::clone(&self.schema), columns)?])
    }

    /// Whether a text cannot be mistaken for a part of a record, several of them, or none.
    fn is_one_record(&self, texts: &StringViewArray, row: u32) -> bool {
        let text = texts.value(row as usize);
        !text.trim().is_empty() && !text.contains(['\n', '\r']) && !text.contains(self.quotes.as_slice())
    }

    /// Decodes rows together; where that does not give one row each, halves them to find out which
    /// ones are bad.
    fn decode(&self, texts: &StringViewArray, rows: &[u32], found: &mut Found) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut joined = Vec::new();
        for row in rows {
            joined.extend_from_slice(texts.value(*row as usize).as_bytes());
            joined.push(b'\n');
        }
        let decoded =
            self.decoder.decode(Bytes::from(joined)).map_err(|error| DataFusionError::Execution(error.to_string()));
        match decoded {
            Ok(decoded) if decoded.rows() == rows.len() && decoded.bad_rows.is_empty() => {
                found.rows.extend_from_slice(rows);
                found.batches.extend(decoded.batches);
            }
            Ok(decoded) if rows.len() == 1 => {
                let raw = rows.first().map_or("", |row| texts.value(*row as usize));
                let reason = decoded.bad_rows.samples.into_iter().next().map(|it| it.reason);
                found.bad_rows.add(raw.as_bytes(), || reason.unwrap_or_else(|| "this is not one record".to_owned()));
            }
            Err(error) if rows.len() == 1 => {
                let raw = rows.first().map_or("", |row| texts.value(*row as usize));
                found.bad_rows.add(raw.as_bytes(), || error.strip_backtrace());
            }
            _ => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.decode(texts, first, found)?;
                self.decode(texts, second, found)?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Found {
    rows: Vec<u32>,
    batches: Vec<RecordBatch>,
    bad_rows: BadRows,
}
