//! `parquet`: columnar files.

use std::fs::File;
use std::io::Write;

use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::arrow::{ArrowWriter, ProjectionMask};
use ::parquet::basic::{Compression as Codec, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::ChunkReader;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BATCH_ROWS, Decode, Decoded, FormatError, WriteRows, cast_batch, names};
use crate::schema::{Schema, SchemaDeclaration};

/// Parquet files. A file that lacks a column, or has values in one that do not fit the declared
/// type, is an error: there are no bad rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetInput {
    /// The columns that are read, found by name, with the types they shall have. Files may have
    /// more.
    pub schema: SchemaDeclaration,
}

/// Parquet files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetOutput {
    /// How the data of the columns is compressed.
    pub compression: Compression,
}

/// How the data of the columns is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast; every reader knows it.
    Snappy,
    /// Small and fast.
    #[default]
    Zstd,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::UNCOMPRESSED,
            Compression::Snappy => Self::SNAPPY,
            Compression::Zstd => Self::ZSTD(ZstdLevel::default()),
        }
    }
}

/// Reads the columns of `schema` from a file, batch by batch.
///
/// # Errors
/// [`FormatError`] where the file is not Parquet or lacks a column.
pub fn read_file(file: File, schema: &Schema) -> Result<Batches, FormatError> {
    read(file, schema)
}

fn read<R: ChunkReader + 'static>(input: R, schema: &Schema) -> Result<Batches, FormatError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(input)?.with_batch_size(BATCH_ROWS);
    let mut places = Vec::with_capacity(schema.columns.len());
    for wanted in schema.names() {
        let place = names(builder.schema())
            .position(|name| name == wanted)
            .ok_or_else(|| FormatError::missing_column(wanted, names(builder.schema())))?;
        places.push(place);
    }
    let columns = ProjectionMask::roots(builder.parquet_schema(), places);
    Ok(Batches { reader: builder.with_projection(columns).build()?, schema: schema.to_arrow(), rows: 0 })
}

/// The batches of a file, with the columns that were asked for.
pub struct Batches {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// How many rows were read.
    rows: u64,
}

impl Batches {
    fn cast(&mut self, batch: &RecordBatch) -> Result<RecordBatch, FormatError> {
        let before = self.rows;
        self.rows += batch.num_rows() as u64;
        cast_batch(batch, &self.schema).map_err(|error| at_row(error, batch, &self.schema, before))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(FormatError::from).and_then(|batch| self.cast(&batch)))
    }
}

/// Finds the row that the error is about, one by one: that ends the reading, so it happens once.
fn at_row(error: FormatError, batch: &RecordBatch, schema: &SchemaRef, before: u64) -> FormatError {
    let wrong = |start, length| cast_batch(&batch.slice(start, length), schema).err();
    // Where not even no rows fit, it is the type and not a value.
    if wrong(0, 0).is_some() {
        return error;
    }
    let found = (0..batch.num_rows()).find_map(|row| Some((row, wrong(row, 1)?)));
    match found {
        Some((row, source)) => FormatError::Row { row: before + row as u64 + 1, source: Box::new(source) },
        None => error,
    }
}

/// Decodes whole Parquet files.
#[derive(Debug)]
pub struct ParquetDecoder {
    columns: Schema,
    schema: SchemaRef,
}

impl ParquetDecoder {
    /// A decoder with these settings.
    #[must_use]
    pub fn new(settings: &ParquetInput) -> Self {
        Self { columns: settings.schema.0.clone(), schema: settings.schema.0.to_arrow() }
    }
}

impl Decode for ParquetDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&self, bytes: Bytes) -> Result<Decoded, FormatError> {
        let mut decoded = Decoded::default();
        for batch in read(bytes, &self.columns)? {
            let batch = batch?;
            if batch.num_rows() > 0 {
                decoded.batches.push(batch);
            }
        }
        Ok(decoded)
    }
}

/// Writes one Parquet file.
pub struct ParquetWriter {
    writer: ArrowWriter<Box<dyn Write + Send>>,
}

impl ParquetWriter {
    /// A writer of rows of `schema` to `out`.
    ///
    /// # Errors
    /// [`FormatError`] where the output cannot be started.
    pub fn new(settings: &ParquetOutput, schema: SchemaRef, out: Box<dyn Write + Send>) -> Result<Self, FormatError> {
        let properties = WriterProperties::builder().set_compression(settings.compression.into()).build();
        Ok(Self { writer: ArrowWriter::try_new(out, schema, Some(properties))? })
    }
}

impl WriteRows for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        Ok(self.writer.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        // Flushes the output, too.
        self.writer.finish()?;
        Ok(())
    }
}
