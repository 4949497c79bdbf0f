//! `json`: one JSON object per line.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::writer::{LineDelimited, Writer, WriterBuilder};
use bytes::Bytes;
use memchr::memchr2_iter;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::reason;
use super::json_numbers::ExactNumbers;
use super::records::{decode_good, lines, without_byte_order_mark};
use super::{BATCH_ROWS, Decode, Decoded, FormatError, WriteRows};
use crate::schema::{ColumnType, Schema, SchemaDeclaration};

/// Values nest at most this deep. Types do not nest as deep, so only ignored fields can.
const MAX_DEPTH: usize = 128;

/// One JSON object per line. A field that is missing is NULL, a field that is not in the schema is
/// ignored, a value that does not fit its type makes the row bad: also a number with a fraction for
/// an `int` or `long`, or with more digits after the point than a `decimal` has, zeros apart. Numbers
/// may be written as text (`"12"`). A `date` is text like `2024-05-17`; a `timestamp` is ISO 8601
/// text, in UTC unless it has an offset, or a number of microseconds since 1970; `binary` is text of
/// hexadecimal digits. Empty lines are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonInput {
    /// The fields that become columns, with their types.
    pub schema: SchemaDeclaration,
}

/// One JSON object per line, with a field for each column, also where the value is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonOutput {}

/// JSON objects have names of text only, so maps must have keys of text.
pub(super) fn check_output(schema: &Schema) -> Result<(), String> {
    match schema.columns.iter().find(|column| !has_text_keys(&column.column_type)) {
        None => Ok(()),
        Some(column) => Err(format!(
            "column `{}` is {}, and JSON can hold a map only if its keys are strings",
            column.name, column.column_type
        )),
    }
}

fn has_text_keys(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Map(key, value) => **key == ColumnType::String && has_text_keys(value),
        ColumnType::List(element) => has_text_keys(element),
        ColumnType::Struct(columns) => columns.iter().all(|column| has_text_keys(&column.column_type)),
        _ => true,
    }
}

/// Decodes lines of JSON.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
    /// Where the schema has some.
    numbers: Option<ExactNumbers>,
}

impl JsonDecoder {
    /// A decoder with these settings.
    #[must_use]
    pub fn new(settings: &JsonInput) -> Self {
        let schema = settings.schema.0.to_arrow();
        Self { numbers: ExactNumbers::new(&schema), schema }
    }

    /// The lines are parts of `block`.
    fn decode_pending(&self, block: &[u8], pending: &mut Vec<&[u8]>, decoded: &mut Decoded) -> Result<(), FormatError> {
        let Decoded { batches, bad_rows } = decoded;
        let batch = decode_good(pending, &|lines| self.decode_lines(lines), &mut |line, error| {
            bad_rows.add_part(block, line, || reason(error));
        })?;
        batches.extend(batch);
        pending.clear();
        Ok(())
    }

    /// One batch with one row per line, or an error if a line is bad.
    fn decode_lines(&self, lines: &[&[u8]]) -> Result<RecordBatch, ArrowError> {
        if let Some(numbers) = &self.numbers {
            numbers.check(lines)?;
        }
        read_lines(ReaderBuilder::new(Arc::clone(&self.schema)), lines)
    }
}

/// Reads one row per line. Lines are handed over one by one, so that no object can reach from one
/// into the next.
pub(super) fn read_lines(reader: ReaderBuilder, lines: &[&[u8]]) -> Result<RecordBatch, ArrowError> {
    let mut decoder = reader.with_batch_size(lines.len()).build_decoder()?;
    for (before, line) in lines.iter().enumerate() {
        let read = decoder.decode(line)?;
        if decoder.has_partial_record() {
            return Err(ArrowError::JsonError("the line ends before the JSON object does".to_owned()));
        }
        if read != line.len() || decoder.len() != before + 1 {
            return Err(ArrowError::JsonError("the line has more than one JSON object".to_owned()));
        }
    }
    decoder.flush()?.ok_or_else(|| ArrowError::JsonError("there is no JSON object".to_owned()))
}

impl Decode for JsonDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&self, bytes: Bytes) -> Result<Decoded, FormatError> {
        let mut decoded = Decoded::default();
        let block = without_byte_order_mark(&bytes);
        let mut pending: Vec<&[u8]> = Vec::new();
        for place in lines(block) {
            let line = block.get(place).unwrap_or_default().trim_ascii();
            if line.is_empty() {
                continue;
            }
            if nests_too_deep(line) {
                decoded.bad_rows.add_part(block, line, || format!("values nest deeper than {MAX_DEPTH} levels"));
                continue;
            }
            pending.push(line);
            if pending.len() == BATCH_ROWS {
                self.decode_pending(block, &mut pending, &mut decoded)?;
            }
        }
        self.decode_pending(block, &mut pending, &mut decoded)?;
        Ok(decoded)
    }
}

/// Whether lists and objects nest too deep. The reader quotes a value that does not fit, and it
/// does so by recursion, so hostile input must not get there.
fn nests_too_deep(line: &[u8]) -> bool {
    // A line without that many opening brackets cannot, which settles nearly all lines.
    memchr2_iter(b'{', b'[', line).nth(MAX_DEPTH).is_some() && depth(line) > MAX_DEPTH
}

fn depth(line: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text) = (0_usize, 0, false);
    let mut bytes = line.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, in_text) {
            (b'"', _) => in_text = !in_text,
            (b'\\', true) => {
                bytes.next();
            }
            (b'{' | b'[', false) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (b'}' | b']', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Writes lines of JSON.
pub struct JsonWriter {
    writer: Writer<Box<dyn Write + Send>, LineDelimited>,
}

impl JsonWriter {
    /// A writer to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { writer: WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out) }
    }
}

impl WriteRows for JsonWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        Ok(self.writer.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        self.writer.finish()?;
        Ok(self.writer.into_inner().flush()?)
    }
}
