//! What is needed around DataFusion's checksums: hexadecimal digits and one number for many values.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::crypto::expr_fn::sha256;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};

use super::text::texts;
use super::{Kernel, call, column, columns, internal, udf};

static HEX: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Digest::Hex));
static JOINED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Digest::Joined));
static NUMBER: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Digest::Number));

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: Expr) -> Expr {
    call(&HEX, vec![bytes])
}

/// A long made of the values' texts, the same in every run and on every machine.
#[must_use]
pub fn hash(values: Vec<Expr>) -> Expr {
    call(&NUMBER, vec![sha256(call(&JOINED, values))])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Digest {
    /// Bytes to hexadecimal digits.
    Hex,
    /// Values to bytes, so that different values never give the same bytes.
    Joined,
    /// The first eight bytes as a number.
    Number,
}

impl Kernel for Digest {
    fn name(&self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Joined => "join_for_hash",
            Self::Number => "first_eight_bytes",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self {
            Self::Hex => DataType::Utf8View,
            Self::Joined => DataType::Binary,
            Self::Number => DataType::Int64,
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        if *self == Self::Joined {
            return Ok(column(joined(&ColumnarValue::values_to_arrays(arguments)?)?));
        }
        let [values] = columns(arguments)?;
        let values = binary(&values)?;
        Ok(match self {
            Self::Hex | Self::Joined => column(digits(&values)),
            Self::Number => column(values.iter().map(|bytes| bytes.and_then(number)).collect::<Int64Array>()),
        })
    }
}

fn binary(values: &ArrayRef) -> Result<BinaryArray> {
    let values = cast(values, &DataType::Binary)?;
    values.as_binary_opt::<i32>().cloned().ok_or_else(|| internal("bytes expected"))
}

fn digits(values: &BinaryArray) -> arrow::array::StringViewArray {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for bytes in values {
        text.clear();
        for byte in bytes.unwrap_or_default() {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        texts.append_option(bytes.map(|_| text.as_str()));
    }
    texts.finish()
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// A NULL is a zero byte; a value is a one, its length and its bytes.
fn joined(arguments: &[ArrayRef]) -> Result<BinaryArray> {
    let rows = arguments.first().map_or(0, |array| array.len());
    let columns = arguments
        .iter()
        .map(|array| match array.data_type() {
            // Bytes need not be text.
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => binary(array),
            _ => binary(&(Arc::new(texts(array)?) as ArrayRef)),
        })
        .collect::<Result<Vec<_>>>()?;
    let mut joined = BinaryBuilder::with_capacity(rows, 0);
    let mut bytes = Vec::new();
    for row in 0..rows {
        bytes.clear();
        for column in &columns {
            if column.is_null(row) {
                bytes.push(0);
            } else {
                let value = column.value(row);
                bytes.push(1);
                bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
        joined.append_value(&bytes);
    }
    Ok(joined.finish())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Int64Type;

    use super::super::testing::{evaluate, text, texts};
    use super::*;

    #[test]
    fn hexadecimal_digits() {
        let bytes: Vec<Option<&[u8]>> = vec![Some(&[0, 0x1f, 0xff]), None];
        let digits = evaluate(&Digest::Hex, &[column(BinaryArray::from(bytes))]);
        assert_eq!(digits.as_string_view().iter().collect::<Vec<_>>(), [Some("001fff"), None]);
    }

    #[test]
    fn different_values_give_different_bytes() {
        let left = texts(&[Some("ab"), Some("a"), None, Some("")]);
        let right = texts(&[Some("c"), Some("bc"), Some(""), None]);
        let joined = evaluate(&Digest::Joined, &[left, right]);
        let mut rows: Vec<_> = joined.as_binary::<i32>().iter().collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn the_first_eight_bytes() {
        let numbers = evaluate(&Digest::Number, &[text("\0\0\0\0\0\0\u{1}\u{2}more")]);
        assert_eq!(numbers.as_primitive::<Int64Type>().value(0), 258);
    }
}
