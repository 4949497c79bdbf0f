//! `csv`: fields with a delimiter between them, one record per line.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::{ReaderBuilder, Writer, WriterBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use regex::Regex;
use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::csv_records::Dialect;
use super::error::{reason, shorten};
use super::records::{decode_good, without_byte_order_mark};
use super::{BATCH_ROWS, Decode, Decoded, FormatError, WriteRows};
use crate::schema::{ColumnType, Schema, SchemaDeclaration};

/// Records of fields with a delimiter between them. A field may stand in quotes, and may then hold
/// delimiters and line breaks; two quotes in it stand for one. Empty lines are ignored. A record
/// with a wrong number of fields or a value that does not fit its type is a bad row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvInput {
    /// The columns with their types. With a header they are found by name, in any order, and the
    /// file may have more; without one they are the fields in this order.
    pub schema: SchemaDeclaration,
    /// Whether the first record of each file holds the names of the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Stands between fields, e.g. `;` or `"\t"`.
    #[serde(default = "comma")]
    pub delimiter: Ascii,
    /// Stands around a field that holds delimiters, line breaks or quotes.
    #[serde(default = "double_quote")]
    pub quote: Ascii,
    /// Within quotes, makes the next character an ordinary one. Without it only a doubled quote does.
    #[serde(default)]
    pub escape: Option<Ascii>,
    /// A field with this text is NULL. Without it an empty field is.
    #[serde(default)]
    pub null_value: Option<String>,
}

/// Records of fields with a delimiter between them; a field is quoted where it has to be. NULL is
/// an empty field, and so is an empty string.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOutput {
    /// Whether each file begins with the names of the columns.
    pub header: bool,
    /// Stands between fields, e.g. `;` or `"\t"`.
    pub delimiter: Ascii,
    /// Stands around a field that holds delimiters, line breaks or quotes.
    pub quote: Ascii,
}

impl Default for CsvOutput {
    fn default() -> Self {
        Self { header: yes(), delimiter: comma(), quote: double_quote() }
    }
}

impl CsvInput {
    /// Whether the settings go together and the schema has only types that CSV can hold.
    ///
    /// # Errors
    /// What does not, as a message for the user.
    pub fn check(&self) -> Result<(), String> {
        check_columns(&self.schema.0)?;
        check_quote(self.delimiter, self.quote)?;
        match self.escape {
            Some(escape) if escape == self.delimiter || escape == self.quote => {
                Err("`escape` must differ from `delimiter` and `quote`".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl CsvOutput {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// What does not, as a message for the user.
    pub fn check(&self) -> Result<(), String> {
        check_quote(self.delimiter, self.quote)
    }
}

fn check_quote(delimiter: Ascii, quote: Ascii) -> Result<(), String> {
    if delimiter == quote { Err("`delimiter` and `quote` must differ".to_owned()) } else { Ok(()) }
}

/// A field is one plain value.
pub(super) fn check_columns(schema: &Schema) -> Result<(), String> {
    let held = |column_type: &ColumnType| {
        !matches!(column_type, ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(..) | ColumnType::Binary)
    };
    match schema.columns.iter().find(|column| !held(&column.column_type)) {
        None => Ok(()),
        Some(column) => Err(format!(
            "column `{}` is {}, and CSV holds only plain values, not lists, structs, maps or bytes",
            column.name, column.column_type
        )),
    }
}

impl CsvInput {
    /// The characters that give others another meaning: the quote and the escape.
    #[must_use]
    pub fn quotes(&self) -> Vec<char> {
        std::iter::once(self.quote).chain(self.escape).map(|it| char::from(it.0)).collect()
    }
}

/// One ASCII character that can divide fields: no line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ascii(u8);

impl Ascii {
    /// The character, if it is one that can divide fields.
    #[must_use]
    pub fn new(character: char) -> Option<Self> {
        let byte = u8::try_from(character).ok().filter(u8::is_ascii)?;
        (!matches!(byte, b'\n' | b'\r' | 0)).then_some(Self(byte))
    }
}

impl<'de> Deserialize<'de> for Ascii {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(char::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("expected one ASCII character that is no line break"))
    }
}

impl Serialize for Ascii {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_char(char::from(self.0))
    }
}

impl JsonSchema for Ascii {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Ascii".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaValue {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 1 })
    }
}

fn yes() -> bool {
    true
}

fn comma() -> Ascii {
    Ascii(b',')
}

fn double_quote() -> Ascii {
    Ascii(b'"')
}

/// Decodes whole CSV files.
#[derive(Debug)]
pub struct CsvDecoder {
    columns: Schema,
    schema: SchemaRef,
    header: bool,
    dialect: Dialect,
    null_value: Option<Regex>,
}

/// Which field of a record is which column.
struct Layout {
    /// One field per field of a record; those that are not asked for are text.
    file: SchemaRef,
    /// For each column, its place in `file`.
    places: Vec<usize>,
}

impl CsvDecoder {
    /// A decoder with these settings.
    ///
    /// # Errors
    /// [`FormatError::Settings`] where [`CsvInput::check`] finds something.
    pub fn new(settings: &CsvInput) -> Result<Self, FormatError> {
        settings.check().map_err(FormatError::Settings)?;
        let null_value = match &settings.null_value {
            None => None,
            Some(text) => {
                let whole = format!(r"\A(?:{})\z", regex::escape(text));
                Some(Regex::new(&whole).map_err(|error| FormatError::Settings(format!("`null_value`: {error}")))?)
            }
        };
        Ok(Self {
            columns: settings.schema.0.clone(),
            schema: settings.schema.0.to_arrow(),
            header: settings.header,
            dialect: Dialect {
                delimiter: settings.delimiter.0,
                quote: settings.quote.0,
                escape: settings.escape.map(|escape| escape.0),
            },
            null_value,
        })
    }

    fn layout_by_place(&self) -> Layout {
        Layout { file: Arc::clone(&self.schema), places: (0..self.schema.fields().len()).collect() }
    }

    /// Where names stand twice in the header, the first counts.
    fn layout_by_name(&self, header: &[u8]) -> Result<Layout, FormatError> {
        let names: Vec<String> =
            self.dialect.fields(header).iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let mut fields: Vec<FieldRef> =
            names.iter().map(|name| Arc::new(Field::new(name, DataType::Utf8View, true))).collect();
        let mut places = Vec::with_capacity(self.schema.fields().len());
        for wanted in self.schema.fields() {
            let found = names.iter().zip(&mut fields).enumerate().find(|(_, (name, _))| *name == wanted.name());
            let Some((place, (_, field))) = found else {
                return Err(FormatError::missing_column(wanted.name(), names.iter().map(String::as_str)));
            };
            *field = Arc::clone(wanted);
            places.push(place);
        }
        Ok(Layout { file: Arc::new(ArrowSchema::new(fields)), places })
    }

    /// The records are parts of `block`.
    fn decode_pending(
        &self,
        layout: &Layout,
        block: &[u8],
        pending: &mut Vec<&[u8]>,
        decoded: &mut Decoded,
    ) -> Result<(), FormatError> {
        let Decoded { batches, bad_rows } = decoded;
        let batch = decode_good(
            pending,
            &|records| self.parse(layout, &layout.places, records)?.with_schema(Arc::clone(&self.schema)),
            &mut |record, error| bad_rows.add_part(block, record, || self.explain(layout, record, error)),
        )?;
        batches.extend(batch);
        pending.clear();
        Ok(())
    }

    /// The fields at `places` of these records, or an error if one of the records is bad.
    fn parse(&self, layout: &Layout, places: &[usize], records: &[&[u8]]) -> Result<RecordBatch, ArrowError> {
        let mut text = Vec::with_capacity(records.iter().map(|record| record.len() + 1).sum());
        for record in records {
            text.extend_from_slice(record);
            text.push(b'\n');
        }
        let mut builder = ReaderBuilder::new(Arc::clone(&layout.file))
            .with_delimiter(self.dialect.delimiter)
            .with_quote(self.dialect.quote)
            .with_batch_size(records.len())
            .with_projection(places.to_vec());
        if let Some(escape) = self.dialect.escape {
            builder = builder.with_escape(escape);
        }
        if let Some(null_value) = &self.null_value {
            builder = builder.with_null_regex(null_value.clone());
        }
        let mut decoder = builder.build_decoder();
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let read = decoder.decode(rest)?;
            if read == 0 {
                break;
            }
            rest = rest.get(read..).unwrap_or_default();
        }
        match decoder.flush()? {
            Some(batch) if rest.is_empty() && batch.num_rows() == records.len() => Ok(batch),
            _ => Err(ArrowError::CsvError("the record is not understood".to_owned())),
        }
    }

    /// What is wrong with a record that does not parse.
    fn explain(&self, layout: &Layout, record: &[u8], error: &ArrowError) -> String {
        if let Err(error) = std::str::from_utf8(record) {
            return format!("the record is not valid UTF-8 from byte {} on", error.valid_up_to() + 1);
        }
        let fields = self.dialect.fields(record);
        let expected = layout.file.fields().len();
        if fields.len() != expected {
            return format!("the record has {} fields, there should be {expected}", fields.len());
        }
        for (column, place) in self.columns.columns.iter().zip(&layout.places) {
            if self.parse(layout, &[*place], &[record]).is_err() {
                let text = String::from_utf8_lossy(fields.get(*place).map(Vec::as_slice).unwrap_or_default());
                return shorten(format!("column `{}`: no {}: `{text}`", column.name, column.column_type));
            }
        }
        reason(error)
    }
}

impl Decode for CsvDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&self, bytes: Bytes) -> Result<Decoded, FormatError> {
        let mut decoded = Decoded::default();
        let block = without_byte_order_mark(&bytes);
        let mut records = self.dialect.records(block);
        let layout = if self.header {
            match records.next() {
                Some(header) => self.layout_by_name(header.text)?,
                None => return Ok(decoded),
            }
        } else {
            self.layout_by_place()
        };
        let mut pending: Vec<&[u8]> = Vec::new();
        for record in records {
            if !record.closed {
                decoded.bad_rows.add_part(block, record.text, || "a quote is opened and not closed".to_owned());
                continue;
            }
            pending.push(record.text);
            if pending.len() == BATCH_ROWS {
                self.decode_pending(&layout, block, &mut pending, &mut decoded)?;
            }
        }
        self.decode_pending(&layout, block, &mut pending, &mut decoded)?;
        Ok(decoded)
    }
}

/// Writes records.
pub struct CsvWriter {
    writer: Writer<Box<dyn Write + Send>>,
    schema: SchemaRef,
    begun: bool,
}

impl CsvWriter {
    /// A writer of rows of `schema` to `out`.
    ///
    /// # Errors
    /// [`FormatError::Settings`] where [`CsvOutput::check`] finds something.
    pub fn new(settings: &CsvOutput, schema: SchemaRef, out: Box<dyn Write + Send>) -> Result<Self, FormatError> {
        settings.check().map_err(FormatError::Settings)?;
        let writer = WriterBuilder::new()
            .with_header(settings.header)
            .with_delimiter(settings.delimiter.0)
            .with_quote(settings.quote.0)
            .build(out);
        Ok(Self { writer, schema, begun: false })
    }
}

impl WriteRows for CsvWriter {
    /// Flushes the output, too.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        self.begun = true;
        Ok(self.writer.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        if self.begun {
            return Ok(());
        }
        // Without rows, the header is all there is.
        let none = RecordBatch::new_empty(Arc::clone(&self.schema));
        WriteRows::write(&mut *self, &none)
    }
}
