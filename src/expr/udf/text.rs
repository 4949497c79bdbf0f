//! Values to text and back, and the white space around text.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};

use super::views::Pieces;
use super::{Kernel, call, column, columns, strings, udf};

static TO_STRING: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Conversion::String));
static TO_LONG: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Conversion::Long));
static TO_DOUBLE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Conversion::Double));
static TO_BOOLEAN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Conversion::Boolean));

/// Any value as text; lists, structs and maps as JSON.
#[must_use]
pub fn to_string(value: Expr) -> Expr {
    call(&TO_STRING, vec![value])
}

/// Text, numbers and booleans as a long; NULL where they are none.
#[must_use]
pub fn to_long(value: Expr) -> Expr {
    call(&TO_LONG, vec![value])
}

/// Text, numbers and booleans as a double; NULL where they are none.
#[must_use]
pub fn to_double(value: Expr) -> Expr {
    call(&TO_DOUBLE, vec![value])
}

/// Text and numbers as a boolean; NULL where they are none.
#[must_use]
pub fn to_boolean(value: Expr) -> Expr {
    call(&TO_BOOLEAN, vec![value])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Conversion {
    String,
    Long,
    Double,
    Boolean,
}

impl Conversion {
    fn target(self) -> DataType {
        match self {
            Self::String => DataType::Utf8View,
            Self::Long => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
        }
    }
}

impl Kernel for Conversion {
    fn name(&self) -> &'static str {
        match self {
            Self::String => "to_string",
            Self::Long => "to_long",
            Self::Double => "to_double",
            Self::Boolean => "to_boolean",
        }
    }

    fn returns(&self, arguments: &[DataType]) -> Result<DataType> {
        let convertible = |data_type: &DataType| {
            data_type.is_numeric() || is_text(data_type) || matches!(data_type, DataType::Boolean | DataType::Null)
        };
        match arguments.iter().find(|&argument| *self != Self::String && !convertible(argument)) {
            Some(argument) => {
                let message = format!("{} takes text, numbers and booleans, not {argument}", self.name());
                Err(DataFusionError::Plan(message))
            }
            None => Ok(self.target()),
        }
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let [values] = columns(arguments)?;
        if *self == Self::String {
            return Ok(column(texts(&values)?));
        }
        let values: ArrayRef = match (self, values.data_type()) {
            // Arrow has no cast between these two.
            (Self::Boolean, DataType::Decimal128(..)) => cast(&values, &DataType::Float64)?,
            (_, data_type) if is_text(data_type) => Arc::new(trimmed(&strings(&values)?, Side::Both)?),
            _ => values,
        };
        Ok(ColumnarValue::Array(cast(&values, &self.target())?))
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Any column as text, as [`to_string`] gives it.
pub(super) fn texts(values: &ArrayRef) -> Result<StringViewArray> {
    if values.data_type().is_nested() {
        return json(values);
    }
    strings(values)
}

fn json(values: &ArrayRef) -> Result<StringViewArray> {
    let field = Arc::new(Field::new("value", values.data_type().clone(), true));
    let options = EncoderOptions::default();
    // JSON has no place for maps whose keys are no text.
    let Ok(mut encoder) = make_encoder(&field, values.as_ref(), &options) else { return display(values) };
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut bytes = Vec::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            texts.append_null();
            continue;
        }
        bytes.clear();
        encoder.encode(row, &mut bytes);
        texts.append_option(std::str::from_utf8(&bytes).ok());
    }
    Ok(texts.finish())
}

fn display(values: &ArrayRef) -> Result<StringViewArray> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
    let text = |row| if values.is_null(row) { None } else { formatter.value(row).try_to_string().ok() };
    Ok((0..values.len()).map(text).collect())
}

/// Which white space goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// At the start and at the end.
    Both,
    /// At the start.
    Start,
    /// At the end.
    End,
}

/// The text without the white space around it.
#[must_use]
pub fn trim(side: Side, text: Expr) -> Expr {
    call(&udf(side), vec![text])
}

impl Kernel for Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Both => "trim",
            Self::Start => "trim_start",
            Self::End => "trim_end",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let [values] = columns(arguments)?;
        Ok(column(trimmed(&strings(&values)?, *self)?))
    }
}

fn trimmed(values: &StringViewArray, side: Side) -> Result<StringViewArray> {
    let mut pieces = Pieces::new(values, values.len());
    for index in 0..values.len() {
        let Some(row) = pieces.row(index) else {
            pieces.push_null();
            continue;
        };
        let text = row.text();
        let start = if side == Side::End { 0 } else { text.len() - text.trim_start().len() };
        let end = if side == Side::Start { text.len() } else { text.trim_end().len() };
        // In a text of nothing but white space the end comes before the start.
        pieces.push(&row, start, end.max(start));
    }
    pieces.finish(values.nulls().cloned())
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    use super::super::testing::{evaluate, texts};
    use super::*;

    #[test]
    fn white_space() {
        let values = texts(&[Some(" a long text with spaces around \t\r\n"), Some("  "), None]);
        let trim = |side: Side| -> Vec<Option<String>> {
            let trimmed = evaluate(&side, std::slice::from_ref(&values));
            trimmed.as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(trim(Side::Both), [text("a long text with spaces around"), text(""), None]);
        assert_eq!(trim(Side::Start), [text("a long text with spaces around \t\r\n"), text(""), None]);
        assert_eq!(trim(Side::End), [text(" a long text with spaces around"), text(""), None]);
    }

    #[test]
    fn numbers_in_text() {
        let values = texts(&[Some(" 42 "), Some("4.2"), Some("x"), None]);
        let longs = evaluate(&Conversion::Long, &[values]);
        assert_eq!(longs.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(42), None, None, None]);
        let doubles = column(Float64Array::from(vec![4.7, f64::NAN, 1e300]));
        let longs = evaluate(&Conversion::Long, &[doubles]);
        assert_eq!(longs.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(4), None, None]);
    }

    #[test]
    fn values_as_text() {
        let numbers = evaluate(&Conversion::String, &[column(Int64Array::from(vec![Some(1), None]))]);
        assert_eq!(numbers.as_string_view().iter().collect::<Vec<_>>(), [Some("1"), None]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        let lists = evaluate(&Conversion::String, &[column(lists)]);
        assert_eq!(lists.as_string_view().iter().collect::<Vec<_>>(), [Some("[1,null]"), None]);
    }
}
