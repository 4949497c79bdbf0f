//! Formats: bytes <-> Arrow record batches.
//!
//! A source hands whole records to a [`Decode`] and gets batches of the format's columns, in the
//! order of the records. A sink hands batches to a [`WriteRows`]. What a row means, and what
//! becomes of a bad one, is not known here: a row that does not fit is counted in [`BadRows`],
//! the rows around it are kept, and the caller applies `on_error`.
//!
//! Batches have exactly the Arrow types of [`crate::schema`] and at most [`BATCH_ROWS`] rows.

pub mod csv;
mod csv_records;
mod error;
pub mod json;
mod json_numbers;
pub mod parquet;
mod records;
#[cfg(test)]
mod tests;
pub mod text;

use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::schema::{ColumnType, Schema};

pub use error::FormatError;
pub use records::{BadRow, BadRows};

/// Most rows of one decoded batch.
pub const BATCH_ROWS: usize = 8192;

/// How the bytes of a source become rows: a format's name, or one format with its settings.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = name_alone_text)]
pub enum InputFormat {
    /// One row per line, in the column `value`.
    Text(text::TextInput),
    /// One JSON object per line.
    Json(json::JsonInput),
    /// Fields with a delimiter between them, one record per line.
    Csv(csv::CsvInput),
    /// Parquet files.
    Parquet(parquet::ParquetInput),
}

/// How rows become the bytes of a sink: a format's name, or one format with its settings.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = name_alone_any)]
pub enum OutputFormat {
    /// One line of text per row.
    Text(text::TextOutput),
    /// One JSON object per line.
    Json(json::JsonOutput),
    /// Fields with a delimiter between them, one record per line.
    Csv(csv::CsvOutput),
    /// Parquet files.
    Parquet(parquet::ParquetOutput),
}

impl Default for InputFormat {
    fn default() -> Self {
        Self::Text(text::TextInput::default())
    }
}

impl Default for OutputFormat {
    fn default() -> Self {
        Self::Json(json::JsonOutput::default())
    }
}

impl InputFormat {
    /// As `format:` names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Parquet(_) => "parquet",
        }
    }

    /// The columns that decoded rows have.
    #[must_use]
    pub fn schema(&self) -> Schema {
        match self {
            Self::Text(_) => text::schema(),
            Self::Json(settings) => settings.schema.0.clone(),
            Self::Csv(settings) => settings.schema.0.clone(),
            Self::Parquet(settings) => settings.schema.0.clone(),
        }
    }

    /// Whether each record ends with a line feed and none has one inside, so that input may be cut
    /// after any line. The others are decoded as a whole file.
    #[must_use]
    pub fn is_line_based(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Json(_))
    }

    /// What turns bytes into rows. It keeps nothing from one call to the next, so threads may
    /// share it.
    ///
    /// # Errors
    /// [`FormatError::Settings`] where the settings do not go together.
    pub fn decoder(&self) -> Result<Arc<dyn Decode>, FormatError> {
        let decoder: Arc<dyn Decode> = match self {
            Self::Text(settings) => Arc::new(text::TextDecoder::new(settings)),
            Self::Json(settings) => Arc::new(json::JsonDecoder::new(settings)),
            Self::Csv(settings) => Arc::new(csv::CsvDecoder::new(settings)?),
            Self::Parquet(settings) => Arc::new(parquet::ParquetDecoder::new(settings)),
        };
        Ok(decoder)
    }
}

impl OutputFormat {
    /// As `format:` names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Parquet(_) => "parquet",
        }
    }

    /// The ending of a file's name, without the dot.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Text(_) => "txt",
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Parquet(_) => "parquet",
        }
    }

    /// Whether the format can hold rows of these columns.
    ///
    /// # Errors
    /// What it cannot hold, as a message for the user.
    pub fn check(&self, schema: &Schema) -> Result<(), String> {
        if schema.columns.is_empty() {
            return Err("there are no columns to write".to_owned());
        }
        match self {
            Self::Text(_) | Self::Parquet(_) => Ok(()),
            Self::Json(_) => json::check_output(schema),
            Self::Csv(settings) => {
                csv::check_columns(schema)?;
                settings.check()
            }
        }
    }

    /// What turns rows of `schema` into bytes on `out`.
    ///
    /// # Errors
    /// [`FormatError`] where the settings do not go together or the output cannot be started.
    pub fn writer(&self, schema: SchemaRef, out: Box<dyn Write + Send>) -> Result<Box<dyn WriteRows>, FormatError> {
        let writer: Box<dyn WriteRows> = match self {
            Self::Text(_) => Box::new(text::TextWriter::new(out)),
            Self::Json(_) => Box::new(json::JsonWriter::new(out)),
            Self::Csv(settings) => Box::new(csv::CsvWriter::new(settings, schema, out)?),
            Self::Parquet(settings) => Box::new(parquet::ParquetWriter::new(settings, schema, out)?),
        };
        Ok(writer)
    }
}

/// Turns bytes into rows.
pub trait Decode: Send + Sync + Debug {
    /// The columns of the batches that [`Decode::decode`] returns.
    fn schema(&self) -> &SchemaRef;

    /// Decodes whole records: a block of lines, or a whole file where the format is not line
    /// based. Good rows come back in order, bad ones in [`Decoded::bad_rows`]. The batches may
    /// share the memory of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] where not a row but the input as a whole does not fit.
    fn decode(&self, bytes: Bytes) -> Result<Decoded, FormatError>;
}

/// What came out of a block of records.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// The good rows, in order. No batch is empty.
    pub batches: Vec<RecordBatch>,
    /// The rows that could not be decoded.
    pub bad_rows: BadRows,
}

impl Decoded {
    /// How many good rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Turns rows into bytes. Output is complete only after [`WriteRows::finish`].
pub trait WriteRows: Send {
    /// Writes all rows of a batch, which has the schema that the writer was made for.
    ///
    /// # Errors
    /// [`FormatError`] where the output cannot be written or a value has no form in the format.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError>;

    /// Writes what is left and flushes the output.
    ///
    /// # Errors
    /// [`FormatError`] where the output cannot be written.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}

/// Brings the columns that `schema` names, by name, into its order and types; others are dropped.
/// A value that does not fit its type is an error, not NULL.
///
/// # Errors
/// [`FormatError::MissingColumn`] and [`FormatError::Column`].
pub fn cast_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, FormatError> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| FormatError::missing_column(field.name(), names(batch.schema_ref())))?;
        let cast = cast_with_options(column.as_ref(), field.data_type(), &strict).map_err(|source| {
            let wanted = ColumnType::from_arrow(field.data_type())
                .map_or_else(|| field.data_type().to_string(), |wanted| wanted.to_string());
            FormatError::Column { column: field.name().clone(), wanted, source }
        })?;
        columns.push(cast);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
}

fn names(schema: &SchemaRef) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str())
}

/// In the JSON Schema: `text` needs no settings.
fn name_alone_text(schema: &mut schemars::Schema) {
    add_names(schema, &["text"]);
}

/// In the JSON Schema: no output format needs settings.
fn name_alone_any(schema: &mut schemars::Schema) {
    add_names(schema, &["text", "json", "csv", "parquet"]);
}

fn add_names(schema: &mut schemars::Schema, names: &[&str]) {
    if let Some(serde_json::Value::Array(choices)) = schema.get_mut("oneOf") {
        choices.insert(0, serde_json::json!({ "type": "string", "enum": names }));
    }
}
