//! Finds the numbers that Arrow's JSON reader would cut off without a word: `1.5` for a `long`, `1.005`
//! for a `decimal(10,2)`.
//!
//! The reader does not tell, so numbers are looked at as they are written: the lines that may hold
//! such a number are read once more, only its columns, as text. Which lines these are is seen from
//! their bytes, so rows whose fractions stand in `double` columns or in texts are read once.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use memchr::{memchr3_iter, memrchr};

use super::json::read_lines;
use crate::schema::ColumnType;

/// The longest beginning of a number that is looked at; a longer one is rather read again.
const MAX_BEGINNING: usize = 64;

/// No column needs longer numbers or larger exponents, and Arrow's reader of decimals, which counts
/// digits in 8 bits and exponents in 16, takes some of them for other numbers.
const MAX_LENGTH: usize = 200;
const MAX_EXPONENT: u64 = 99;

/// What to look for in the rows of a schema.
#[derive(Debug)]
pub(super) struct ExactNumbers {
    /// The columns with numbers that must be exact.
    columns: Vec<FieldRef>,
    /// The same with these numbers as text.
    texts: SchemaRef,
    /// The names of the fields, however deep, that are such numbers.
    names: Vec<String>,
    /// Such numbers stand in a map, so under any name.
    any_name: bool,
}

impl ExactNumbers {
    /// `None` if no number of the schema must be exact.
    pub(super) fn new(schema: &SchemaRef) -> Option<Self> {
        let found = |field: &FieldRef| Some((Arc::clone(field), field_as_text(field)?));
        let (columns, texts): (Vec<FieldRef>, Vec<FieldRef>) = schema.fields().iter().filter_map(found).unzip();
        if columns.is_empty() {
            return None;
        }
        let fields = schema.flattened_fields();
        let exact = fields.iter().filter(|field| max_digits(field.data_type()).is_some());
        let names = exact.map(|field| field.name().clone()).collect();
        let is_map = |field: &&Field| matches!(field.data_type(), DataType::Map(..));
        let any_name = fields.into_iter().filter(is_map).any(|field| as_text(field.data_type()).is_some());
        Some(Self { columns, texts: Arc::new(ArrowSchema::new(texts)), names, any_name })
    }

    /// Fails if a number would be cut off. Lines that are no JSON are left for others to report.
    pub(super) fn check(&self, lines: &[&[u8]]) -> Result<(), ArrowError> {
        let lines: Vec<&[u8]> = lines.iter().copied().filter(|line| self.may_be_cut(line)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let reader = ReaderBuilder::new(Arc::clone(&self.texts)).with_coerce_primitive(true);
        let Ok(texts) = read_lines(reader, &lines) else { return Ok(()) };
        for (column, texts) in self.columns.iter().zip(texts.columns()) {
            if let Some((text, wanted)) = find_cut(texts.as_ref(), column.data_type()) {
                let wanted = ColumnType::from_arrow(wanted).map_or_else(|| wanted.to_string(), |it| it.to_string());
                return Err(ArrowError::JsonError(format!("column `{}`: no {wanted}: `{text}`", column.name())));
            }
        }
        Ok(())
    }

    /// Whether a line may hold a number that would be cut off; wrong only in saying yes.
    fn may_be_cut(&self, line: &[u8]) -> bool {
        let is_cut_at = |at: usize| {
            let before = line.get(..at).unwrap_or_default();
            matches!(before.last(), Some(b'0'..=b'9' | b'-')) && !self.is_harmless(before)
        };
        has_fraction(line) && memchr3_iter(b'.', b'e', b'E', line).any(is_cut_at)
    }

    /// Whether the number that ends `before`, where its fraction or exponent follows, is a part of a
    /// text, or the value of a field that may have a fraction. In JSON a value stands after `:`, `[`
    /// or `,` only.
    fn is_harmless(&self, before: &[u8]) -> bool {
        let near = before.get(before.len().saturating_sub(MAX_BEGINNING)..).unwrap_or_default();
        let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let Some(last) = near.iter().rposition(|byte| !is_number(byte)) else { return false };
        let begun = near.len() - (last + 1);
        let before = before.get(..before.len() - begun).unwrap_or_default();
        // A decimal may be written as text.
        let before = before.strip_suffix(b"\"").unwrap_or(before).trim_ascii_end();
        match before.split_last() {
            Some((b':', before)) => match before.trim_ascii_end().strip_suffix(b"\"") {
                Some(before) => self.may_have_fraction(before),
                // No name is before the colon, so it is a text with the time of day, say.
                None => true,
            },
            // Arrow's reader takes lists without commas, too.
            Some((b'[' | b',' | b'{' | b'0'..=b'9', _)) | None => false,
            Some(_) => true,
        }
    }

    /// Whether the field whose name ends `before` is one of those that must be exact.
    fn may_have_fraction(&self, before: &[u8]) -> bool {
        let start = memrchr(b'"', before).map_or(0, |at| at + 1);
        let name = before.get(start..).unwrap_or_default();
        let is_plain = !self.any_name && !name.contains(&b'\\');
        is_plain && !self.names.iter().any(|exact| exact.as_bytes() == name)
    }
}

/// Whether a point or an exponent follows a digit anywhere. Without branches, so that the compiler
/// looks at many bytes at once: it settles most lines.
fn has_fraction(line: &[u8]) -> bool {
    let next = line.get(1..).unwrap_or_default();
    line.iter().zip(next).fold(false, |found, (byte, next)| {
        let is_number = (byte.wrapping_sub(b'0') < 10) | (*byte == b'-');
        found | (is_number & ((*next == b'.') | ((*next | 0x20) == b'e')))
    })
}

/// How many digits after the point a number has at most, if it must be exact.
fn max_digits(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Int32 | DataType::Int64 => Some(0),
        DataType::Decimal128(_, scale) => Some(i64::from(*scale)),
        _ => None,
    }
}

/// The type with its exact numbers as text; `None` if there are none.
fn as_text(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::List(element) => Some(DataType::List(field_as_text(element)?)),
        DataType::Struct(fields) => {
            let fields: Fields = fields.iter().filter_map(field_as_text).collect();
            (!fields.is_empty()).then_some(DataType::Struct(fields))
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(entry) = entries.data_type() else { return None };
            let texts: Vec<Option<FieldRef>> = entry.iter().map(field_as_text).collect();
            if texts.iter().all(Option::is_none) {
                return None;
            }
            let entry: Fields =
                entry.iter().zip(texts).map(|(field, text)| text.unwrap_or_else(|| Arc::clone(field))).collect();
            Some(DataType::Map(with_type(entries, DataType::Struct(entry)), *sorted))
        }
        plain => max_digits(plain).map(|_| DataType::Utf8View),
    }
}

fn field_as_text(field: &FieldRef) -> Option<FieldRef> {
    Some(with_type(field, as_text(field.data_type())?))
}

fn with_type(field: &Field, data_type: DataType) -> FieldRef {
    Arc::new(field.clone().with_data_type(data_type))
}

/// The first text that is no exact number of its type, with the type.
fn find_cut<'a>(texts: &'a dyn Array, wanted: &'a DataType) -> Option<(&'a str, &'a DataType)> {
    match wanted {
        DataType::List(element) => find_cut(texts.as_list_opt::<i32>()?.values().as_ref(), element.data_type()),
        DataType::Map(entries, _) => find_cut(texts.as_map_opt()?.entries(), entries.data_type()),
        DataType::Struct(fields) => {
            let texts = texts.as_struct_opt()?;
            fields.iter().find_map(|field| find_cut(texts.column_by_name(field.name())?.as_ref(), field.data_type()))
        }
        plain => {
            let digits = max_digits(plain)?;
            let text = texts.as_string_view_opt()?.iter().flatten().find(|text| !is_exact(text, digits))?;
            Some((text, plain))
        }
    }
}

/// Whether a number, as it is written, needs at most so many digits after the point.
fn is_exact(number: &str, max_digits: i64) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent = exponent.parse::<i64>().ok().filter(|exponent| exponent.unsigned_abs() <= MAX_EXPONENT);
    let Some(exponent) = exponent.filter(|_| number.len() <= MAX_LENGTH) else { return false };
    let is_zero = digits.bytes().all(|byte| !matches!(byte, b'1'..=b'9'));
    let fraction = fraction.trim_end_matches('0').len() as i64;
    let zeros = (whole.len() - whole.trim_end_matches('0').len()) as i64;
    let needed = if fraction > 0 { fraction - exponent } else { -zeros - exponent };
    is_zero || needed <= max_digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Column, Schema, parse_type};

    #[test]
    fn numbers_are_exact_as_they_are_written() {
        for (number, digits, exact) in [
            ("12", 0, true),
            ("-1.0", 0, true),
            ("1.5", 0, false),
            ("-0.5", 0, false),
            ("-0", 0, true),
            ("0.000", 0, true),
            ("0E-8", 0, true),
            ("1e3", 0, true),
            ("1.5e3", 0, true),
            ("1500E-2", 0, true),
            ("1500e-3", 0, false),
            ("12.340", 2, true),
            ("12.345", 2, false),
            ("12.345e+1", 2, true),
            ("1234e-2", 2, true),
            ("1234e-3", 2, false),
            // Which is 1 for a reader with 16 bits for the exponent.
            ("1e65536", 2, false),
            ("1e-999999999999999999999", 2, false),
        ] {
            assert_eq!(is_exact(number, digits), exact, "{number}");
        }
        assert!(!is_exact(&format!("{}.5", "1".repeat(300)), 2));
    }

    fn numbers(columns: &[(&str, &str)]) -> Option<ExactNumbers> {
        let columns = columns.iter().map(|(name, text)| Column::new(*name, parse_type(text).unwrap())).collect();
        ExactNumbers::new(&Schema::new(columns).to_arrow())
    }

    #[test]
    fn only_lines_that_may_hold_one_are_read_again() {
        let plain = numbers(&[("id", "long"), ("price", "double"), ("in", "struct<sum: decimal(9,2)>")]).unwrap();
        for (line, again) in [
            (r#"{"id":12,"price":3,"at":"2024-05-17"}"#, false),
            (r#"{"id":12,"price":1.5,"at":"2024-05-17T10:15:00.123Z"}"#, false),
            (r#"{"id":12,"price" : -1.5e3,"id":"5e8-a50e8400.7","agent":"x/5.0 1.2.3"}"#, true),
            (r#"{"id":12,"price" : -1.5e3,"key":"5e8-a50e8400.7","agent":"x/5.0 b1.2.3"}"#, false),
            (r#"{"id":1.5}"#, true),
            (r#"{"id" :  -.5}"#, true),
            (r#"{"\u0069d":1.5}"#, true),
            (r#"{"in":{"sum":12.5}}"#, true),
            (r#"{"in":{"sum":"12.5"}}"#, true),
            (r#"{"list":[1.5]}"#, true),
            (r#"{"list":[1 2.5]}"#, true),
        ] {
            assert_eq!(plain.may_be_cut(line.as_bytes()), again, "{line}");
        }
        let long = format!(r#"{{"price":{}.5}}"#, "1".repeat(100));
        assert!(plain.may_be_cut(long.as_bytes()));
        let map = numbers(&[("price", "double"), ("counts", "map<string, list<int>>")]).unwrap();
        assert!(map.may_be_cut(br#"{"price":1.5}"#));
        assert!(numbers(&[("price", "double"), ("at", "timestamp"), ("texts", "map<string, string>")]).is_none());
    }
}
